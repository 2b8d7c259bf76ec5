"""A function of the tensors of one path, as straight-line C."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule

from sme.simulate.codegen.interpreter import KEPT, NotLoweredError, Rules
from sme.simulate.codegen.operations import POINTWISE
from sme.simulate.codegen.scalars import Program, Value, add, multiply

Array = np.ndarray
"""of numbers and values: one tensor of one path"""


class Lowering(Rules):
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

    def _convert_element_type(self, a: Array, dtype: torch.dtype) -> Array:
        if dtype not in KEPT and _moves(a):
            raise NotLoweredError(f"it converts to {dtype}")
        return a

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

    def _addmm(self, c: Array, a: Array, b: Array, beta: float = 1.0, alpha: float = 1.0) -> Array:
        product = self._pointwise("mul", (self._mm(a, b), alpha), {})
        return self._pointwise("add", (self._pointwise("mul", (c, beta), {}), product), {})

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

    def _view(self, a: Array, shape: Sequence[int]) -> Array:
        return a.reshape(shape)

    _reshape = _unsafe_view = _view_copy = _view

    def _permute(self, a: Array, dims: Sequence[int]) -> Array:
        return a.transpose(dims)

    def _t(self, a: Array) -> Array:
        return a.T

    def _transpose(self, a: Array, one: int, other: int) -> Array:
        return a.swapaxes(one, other)

    def _expand(self, a: Array, shape: Sequence[int]) -> Array:
        lead = len(shape) - a.ndim
        return np.broadcast_to(a, [a.shape[i - lead] if size == -1 else size for i, size in enumerate(shape)])

    def _repeat(self, a: Array, times: Sequence[int]) -> Array:
        return np.tile(a, times)

    def _unsqueeze(self, a: Array, dim: int) -> Array:
        return np.expand_dims(a, dim)

    def _squeeze(self, a: Array, dim: Any = None) -> Array:
        axes = range(a.ndim) if dim is None else np.atleast_1d(dim)
        return a.squeeze(tuple(int(axis) for axis in axes if a.shape[axis] == 1)) if a.ndim else a

    def _slice(self, a: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
        return a[(slice(None),) * (dim % a.ndim) + (slice(start, end, step),)]

    def _select(self, a: Array, dim: int, index: int) -> Array:
        return array(a[(slice(None),) * (dim % a.ndim) + (index,)])

    def _split_with_sizes(self, a: Array, sizes: Sequence[int], dim: int = 0) -> list[Array]:
        return np.split(a, np.cumsum(sizes)[:-1], axis=dim)

    def _split(self, a: Array, size: int, dim: int = 0) -> list[Array]:
        return np.split(a, range(size, a.shape[dim], size), axis=dim)

    def _unbind(self, a: Array, dim: int = 0) -> list[Array]:
        return [array(part) for part in np.moveaxis(a, dim, 0)]

    def _cat(self, parts: Sequence[Array], dim: int = 0) -> Array:
        return np.concatenate([part for part in parts if part.shape != (0,)], axis=dim)

    def _stack(self, parts: Sequence[Array], dim: int = 0) -> Array:
        return np.stack(parts, axis=dim)

    def _diagonal(self, a: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
        return a.diagonal(offset, dim1, dim2)

    _diagonal_copy = _diagonal

    def _index_select(self, a: Array, dim: int, index: Array) -> Array:
        return np.take(a, _whole(index), axis=dim)

    def _index(self, a: Array, indices: Sequence[Array | None]) -> Array:
        return array(a[tuple(slice(None) if each is None else _whole(each) for each in indices)])

    def _slice_scatter(self, a: Array, part: Array, dim: int = 0, start: int | None = None, end: int | None = None,
                       step: int = 1) -> Array:
        result = a.copy()
        self._slice(result, dim, start, end, step)[...] = part
        return result

    def _select_scatter(self, a: Array, part: Array, dim: int, index: int) -> Array:
        result = a.copy()
        result[(slice(None),) * (dim % a.ndim) + (index,)] = part
        return result

    def _zeros_like(self, a: Array) -> Array:
        return array(np.zeros(a.shape))

    def _ones_like(self, a: Array) -> Array:
        return array(np.ones(a.shape))

    def _full_like(self, a: Array, value: float) -> Array:
        return array(np.full(a.shape, value))

    def _full(self, shape: Sequence[int], value: float) -> Array:
        return array(np.full(shape, value))

    def _zeros(self, shape: Sequence[int]) -> Array:
        return array(np.zeros(shape))

    def _new_zeros(self, a: Array, shape: Sequence[int]) -> Array:
        return array(np.zeros(shape))

    def _new_zeros_with_same_feature_meta(self, a: Array, b: Array) -> Array:
        return array(np.zeros(b.shape))

    def _scalar_tensor(self, value: float) -> Array:
        return array(value)

    def _arange(self, *bounds: float) -> Array:
        return array(np.arange(*bounds))

    _arange_start = _arange


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


def _whole(index: Array) -> Array:
    if _moves(index):
        raise NotLoweredError("an index depends on the path")
    return index.astype(int)
