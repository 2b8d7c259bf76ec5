"""The shifted equation where no rule sums over the noise of one step: from a few fresh noisy gradients in each substep."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import Equation, X
from sme.equations.chain import Chain
from sme.equations.derived.shifted.draws import drawn, needed
from sme.equations.derived.shifted.equation import Shifted
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem


class Sampled(Equation):
    r"""`Shifted` with sampled mean and covariance, `φ(t, x; ĝ) = (x' − x)/τ` of one noisy gradient `ĝ`.

    ```math
    \begin{aligned}
    \Delta x &= \Delta\, \varphi(t - \tfrac\tau2,\ x - \tfrac\tau2\,\varphi(t, x; \hat g_1);\ \hat g_2)
      + \sqrt{\tau\Delta - \Delta^2}\;\xi\,(\varphi(t, x; \hat g_3) - \varphi(t, x; \hat g_4))/\sqrt2
    \end{aligned}
    ```

    with fresh gradients in every substep `Δ` and a normal `ξ`; at order 1 there is no shift. The drift that is sampled once has
    a noise of its own, of covariance `Δ² Cov φ`, which is left out of the other: with all of `τΔ` there it would be an equation
    of order 1. Gaussian noise keeps the motion that it shares with the run: with `z₃ = dW¹/√Δ`, odd part `o` and even part `e`
    of `φ` in `z`, the noise is `o(z₃) + ± (e(z₃) − e(z₄))/√2`. A long substep of an extrapolation takes the gradients
    of all its short ones. Fields that are never negative are seen at 0 where they are. Source: docs/theory/rules.md, section 11.
    """

    small_noise = True
    samples = True
    numerics = ("shifted", "sampled")

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        if brownian == "none":
            raise SMEError(f"the equation of {optimizer.name} is sampled here, and so has a noise: give brownian='independent'")
        super().__init__(problem, optimizer, tau, order, "independent")
        self.chain = Chain(problem, optimizer, BALLISTIC, tau)
        self.paired, each = self.law.paired, needed(self.law, tau)
        self.widths = [each, each, each, 0 if self.paired else each, 1]  # of ĝ₁, ĝ₂, ĝ₃ or z₄, ĝ₄, ξ
        self.second = sum(self.widths)
        never = [name in optimizer.nonnegative for name in optimizer.fields]
        self.least = torch.tensor([0.0 if each else -math.inf for each in never]).repeat_interleave(problem.dim)

    def explicit(self) -> Equation:
        return Shifted(self.problem, self.optimizer, self.tau, self.order, self.brownian)

    def drift(self, t: float, x: X) -> X:
        return self.explicit().drift(t, x)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return self.explicit().diffuse(t, x, dW)

    def second_noise(self, theta: Tensor, dW: Float[Tensor, "paths motions"]) -> Tensor | float:
        """None that is linear in the second motions."""
        return 0.0

    def sampled(self, t: float, x: X, dW: Float[Tensor, "short paths motions"], dt: float) -> tuple[X, X]:
        """The mean rate and the noise over a substep of several short ones, each of length `dt` and with gradients of its own."""
        rate, noise = torch.zeros_like(x), torch.zeros_like(x)
        size = math.sqrt(max(0.0, self.tau - dt) * dt)
        for each in dW / math.sqrt(dt):
            drift, kick = self._sample(t, x, each)
            rate, noise = rate + drift / len(dW), noise + size * kick
        return rate, noise

    def _sample(self, t: float, x: X, normals: Float[Tensor, "paths motions"]) -> tuple[X, X]:
        """A sample of the drift, and of what has mean 0 and the covariance of `φ`."""
        own, rest = normals.split([self.first, self.second], 1)
        *parts, xi = rest.split(self.widths, 1)
        ahead, drift, third, fourth = (drawn(self.law, self.tau, part) if part.shape[1] else part for part in parts)
        draws = [own, -own, third, -third] if self.paired else [third, fourth]
        if self.order == 2:
            draws.append(ahead)
        paths = len(x)
        every = self._phi(t, x.repeat(len(draws), 1), torch.cat(draws)).split(paths)
        if self.paired:
            odd, even, other = every[0] - every[1], every[0] + every[1], every[2] + every[3]
            kick = 0.5 * (odd + xi.sign() * (even - other) / math.sqrt(2))
        else:
            kick = xi * (every[0] - every[1]) / math.sqrt(2)
        if self.order == 1:
            return self._phi(t, x, drift), kick
        return self._phi(t - 0.5 * self.tau, x - 0.5 * self.tau * every[-1], drift), kick

    def _phi(self, t: float, x: X, z: Tensor) -> X:
        """`(x' − x)/τ` of a step on these draws."""
        seen = torch.maximum(x, self.least.to(x))
        scaled = self.law.noisy(seen[:, : self.problem.dim], z, self.chain.mean, 1.0)
        layout = self.chain.layout
        return (layout.whole(self.chain.moved(layout.named(seen), scaled, t)) - seen) / self.tau
