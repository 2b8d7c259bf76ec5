"""The code of a function as its source has it: the same in every version of Python, whatever its comments and its layout."""

import ast
import dis
import linecache
import sys
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

Chain = tuple[str, ...]
"""a name and the attributes that are read of it, as `("helpers", "GAIN")`"""
UNTOLD = ("returns", "annotation", "type_comment", "type_params", "ctx", "kind")
"""what of a syntax tree changes no number"""
VERSION = f"python {sys.version_info.major}.{sys.version_info.minor}"
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Import(NamedTuple):
    """What a name is after an `import` inside a function: a module, or an attribute of one."""

    module: str
    attribute: str | None
    level: int


class Code(NamedTuple):
    """What a function does, what it reads, and what it imports by which name."""

    form: Any
    reads: frozenset[Chain]
    imports: Mapping[str, Import]


def code(function: types.FunctionType) -> Code:
    """The code of a function.

    From its source, if there is one and just this code comes out of it: a file may have been edited since it was imported.
    Otherwise (`exec`, an edited file, rewritten code) its bytecode, with the version of Python that it belongs to: it does say
    what runs, but another version has other bytecode.
    """
    own = function.__code__
    for stale in (True, False):  # what was read first is often what was imported
        if not stale:
            linecache.checkcache(own.co_filename)
        node = _node(own, "".join(linecache.getlines(own.co_filename, function.__globals__)))
        if node is not None:
            form = [type(node).__name__, *_parts(node)]
            return Code(form, frozenset(_chains(form)), dict(_imports(form)))
    return Code([VERSION, _bytecode(own)], frozenset(_read(own)), dict(_imported(own)))


def names(own: types.CodeType) -> frozenset[str]:
    """The names that a code reads from outside all functions, and some attributes."""
    return frozenset(own.co_names).union(*map(names, _inner(own)))


def _parts(node: Function) -> list[Any]:
    """Arguments and body; what defaults and decorators come to is told by the function itself."""
    given = ast.arguments(**{**dict(ast.iter_fields(node.args)), "defaults": [], "kw_defaults": []})
    body = node.body if isinstance(node, ast.Lambda) else _statements(node.body)
    return [getattr(node, "name", ""), _form(given), _form(body)]


def _form(node: Any) -> Any:
    """A syntax tree as lists, without places, annotations and statements that do nothing; absent and empty are the same."""
    if isinstance(node, list):
        return [_form(each) for each in node]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, hex(node.value) if type(node.value) is int else repr(node.value)]
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        node = ast.Assign(targets=[node.target], value=node.value)
    if not isinstance(node, ast.AST):
        return node
    fields = {}
    for name, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            value = _statements(value)
        if name not in UNTOLD and value is not None and value != []:
            fields[name] = _form(value)
    return [type(node).__name__, fields]


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Those that do something: no docstring, no `pass`, no bare annotation."""
    return [each for each in body if not isinstance(each, ast.Pass)
            and not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            and not (isinstance(each, ast.AnnAssign) and each.value is None)]


def _chains(form: Any) -> Iterator[Chain]:
    if isinstance(form, dict):
        form = list(form.values())
    elif isinstance(form, list) and form and form[0] in ("Name", "Attribute"):
        attributes: Chain = ()
        while form[0] == "Attribute":
            attributes, form = (form[1]["attr"], *attributes), form[1]["value"]
        if form[0] == "Name":
            yield (form[1]["id"], *attributes)
            return
    if isinstance(form, list):
        for each in form:
            yield from _chains(each)


def _imports(form: Any) -> Iterator[tuple[str, Import]]:
    if isinstance(form, dict):
        form = list(form.values())
    elif isinstance(form, list) and form and form[0] in ("Import", "ImportFrom"):
        own = form[1]
        for _, each in own["names"]:
            name, alias = each["name"], each.get("asname")
            if form[0] == "ImportFrom":
                yield alias or name, Import(own.get("module", ""), name, own.get("level", 0))
            else:
                yield alias or name.partition(".")[0], Import(name if alias else name.partition(".")[0], None, 0)
        return
    if isinstance(form, list):
        for each in form:
            yield from _imports(each)


@lru_cache(maxsize=32)
def _parsed(text: str, filename: str) -> tuple[list[Function], list[types.CodeType]]:
    """The functions of a source, and the codes that come out of it."""
    tree = ast.parse(text)
    whole = compile(tree, filename, "exec", dont_inherit=True)
    codes, rest = [], [whole]
    while rest:
        inner = _inner(rest.pop())
        codes += inner
        rest += inner
    return [each for each in ast.walk(tree) if isinstance(each, Function)], codes


def _node(own: types.CodeType, text: str) -> Function | None:
    """The function in a source that a code comes from."""
    if not text:
        return None
    try:
        functions, codes = _parsed(text, own.co_filename)
    except (SyntaxError, ValueError, RecursionError):
        return None
    if not any(each.co_firstlineno == own.co_firstlineno and _same(each, own) for each in codes):
        return None
    here = [each for each in functions if _first(each) == own.co_firstlineno and getattr(each, "name", "<lambda>") == own.co_name]
    if len(here) > 1:  # functions on one line: the smallest body that holds all of the code
        places = [((line, column), (end, last)) for line, end, column, last in own.co_positions()
                  if line is not None and end is not None and column is not None and last]
        here = [each for each in here if places and _start(each) <= min(first for first, _ in places)
                and max(end for _, end in places) <= _end(each)]
        here.sort(key=_start, reverse=True)
    return here[0] if here else None


def _first(node: Function) -> int:
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])


def _start(node: Function) -> tuple[int, int]:
    first: Any = node.body[0] if isinstance(node.body, list) else node.body
    return first.lineno, first.col_offset


def _end(node: Function) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0


def _inner(own: types.CodeType) -> list[types.CodeType]:
    return [each for each in own.co_consts if isinstance(each, types.CodeType)]


def _bytecode(own: types.CodeType) -> list[Any]:
    constants = [_bytecode(each) if isinstance(each, types.CodeType) else _constant(each) for each in own.co_consts]
    told = (own.co_name, own.co_names, own.co_varnames, own.co_freevars, own.co_cellvars)
    counts = (own.co_argcount, own.co_posonlyargcount, own.co_kwonlyargcount, own.co_flags)
    return [own.co_code.hex(), own.co_exceptiontable.hex(), *(list(each) for each in (*told[1:], counts)), told[0], constants]


def _constant(value: Any) -> str:
    return repr(sorted(value, key=repr)) if isinstance(value, frozenset) else repr(value)


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    return one.co_code == other.co_code and _bytecode(one) == _bytecode(other)


def _read(own: types.CodeType) -> Iterator[Chain]:
    """As `_chains`, from bytecode."""
    chain: Chain = ()
    for each in dis.get_instructions(own):
        if chain and each.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain = (*chain, str(each.argval))
            continue
        if chain and each.opname in ("EXTENDED_ARG", "NOP", "PUSH_NULL"):
            continue
        if chain:
            yield chain
        chain = (str(each.argval),) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF") else ()
    yield from (chain for inner in _inner(own) for chain in _read(inner))
    yield from ((name,) for name, _ in _imported(own))


def _imported(own: types.CodeType) -> Iterator[tuple[str, Import]]:
    """As `_imports`, from bytecode, which calls every module by its own name."""
    module, level = "", 0
    before: list[Any] = []
    for each in dis.get_instructions(own):
        if each.opname == "IMPORT_NAME":
            module, level = str(each.argval), int(before[-2] or 0)
            if before[-1] is None:
                yield module, Import(module, None, level)
        elif each.opname == "IMPORT_FROM":
            yield f"{module}.{each.argval}", Import(module, str(each.argval), level)
        before.append(each.argval)
    yield from (found for inner in _inner(own) for found in _imported(inner))
