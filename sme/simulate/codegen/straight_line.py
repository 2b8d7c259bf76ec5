"""A function of the tensors of one path, as straight-line C."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import tree_map

from sme.simulate.codegen.interpreter import AtenInterpreter, NotLoweredError
from sme.simulate.codegen.moves import ALIKE, JOINS, MOVES
from sme.simulate.codegen.operations import POINTWISE
from sme.simulate.codegen.scalars import Program, Value, add, multiply

Array = np.ndarray
"""of numbers and values: one tensor of one path"""


class StraightLine(AtenInterpreter):
    """Runs a graph on arrays of numbers and values; every operation adds statements to `program`."""

    def __init__(self, graph: GraphModule, program: Program, most: int) -> None:
        super().__init__(graph)
        self.program, self.most = program, most

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._check()
        random = torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())
        if hasattr(target, "_schema") and not random and not any(map(_tensors, args)):
            return array(target(*args, **kwargs))  # of constants alone, such as a range
        return super().call_function(target, args, kwargs)

    def _check(self) -> None:
        if len(self.program) > self.most:
            raise NotLoweredError(f"it has more than {self.most} operations")

    def moves(self, argument: Any) -> bool:
        return isinstance(argument, np.ndarray) and _moves(argument)

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Array:
        return array(super().get_attr(target, args, kwargs))

    def _pointwise(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Array:
        operation = POINTWISE[name]
        given = [each if each is None else array(each) for each in args]
        shape = np.broadcast_shapes(*(each.shape for each in given if each is not None))
        result = np.empty(shape, dtype=object)
        spread = [each if each is None else np.broadcast_to(each, shape) for each in given]
        for index in np.ndindex(shape):
            result[index] = operation(self.program, *(each if each is None else each[index] for each in spread), **kwargs)
        return result

    def _dot_rows(self, a: Array, b: Array) -> Any:
        self._check()  # one product of large matrices is very many operations
        total: Any = 0.0
        for left, right in zip(a, b, strict=True):
            total = add(self.program, total, multiply(self.program, left, right))
        return total

    def _mm(self, a: Array, b: Array) -> Array:
        result = np.empty((a.shape[0], b.shape[1]), dtype=object)
        for i, j in np.ndindex(result.shape):
            result[i, j] = self._dot_rows(a[i], b[:, j])
        return result

    def _bmm(self, a: Array, b: Array) -> Array:
        return np.stack([self._mm(left, right) for left, right in zip(a, b, strict=True)])

    def _mv(self, a: Array, b: Array) -> Array:
        return self._mm(a, b[:, None])[:, 0]

    def _dot(self, a: Array, b: Array) -> Array:
        return array(self._dot_rows(a, b))

    def _sum(self, a: Array, dim: Any = None, keepdim: bool = False) -> Array:
        axes = tuple(range(a.ndim)) if dim is None or dim == [] else tuple(np.atleast_1d(dim))
        axes = tuple(axis % max(a.ndim, 1) for axis in axes) if a.ndim else ()
        moved = np.moveaxis(a, axes, range(len(axes))) if axes else a[None]
        flat = moved.reshape(-1, *moved.shape[max(len(axes), 1):])
        total = array(np.zeros(flat.shape[1:]))
        for part in flat:
            total = self._pointwise("add", (total, part), {})
        return np.expand_dims(total, axes) if keepdim else total

    def _mean(self, a: Array, dim: Any = None, keepdim: bool = False) -> Array:
        total = self._sum(a, dim, keepdim)
        return self._pointwise("mul", (total, total.size / a.size), {})

    def further(self, name: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in ALIKE:
            return array(target(*tree_map(lambda each: torch.zeros(each.shape) if _tensors(each) else each, args), **kwargs))
        if name not in MOVES | JOINS:
            return super().further(name, target, args, kwargs)
        numbers = list[Any]()

        def places(given: Any) -> Any:
            if not isinstance(given, np.ndarray):
                return given
            numbers.extend(given.flat)
            return torch.arange(len(numbers) - given.size, len(numbers)).reshape(given.shape)

        rest = args[1:] if name in JOINS else tree_map(_whole, args[1:])
        found = target(*tree_map(places, (args[0], *rest)), **kwargs)
        there = _filled(numbers)
        return tree_map(lambda each: array(there[each.numpy()]), found)


def array(given: Any) -> Array:
    """A tensor, number, value or array as an array of objects."""
    if isinstance(given, np.ndarray) and given.dtype == object:
        return given
    if isinstance(given, Tensor):
        given = given.detach().cpu().numpy()
    result = np.empty(np.shape(given), dtype=object)
    result[...] = given.astype(float) if isinstance(given, np.ndarray) else given
    return result


def _tensors(argument: Any) -> bool:
    return isinstance(argument, np.ndarray) or (isinstance(argument, list | tuple) and any(map(_tensors, argument)))


def _moves(a: Array) -> bool:
    return any(isinstance(each, Value) for each in a.flat)


def _whole(given: Any) -> Any:
    """Of an array whole numbers."""
    if not isinstance(given, np.ndarray):
        return given
    if _moves(given):
        raise NotLoweredError("an index depends on the path")
    return torch.from_numpy(given.astype(int))


def _filled(numbers: Sequence[Any]) -> Array:
    """Numbers and values one after the other."""
    result = np.empty(len(numbers), dtype=object)
    result[:] = numbers
    return result
