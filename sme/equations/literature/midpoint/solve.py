"""`A u = b` for every path, each with a matrix near the identity: by elimination, or in a Krylov space without the matrix."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import X

DIRECT = 12
"""numbers of a state up to which the matrix is formed"""
DEEPEST = 40
"""products with the matrix at the most"""
CLOSE = 1e-11
"""share of `b` that may be left over"""
TINY = 1e-300


def eliminate(columns: Float[Tensor, "columns paths state"], right: X) -> X:
    """By Gauss–Jordan with exchanges of rows, in elementwise operations alone.

    They are compiled, and right in every derivative (those of `torch.linalg.solve` are not, forward over forward).
    """
    rows = [torch.cat((columns[:, :, i].T, right[:, i : i + 1]), 1) for i in range(len(columns))]
    for k in range(len(rows)):
        for i in range(k + 1, len(rows)):  # the larger of two pivots, pair by pair
            swap = rows[i][:, :1].abs() > rows[k][:, :1].abs()
            rows[k], rows[i] = torch.where(swap, rows[i], rows[k]), torch.where(swap, rows[k], rows[i])
        unit = rows[k][:, 1:] / rows[k][:, :1]
        rows = [unit if i == k else row[:, 1:] - row[:, :1] * unit for i, row in enumerate(rows)]
    return torch.cat(rows, 1)


def krylov(multiply: Callable[[X], X], right: X) -> X:
    """By GMRES for all paths at a time: Arnoldi from `b`, orthogonalised twice, until what is left of every path is `CLOSE`.

    A path whose products are not finite has no number.
    """
    size = right.norm(dim=-1, keepdim=True).clamp_min(TINY)
    basis = [right / size]
    paths, most = len(right), min(DEEPEST, right.shape[1])
    hessenberg = right.new_zeros(paths, most + 1, most)
    weights, goal = right.new_zeros(paths, 0), right.new_zeros(paths, most + 1)
    goal[:, 0] = size[:, 0]
    for k in range(most):
        new = multiply(basis[k])
        for _ in range(2):
            for i, known in enumerate(basis):
                share = (known * new).sum(-1, keepdim=True)
                hessenberg[:, i, k] += share[:, 0]
                new = new - share * known
        length = new.norm(dim=-1, keepdim=True)
        hessenberg[:, k + 1, k] = length[:, 0]
        part, wanted = hessenberg[:, : k + 2, : k + 1], goal[:, : k + 2]
        weights = torch.linalg.lstsq(_finite(part), _finite(wanted).unsqueeze(-1), driver="gels").solution[..., 0]
        left = ((part @ weights.unsqueeze(-1))[..., 0] - wanted).norm(dim=-1)
        if not bool((left > CLOSE * size[:, 0]).any()):
            break
        basis.append(new / length.clamp_min(TINY))
    found = sum((weights[:, i : i + 1] * basis[i] for i in range(weights.shape[1])), torch.zeros_like(right))
    return found.where(torch.isfinite(left)[:, None], torch.nan)


def _finite(values: Tensor) -> Tensor:
    """LAPACK takes nothing else."""
    return values.nan_to_num(0.0, 0.0, 0.0)
