"""Fingerprints: what makes two studies the same study."""

import hashlib
import json
import types
from typing import Any

import numpy as np
import torch

NUMERICS = 1
"""Raised in the commit that changes an equation, a scheme or a random stream."""


def fingerprint(value: Any) -> Any:
    """A JSON-able description of `value` that changes when its meaning does.

    Small tensors are spelled out, large ones hashed; a function is its name and the hash of its
    code, constants, defaults and of what it closes over.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        return fingerprint(value.detach().cpu().numpy())
    if isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        if array.size <= 64:
            return array.tolist()
        return f"array {array.dtype} {array.shape} sha256 {_sha(array.tobytes())}"
    if isinstance(value, dict):
        return {str(key): fingerprint(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [fingerprint(item) for item in items]
    if isinstance(value, types.FunctionType):
        cells = [fingerprint(cell.cell_contents) for cell in value.__closure__ or ()]
        used = {name: fingerprint(value.__globals__[name])
                for name in value.__code__.co_names
                if isinstance(value.__globals__.get(name), bool | int | float | str | torch.Tensor | np.ndarray)}
        parts = [_code(value.__code__), fingerprint(value.__defaults__), cells, used]
        return f"function {value.__qualname__.split('.')[-1]} sha256 {_sha(json.dumps(parts).encode())}"
    if isinstance(value, types.MethodType):
        return [fingerprint(value.__func__), fingerprint(value.__self__)]
    if hasattr(value, "describe"):
        return fingerprint(value.describe())
    fields = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("_")}
    return {"type": type(value).__qualname__, **{k: fingerprint(v) for k, v in fields.items()}}


def _code(code: types.CodeType) -> list[Any]:
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def digest(specification: dict[str, Any]) -> str:
    """Eight hexadecimal digits of the specification and `NUMERICS`."""
    text = json.dumps({**specification, "numerics": NUMERICS}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
