"""Operations whose result has the same numbers in other places: torch itself moves the places."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sme.simulate.codegen.statements import Array

MOVES = frozenset(("permute", "t", "transpose", "view", "reshape", "_unsafe_view", "view_copy", "expand", "repeat", "unsqueeze",
                   "squeeze", "slice", "select", "split_with_sizes", "split", "unbind", "diagonal", "diagonal_copy",
                   "index_select", "index"))
"""of one tensor"""
JOINS = frozenset(("cat", "stack", "slice_scatter", "select_scatter"))
"""of several"""
ALIKE = frozenset(("zeros_like", "ones_like", "full_like", "new_zeros", "_new_zeros_with_same_feature_meta"))
"""the result depends on the argument's shape alone"""


def moved(given: Any, by: Callable[[Tensor], Any]) -> Any:
    """The same numbers in other places."""
    if isinstance(given, Tensor):
        return by(given)
    found = by(given.places)
    if isinstance(found, Tensor):
        return Array(given.source, found) if found.numel() else torch.zeros(found.shape, dtype=torch.float64)
    return [moved(Array(given.source, each), lambda same: same) for each in found]


def one(found: Any, known: dict[Any, tuple[Any, Any]]) -> Any:
    """The same array for the same numbers in the same places, however they came there."""
    if isinstance(found, list):
        return [one(each, known) for each in found]
    if not isinstance(found, Array):
        return found
    key = "numbers", id(found.source), found.shape, found.places.numpy().tobytes()
    return known.setdefault(key, (found.source, found))[1]


def transposed(each: Tensor) -> Tensor:
    """The matrices of a batch, transposed."""
    return each.transpose(1, 2)


def batched(each: Tensor) -> Tensor:
    """A batch of this one."""
    return each.unsqueeze(0)
