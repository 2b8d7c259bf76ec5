"""Derivatives up to the fourth of functions that can only be evaluated, at many points at once, from nine values on each line."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Points = Float[np.ndarray, "points state"]
Lines = Float[np.ndarray, "points lines state"]
Function = Callable[[Float[Tensor, "points some state"], slice], Tensor]
"""of several states at each of a slice of the points, with the values behind these two axes"""
STEP = 2.0**-5
"""between two values on a line, in units of the state's own scale"""
ACROSS = np.arange(-4, 5)
HELD = 2**16
"""numbers of states at a time"""


def _weights() -> Float[np.ndarray, "derivatives nodes"]:
    powers = np.vander(ACROSS, increasing=True).T  # Σ_k w_k k^j = j! for the derivative of order j
    found: Float[np.ndarray, "derivatives nodes"] = np.linalg.solve(powers, np.diag([math.factorial(j) for j in ACROSS + 4])).T
    return found[:5] / STEP ** np.arange(5)[:, None]


WEIGHTS = _weights()


def along(function: Function, x: Points, lines: Lines, scale: Points) -> Float[np.ndarray, "5 points lines *values"]:
    """Value and derivatives `dʲ/deʲ function(x + e u)` at `e = 0`, `j ≤ 4`, along each line `u`.

    The step is relative to `scale`, within which the function has no singularity. A derivative that is no number is 0.
    """
    size = (np.abs(lines) / scale[:, None]).max(-1)
    unit = np.divide(lines, size[..., None], out=np.zeros_like(lines), where=size[..., None] > 0)
    rows = max(1, HELD // (lines.shape[1] * len(ACROSS) * x.shape[1]))
    found = []
    for first in range(0, len(x), rows):
        part = slice(first, first + rows)
        nodes = x[part, None, None] + STEP * ACROSS[:, None] * unit[part, :, None]
        values = function(torch.from_numpy(nodes.reshape(len(nodes), -1, x.shape[1])), part)
        there = values.reshape(*nodes.shape[:3], *values.shape[2:]).numpy()
        found.append(np.einsum("jn,pln...->jpl...", WEIGHTS, there))
    derivatives = np.nan_to_num(np.concatenate(found, 1), nan=0.0, posinf=0.0, neginf=0.0)
    powers = np.stack([size**j for j in range(5)])
    return derivatives * powers.reshape(*powers.shape, *[1] * (derivatives.ndim - 3))


class Tensors:
    """The first three derivatives of a function with respect to the state, whole: `first[p, ..., i]`, `second`, `third`.

    From lines along `e_i`, `e_i ± e_j` and `e_i + e_j + e_k`, by polarisation.
    """

    def __init__(self, function: Function, x: Points, scale: Points, order: int) -> None:
        n = x.shape[1]
        pairs, triples = list(itertools.combinations(range(n), 2)), list(itertools.combinations(range(n), 3))
        unit = np.eye(n)
        lines = [*unit]
        if order > 1:
            lines += [unit[i] + unit[j] for i, j in pairs] + [unit[i] - unit[j] for i, j in pairs]
        if order > 2:
            lines += [unit[list(each)].sum(0) for each in triples]
        every = np.stack(lines) * scale[:, None]
        found = np.moveaxis(along(function, x, every, scale), 2, -1)  # derivative, point, values, line
        own, both = found[..., :n], found[..., n : n + len(pairs)]
        less, three = found[..., n + len(pairs) : n + 2 * len(pairs)], found[..., n + 2 * len(pairs) :]
        self.value = own[0, ..., 0]
        self.first = self._unscaled(own[1], scale, 1)
        if order > 1:
            second = np.zeros((*own.shape[1:], n))
            second[..., range(n), range(n)] = own[2]
            for p, (i, j) in enumerate(pairs):
                second[..., i, j] = second[..., j, i] = (both[2, ..., p] - less[2, ..., p]) / 4
            self.second = self._unscaled(second, scale, 2)
        if order > 2:
            self.third = self._unscaled(self._thirds(own[3], both[3], less[3], three[3], pairs, triples), scale, 3)

    @staticmethod
    def _thirds(own: np.ndarray, both: np.ndarray, less: np.ndarray, three: np.ndarray, pairs: list[tuple[int, int]],
                triples: list[tuple[int, int, int]]) -> np.ndarray:
        n = own.shape[-1]
        found, twice = np.zeros((*own.shape, n, n)), np.zeros((*own.shape, n))  # twice[..., i, j] = [i, i, j]
        for i in range(n):
            found[..., i, i, i] = own[..., i]
        for p, (i, j) in enumerate(pairs):
            twice[..., i, j] = (both[..., p] - less[..., p] - 2 * own[..., j]) / 6
            twice[..., j, i] = (both[..., p] + less[..., p] - 2 * own[..., i]) / 6
        for i, j in itertools.permutations(range(n), 2):
            for a, b, c in {(i, i, j), (i, j, i), (j, i, i)}:
                found[..., a, b, c] = twice[..., i, j]
        for p, each in enumerate(triples):
            known = own[..., list(each)].sum(-1) + 3 * sum(twice[..., i, j] for i, j in itertools.permutations(each, 2))
            for turned in itertools.permutations(each):
                found[..., turned[0], turned[1], turned[2]] = (three[..., p] - known) / 6
        return found

    @staticmethod
    def _unscaled(found: np.ndarray, scale: Points, order: int) -> np.ndarray:
        inner = found.ndim - 1 - order
        for axis in range(order):
            shape = [len(scale), *[1] * inner, *[scale.shape[1] if axis == k else 1 for k in range(order)]]
            found = found / scale.reshape(shape)
        return found


def laplacian(function: Function, x: Points, scale: Points, root: Float[np.ndarray, "points state columns"]) -> np.ndarray:
    """`f'':C` with `C = root rootᵀ` at each point."""
    return along(function, x, np.moveaxis(root, 2, 1), scale)[2].sum(1)


def twice_laplacian(function: Function, x: Points, scale: Points,
                    root: Float[np.ndarray, "points state columns"]) -> np.ndarray:
    """`f''''::CC = Σ_jk f''''[l_j, l_j, l_k, l_k]` over the columns of `root`, by `12 a²b² = (a+b)⁴ + (a−b)⁴ − 2a⁴ − 2b⁴`."""
    columns = np.moveaxis(root, 2, 1)
    n = columns.shape[1]
    pairs = list(itertools.combinations(range(n), 2))
    lines = [columns] + [columns[:, [i]] + sign * columns[:, [j]] for sign in (1, -1) for i, j in pairs]
    fourth = along(function, x, np.concatenate(lines, 1), scale)[4]
    total = fourth[:, :n].sum(1)
    for p, (i, j) in enumerate(pairs):
        mixed = fourth[:, n + p] + fourth[:, n + len(pairs) + p] - 2 * (fourth[:, i] + fourth[:, j])
        total = total + mixed / 6
    return total
