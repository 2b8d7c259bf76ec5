"""The same equations as ordinary ones, with the memories among the unknowns, solved by scipy."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from sme.common.errors import SMEError
from sme.simulate.integro.losses import Losses
from sme.simulate.integro.rule import Rule

TOLERANCE = 1e-12
BEGIN = {1: 1e-12, 2: 1e-6}
"""`√t` at which the memories start from their leading order, by the order of the equation"""
MOST = 100_000
"""evaluations of a part of the way, beyond which the solver is taken to be stuck"""
STIFF = 10.0
"""|dF/dθ| in x at which the explicit method hands over to one that turns implicit"""


@dataclass(frozen=True)
class Ordinary:
    """The state `(θ, [θ̇,] m, v)`, each memory with the parts of its kernel, and its derivative in `x = √t`.

    Order 1 is `θ̇ = −F`, order 2 `θ̈ = −(2/α)(θ̇ + F)` with kernels that rise from 0: `θ(t + α) − θ(t) = −α F`, Adam's step,
    with `θ(t + α) ≈ θ + αθ̇ + ½α²θ̈`. If `updated`, `F` reads `β m + (1 − β) g` and `β v + (1 − β) g²`, as the step does.
    """

    losses: Losses
    rule: Rule
    order: int = 1
    updated: bool = False

    def solve(self, theta: Float[np.ndarray, " d"], times: Float[np.ndarray, " n"],
              velocity: Float[np.ndarray, " d"] | None = None) -> Float[np.ndarray, "n parts d"]:
        """The state at ascending times, from the first memory on: `θ̇(0) = velocity` at order 2, default 0.

        Raises
        ------
        SMEError
            if it cannot be followed to the end, or `v` turns negative.
        """
        dim, x = len(theta), np.sqrt(np.asarray(times, float))
        y = self._start(np.asarray(theta, float), np.zeros(dim) if velocity is None else np.asarray(velocity, float))
        found = np.repeat(y[None], len(x), 0)
        begin = BEGIN[self.order]
        end, method = max(begin, x[-1]), "DOP853" if self.order == 1 else "LSODA"  # order 2 has a fast rate, 2/α
        early = min(end, 1e-2 * self.rule.lr**0.5)
        while begin < end:
            until, stop = (early, None) if begin < early else (end, self._stiffness(y.shape) if method == "DOP853" else None)
            now = (x > begin) & (x <= until)
            solved = solve_ivp(self._slope(y.shape), (begin, until), y.ravel(), method, np.union1d(x[now], until), events=stop,
                               rtol=TOLERANCE, atol=self._floor(y, until > early).ravel(),
                               first_step=0.1 * min(begin, until - begin))
            if solved.status < 0:
                raise SMEError(f"the equation of {self.rule} cannot be followed beyond t = {begin * begin:.3g}: {solved.message}")
            states = np.asarray(solved.y).T.reshape(-1, *y.shape)
            at = np.flatnonzero(now)[: len(states)]
            found[at] = states[: len(at)]
            if solved.status == 1:
                begin, y, method = solved.t_events[0][0], solved.y_events[0][0].reshape(y.shape), "LSODA"
            else:
                begin, y = until, states[-1]
        if not np.isfinite(found).all():
            raise SMEError(f"the equation of {self.rule} is not finite at all times: below β₂ = ½ its second moment may turn "
                           "negative. Take order=1, or a larger β₂")
        return found

    def _floor(self, y: np.ndarray, late: bool) -> np.ndarray:
        """Absolute tolerances: none of the memories at first, when they are tiny; later what rounding leaves of a gradient."""
        small = 1e-2 * TOLERANCE * max(1.0, float(np.abs(y[0]).max()))
        floor = np.full(y.shape, small)
        m, v = self.memories(floor)
        m[:], v[:] = (small, max((1e-4 * self.rule.eps) ** 2, 1e-45)) if late else (1e-45, 1e-45)
        return floor

    def _start(self, theta: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        g = self.losses.gradient(theta[None])[0]
        state = [theta[None]] if self.order == 1 else [theta[None], velocity[None]]
        for kernel, power in zip(self.rule.kernels(self.order), (1, 2), strict=True):
            if kernel is not None:
                state.append(kernel.start(BEGIN[self.order] ** 2, g**power))
        return np.concatenate(state)

    def memories(self, y: Float[np.ndarray, "parts d"]) -> list[np.ndarray]:
        """The states of `m` (0 without one) and of `v`."""
        first, second = self.rule.kernels(self.order)
        between = self.order + (first.parts if first else 0)
        m = y[self.order : between] if first else np.zeros((1, y.shape[1]))
        return [m, y[between : between + second.parts]]

    def _slope(self, shape: tuple[int, ...]) -> Callable[[float, np.ndarray], np.ndarray]:
        kernels, calls = self.rule.kernels(self.order), itertools.count()

        def slope(x: float, flat: np.ndarray) -> np.ndarray:
            y, t = flat.reshape(shape), x * x
            if next(calls) > MOST:
                raise SMEError(f"the equation of {self.rule} cannot be followed beyond t = {t:.3g} in {MOST} evaluations. "
                               "Take a shorter horizon or a smaller learning rate")
            g = self.losses.gradient(y[:1])[0]
            memories = self.memories(y)
            m, v = (memory[0] for memory in memories)
            if self.updated:
                m, v = (beta * old + (1 - beta) * q for beta, old, q in zip(self._betas, (m, v), (g, g * g), strict=True))
            step = self.rule.step(np.array(t), g, m, np.maximum(v, 0.0) if self.order == 1 else v)
            parts = [-step[None]] if self.order == 1 else [y[1:2], (-2 / self.rule.lr) * (y[1:2] + step)]
            parts += [kernel.slope(memory, q) for kernel, memory, q in zip(kernels, memories, (g, g * g), strict=True)
                      if kernel is not None]
            return 2 * x * np.concatenate(parts).ravel()

        return slope

    @property
    def _betas(self) -> tuple[float, float]:
        if self.rule.beta1 is None or self.rule.beta2 is None:
            raise SMEError(f"updated averages are those of Adam, got {self.rule.optimizer}: leave updated out")
        return self.rule.beta1, self.rule.beta2

    def _stiffness(self, shape: tuple[int, ...]) -> Callable[[float, np.ndarray], float] | None:
        """Positive where explicit steps would be many: where the gradient's own part of `F` is steep. Adam has none."""
        if self.rule.optimizer == "adam":
            return None

        def steep(x: float, flat: np.ndarray) -> float:
            y = flat.reshape(shape)
            m, v = (memory[0] for memory in self.memories(y))
            bend = np.abs(self.losses.curvature(y[:1])[0]).sum(-1)
            slope = self.rule.direction(np.array(x * x), np.zeros(shape[1]), m, np.maximum(v, 0.0)).g
            return float(2 * x * (np.abs(slope) * bend).max()) - STIFF

        steep.terminal = True  # type: ignore[attr-defined]
        steep.direction = 1  # type: ignore[attr-defined]
        return steep
