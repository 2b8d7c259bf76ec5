"""One substep of an equation, given its increment."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import Equation
from sme.equations.derived.shifted.sampled import Sampled
from sme.equations.drivers.names import GAIN, RATE


class Scheme(ABC):
    """A one-step method for `dx = b dt + G dW (+ R[y, dW])`; it knows an equation and an increment, nothing else.

    A part `R[y, dW]` comes with its Milstein term (`Equation.remember`): over a whole step its
    integral is then exact for a constant symmetric `R`.

    Attributes
    ----------
    powers
        the powers of the substep in the two leading terms of the bias, which `extrapolate` removes.
    fewest, finest
        least number of substeps of the finest level per optimizer step, and the substep (in units
        of time) that it does not exceed while `τ ≤ 1/4`.
    """

    powers: ClassVar[tuple[int, int]]
    fewest: ClassVar[int]
    finest: ClassVar[float]

    def substeps(self, tau: float) -> int:
        """Substeps of the finest level in one optimizer step, a power of two: a function of `τ` alone."""
        wanted = self.fewest
        while wanted * self.finest < min(tau, 0.25):
            wanted *= 2
        return wanted

    def step(self, equation: Equation, t: float, dt: float, z: Tensor, dW: Tensor, since: Tensor) -> tuple[Tensor, Tensor]:
        """`rates` of the whole system: the state and, where the equation has one, the average of its past noise.

        A substep takes that to `ρ ỹ + (1 + ρ) S dW`, `ρ = (r − 3)/(r + 1)` with `r` substeps a step: as `r` grows this is
        `dỹ = −(4/τ) ỹ dt + 2 S dW`, and with the Milstein part the integrals of the kernel and of its square, which the order
        depends on, are those of that equation for every `r`.
        """
        if not equation.hidden:
            return self.rates(equation, t, dt, z, dW, since)
        x, past = z.T.split((z.shape[1] - equation.hidden, equation.hidden))
        f, n = self.rates(equation, t, dt, x.T, dW, past.T)
        kept = 1 - RATE / (equation.tau / dt + 1)
        taken = (kept - 1) * past.T + 0.5 * GAIN * (1 + kept) * equation.kept(t, x.T, dW)
        return torch.cat((f.T, torch.zeros_like(past))).T, torch.cat((n.T, taken.T)).T

    @abstractmethod
    def rates(self, equation: Equation, t: float, dt: float, x: Tensor, dW: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """`f`, `n` such that the substep is `x + dt f + n`; `y` is the motion since the optimizer's step began, or `ỹ`."""

    def extrapolate(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Talay–Tubaro extrapolation from substeps `h`, `2h`, `4h`, and how far halving the substep moves its first stage.

        `once(a, b) = a + (a − b)/(2^p − 1)` with `powers[0]`; then the same of the two `once` with `powers[1]`.
        """
        first, second = (2**power - 1 for power in self.powers)
        once, before = fine + (fine - middle) / first, middle + (middle - coarse) / first
        return once + (once - before) / second, once - before


    def parts(self, levels: int) -> list[tuple[float, ...]]:
        """Of each level, the finest first: its part in the coarsest alone; and, of paths on all levels, in that again, in what

        `extrapolate` makes of them, and in how far it moved last. One level is the coarsest.
        """
        if levels == 1:
            return [(1.0, 0.0, 0.0, 0.0)]
        unit = torch.eye(levels, dtype=torch.float64)
        return list(zip(*(each.tolist() for each in (unit[-1], unit[-1], *self.extrapolate(*unit))), strict=True))


def _noise(equation: Equation, t: float, dt: float, x: Tensor, dW: Tensor, y: Tensor) -> Tensor:
    if not equation.motions:
        return torch.zeros_like(x)
    noise = equation.diffuse(t, x, dW)
    if equation.fades:
        return noise + equation.recollect(t, x, y, dW, dt)
    return noise + equation.remember(t, x, y, dW, dt) if equation.remembers else noise


class Euler(Scheme):
    """Euler–Maruyama, of weak order 1: bias `O(dt)`, extrapolated `O(dt³)`."""

    powers = (1, 2)
    fewest = 8
    finest = 1 / 128

    def rates(self, equation: Equation, t: float, dt: float, x: Tensor, dW: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return equation.drift(t, x), _noise(equation, t, dt, x, dW, y)


class SmallNoise(Scheme):
    """Two-stage Itô scheme for noise of size `O(√τ)`: with `n = G(t + dt/2, x + dt b/2) dW`,

    `x + dt ½ (b(t, x) + b(t + dt, x + dt b + n)) + n`. Bias `O(dt² + τ² dt)`; the extrapolation
    removes `dt²` and `dt³`. After Milstein and Tretyakov's methods for small noise.
    """

    powers = (2, 3)
    fewest = 8
    finest = 1 / 64

    def rates(self, equation: Equation, t: float, dt: float, x: Tensor, dW: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        b = equation.drift(t, x)
        n = _noise(equation, t + dt / 2, dt, x + dt / 2 * b, dW, y)
        return 0.5 * (b + equation.drift(t + dt, x + dt * b + n)), n


class Sampling(Euler):
    """Euler–Maruyama of a `Sampled` equation, whose long substeps take the gradients of all their short ones."""

    fewest = 4
    finest = 1 / 32

    def rates(self, equation: Equation, t: float, dt: float, x: Tensor, dW: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.long(equation, t, dt, x, dW.unsqueeze(0))

    def long(self, equation: Equation, t: float, dt: float, x: Tensor, dW: Float[Tensor, "short paths motions"]
             ) -> tuple[Tensor, Tensor]:
        """`rates` of a substep of several short ones."""
        assert isinstance(equation, Sampled)
        return equation.sampled(t, x, dW, dt / len(dW))

    def integrate(self, equation: Equation, x: Tensor, dW: Float[Tensor, "substeps paths motions"], factor: int, t: float,
                  watch: Callable[[float, Tensor, Tensor, Tensor], None] | None = None) -> Float[Tensor, "paths state"]:
        """`x` after one optimizer step from time `t`, in substeps of `factor` short ones; `watch` sees each."""
        dt = equation.tau * factor / len(dW)
        for i, each in enumerate(dW.split(factor)):
            rate, noise = self.long(equation, t + i * dt, dt, x, each)
            if watch is not None:
                watch(t + i * dt, x, each.sum(0), noise)
            x = x + dt * rate + noise
        return x


def scheme(equation: Equation) -> Scheme:
    """The scheme for this equation: a function of its noise's size alone, unless it is sampled."""
    if equation.samples:
        return Sampling()
    return SmallNoise() if equation.small_noise else Euler()
