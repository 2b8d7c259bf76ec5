"""Which code a claim is measured by: its function and the functions and constants of this package that it calls."""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sme.common.identity.numerics import NUMERICS, written
from sme.common.storage.files import sha

HOME = __name__.rpartition(".")[0]
ADDRESS = " at 0x"
"""in what an object without a better name prints"""
HOLDERS = f"{HOME}.claim"
"""what numbers and curves are put into: how they are judged and worded is no part of what was measured"""


def identity(function: Any) -> str:
    """A checksum of what a function does, without comments and layout, and of the numerics of the rest of the package."""
    seen: dict[str, str] = {}
    _tell(function, seen)
    return sha(repr((sorted(seen.items()), written(NUMERICS))).encode())


def _tell(given: Any, seen: dict[str, str]) -> None:
    name = f"{given.__module__}.{given.__qualname__}"
    if name in seen:
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(given)))
    seen[name] = ast.dump(_bare(tree))
    space = vars(inspect.getmodule(given))
    for each in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & set(space):
        value = getattr(space[each], "__wrapped__", space[each])  # of a function whose results are kept
        if isinstance(value, types.FunctionType | type):
            if value.__module__.startswith(HOME) and value.__module__ != HOLDERS:
                _tell(value, seen)
        elif isinstance(value, int | float | str | tuple | dict | list) and each.isupper():
            said = repr(value)
            seen[f"{given.__module__}.{each}"] = said if ADDRESS not in said else _assigned(space["__file__"], each)


def _assigned(file: str, name: str) -> str:
    """A constant as its module writes it: one of functions, whose address is another in every process."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return "".join(ast.dump(node) for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)
                   and name in {each.id for each in ast.walk(node) if isinstance(each, ast.Name)})


def _bare(tree: ast.Module) -> ast.Module:
    """Without docstrings."""
    for node in _bodies(tree):
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _bodies(tree: ast.Module) -> Iterator[Any]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))
