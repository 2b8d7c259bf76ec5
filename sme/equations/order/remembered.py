"""A problem whose derivatives are not computed again where they were asked for before."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sme.common.derivatives.tracing import traced
from sme.problems.base import Problem

NAMES = ("gradient", "hessian", "third")
KEPT, LARGEST = 512, 2**14
"""values of each that are kept, and numbers in the largest"""


def remembered(problem: Problem) -> Problem:
    """The same problem and numbers; `gradient`, `hessian` and `third` are computed once for equal arguments."""
    quick = copy.copy(problem)
    for name in NAMES:
        setattr(quick, name, _Memory(getattr(problem, name)))
    quick.noise = problem.noise.bound(quick.gradient)
    return quick


class _Memory:
    """A function of tensors, and its last values; under a transform of torch it is the function itself."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function, self.values = function, OrderedDict[Any, Tensor]()

    def __call__(self, *given: Tensor) -> Tensor:
        if traced() or any(_unknown(each) for each in given):
            return self.function(*given)
        key = tuple((each.numpy().tobytes(), each.shape, each.stride()) for each in given)
        value = self.values.pop(key, None)
        if value is None:
            value = self.function(*given)
        self.values[key] = value
        if len(self.values) > KEPT:
            self.values.popitem(last=False)
        return value.clone()  # whoever writes over it


def _unknown(given: Tensor) -> bool:
    """Whether a tensor stands for many, or is too large to be compared with others."""
    return (torch._C._functorch.is_functorch_wrapped_tensor(given) or given.requires_grad or given.device.type != "cpu"
            or given.numel() > LARGEST)
