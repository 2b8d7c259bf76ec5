"""torch's forward mode, loaded once where it is first used, without the words of its own deprecations and its slow zeros."""

import functools
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

SUMS = tuple(getattr(torch.ops.aten, name).Tensor for name in ("add", "sub", "mul", "div"))
"""operations of which one side may be a tangent that is zero"""
SIGNS: tuple[dict[str, int], ...] = ({}, {"alpha": 1}, {"alpha": -1})
SMALL = (torch.float64, torch.int64)
"""types of a number that leave float64 as it is"""
_KEPT = torch.library.Library("aten", "IMPL", "Meta")


@functools.cache
def load() -> None:
    """Load what torch's dual numbers need, before the first of them: it takes half a second, and not all runs have any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _load()


def hasten() -> None:
    """Shapes of sums with a zero tangent, which torch finds by its reference in Python, a hundred times as long as the sum."""
    for operation in SUMS:
        reference = getattr(operation, "py_kernels", {}).get(torch._C.DispatchKey.Meta)
        if reference is not None:
            _KEPT.impl(operation, _shaped(reference), allow_override=True)


def _shaped(reference: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The reference, which is asked only where shape, type or layout do not follow at once."""

    def shaped(one: Any, other: Any, *rest: Any, **options: Any) -> Tensor:
        if type(one) is type(other) is Tensor and not rest and options in SIGNS:
            large, small = (other, one) if _rank(one) < _rank(other) else (one, other)
            if large.dtype is torch.float64 and not small.dim() and small.dtype in SMALL:
                if _dense(large):
                    return large.new_empty_strided(large.shape, large.stride())
            elif large.dtype is small.dtype is torch.float64:
                if one.is_contiguous() and other.is_contiguous():
                    with suppress(ValueError):  # of shapes that do not go together, for the reference to say so
                        return large.new_empty(np.broadcast_shapes(one.shape, other.shape))
                if one.shape == other.shape and _dense(one):
                    return one.new_empty_strided(one.shape, one.stride())  # of two layouts the first
        return reference(one, other, *rest, **options)

    return shaped


def _rank(x: Tensor) -> tuple[int, bool]:
    """Of two, the larger has the shape and the type of their sum."""
    return x.dim(), x.is_floating_point()


def _dense(x: Tensor) -> bool:
    """Whether a sum keeps its layout: by rows, or by columns."""
    return x.is_contiguous() or (x.dim() == 2 and 1 not in x.shape and x.mT.is_contiguous())


_load = forward_ad._maybe_load_decompositions  # torch's own way to put it off
forward_ad._maybe_load_decompositions = load
hasten()
