"""The integro-differential equation itself, solved piece by piece with its memory integrals in full."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sme.common.errors import SMEError
from sme.common.output.brief import Brief
from sme.simulate.integro.collocation import Element, collocation, gauss, integrals, slopes
from sme.simulate.integro.losses import Losses
from sme.simulate.integro.rule import Direction, Rule

TOLERANCE = 1e-12
"""of what a piece may miss in θ, in units of max(1, |θ|)"""
FORGOTTEN = 6.0
"""largest exponent over which a kernel falls within a piece, for the quadrature to see it"""
FIRST, GROWTH, PIECES, NEWTON = 1e-11, 3.0, 2_000, 12


@dataclass(frozen=True, repr=False)
class Solution(Brief):
    """`θ` as a polynomial in `x = √t` on each piece, and how well it solves the equation.

    Attributes
    ----------
    edges, starts, u
        ends of the pieces in `x`, `θ` at their beginnings, slopes `dθ/dx` at their nodes.
    residual
        the largest `|θ̇ + F|` at `t ≥ α` between the nodes, beyond what the last digit of `θ` decides.
    start_residual
        the largest `√t |θ̇ + F|` before, where `θ̇` may be as large as `t^{−1/2}`.
    """

    edges: Float[np.ndarray, " pieces+1"]
    starts: Float[np.ndarray, "pieces d"]
    u: Float[np.ndarray, "pieces p d"]
    residual: float
    start_residual: float

    def __call__(self, t: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """`θ` at times from 0 to the last.

        Raises
        ------
        SMEError
            for a time outside.
        """
        place, h, at = self._find(t)
        return self.starts[place] + h[:, None] * np.einsum("np,npd->nd", integrals(at), self.u[place])

    def slope(self, t: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """`θ̇` at times above 0."""
        place, _, at = self._find(t)
        return np.einsum("np,npd->nd", slopes(at), self.u[place]) / (2 * np.sqrt(t))[:, None]

    def _find(self, t: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        t, last = np.atleast_1d(np.asarray(t, float)), self.edges[-1] ** 2
        if not ((t >= 0) & (t <= last * (1 + 1e-9))).all():
            raise SMEError(f"the solution is known from 0 to {last:g}, got times from {t.min():g} to {t.max():g}")
        x = np.minimum(np.sqrt(t), self.edges[-1])
        place = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.starts) - 1)
        h = np.diff(self.edges)[place]
        return place, h, (x - self.edges[place]) / h


def solve(losses: Losses, rule: Rule, theta: Float[np.ndarray, " d"], horizon: float) -> Solution:
    """Solve `θ̇ = −F(t, g, m, v)`, `m = ∫₀ᵗ K₁(t − s) g ds`, `v = ∫₀ᵗ K₂(t − s) g² ds`, `θ(0) = theta`, up to `horizon`.

    In `x = √t`: without bias correction `θ̇` is like `t^{−1/2}` at 0, so that `dθ/dx = −2x F` is smooth, and with it both
    are. The pieces grow from `x = 10⁻¹¹`, which no layer of width ε escapes. On each, `θ` is a polynomial that satisfies
    the equation at Radau's points, found by Newton's method; every integral is a sum over Gauss points of all pieces so far.

    Raises
    ------
    SMEError
        if the solution ceases to be finite, or needs too many pieces.
    """
    run = _Run(losses, rule, theta, float(np.sqrt(horizon)))
    while run.edges[-1] < run.end:
        run.advance()
    return Solution(np.array(run.edges), np.array(run.starts), np.array(run.slopes), run.residual, run.start_residual)


class _Run:
    """The pieces so far, with the gradient at all their Gauss points."""

    def __init__(self, losses: Losses, rule: Rule, theta: Float[np.ndarray, " d"], end: float) -> None:
        self.losses, self.rule, self.end = losses, rule, end
        self.kernels = rule.kernels()
        self.fastest = max(kernel.rate for kernel in self.kernels if kernel is not None)
        self.edges = [0.0]
        self.starts: list[np.ndarray] = []
        self.slopes: list[np.ndarray] = []
        self.theta, self.h = np.array(theta, float), min(FIRST, end)
        self.times, self.weighted = np.zeros(0), np.zeros((0, 2, len(theta)))
        self.residual = self.start_residual = 0.0

    def advance(self) -> None:
        """Add one piece, as long as the tolerance allows."""
        x = self.edges[-1]
        if len(self.starts) >= PIECES or self.h < 1e-13 * max(x, FIRST):
            raise SMEError(f"the memory equation of {self.rule} cannot be followed beyond t = {x * x:.3g}: it may diverge there. "
                           "Take a shorter horizon or a smaller learning rate")
        h = min(self.h, self.end - x)
        if self.fastest:
            h = min(h, (x * x + FORGOTTEN / self.fastest) ** 0.5 - x)
        if self.end - x - h < 1e-9 * h:
            h = self.end - x
        at_nodes, between = collocation()
        u = self._newton(x, h, at_nodes)
        if u is None:
            self.h = 0.25 * h
            return
        slope, theta, rounding = self._slope(x, h, between, u)
        miss = np.abs(between.slopes @ u - slope)
        miss = np.maximum(miss - rounding, 0.0)
        error = h * float(miss.max()) / (TOLERANCE * max(1.0, float(np.abs(theta).max())))
        if not np.isfinite(error) or error > 1:
            self.h = h * max(0.2, 0.8 * error ** (-1 / 8)) if np.isfinite(error) else 0.25 * h
            return
        self._accept(x, h, u, miss, x + h * between.points)
        self.h = h * min(GROWTH, 0.8 * max(error, 1e-12) ** (-1 / 8))

    def _accept(self, x: float, h: float, u: np.ndarray, miss: np.ndarray, at: np.ndarray) -> None:
        points, weights = gauss()
        inner = x + h * points
        g = self.losses.gradient(self.theta + h * integrals(points) @ u)
        self.times = np.concatenate([self.times, inner**2])
        self.weighted = np.concatenate([self.weighted, (2 * h * weights * inner)[:, None, None] * np.stack([g, g * g], 1)])
        self.starts.append(self.theta)
        self.slopes.append(u)
        self.theta = self.theta + h * collocation()[0].values[-1] @ u
        self.edges.append(self.end if x + h >= self.end * (1 - 1e-15) else x + h)
        late = at**2 >= self.rule.lr
        worst = miss.max(1)
        self.residual = max(self.residual, float((worst / (2 * at))[late].max(initial=0.0)))
        self.start_residual = max(self.start_residual, float(worst[~late].max(initial=0.0)) / 2)

    def _newton(self, x: float, h: float, where: Element) -> np.ndarray | None:
        """The slopes at the nodes; None if they are not found."""
        n, d = len(where.points), len(self.theta)
        u = np.repeat(self.slopes[-1][-1:] if self.slopes else np.zeros((1, d)), n, 0)
        past = self._past(x + h * where.points)
        for _ in range(NEWTON):
            value, jacobian = self._linear(x, h, where, u, past)
            if not (np.isfinite(value).all() and np.isfinite(jacobian).all()):
                return None
            step = np.linalg.solve(np.eye(n * d) - jacobian, (value - u).ravel()).reshape(n, d)
            u = u + step
            if h * np.abs(step).max() <= 1e-15 * max(1.0, float(np.abs(self.theta).max())):
                return u
        return u if h * np.abs(step).max() <= 1e-13 * max(1.0, float(np.abs(self.theta).max())) else None

    def _past(self, x: np.ndarray) -> list[np.ndarray]:
        """What the finished pieces contribute to `m` and `v`."""
        ago = (x**2)[:, None] - self.times
        return [np.zeros((len(x), len(self.theta))) if kernel is None else kernel(ago) @ self.weighted[:, i]
                for i, kernel in enumerate(self.kernels)]

    def _memory(self, x: float, h: float, where: Element, u: np.ndarray,
                past: list[np.ndarray]) -> tuple[Direction, np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
        """`F` and `θ` at the points, `θ` and `g` at the quadrature points before them, and their weights by kernel."""
        at, inner = x + h * where.points, x + h * where.inner
        theta, before = self.theta + h * where.values @ u, self.theta + h * where.inner_values @ u
        both = self.losses.gradient(np.concatenate([theta[:, None], before], 1))
        g, earlier = both[:, 0], both[:, 1:]
        weight = [np.zeros_like(inner) if kernel is None else kernel((at**2)[:, None] - inner**2) * 2 * h * where.weights * inner
                  for kernel in self.kernels]
        m, v = (old + np.einsum("nq,nqd->nd", w, earlier**power)
                for old, w, power in zip(past, weight, (1, 2), strict=True))
        return self.rule.direction(at**2, g, m, v), theta, before, earlier, weight

    def _linear(self, x: float, h: float, where: Element, u: np.ndarray,
                past: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """`−2x F` at the nodes and its derivative by the slopes there."""
        found, theta, before, g, (first, second) = self._memory(x, h, where, u, past)
        both = self.losses.curvature(np.concatenate([theta[:, None], before], 1))
        now, earlier = both[:, 0], both[:, 1:]
        total = np.einsum("na,nab,np->napb", found.g, now, where.values)
        if self.kernels[0] is not None:
            total += np.einsum("na,nq,nqab,nqp->napb", found.m, first, earlier, where.inner_values, optimize=True)
        total += np.einsum("na,nq,nqa,nqab,nqp->napb", found.v, 2 * second, g, earlier, where.inner_values, optimize=True)
        scale = -2 * (x + h * where.points)
        count = u.size
        return scale[:, None] * found.value, (h * scale[:, None, None, None] * total).reshape(count, count)

    def _slope(self, x: float, h: float, where: Element, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`−2x F` and `θ` at the points, and what a last digit of `θ` changes in the former."""
        at = x + h * where.points
        found, theta, *_ = self._memory(x, h, where, u, self._past(at))
        bend = np.abs(self.losses.curvature(theta)).sum(-1)
        rounding = 4 * at[:, None] * np.abs(found.g) * bend * np.spacing(np.abs(theta).max())
        return -2 * at[:, None] * found.value, theta, rounding
