"""A traced function, and what its operations decide at given points."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import vmap

from sme.common.derivatives.graphs import graph as graph_of
from sme.problems.smooth.switches import Switch, after, before, known, name_of

COMPARED = ("gt", "lt", "ge", "le", "eq", "ne")
CHOOSING = ("where", "masked_fill", "index_put", "masked_scatter")


class TracingError(Exception):
    """A function branches on what it computes, or does something else that no graph holds."""


class Graph:
    """The operations of a function of tensors, of one point, that depend on its arguments.

    Attributes
    ----------
    names
        of the operations that switch, in the order of `switches`.
    unknown
        operations of which it is not known whether they are smooth.

    Raises
    ------
    TracingError
        if the function cannot be traced.
    """

    def __init__(self, function: Callable[..., Any], *example: Tensor) -> None:
        try:
            self.module = graph_of(lambda *point: function(*point), *example)  # it counts the arguments of a bound method wrongly
        except Exception as fault:
            raise TracingError((str(fault).strip().splitlines() or [type(fault).__name__])[0]) from fault
        self.module.graph.eliminate_dead_code()
        moving: set[fx.Node] = set()
        for node in self.module.graph.nodes:
            if node.op == "placeholder" or any(each in moving for each in node.all_input_nodes):
                moving.add(node)
        called = [node for node in self.module.graph.nodes if node.op == "call_function" and node in moving]
        named = [(node, name_of(node.target)) for node in called if str(node.target).startswith("aten.")]
        seen = _Recorder(self.module, {node for node, _ in named})
        seen.run(*example)
        self._watched = list(seen.found)
        self.unknown = tuple(sorted({name for node, name in named if node not in seen.found and not known(name)}))
        self.names = tuple(_label(node) for node in self._watched)

    def switches(self, *points: Tensor) -> list[Switch]:
        """What every operation that switches decides at a batch of points, as `(points, entries)`."""
        def one(*point: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
            recorder = _Recorder(self.module, set(self._watched))
            recorder.run(*point)
            return tuple((found.pattern.reshape(-1), found.value.reshape(-1)) for found in recorder.found.values())

        if not self._watched:
            return []
        with torch.no_grad():
            try:
                rows = vmap(one)(*points)
            except RuntimeError:  # an operation that cannot be batched
                each = [one(*point) for point in zip(*points, strict=True)]
                rows = tuple((torch.stack([a for a, _ in column]), torch.stack([b for _, b in column]))
                             for column in zip(*each, strict=True))
        return [Switch(pattern, value) for pattern, value in rows]


class _Recorder(fx.Interpreter):
    """Runs a graph, and keeps what the watched operations decide."""

    def __init__(self, module: fx.GraphModule, watched: set[fx.Node]) -> None:
        super().__init__(module)
        self.watched, self.found = watched, dict[fx.Node, Switch]()

    def run_node(self, n: fx.Node) -> Any:
        if n not in self.watched:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        switch = before(name_of(n.target), args, kwargs)  # it may write over its arguments
        result = super().run_node(n)
        switch = switch or after(args, result)
        if switch is not None:
            self.found[n] = switch
        return result


def _label(node: fx.Node) -> str:
    """What people call the operation: a comparison that a choice is made by is `where`."""
    name = name_of(node.target).removesuffix("_backward")
    if name in COMPARED and any(name_of(user.target) in CHOOSING for user in node.users):
        return "where"
    return {"linalg_vector_norm": "norm", "max_pool2d_with_indices": "max_pool2d", "_prelu_kernel": "prelu"}.get(name, name)
