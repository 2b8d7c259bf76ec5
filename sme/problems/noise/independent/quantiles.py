"""Scale and quantiles of independent laws that are given by their distribution functions."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Distribution = Callable[[Float[Tensor, "*paths d"]], Float[Tensor, "*paths d"]]

WIDEST, HALVINGS = 690.0, 64
"""the largest log of a scale, and how often an interval is halved"""
LARGEST, STEPS = 1e12, 52
"""no quantile is sought beyond so many scales, and how often its interval is halved: to 6e-15 of a scale"""
ROUNDING = 2.0**-52


def scale(cdf: Distribution, dim: int) -> Float[Tensor, " d"]:
    """`s` with `P(|z| ≤ s) = ½`, of each law."""
    log, width = torch.zeros(dim, dtype=torch.float64), WIDEST
    for _ in range(HALVINGS):
        width *= 0.5
        z = log.exp()
        log = log + torch.where(cdf(z) - cdf(-z) < 0.5, width, -width)
    return log.exp()


def quantile(cdf: Distribution, s: Float[Tensor, " d"], chance: Float[Tensor, "*paths d"]) -> Float[Tensor, "*paths d"]:
    """`F⁻¹(chance)`, by bisection of `arsinh(z/s)`; where rounding makes 0 or 1 of a chance, the last quantile before."""
    chance = chance.clamp(ROUNDING, 1 - ROUNDING)
    y, width = torch.zeros_like(chance), math.asinh(LARGEST)
    for _ in range(STEPS):
        width *= 0.5
        y = y + torch.where(cdf(s * torch.sinh(y)) < chance, width, -width)
    return s * torch.sinh(y)
