"""A function's graph of operations, and a rule for each of them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.func import functionalize
from torch.fx import GraphModule, Interpreter

from sme.common.derivatives.graphs import graph as graph_of
from sme.common.errors import SMEError
from sme.simulate.codegen.operations import POINTWISE

KEPT = (torch.float64, torch.bool, None)
"""what a number that the path decides may be"""
PLACE = ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "implicit")
"""arguments that say nothing here"""


class NotLoweredError(SMEError):
    """A function that has no such form; it runs by PyTorch."""


def trace(function: Callable[..., Any], examples: Sequence[Tensor]) -> GraphModule:
    """The graph of ATen operations of `function`.

    Raises
    ------
    NotLoweredError
        if it cannot be traced.
    """
    try:
        with torch.no_grad():
            graph = graph_of(functionalize(function), *examples, decompositions=_decompositions(), shapes=False)
    except Exception as fault:
        raise NotLoweredError(f"it cannot be traced ({type(fault).__name__}: {str(fault).splitlines()[0][:120]})") from fault
    graph.graph.eliminate_dead_code()
    return graph


@functools.cache
def _decompositions() -> Mapping[Any, Callable[..., Any]]:
    """torch's own, looked up once: that takes longer than most traces; but one, which imports a library for symbols."""
    found: Any = core_aten_decompositions()
    return {**found, torch.ops.aten.split.Tensor: _split}


def _split(x: Tensor, size: int, dim: int = 0) -> Sequence[Tensor]:
    """As `torch.split`, whose size no tensor decides."""
    length = x.shape[dim]
    sizes = [min(size, length - i) for i in range(0, length, max(1, size))]
    parts: Sequence[Tensor] = torch.ops.aten.split_with_sizes.default(x, sizes or [0], dim)
    return parts


class AtenInterpreter(Interpreter):
    """Runs a graph by a rule for each operation: the method with its name after an underscore."""

    def lower(self, *arguments: Any) -> Any:
        """What the graph returns for these.

        Raises
        ------
        NotLoweredError
            for an operation without a form in C.
        """
        try:
            return self.run(*arguments)
        except Exception as fault:  # the interpreter adds the place to the message
            raise NotLoweredError(str(fault).splitlines()[0][:160]) from fault

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not hasattr(target, "_schema"):  # operator.getitem of a split
            return target(*args, **kwargs)
        if torch.Tag.nondeterministic_seeded in target.tags:
            raise NotLoweredError(f"the operation {target} draws random numbers")
        name = target._schema.name.split("::")[-1]
        if kwargs.get("dtype", torch.float64) not in KEPT and any(map(self.moves, args)):
            raise NotLoweredError(f"it converts to {kwargs['dtype']}")
        kwargs = {key: value for key, value in kwargs.items() if key not in PLACE}
        if name in POINTWISE:
            return self._pointwise(name, args, kwargs)
        rule = getattr(self, f"_{name.lstrip('_')}", None)
        return self.further(name, target, args, kwargs) if rule is None else rule(*args, **kwargs)

    def further(self, name: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation without a method of its own."""
        raise NotLoweredError(f"the operation {target} has no form in C here")

    def _addmm(self, c: Any, a: Any, b: Any, beta: float = 1.0, alpha: float = 1.0) -> Any:
        product = self._pointwise("mul", (self._mm(a, b), alpha), {})
        return self._pointwise("add", (self._pointwise("mul", (c, beta), {}), product), {})

    def _convert_element_type(self, a: Any, dtype: torch.dtype) -> Any:
        if dtype not in KEPT and self.moves(a):
            raise NotLoweredError(f"it converts to {dtype}")
        return a

    def _mm(self, a: Any, b: Any) -> Any:
        raise NotImplementedError

    def moves(self, argument: Any) -> bool:
        """Whether the path decides any of its numbers."""
        raise NotImplementedError

    def _pointwise(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError
