"""The moments of one transformed gradient that a law needs."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sme.problems.noise.base import Paths
from sme.problems.noise.wrapped.orthants import root

TINY = 1e-300


class Moments(NamedTuple):
    """Of `γ = φ(ĝ)`.

    Attributes
    ----------
    mean, variance, third, fourth
        `E γ_i` and its central moments.
    factor
        `F` with `F Fᵀ = Cov(γ, γ∘γ)`, rows of `γ` above those of `γ∘γ`, which the last columns move alone.
    """

    mean: Paths
    variance: Paths
    third: Paths
    fourth: Paths
    factor: Float[Tensor, "paths two_d columns"]


def moments(values: Float[Tensor, "paths nodes d"], weights: Float[Tensor, "paths nodes"],
            z: Float[Tensor, "paths nodes m"] | None = None) -> Moments:
    """By a rule for `γ`.

    The columns of the factor are the nodes themselves without `z`; with `z`, of the noise behind `γ`, first
    `E[(γ, γ∘γ) zᵀ]` and then Cholesky's factor of what is left.
    """
    mean = torch.einsum("pk,pkd->pd", weights, values)
    centred = values - mean.unsqueeze(1)
    second, third, fourth = (torch.einsum("pk,pkd->pd", weights, centred**power) for power in (2, 3, 4))
    square = second + mean * mean
    both = torch.cat((centred, values * values - square.unsqueeze(1)), -1)
    if z is None:
        factor = (both * weights.clamp(min=0).sqrt().unsqueeze(-1)).mT
    else:
        along = torch.einsum("pk,pkd,pkm->pdm", weights, both, z)
        factor = joint(torch.einsum("pk,pkd,pke->pde", weights, both, both), along)
    return Moments(mean, second, third, fourth, factor)


def joint(covariance: Float[Tensor, "paths n n"], along: Float[Tensor, "paths n m"]) -> Float[Tensor, "paths n columns"]:
    """`(A, L)` with `A Aᵀ + L Lᵀ` the covariance."""
    rest = covariance - along @ along.mT
    size = covariance.diagonal(dim1=1, dim2=2).clamp(min=TINY).sqrt()
    scaled = rest / (size.unsqueeze(1) * size.unsqueeze(2))
    return torch.cat((along, size.unsqueeze(2) * root(scaled)), -1)
