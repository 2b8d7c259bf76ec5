"""Graphs of functions of tensors: the operations that torch does for them, one by one."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode, autograd_would_have_decomposed
from torch.utils._pytree import tree_leaves, tree_map_only

from sme.common.derivatives.tracing import tracing

Decompositions = Mapping[Any, Callable[..., Any]]


def graph(function: Callable[..., Any], *examples: Tensor, decompositions: Decompositions | None = None) -> GraphModule:
    """What `make_fx(function, decomposition_table)(*examples)` of torch gives, in a fifth of its time.

    That one follows the shapes for a compiler, which takes a second to import; here are numbers, and no compiler.

    Raises
    ------
    RuntimeError
        where the function asks for the value of a tensor that its arguments decide.
    """
    with tracing(), _Recorder(examples, decompositions or {}) as recorder:
        result = function(*examples)
    recorder.graph.output(recorder.named(result))
    return GraphModule(recorder.constants, recorder.graph)


class _Recorder(TorchDispatchMode):
    """Does every operation, and writes it down."""

    def __init__(self, examples: tuple[Tensor, ...], decompositions: Decompositions) -> None:
        super().__init__()
        self.graph, self.decompositions = Graph(), decompositions
        self.constants: dict[str, Tensor] = {}
        self._nodes: dict[int, tuple[Tensor, Node]] = {}
        """by the tensor's identity, which is its own as long as it is here"""
        self._fixed: set[Node] = set()
        """those that the arguments do not decide"""
        for i, example in enumerate(examples):
            self._keep(example, self.graph.placeholder(f"arg{i}_1"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, to tell it to keep out

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if (made := self.decompositions.get(func)) is not None:
            with self:
                return made(*args, **kwargs)
        if autograd_would_have_decomposed(func, tree_leaves((args, kwargs))):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        given = self.named((args, kwargs))
        fixed = all(node in self._fixed for node in tree_leaves(given) if isinstance(node, Node))
        if torch.Tag.data_dependent_output in func.tags:
            if fixed:
                return func(*args, **kwargs)
            raise RuntimeError(f"it branches on, or asks for, the value of a tensor that its arguments decide ({func})")
        if func is torch.ops.aten.lift_fresh.default:  # what is written over is not the constant
            func = torch.ops.aten.lift_fresh_copy.default
        result = func(*args, **kwargs)
        node = given[0][0] if func is torch.ops.aten.alias.default else self.graph.call_function(func, *given)
        self._track(result, node, fixed)
        return result

    def named(self, things: Any) -> Any:
        """The things, with nodes in the places of tensors."""
        return tree_map_only(Tensor, self._node, things)

    def _node(self, tensor: Tensor) -> Node:
        if (known := self._nodes.get(id(tensor))) is not None:
            return known[1]
        name = f"_tensor_constant{len(self.constants)}"
        self.constants[name] = tensor
        node = self.graph.get_attr(name)
        self._fixed.add(node)
        self._keep(tensor, node)
        return node

    def _track(self, result: Any, node: Node, fixed: bool) -> None:
        if fixed:
            self._fixed.add(node)
        if isinstance(result, Tensor):
            self._keep(result, node)
        elif isinstance(result, tuple | list):
            for i, part in enumerate(result):
                self._track(part, self.graph.call_function(operator.getitem, (node, i)), fixed)

    def _keep(self, tensor: Tensor, node: Node) -> None:
        self._nodes[id(tensor)] = tensor, node
