"""Nodes and weights of one step's noise, from which each law makes its `quadrature`: exact, or finer and finer."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError

MOST_BATCHES = 300_000
MOST_NODES = 200_000
LEVELS = 6
"""of a rule for a component that is never exact"""

Rule = tuple[Tensor, Float[Tensor, " nodes"]]
"""draws `z`, one a row, and their weights"""
Marginals = tuple[Float[Tensor, "nodes d"], Float[Tensor, "nodes d"]]
"""nodes and weights of each component"""


def gaussian(motions: int) -> Iterator[Rule]:
    """Of `N(0, I)`: of at most two motions tensor Gauss–Hermite rules of 8, 16, 32 and 64 nodes a motion, of more Smolyak's
    sparse rules, exact for polynomials of total degree 7, 9, 11 …
    """
    if motions <= 2:
        for count in (8, 16, 32, 64):
            yield tensor([count] * motions)
        return
    for level in itertools.count(3):
        points, weights = sparse(motions, level)
        if len(points) > MOST_NODES:
            return
        yield points, weights


def independent(rule: Callable[[int], Marginals], levels: int = LEVELS) -> Iterator[Rule]:
    """Of independent components: the product of the rules of each, one a column, as long as there are not too many nodes."""
    for level in range(levels):
        points, weights = rule(level)
        if len(points) ** points.shape[-1] > MOST_NODES:
            return
        yield _product([each.numpy() for each in points.unbind(-1)], [each.numpy() for each in weights.unbind(-1)])


def twice(rules: Iterator[Rule]) -> Iterator[Rule]:
    """Of two independent draws of one law, stacked along a second axis."""
    for z, weights in rules:
        if len(z) ** 2 > MOST_NODES:
            return
        one, other = torch.cartesian_prod(torch.arange(len(z)), torch.arange(len(z))).unbind(-1)
        yield torch.stack((z[one], z[other]), 1), weights[one] * weights[other]


def batches(count: int, size: int, replacement: bool) -> Rule:
    """All batches, equal up to their order taken once, with the number of orders in which each can be drawn.

    Raises
    ------
    SMEError
        if there are too many to sum over.
    """
    many = math.comb(count + size - 1 if replacement else count, size)
    if many > MOST_BATCHES:
        raise SMEError(f"{many} batches of {size} of {count} examples are too many to sum over: check the order with fewer "
                       "examples or a smaller batch, the equation is the same")
    each = itertools.combinations_with_replacement if replacement else itertools.combinations
    grid = torch.tensor(list(each(range(count), size)))
    repeats = torch.nn.functional.one_hot(grid, count).sum(1).to(torch.float64) if replacement else torch.ones(many, 1)
    weights = torch.exp(-torch.lgamma(repeats.to(torch.float64) + 1).sum(1))
    return grid, weights / weights.sum()


def tensor(counts: list[int]) -> Rule:
    """The product of one-dimensional Gauss–Hermite rules for `N(0, 1)`."""
    rules = [_hermite(count) for count in counts]
    return _product([points for points, _ in rules], [weights / weights.sum() for _, weights in rules])


_hermite = functools.cache(np.polynomial.hermite_e.hermegauss)
"""nodes and weights for `exp(−z²/2)`, of so many nodes: a sparse rule asks for each a thousand times"""


def _product(points: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> Rule:
    grid = np.stack([part.ravel() for part in np.meshgrid(*points, indexing="ij")], -1)
    total = np.ones(len(grid))
    for part in np.meshgrid(*weights, indexing="ij"):
        total = total * part.ravel()
    return torch.from_numpy(grid), torch.from_numpy(total)


@functools.lru_cache(maxsize=16)
def sparse(dim: int, level: int) -> Rule:
    """Smolyak's rule, exact for polynomials in `N(0, I)` of total degree `2 level + 1`.

    `Σ (−1)^{q−|i|} C(dim − 1, q − |i|) Q_{i₁} ⊗ … ⊗ Q_{i_d}` over `q − dim < |i| ≤ q = dim + level`,
    `Q_i` the Gauss–Hermite rule of `i` nodes.
    """
    q = dim + level
    merged: dict[tuple[float, ...], float] = {}
    for total in range(max(dim, q - dim + 1), q + 1):
        sign = (-1) ** (q - total) * math.comb(dim - 1, q - total)
        for cuts in itertools.combinations(range(1, total), dim - 1):
            counts = [b - a for a, b in itertools.pairwise((0, *cuts, total))]
            points, weights = tensor(counts)
            for point, weight in zip(points.round(decimals=13).tolist(), weights.tolist(), strict=True):
                key = tuple(x + 0.0 for x in point)  # −0.0 is 0.0
                merged[key] = merged.get(key, 0.0) + sign * weight
    return torch.tensor(list(merged), dtype=torch.float64), torch.tensor(list(merged.values()), dtype=torch.float64)
