"""The law at rest to second order: the offset of the mean, the correction of the covariance, the third cumulant."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import solve_continuous_lyapunov
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.rest.local import FAR, Expansion, Local, expansion
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem

MOST = 12
"""numbers of a state up to which it is computed"""
ROUGH = 1e-4
"""relative change of the result with half the differences, beyond which they are no derivatives"""


@dataclass(frozen=True)
class SecondOrder:
    """`E x = x* + τμ₁ + O(τ²)`, `Cov x = τC₁ + τ²C₂ + O(τ³)`, third cumulant `τ²K + O(τ³)`."""

    offset: Float[Tensor, " state"]
    """`μ₁`"""
    covariance: Float[Tensor, "state state"]
    """`C₂`"""
    third: Float[Tensor, "state state state"]
    """`K`"""


def second_order(problem: Problem, optimizer: Optimizer, x: Float[Tensor, " state"], size: Float[Tensor, " state"],
                 late: float) -> SecondOrder:
    """The law at rest around `x`, where `E f₀` vanishes, by differences on the scale `size`.

    Raises
    ------
    SMEError
        for a state of more than `MOST` numbers, a rule or law whose step has no such expansion, or one that is not smooth at `x`.
    """
    if len(x) > MOST:
        raise SMEError(f"it is computed for a state of at most {MOST} numbers, and here are {len(x)}")
    local = Local(problem, optimizer, late)
    one, other = (_solved(expansion(local, x, size, _lyapunov, far)) for far in (FAR, FAR / 2))
    for coarse, fine, scale in ((one.offset, other.offset, size), (one.covariance, other.covariance, size[:, None] * size)):
        if float(((coarse - fine) / scale).abs().max()) > ROUGH * (1e-3 + float((fine / scale).abs().max())):
            raise SMEError("the moments of one step are not smooth around the point of rest")
    return other


def _lyapunov(slope: Tensor, noise: Tensor) -> Tensor:
    """`C` of `B C + C Bᵀ + Q = 0`."""
    found = torch.from_numpy(solve_continuous_lyapunov(slope.numpy(), -noise.numpy()))
    return 0.5 * (found + found.T)


def _solved(at: Expansion) -> SecondOrder:
    """With `B = ∇b`, and sums over the places of an index `Σ₃`:

        B C₁ + C₁ Bᵀ + Q = 0        B μ₁ + E f₁ + ½ b'':C₁ = 0
        Σ₃ (B K + b''[C₁, C₁] + Q' C₁) + κ₃ = 0
        B C₂ + ᵀ + δ C₁ + ᵀ + B C₁ Bᵀ + Cov(f₀, f₁) + ᵀ + Q'μ₁ + ½ Q'':C₁ + ½ (b'':K + ᵀ) = 0,   δ = b''μ₁ + ∇E f₁ + ½ b''':C₁

    Source: docs/theory/rules.md, section 12.
    """
    b, c = at.slope, _lyapunov(at.slope, at.here.noise[0])
    offset = -torch.linalg.solve(b, at.here.bend[0] + 0.5 * torch.einsum("ijk,jk->i", at.curve, c))
    right = at.here.third[0].clone()
    for term in (torch.einsum("alm,lb,mc->abc", at.curve, c, c), torch.einsum("bcl,la->abc", at.noise, c)):
        right = right + sum(term.permute(*each) for each in ((0, 1, 2), (1, 0, 2), (1, 2, 0)))
    third = _sylvester(b, right)
    change = torch.einsum("ijk,k->ij", at.curve, offset) + at.bend + 0.5 * at.twist
    half = change @ c + at.here.cross[0] + 0.5 * torch.einsum("jlm,ilm->ij", at.curve, third)
    rest = half + half.T + b @ c @ b.T + torch.einsum("ijk,k->ij", at.noise, offset) + 0.5 * at.spread
    return SecondOrder(offset, _lyapunov(b, rest), third)


def _sylvester(b: Float[Tensor, "state state"], right: Float[Tensor, "state state state"]) -> Tensor:
    """`K` of `Σ₃ B K + right = 0`."""
    n, unit, one = len(b), np.eye(len(b)), b.numpy()
    whole = (np.kron(one, np.eye(n * n)) + np.kron(unit, np.kron(one, unit)) + np.kron(np.eye(n * n), one))
    return torch.from_numpy(np.linalg.solve(whole, -right.numpy().ravel()).reshape(n, n, n))
