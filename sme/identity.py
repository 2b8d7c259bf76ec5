"""Fingerprints: what makes two studies the same study."""

import functools
import hashlib
import inspect
import json
import sys
import types
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from sme import numerics
from sme.errors import SMEError

PACKAGE = "sme"
KEPT = {f"{PACKAGE}.{name}": f"{PACKAGE}.problems.network.{name}" for name in ("_entropy", "_squared")}
"""private names that studies were named by, as they were then"""


def fingerprint(value: Any) -> Any:
    """A JSON-able description of `value` that changes when its meaning does.

    Small tensors are spelled out, large ones hashed. A function is its name and the hash of its
    code, constants, defaults, of what it closes over and of the globals that it names; functions
    of installed packages go by their names. An object is its class and its attributes.

    Raises
    ------
    SMEError
        for what cannot be told apart (such as an open file).
    """
    return _describe(value, ())


def _describe(value: Any, seen: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | complex | np.number):
        return value.item() if isinstance(value, np.number) else repr(value) if isinstance(value, complex) else value
    if isinstance(value, torch.Tensor):
        return _array(value.detach().cpu().numpy())
    if isinstance(value, np.ndarray):
        return _array(value)
    if id(value) in seen:  # a function that calls itself
        return "itself"
    seen = (*seen, id(value))
    if isinstance(value, dict):
        return {str(key): _describe(item, seen) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(item, seen) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_describe(item, seen) for item in value), key=repr)
    if isinstance(value, functools.partial):
        return ["partial", *(_describe(part, seen) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, types.MethodType):
        return [_describe(value.__func__, seen), _describe(value.__self__, seen)]
    if isinstance(value, types.FunctionType) and not _installed(value):
        return _function(value, seen)
    if isinstance(value, type):
        return [_name(value), _methods(value, seen)]
    if callable(value) and hasattr(value, "__qualname__"):
        return _name(value)
    return _object(value, seen)


def _name(value: Any) -> str:
    """`module.name`; of the package's own by the public name, `sme.Adam`, wherever its file is."""
    module, name = getattr(value, "__module__", None) or "", value.__qualname__
    own = f"{PACKAGE}.{name}"
    if module.partition(".")[0] != PACKAGE:
        return f"{module}.{name}"
    return own if public(value) else KEPT.get(own, f"{module}.{name}")


def public(value: Any) -> bool:
    """Whether `sme.<name>` is this very class or function."""
    return getattr(sys.modules[PACKAGE], value.__qualname__, None) is value


def _array(array: np.ndarray) -> Any:
    array = np.ascontiguousarray(array)
    if array.size <= 64:
        return array.tolist()
    return f"array {array.dtype} {array.shape} sha256 {_sha(array.tobytes())}"


def _function(value: types.FunctionType, seen: tuple[int, ...]) -> str:
    cells = [_describe(cell.cell_contents, seen) for cell in value.__closure__ or ()]
    names = sorted(_names(value.__code__))
    used = {name: _describe(value.__globals__[name], seen) for name in names if name in value.__globals__}
    parts = [_code(value.__code__), _describe(value.__defaults__, seen), _describe(value.__kwdefaults__, seen), cells, used]
    return f"function {value.__qualname__.split('.')[-1]} sha256 {_sha(json.dumps(parts).encode())}"


def _object(value: Any, seen: tuple[int, ...]) -> Any:
    kind = _name(type(value))
    describe = None if isinstance(value, torch.nn.Module) else getattr(type(value), "describe", None)
    if describe is not None and len(inspect.signature(describe).parameters) == 1:
        return _describe(value.describe(), seen)
    if isinstance(value, torch.nn.Module):
        return [kind, _methods(type(value), seen), str(value), _describe(dict(value.state_dict()), seen)]
    if not hasattr(value, "__dict__"):
        raise SMEError(f"cannot tell two {kind} apart, so a study with one has no name: "
                       "use numbers, tensors or plain functions in the loss, the noise and the observables")
    return [kind, _methods(type(value), seen), _describe(vars(value), seen)]


def _methods(kind: type, seen: tuple[int, ...]) -> Any:
    """The code of a class of the user's own; a name is enough for an installed one."""
    if _installed(kind):
        return None
    return {name: _describe(item, seen) for name, item in sorted(vars(kind).items())
            if isinstance(item, types.FunctionType | bool | int | float | str) and name not in ("__module__", "__doc__")}


def _installed(value: Any) -> bool:
    root = (getattr(value, "__module__", None) or "").partition(".")[0]
    return root in ("torch", "numpy", "scipy", "builtins", "math", "operator", "sme")


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _code(code: types.CodeType) -> list[Any]:
    constants = [_code(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _constant(value: Any) -> str:
    return repr(sorted(value, key=repr)) if isinstance(value, frozenset) else repr(value)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def digest(specification: dict[str, Any], parts: Iterable[str]) -> str:
    """Eight hexadecimal digits of the specification and of the numbers of the `parts` that it uses (`sme.numerics`)."""
    return hashed(specification, numerics.written(parts))


def hashed(specification: dict[str, Any], numbers: Any) -> str:
    """The same of these numbers, whatever they are now: what the name of a study on disk ends in."""
    text = json.dumps({**specification, "numerics": numbers}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
