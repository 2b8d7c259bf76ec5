"""Graphs of functions of tensors: the operations that torch does for them, one by one."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.fx import Graph, GraphModule, Node
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, autograd_would_have_decomposed
from torch.utils._pytree import tree_leaves, tree_map_only

from sme.common.derivatives.tracing import tracing

Decompositions = Mapping[Any, Callable[..., Any]]
LEAVING = (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__)
"""what takes the values of a tensor out of torch's sight"""


def graph(function: Callable[..., Any], *examples: Tensor, decompositions: Decompositions | None = None,
          shapes: bool = True, most: float = math.inf) -> GraphModule:
    """What `make_fx(function, decomposition_table)(*examples)` of torch gives, in a fifth of its time.

    That one follows the shapes for a compiler, which takes a second to import; here are numbers, and no compiler. With `shapes`
    values may decide how many numbers an operation gives, as `x[x > 0]`, if nothing but operations asks how many. Every result is
    held until the end, in `most` bytes.

    Raises
    ------
    RuntimeError
        where the function asks for the value of a tensor that its arguments decide, or without `shapes` for its shape.
    MemoryError
        where more would be held.
    """
    with tracing(), _Recorder(examples, decompositions or {}, shapes, most) as recorder, _Leaving(recorder):
        result = function(*examples)
    recorder.graph.output(recorder.named(result))
    return GraphModule(recorder.constants, recorder.graph)


def _refuse(what: Any) -> None:
    raise RuntimeError(f"it branches on, or asks for, the value of a tensor that its arguments decide ({what})")


class _Leaving(TorchFunctionMode):
    """Refuses to let values out that no operation would tell of."""

    def __init__(self, recorder: "_Recorder") -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func in LEAVING and (is_functorch_wrapped_tensor(args[0]) or self.recorder.decided(args[0])):
            _refuse(func.__name__)
        return func(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):
    """Does every operation, and writes it down."""

    def __init__(self, examples: tuple[Tensor, ...], decompositions: Decompositions, shapes: bool, most: float) -> None:
        super().__init__()
        self.graph, self.decompositions, self.shapes, self.left = Graph(), decompositions, shapes, most
        self.constants: dict[str, Tensor] = {}
        self._nodes: dict[int, tuple[Tensor, Node]] = {}
        """by the tensor's identity, which is its own as long as it is here"""
        self._places: set[int] = set()
        self._memory: set[int] = set()
        """where numbers lie that the arguments decide, or chance: all views of them do"""
        for i, example in enumerate(examples):
            self._keep(example, self.graph.placeholder(f"arg{i}_1"), True)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, to tell it to keep out

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if (made := self.decompositions.get(func)) is not None:
            with self:
                return made(*args, **kwargs)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if autograd_would_have_decomposed(func, tensors):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        given = self.named((args, kwargs))
        decided = torch.Tag.nondeterministic_seeded in func.tags or any(map(self.decided, tensors))
        if torch.Tag.data_dependent_output in func.tags:
            if decided:
                _refuse(func)
            return func(*args, **kwargs)
        if not self.shapes and torch.Tag.dynamic_output_shape in func.tags and any(map(self.decided, _shaping(func, args))):
            raise RuntimeError(f"its arguments decide how many numbers {func} gives")
        if func is torch.ops.aten.lift_fresh.default:  # what is written over is not the constant
            func = torch.ops.aten.lift_fresh_copy.default
        result = func(*args, **kwargs)
        node = given[0][0] if func is torch.ops.aten.alias.default else self.graph.call_function(func, *given)
        self._track(result, node, decided)
        if decided and func._schema.is_mutable:
            self._memory.update(_memory(each) for each in tensors)
        return result

    def decided(self, tensor: Tensor) -> bool:
        """Whether the arguments decide any of its numbers, or chance."""
        return _memory(tensor) in self._memory

    def named(self, things: Any) -> Any:
        """The things, with nodes in the places of tensors."""
        return tree_map_only(Tensor, self._node, things)

    def _node(self, tensor: Tensor) -> Node:
        if (known := self._nodes.get(id(tensor))) is not None:
            return known[1]
        name = f"_tensor_constant{len(self.constants)}"
        self.constants[name] = tensor
        node = self.graph.get_attr(name)
        self._keep(tensor, node, False)
        return node

    def _track(self, result: Any, node: Node, decided: bool) -> None:
        if isinstance(result, Tensor):
            self._keep(result, node, decided)
        elif isinstance(result, tuple | list):
            for i, part in enumerate(result):
                self._track(part, self.graph.call_function(operator.getitem, (node, i)), decided)

    def _keep(self, tensor: Tensor, node: Node, decided: bool) -> None:
        self._nodes[id(tensor)] = tensor, node
        if self.left < math.inf and (place := _memory(tensor)) not in self._places:
            self._places.add(place)
            self.left -= tensor.untyped_storage().nbytes()
            if self.left < 0:
                raise MemoryError("the results of all operations are too large to be held at once")
        if decided:
            self._memory.add(_memory(tensor))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _shaping(func: Any, args: tuple[Any, ...]) -> list[Tensor]:
    """The tensors of which the values decide how many numbers come out: of an index its masks."""
    if func is torch.ops.aten.index.Tensor:
        return [each for each in args[1] if each is not None and each.dtype is torch.bool]
    return [each for each in args if isinstance(each, Tensor)]
