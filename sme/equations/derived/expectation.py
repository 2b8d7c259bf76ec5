"""Expectations of polynomials in the noise of one step, each from a few exact evaluations."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import X
from sme.equations.derived.states import every_field, repeat
from sme.problems.noise.base import GradientLaw

Paths = Float[Tensor, "paths d"]
Increment = Callable[[X, Paths], X]
"""an increment `δⱼ(x, n)` as a function of the state and the noise `n = S z`"""


class Separate:
    """For a rule that keeps coordinates apart, `δ_i` depends on `n_i ~ N(0, σ_i)` alone.

    The coefficients of its powers follow from `n = 0, 1, 2` in every coordinate at once.
    """

    def __init__(self, law: GradientLaw, dim: int) -> None:
        self.law, self.dim = law, dim

    def _at(self, increment: Increment, x: X, nodes: tuple[float, ...]) -> tuple[Tensor, ...]:
        n = torch.cat([x.new_full((self.dim, len(x)), node) for node in nodes], 1).T
        return increment(repeat(x, len(nodes)), n).split(len(x))

    def even(self, increment: Increment, x: X) -> X:
        """`E δ`, for `δ = c₀ + c₂ n² + c₄ n⁴`: `c₀ + c₂ σ + 3 c₄ σ²`."""
        f0, f1, f2 = self._at(increment, x, (0.0, 1.0, 2.0))
        sigma = every_field(self.law.variance(x[:, : self.dim]), x)
        return f0 + sigma * ((16 * f1 - f2 - 15 * f0) / 12 + sigma * (f2 - 4 * f1 + 3 * f0) / 4)

    def odd(self, increment: Increment, x: X, dW: Tensor) -> X:
        """`E[δ zᵀ] dW`, for `δ = c₁ n + c₃ n³`: `(c₁ + 3 c₃ σ) ∘ S dW`."""
        f1, f2 = self._at(increment, x, (1.0, 2.0))
        theta = x[:, : self.dim]
        noise, sigma = every_field(self.law.diffuse(theta, dW), x), every_field(self.law.variance(theta), x)
        return noise * ((8 * f1 - f2) / 6 + sigma * (f2 - 2 * f1) / 2)


class Coupled:
    """For any rule: the symmetric cubature of degree 5 over `z ~ N(0, I_m)`, of `2m² + 1` nodes.

    Nodes `0`, `±√(m+2) e_i`, `±√((m+2)/2) (e_i ± e_j)` with weights `2/(m+2)`, `(4−m)/(2(m+2)²)`,
    `1/(m+2)²` (Stroud's second-degree-five formula); by parity one of each pair is enough.
    """

    def __init__(self, law: GradientLaw, dim: int) -> None:
        self.law, self.dim, m = law, dim, law.motions
        unit = torch.eye(m, dtype=torch.float64)
        axes = [(m + 2) ** 0.5 * e for e in unit]
        pairs = [((m + 2) / 2) ** 0.5 * (unit[i] + sign * unit[j]) for i in range(m) for j in range(i) for sign in (1, -1)]
        self.nodes = torch.stack([torch.zeros(m, dtype=torch.float64), *axes, *pairs])
        weights = [2 / (m + 2)] + [(4 - m) / (m + 2) ** 2] * m + [2 / (m + 2) ** 2] * len(pairs)
        self.weights = torch.tensor(weights, dtype=torch.float64)

    def _at(self, increment: Increment, x: X) -> Float[Tensor, "nodes paths state"]:
        wide = repeat(x, len(self.nodes))
        z = self.nodes.to(x.device).repeat_interleave(len(x), 0)
        return increment(wide, self.law.diffuse(wide[:, : self.dim], z)).reshape(len(self.nodes), *x.shape)

    def even(self, increment: Increment, x: X) -> X:
        """`E δ` of an increment even in `z`, of degree at most 4."""
        return torch.einsum("k,kps->ps", self.weights.to(x.device), self._at(increment, x))

    def odd(self, increment: Increment, x: X, dW: Tensor) -> X:
        """`E[δ zᵀ] dW` of an increment odd in `z`, of degree at most 3."""
        along = (self.nodes * self.weights.unsqueeze(1)).to(x.device) @ dW.T
        return torch.einsum("kp,kps->ps", along, self._at(increment, x))
