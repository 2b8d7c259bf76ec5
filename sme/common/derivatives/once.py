"""Graphs in which equal operations are done once, and what no argument decides is done beforehand."""

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

ALIKE = frozenset(("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"))
"""operations of whose tensor only the shape is asked for"""


def same(given: Any, things: Any) -> Any:
    """What is equal for the very same arguments alone: 1 is not 1.0 or true, 0.0 not -0.0; of these things each is its own."""
    if isinstance(given, things):
        return "thing", id(given)
    if isinstance(given, list | tuple):
        return type(given), *(same(each, things) for each in given)
    if isinstance(given, dict):
        return type(given), *((name, same(each, things)) for name, each in given.items())
    return type(given), repr(given) if isinstance(given, float | complex) else given


class _Constants(Interpreter):
    """Runs a graph, and keeps the tensors that no argument decides."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.found: dict[Node, Tensor] = {}
        self._still: set[Node] = set()

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        alike = n.op == "call_function" and _name(n) in ALIKE
        if n.op == "get_attr" or (n.op == "call_function" and (alike or all(each in self._still for each in n.all_input_nodes))):
            self._still.add(n)
            if isinstance(result, Tensor):
                self.found[n] = result
        return result


def _name(node: Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else schema.name.split("::")[-1]


def once(module: GraphModule, *examples: Tensor) -> GraphModule:
    """The same graph, of operations that write to nothing, for arguments of the shapes and strides of these examples.

    Operations with the same arguments are done once, those that no argument decides are done now, those whose results nobody
    asks for are left out. No operation is changed, and so is no digit of what the graph gives, which is not to be written to.

    Raises
    ------
    RuntimeError
        where an operation writes to what it is given, or draws random numbers.
    """
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            if node.target._schema.is_mutable:
                raise RuntimeError(f"{node.target} writes to what it is given")
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                raise RuntimeError(f"{node.target} draws random numbers")
    constants = _Constants(module)
    constants.run(*examples)
    seen: dict[Any, Node] = {}
    for number, node in enumerate(list(module.graph.nodes)):
        if node.op != "call_function":
            continue
        if node in constants.found:
            module.register_buffer(f"constant{number}", constants.found[node], persistent=False)
            with module.graph.inserting_before(node):
                kept = module.graph.get_attr(f"constant{number}")
        else:
            key = node.target, same((node.args, node.kwargs), Node)
            kept = seen.setdefault(key, node)
        if kept is not node:
            node.replace_all_uses_with(kept)
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module
