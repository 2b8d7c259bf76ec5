"""torch's forward mode, loaded once where it is first used, without the words of its own deprecations and its slow zeros."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

SUMS = tuple(getattr(torch.ops.aten, name).Tensor for name in ("add", "sub", "mul", "div"))
"""operations of which one side may be a tangent that is zero"""
SIGNS: tuple[dict[str, int], ...] = ({}, {"alpha": 1}, {"alpha": -1})
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
        if type(one) is type(other) is Tensor and one.dtype is other.dtype is torch.float64 and not rest and options in SIGNS:
            shapes = one.shape, other.shape
            if one.is_contiguous() and other.is_contiguous():
                if shapes[0] == shapes[1] or () in shapes:
                    return torch.empty_like(one if len(shapes[0]) else other)
                return one.new_empty(torch.broadcast_shapes(*shapes))
        return reference(one, other, *rest, **options)

    return shaped


_load = forward_ad._maybe_load_decompositions  # torch's own way to put it off
forward_ad._maybe_load_decompositions = load
hasten()
