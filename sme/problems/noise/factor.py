"""A triangular factor of a small covariance, path by path."""

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 8
"""parameters at most for which a covariance is formed"""
LEAST = 1e-13
"""a pivot of this share of its scale is rounding: the motions before it are enough"""


def factored(a: Float[Tensor, "paths d d"], scale: Float[Tensor, "paths d"], dW: Float[Tensor, "paths d"]
             ) -> Float[Tensor, "paths d"]:
    """`L dW` with `L Lᵀ = a`, which may be singular; `scale` is what the variances are made of, of their size or larger."""
    rows: list[list[Tensor]] = []
    inverse: list[Tensor] = []
    found = []
    for i in range(a.shape[-1]):
        row: list[Tensor] = []
        for j in range(i):
            total = a[..., i, j]
            for k in range(j):
                total = total - row[k] * rows[j][k]
            row.append(total * inverse[j])
        pivot = a[..., i, i]
        for each in row:
            pivot = pivot - each * each
        there = pivot > LEAST * scale[..., i]
        root = torch.where(there, pivot, 1.0).sqrt()
        inverse.append(torch.where(there, 1 / root, 0.0))
        rows.append([*row, torch.where(there, root, 0.0)])
        moved = rows[i][0] * dW[..., 0]
        for k in range(1, i + 1):
            moved = moved + rows[i][k] * dW[..., k]
        found.append(moved)
    return torch.stack(found, -1)
