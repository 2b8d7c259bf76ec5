"""The moments of one step near a point, `φ = (x' − x)/τ = f₀ + τ f₁ + …`, and what their differences give."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.chain import Chain
from sme.equations.closed.known import by_signs
from sme.equations.closed.signs import sign_moments
from sme.equations.derived.step import Step
from sme.equations.registry import is_raw
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.signsgd import SignSGD
from sme.problems.base import Problem

FAR = 0.02
"""step of the differences, in units of each variable"""
FIRST = (torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64),
         torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=torch.float64) / 12)
SECOND = (torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64),
          torch.tensor([-1.0, 16.0, -30.0, 16.0, -1.0], dtype=torch.float64) / 12)
"""places and weights of the first and second difference of fourth order"""
HELD = 2**18
"""nodes of all points at a time"""
SETTLED = 1e-8
"""relative change of the moments with a finer rule for the noise"""

Points = Float[Tensor, "points state"]


@dataclass(frozen=True)
class Moments:
    """At many points: `E f₀`, `E f₁`, `Cov f₀`, `Cov(f₀, f₁)` and the third cumulants of `f₀`."""

    drift: Float[Tensor, "points state"]
    bend: Float[Tensor, "points state"]
    noise: Float[Tensor, "points state state"]
    cross: Float[Tensor, "points state state"]
    third: Float[Tensor, "points state state state"]


class Local:
    """The moments of one step of a rule at any points, late in its run: sums over nodes of the noise, or over all minibatches.

    Raises
    ------
    SMEError
        for a rule that takes the raw gradient apart, or whose mean step jumps.
    """

    def __init__(self, problem: Problem, optimizer: Optimizer, late: float) -> None:
        self.problem, self.optimizer, self.late = problem, optimizer, late
        self.chain = Chain(problem, optimizer, BALLISTIC, 1.0)
        self.signs = by_signs(optimizer)
        rough = not isinstance(optimizer, SignSGD) if self.signs else is_raw(optimizer, problem.dim)
        if rough or problem.noise.transforms:
            raise SMEError(f"{optimizer.name} takes the raw gradient apart" if rough else "the law transforms the gradient")
        self.step = None if self.signs else Step.of(optimizer, problem.dim)

    def __call__(self, x: Points) -> Moments:
        if self.step is None:
            return self._by_signs(x)
        last = None
        for z, weights in self.problem.noise.quadrature():
            found = self._summed(x, z, weights)
            if self.problem.noise.exact or (last is not None and _close(found, last)):
                return Moments(*found)
            last = found
        raise SMEError("the moments of one step do not settle on finer rules for the noise: it has too many motions, or too "
                       "heavy tails")

    def _summed(self, x: Points, z: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        many = max(1, HELD // len(weights))
        rows = [self._some(part, z, weights) for part in x.split(many)]
        return tuple(torch.cat(column) for column in zip(*rows, strict=True))

    def _some(self, x: Points, z: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        assert self.step is not None
        points, count = len(x), len(weights)
        wide, draws = x.repeat_interleave(count, 0), z.repeat(points, *[1] * (z.dim() - 1))
        g = self.problem.noise.noisy(wide[:, : self.problem.dim], draws, self.chain.mean, 1.0)
        first, second = (each(self.late, wide, g, g * g).reshape(points, count, -1) for each in (self.step.rate, self.step.bend))
        drift, bend = (torch.einsum("k,pks->ps", weights, each) for each in (first, second))
        y, w = first - drift.unsqueeze(1), second - bend.unsqueeze(1)
        noise, cross = (torch.einsum("k,pka,pkb->pab", weights, y, each) for each in (y, w))
        return drift, bend, noise, cross, torch.einsum("k,pka,pkb,pkc->pabc", weights, y, y, y)

    def _by_signs(self, x: Points) -> Moments:
        """Of signSGD, whose step is `−sign(ĝ)` at every `τ`; of third cumulants it has that of one coordinate, and 0."""
        mean, noise = sign_moments(self.problem, x)
        third = x.new_zeros(len(x), *[x.shape[1]] * 3)
        if len(x) and x.shape[1] == 1:
            third[:, 0, 0, 0] = 2 * mean[:, 0] * (1 - mean[:, 0] ** 2)  # of −sign
        elif bool((mean[0].abs() > SETTLED).any()):
            raise SMEError("signs of several parameters have known third moments at a minimum of symmetric noise alone")
        return Moments(-mean, torch.zeros_like(x), noise, torch.zeros_like(noise), third)


def _close(found: tuple[Tensor, ...], last: tuple[Tensor, ...]) -> bool:
    """Whether two sets of moments agree, each to a share of what a moment of its degree can be."""
    one, other = float(found[2].abs().max()) ** 0.5, float(found[1].abs().max())
    sizes = (one, one + other, one**2, one * (one + other), one**3)
    return all(torch.allclose(a, b, SETTLED, SETTLED * size) for a, b, size in zip(found, last, sizes, strict=True))


@dataclass(frozen=True)
class Expansion:
    """Derivatives of the moments at `x*`: of `b = E f₀` three, of `E f₁` one, of `Q = Cov f₀` two, these last along `C₁`."""

    here: Moments
    slope: Float[Tensor, "state state"]
    """`∂_j b_i`"""
    curve: Float[Tensor, "state state state"]
    """`∂_j ∂_k b_i`"""
    twist: Float[Tensor, "state state"]
    """`∂_j (b_i'' : C₁)`"""
    bend: Float[Tensor, "state state"]
    """`∂_j E f₁_i`"""
    noise: Float[Tensor, "state state state"]
    """`∂_k Q_ij`"""
    spread: Float[Tensor, "state state"]
    """`Q'' : C₁`"""


def expansion(local: Callable[[Points], Moments], x: Float[Tensor, " state"], size: Float[Tensor, " state"],
              covariance: Callable[[Tensor, Tensor], Tensor], far: float = FAR) -> Expansion:
    """By differences of fourth order on the scale `size`; `covariance` makes `C₁` of the slope of `b` and of `Q`."""
    n, axes = len(x), torch.diag(far * size)
    shifts, weights = FIRST
    ends = local(x + (shifts[:, None, None] * axes).reshape(-1, n))
    here = local(x[None])

    def along(values: Tensor) -> Tensor:
        """The slope along every axis, the axis last."""
        parts = values.reshape(len(shifts), n, *values.shape[1:])
        return torch.einsum("s,sk...->...k", weights, parts) / (far * size)

    slope = along(ends.drift)
    c = covariance(slope, here.noise[0])
    values, vectors = torch.linalg.eigh(c / size[:, None] / size)
    columns = size * vectors.T  # in units of the variables; `c = Σ_j values_j columns_j columns_jᵀ`
    squares = values.clamp_min(0)
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    places, second = SECOND
    lines = torch.stack([axes[i] + axes[j] if i != j else axes[i] for i, j in pairs])
    values_at = local(x + (places[:, None, None] * lines).reshape(-1, n)).drift.reshape(len(places), -1, n)
    bent = torch.einsum("s,skb->kb", second, values_at)
    curve = torch.zeros(n, n, n, dtype=x.dtype)
    twice = {pair: bent[k] for k, pair in enumerate(pairs)}
    for (i, j), value in twice.items():
        mixed = value if i == j else 0.5 * (value - twice[i, i] - twice[j, j])
        curve[:, i, j] = curve[:, j, i] = mixed / (far * far * size[i] * size[j])
    stencil = (places[:, None, None] * far * columns).reshape(-1, n)
    around = torch.cat((x[None], x + (shifts[:, None, None] * axes).reshape(-1, n)))
    every = local((around[:, None] + stencil).reshape(-1, n))

    def summed(values: Tensor) -> Tensor:
        """`(·)'' : C₁` at each of the points around."""
        parts = values.reshape(len(around), len(places), n, *values.shape[1:])
        return torch.einsum("s,j,psj...->p...", second, squares, parts) / far**2

    return Expansion(here, slope, curve, along(summed(every.drift)[1:]), along(ends.bend), along(ends.noise),
                     summed(every.noise)[0])
