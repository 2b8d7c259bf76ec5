"""Nodes and weights for functions of a Gaussian vector of one or two numbers that have kinks or jumps on spheres about 0."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

LEVELS = ((40, 18), (64, 24), (96, 32), (128, 40))
"""angles, and nodes of each radial panel"""
FAR = (0.7, 3.5, 7.0)
"""deviations between 0 and the mean, with twice the excess of the larger deviation, from which on the next level is taken"""
REACH = 9.0
"""standard deviations beyond which nothing is left"""

Nodes = tuple[Float[Tensor, "paths nodes d"], Float[Tensor, "paths nodes"]]
Split = Callable[[Tensor, Tensor, Tensor], Float[Tensor, "paths angles cuts"]]
"""from unit vectors of rays, and the ends of each, to the radii at which panels end"""


def polar(mean: Float[Tensor, "paths d"], factor: Float[Tensor, "paths d d"], cuts: Float[Tensor, " cuts"],
          level: int | None = None) -> Nodes:
    """`rays` in panels that end at these radii."""
    return rays(mean, factor, lambda unit, low, high: cuts.to(mean).expand(*low.shape, -1), level)


def rays(mean: Float[Tensor, "paths d"], factor: Float[Tensor, "paths d d"], split: Split, level: int | None = None) -> Nodes:
    """Nodes `y` and weights for `y ~ N(mean, S Sᵀ)`, along rays from 0 in panels.

    The nodes do not move with `mean` and `S`, but for where they are densest: a derivative is that of the density in the weights,
    so that the function itself is never differentiated.

        E φ(y) = ∫dα ∫ρ^{d−1}dρ φ(ρ u) N(ρ u; mean, Σ),   α = 2 arctan(κ tan ½ β) + const

    with the trapezoidal rule in `β`, which keeps its accuracy under this periodic change of variable.
    """
    if level is None:
        sizes = torch.linalg.svdvals(factor.detach())
        far = mean.detach().norm(dim=1) / sizes[:, -1] + 2 * (sizes[:, 0] / sizes[:, -1] - 1)
        level = min(len(LEVELS) - 1, int((far.unsqueeze(1) >= mean.new_tensor(FAR)).any(0).sum()))
    angles, count = LEVELS[level]
    unit, share = _directions(mean.detach(), factor.detach(), angles)
    with torch.no_grad():
        white = unit @ torch.linalg.inv(factor.detach()).mT
        middle = torch.linalg.solve(factor.detach(), mean.detach().unsqueeze(-1)).mT
        size = white.norm(dim=-1)
        centre = (white * middle).sum(-1) / size**2
        low, high = (centre - REACH / size).clamp(min=0), (centre + REACH / size).clamp(min=0)
        inner, least, most = split(unit, low, high), low.unsqueeze(-1), high.unsqueeze(-1)
        ends = torch.cat((least, torch.minimum(torch.maximum(inner, least), most), most), -1)
        points, weights = (each.to(mean) for each in legendre(count))
        half = 0.5 * (ends[..., 1:] - ends[..., :-1]).unsqueeze(-1)
        radius = ends[..., :-1].unsqueeze(-1) + half * (1 + points)
        radius, step = radius.flatten(2), (half * weights).flatten(2)
        measure = (step * share.unsqueeze(-1) * radius ** (mean.shape[1] - 1)).flatten(1)
        y = (radius.unsqueeze(-1) * unit.unsqueeze(2)).flatten(1, 2)
    z = (y - mean.unsqueeze(1)) @ torch.linalg.inv(factor).mT
    volume = torch.linalg.det(factor).abs() * (2 * math.pi) ** (0.5 * mean.shape[1])
    return y, measure * torch.exp(-0.5 * z.square().sum(-1)) / volume.unsqueeze(1)


def _directions(mean: Tensor, factor: Tensor, count: int) -> Nodes:
    """Unit vectors and their shares of the angle, densest towards the mean where it lies far out."""
    if mean.shape[1] == 1:
        return mean.new_tensor([[[1.0], [-1.0]]]).expand(len(mean), -1, -1), mean.new_ones(len(mean), 2)
    # how many deviations away 0 lies
    far = mean.norm(dim=1) / torch.linalg.det(factor).abs().sqrt()
    kappa = (3 / far.clamp(min=3)).unsqueeze(1)
    beta = math.pi * (2 * (torch.arange(count, dtype=mean.dtype, device=mean.device) + 0.5) / count - 1)
    half = 0.5 * beta
    angle = 2 * torch.atan2(kappa * half.sin(), half.cos()) + torch.atan2(mean[:, 1:], mean[:, :1])
    share = 2 * math.pi / count * kappa / (half.cos().square() + (kappa * half.sin()).square())
    return torch.stack((angle.cos(), angle.sin()), -1), share


@cache
def legendre(count: int) -> tuple[Tensor, Tensor]:
    """Gauss–Legendre nodes and weights on `[−1, 1]`."""
    points, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(points), torch.from_numpy(weights)
