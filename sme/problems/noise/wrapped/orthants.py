"""The covariance of the signs of Gaussian numbers, and the factor of a covariance that may be singular."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NODES, WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(20))
NEAR = 0.925
"""a correlation from which on the covariance of signs is taken from the other end"""
TINY, HIGH = 1e-300, 300.0
"""the least `1 − r²`, and an exponent of which nothing is left beside a tail"""
SINGULAR = 1e-14
"""a pivot of a covariance of signs below which it is rounding"""


def covariance(a: Float[Tensor, "paths d"], s: Float[Tensor, "paths d m"]) -> Float[Tensor, "paths d d"]:
    """`Cov sign(a + s z)` for unit rows of `s`."""
    d = a.shape[1]
    entries = [1 - torch.erf(a / math.sqrt(2)).square()]
    i, j = torch.tril_indices(d, d, -1, device=a.device)
    if len(i):
        r = (s[:, i] * s[:, j]).sum(-1).clamp(-1, 1)
        entries.append(torch.where(r.abs() > NEAR, _near(a[:, i], a[:, j], s[:, i], s[:, j], r), _far(a[:, i], a[:, j], r)))
    place = torch.arange(d, device=a.device).diag()
    place[i, j] = place[j, i] = torch.arange(d, d + len(i), device=a.device)
    return torch.cat(entries, -1)[:, place]


def _far(a: Tensor, b: Tensor, r: Tensor) -> Tensor:
    """The covariance of two signs by Gauss–Legendre quadrature of Plackett's identity in `arcsin r`."""
    angle = torch.arcsin(r).unsqueeze(-1)
    at = 0.5 * angle * (NODES.to(a.device) + 1)
    a, b = a.unsqueeze(-1), b.unsqueeze(-1)
    value = torch.exp(-(a * a + b * b - 2 * a * b * at.sin()) / (2 * at.cos().square()))
    return angle.squeeze(-1) * (value @ WEIGHTS.to(a.device)) / math.pi


def _near(a: Tensor, b: Tensor, s: Float[Tensor, "paths pairs m"], t: Float[Tensor, "paths pairs m"], r: Tensor) -> Tensor:
    """The covariance of two signs from the other end, `|r| = 1`: for `r > 0`, `w = √(1 − r²)`, `e = |a − b|`,

        (1 + erf(min/√2)) (1 − erf(max/√2)) − (2/π) ∫₀^w exp(−e²/(2x²) − ab/(1 + √(1 − x²)))/√(1 − x²) dx

    The integrand is not smooth at 0 where `e` is small: three terms of its expansion in `x²` are integrated exactly, the rest
    by quadrature (Drezner and Wesolowsky, Genz 2004). For `r < 0` of `a` and `−b`, with the other sign.
    """
    side = torch.where(r < 0, -1.0, 1.0)
    b, gap = side * b, (s - side.unsqueeze(-1) * t).square().sum(-1)  # 2 (1 − |r|), without cancellation
    square = (0.5 * gap * (2 - 0.5 * gap)).clamp(min=TINY)
    w, e, ab = square.sqrt(), (a - b).abs(), a * b
    ee, c, d = e * e, (4 - ab) / 8, (12 - ab) / 16
    ends = w * torch.exp(-0.5 * (ee / square + ab)) * (1 - c * (ee - square) * (1 - d * ee / 5) / 3 + c * d * square * square / 5)
    tail = 0.5 * (1 - torch.erf(e / (math.sqrt(2) * w)))
    ends = ends - torch.exp((-0.5 * ab).clamp(max=HIGH)) * math.sqrt(2 * math.pi) * tail * e * (1 - c * ee * (1 - d * ee / 5) / 3)
    w, ee, c, d, ab = (each.unsqueeze(-1) for each in (w, ee, c, d, ab))
    xx = (0.5 * w * (NODES.to(a.device) + 1)).square()
    root = (1 - xx).sqrt()
    rest = (torch.exp(-0.5 * ee / xx - ab / (1 + root)) / root
            - torch.exp(-0.5 * (ee / xx + ab)) * (1 + c * xx * (1 + d * xx)))
    total = ends + 0.5 * w.squeeze(-1) * (rest @ WEIGHTS.to(a.device))
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    full = (1 + torch.erf(low / math.sqrt(2))) * (1 - torch.erf(high / math.sqrt(2)))
    return side * (full - 2 / math.pi * total)


def root(matrix: Float[Tensor, "paths d d"]) -> Float[Tensor, "paths d d"]:
    """Cholesky's factor of a covariance, column by column; a column is 0 where its pivot is."""
    columns: list[Tensor] = []
    for j in range(matrix.shape[1]):
        rest = matrix[:, :, j] - sum((each * each[:, j : j + 1] for each in columns), torch.zeros_like(matrix[:, :, j]))
        pivot = rest[:, j : j + 1]
        there = (pivot > SINGULAR) & (torch.arange(matrix.shape[1], device=matrix.device) >= j)
        columns.append(torch.where(there, rest / torch.where(pivot > SINGULAR, pivot, 1.0).sqrt(), 0.0))
    return torch.stack(columns, -1)
