"""What no Itô equation can match: third and fourth symbols of one step, and the constant that they leave."""

import itertools
import math
from contextlib import suppress

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from sme.common.errors import SMEError
from sme.equations.derived.batch_equivalent import DerivedBatchEquivalent
from sme.equations.order.expectation import Test
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.problems.base import Problem


class Obstruction:
    """The residue of the order-2 equation with independent motions, in the batch-equivalent regime.

    `T₃ = ½ Σ_jl R_{i,jl} (G₀)_{a,j} (G₀)_{b,l} ∂_i ∂_a ∂_b`, with `R` and `G₀` of the derived equation.
    In the ballistic regime there is none. Source: docs/theory/equations.md, section 5; docs/theory/derivation.md, section 9.
    """

    def __init__(self, problem: Problem, optimizer: Optimizer, regime: Regime) -> None:
        self.problem, self.optimizer = problem, optimizer
        self.equation: DerivedBatchEquivalent | None = None
        if regime != BALLISTIC and not optimizer.signed:
            with suppress(SMEError):  # a rule without an equation of order 2 has nothing to be kept from it
                self.equation = DerivedBatchEquivalent(problem, optimizer, 2.0**-10, 2, "step_memory")

    def directions(self, t: float, x: Float[Tensor, " state"]) -> tuple[Tensor, Tensor]:
        """`G₀e_j`, one a row, and `R[e_j, e_l]`, `(m, m, state)`, at a state."""
        assert self.equation is not None
        m = self.problem.noise.motions
        unit = torch.eye(m, dtype=x.dtype)
        wide = x.repeat(m * m, 1)
        memory = self.equation.memory(t, wide, unit.repeat_interleave(m, 0), unit.repeat(m, 1))
        return self.equation.leading_noise(t, x.repeat(m, 1), unit), memory.reshape(m, m, -1)

    def _squares(self, t: float, x: Float[Tensor, " state"]) -> Float[Tensor, "m state"]:
        """`Q[e_j, e_j]`, one a row."""
        assert self.equation is not None
        unit = torch.eye(self.problem.noise.motions, dtype=x.dtype)
        return self.equation.quadratic(t, x.repeat(len(unit), 1), unit, unit)

    def third(self, x: Float[Tensor, " state"], phi: Test, t: float) -> Float[Tensor, " functions"]:
        """`T₃φ` at a state."""
        total = torch.zeros_like(phi(x))
        if self.equation is None or not self.problem.noise.paired:
            return total
        u, memory = self.directions(t, x)

        def along(function: Test, direction: Tensor) -> Test:
            return lambda z: jvp(function, (z,), (direction,))[1]

        for j in range(len(u)):
            for k in range(len(u)):
                if bool(memory[j, k].any()):
                    total = total + 0.5 * along(along(along(phi, u[j]), u[k]), memory[j, k])(x)
        return total

    def sizes(self, x: Float[Tensor, " state"], t: float) -> dict[str, float]:
        """Euclidean norms of the symbols at a state: skewness `E δ₁⊗³/6`, `T₃`, and `T₄ = κ₄(δ₁)/24`.

        For independent components of excess kurtosis `k`, `T₃` gains `¼ k Σ_j Q_jj ⊗ G₀e_j ⊗ G₀e_j`. It is NaN for a minibatch,
        whose skewness comes before it, and like `T₄` for noise without fourth moments.
        """
        if self.equation is None:
            return {"skewness": 0.0, "T₃": 0.0, "T₄": 0.0}
        law = self.problem.noise
        if law.cumulants is not None:
            skewness, excess = law.cumulants
            u, memory = self.directions(t, x)
            third = torch.einsum("jki,ja,kb->iab", memory, u, u)
            third = third + 0.5 * excess * torch.einsum("ji,ja,jb->iab", self._squares(t, x), u, u)
            cube, fourth = torch.einsum("ji,ja,jb->iab", u, u, u), torch.einsum("ji,ja,jb,jc->iabc", u, u, u, u)
            return {"skewness": abs(skewness) * float(cube.norm()) / 6, "T₃": float(symmetric(third).norm()) / 2,
                    "T₄": abs(excess) * float(fourth.norm()) / 24}
        z, weights = next(law.quadrature())
        wide = x.repeat(len(z), 1)
        kick = self.equation.expansion.kick(t, wide, law.sample(wide[:, : self.problem.dim], z))
        skew = torch.einsum("n,ni,nj,nk->ijk", weights, kick, kick, kick)
        cov = torch.einsum("n,ni,nj->ij", weights, kick, kick)
        fourth = torch.einsum("n,ni,nj,nk,nl->ijkl", weights, kick, kick, kick, kick)
        fourth = fourth - 3 * symmetric(torch.einsum("ij,kl->ijkl", cov, cov))
        return {"skewness": float(skew.norm()) / 6, "T₃": math.nan, "T₄": float(fourth.norm()) / 24}


def symmetric(tensor: Tensor) -> Tensor:
    """The symmetric part of a tensor."""
    orders = list(itertools.permutations(range(tensor.dim())))
    return torch.stack([tensor.permute(order) for order in orders]).mean(0)
