"""A function of the tensors of one path, as loops in C over the numbers of its tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import tree_flatten, tree_map

from sme.common.derivatives.once import same
from sme.simulate.codegen import moves
from sme.simulate.codegen.buffers import places, used
from sme.simulate.codegen.interpreter import AtenInterpreter, NotLoweredError
from sme.simulate.codegen.moves import batched, moved, one, transposed
from sme.simulate.codegen.operations import POINTWISE
from sme.simulate.codegen.scalars import Program, Value
from sme.simulate.codegen.statements import Array, Nest, Number, Product, Statement, Store, Tables, Total, strides

LARGEST = 1 << 16
"""numbers of a path in buffers at a time: beyond, they leave the processor's caches"""
MOVES = moves.MOVES | {"flip", "roll", "movedim", "unfold", "swapaxes"}
ALIKE = moves.ALIKE | {"new_ones", "new_full", "empty_like"}
Operand = Array | Tensor | float | None


class LoopNests(AtenInterpreter):
    """Runs a graph on arrays; what only constants decide is a tensor, and every other operation adds to `statements`."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.head, self.tables = Program("u"), Tables()
        self.statements: list[Statement] = []
        self._uniform: list[Number] = []
        self._known: dict[Any, tuple[Any, Any]] = {}
        self._buffers = 0

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not hasattr(target, "_schema"):  # operator.getitem of a split
            return target(*args, **kwargs)
        key = (target, same((args, kwargs), Array | Tensor))
        if key not in self._known:
            self._known[key] = (args, kwargs), self._call(target, args, kwargs)  # an id is taken while its object is kept
        return self._known[key][1]

    def _call(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given, name = tree_flatten((args, kwargs))[0], target._schema.name.split("::")[-1]
        random = torch.Tag.nondeterministic_seeded in target.tags
        if not random and not any(isinstance(each, Array) for each in given):
            return target(*args, **kwargs)
        if name in ALIKE:
            return target(*tree_map(lambda each: each.places.double() if isinstance(each, Array) else each, args), **kwargs)
        if name in MOVES:
            if any(isinstance(each, Array) for each in tree_flatten((args[1:], kwargs))[0]):
                raise NotLoweredError("an index depends on the path")
            return one(moved(args[0], lambda each: target(each, *args[1:], **kwargs)), self._known)
        return super().call_function(target, args, kwargs)

    def moves(self, argument: Any) -> bool:
        return isinstance(argument, Array)

    def store(self, shape: Sequence[int]) -> Array:
        """A new buffer of this shape."""
        every = torch.arange(int(np.prod(shape))).reshape(tuple(shape))
        return Array(Store(f"{self._name()}[{{i}}][p]", every.numel()), every)

    def write(self, value: Operand, to: Array, after: int = -1) -> None:
        """Put an array's numbers into the places of another, not before statement `after` has run."""
        operand = self._operand(value, to.shape)
        nest = self._nest(to.shape, [operand], after + 1)
        nest.write(to, nest.value(operand) if isinstance(operand, Array) else operand)  # type: ignore[arg-type]

    def outputs(self, results: Sequence[Any], targets: Sequence[str]) -> None:
        """Write what the graph returned where the caller finds it, after everything else."""
        finals = [self._stored(each) if isinstance(each, Array) and _handed(each) else each for each in results]
        before = len(self.statements)
        for result, form in zip(finals, targets, strict=True):
            if not result.shape.numel():
                continue
            to = Array(Store(form, result.shape.numel(), output=True), torch.arange(result.shape.numel()).reshape(result.shape))
            nest = self.statements[-1] if self.statements else None
            last = isinstance(nest, Nest) and len(self.statements) == before and not nest.moves(to) and len(finals) == 1
            self.write(result, to, before - (2 if last else 1))

    def text(self) -> str:
        """The body of the C function.

        Raises
        ------
        NotLoweredError
            if it needs too much memory.
        """
        steps = used(self.statements)
        found, size = places(steps)
        if size > LARGEST:
            raise NotLoweredError(f"it keeps {size} numbers a path at a time, more than {LARGEST}")
        body = [line for statement, _, _ in steps for line in statement.lines(self.tables)]
        arena = [f"static _Thread_local double arena[{size}][W] __attribute__((aligned(64)));"] if size else []
        buffers = [f"double (*const {name})[W] = arena + {start};" for name, start in found.items()]
        lines = (*self.tables.lines, *arena, *buffers, *self.head.statements(self._uniform)[0], *body)
        return "".join(f"    {line}\n" for line in lines)

    def _name(self) -> str:
        self._buffers += 1
        return f"b{self._buffers}"

    def _operand(self, given: Operand, shape: Sequence[int]) -> Array | float | None:
        if given is None:
            return None
        if isinstance(given, Tensor):
            flat = given.reshape(-1)
            if not len(flat) or bool(((flat == flat[0]) & (flat.signbit() == flat[0].signbit())).all()):
                return float(flat[0]) if len(flat) else 0.0
            given = self.tables.array(given)
        if isinstance(given, Array):
            return moved(given, lambda each: each.expand(tuple(shape)))
        return float(given)

    def _nest(self, shape: Sequence[int], operands: Sequence[Array | float | None], first: int = 0) -> Nest:
        """The last loop over this shape, from statement `first` on, in which all operands are known, or a new one."""
        loop = tuple(size for size in shape if size > 1)
        arrays = [each for each in operands if isinstance(each, Array)]
        first = max([first, *(each.source.at for each in arrays if isinstance(each.source, Store))])
        for nest in reversed(self.statements[first:]):
            if isinstance(nest, Nest) and nest.shape == loop and all(map(nest.takes, arrays)):
                return nest
        nest = Nest(loop, len(self.statements), self.tables)
        self.statements.append(nest)
        return nest

    def _pointwise(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Array | Tensor:
        shape = torch.broadcast_shapes(*(each.shape for each in args if isinstance(each, Array | Tensor)))
        if not shape.numel():
            return torch.zeros(shape, dtype=torch.float64)
        operands = [self._operand(each, shape) for each in args]
        arrays = [each for each in operands if isinstance(each, Array)]
        if all(isinstance(each.source, Value) for each in arrays):
            program, nest = self.head, None
            numbers = [each.source if isinstance(each, Array) else each for each in operands]
        else:
            nest = self._nest(shape, arrays)
            program = nest.program
            numbers = [nest.value(each) if isinstance(each, Array) else each for each in operands]
        value = POINTWISE[name](program, *numbers, **kwargs)
        if not isinstance(value, Value):
            return torch.full(shape, float(value), dtype=torch.float64)
        for each, number in zip(operands, numbers, strict=True):
            if value is number and isinstance(each, Array):
                return each
        if nest is None:
            self._uniform.append(value)
            return Array(value, torch.zeros((), dtype=torch.int64).expand(shape))
        return Array(nest.make(value, self._name()), torch.arange(shape.numel()).reshape(shape))

    def _stored(self, given: Array) -> Array:
        """A copy in a buffer."""
        result = self.store(given.shape)
        self.write(given, result)
        return result

    def _product(self, a: Array | Tensor, b: Array | Tensor) -> Array | Tensor:
        """`(b, n, k) × (b, k, m)`."""
        shape = (a.shape[0], a.shape[1], b.shape[2])
        if not torch.Size(shape).numel() or not a.shape[2] or any(isinstance(each, Tensor) and not each.any() for each in (a, b)):
            return torch.zeros(shape, dtype=torch.float64)
        if _shared(b) and not _shared(a):
            return moved(self._product(moved(b, transposed), moved(a, transposed)), transposed)
        if isinstance(a, Tensor) and shape[1] == a.shape[2] and not (a - torch.diag_embed(a.diagonal(0, 1, 2))).any():
            return self._pointwise("mul", (a.diagonal(0, 1, 2).unsqueeze(-1), b), {})
        one, other = (self.tables.array(each) if isinstance(each, Tensor) else each for each in (a, b))
        result = self.store(shape)
        assert isinstance(result.source, Store)
        result.source.at = len(self.statements)
        if one.uniform and isinstance(one.source, Store) and isinstance(other.source, Store) and not other.uniform \
                and strides(one.places) is not None:
            other = other if strides(other.places) is not None else self._stored(other)
            result.source.at = len(self.statements)
            self.statements.append(Product(one, other, result))
        else:
            whole = (*shape, a.shape[2])
            factors = [moved(one, lambda each: each.unsqueeze(2).expand(whole)),
                       moved(other, lambda each: each.transpose(1, 2).unsqueeze(1).expand(whole))]
            self.statements.append(Total(factors, result))
        return result

    def _mm(self, a: Any, b: Any) -> Any:
        return moved(self._product(moved(a, batched), moved(b, batched)), lambda each: each.squeeze(0))

    def _bmm(self, a: Any, b: Any) -> Any:
        return self._product(a, b)

    def _mv(self, a: Any, b: Any) -> Any:
        return moved(self._mm(a, moved(b, lambda each: each.unsqueeze(1))), lambda each: each.squeeze(1))

    def _dot(self, a: Any, b: Any) -> Any:
        return moved(self._mv(moved(a, batched), b), lambda each: each.squeeze(0))

    def _sum(self, a: Array, dim: Any = None, keepdim: bool = False) -> Any:
        axes = list(range(a.places.dim())) if dim is None or dim == [] else np.atleast_1d(dim).tolist()
        axes = [axis % max(a.places.dim(), 1) for axis in axes] if a.places.dim() else []
        rest = [axis for axis in range(a.places.dim()) if axis not in axes]
        result = self.store([a.shape[axis] for axis in rest])
        assert isinstance(result.source, Store)
        result.source.at = len(self.statements)
        self.statements.append(Total([moved(a, lambda each: each.permute(*rest, *axes))], result))
        shape = [1 if axis in axes else size for axis, size in enumerate(a.shape)]
        return moved(result, lambda each: each.reshape(shape)) if keepdim else result

    def _mean(self, a: Array, dim: Any = None, keepdim: bool = False) -> Any:
        total = self._sum(a, dim, keepdim)
        return self._pointwise("mul", (total, total.shape.numel() / a.shape.numel()), {})

    def _cat(self, parts: Sequence[Any], dim: int = 0) -> Any:
        parts = [part for part in parts if part.shape != (0,)]
        result = self.store(torch.cat([torch.zeros(part.shape) for part in parts], dim).shape)
        pieces = result.places.split([part.shape[dim] for part in parts], dim)
        for part, piece in zip(parts, pieces, strict=True):
            if piece.numel():
                self.write(part, Array(result.source, piece))
        return result

    def _stack(self, parts: Sequence[Any], dim: int = 0) -> Any:
        axis = dim % (len(parts[0].shape) + 1)
        return self._cat([moved(part, lambda each: each.unsqueeze(axis)) for part in parts], axis)

    def _scatter(self, a: Any, part: Any, region: Callable[[Tensor], Tensor]) -> Any:
        result = self.store(a.shape)
        self.write(a, result)
        assert isinstance(result.source, Store)
        self.write(part, Array(result.source, region(result.places)), result.source.at)
        return result

    def _slice_scatter(self, a: Any, part: Any, *where: Any, **named: Any) -> Any:
        return self._scatter(a, part, lambda each: torch.ops.aten.slice(each, *where, **named))

    def _select_scatter(self, a: Any, part: Any, *where: Any, **named: Any) -> Any:
        return self._scatter(a, part, lambda each: each.select(*where, **named))


def _shared(given: Array | Tensor) -> bool:
    return isinstance(given, Tensor) or given.uniform


def _handed(given: Array) -> bool:
    return isinstance(given.source, Store) and given.source.at < 0
