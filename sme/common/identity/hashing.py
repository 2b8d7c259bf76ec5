"""Fingerprints: what makes two studies the same study."""

import enum
import hashlib
import json
import types
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import numpy as np
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity import numerics, values
from sme.common.identity.owned import PACKAGE, own, public
from sme.common.identity.teller import Teller

_describing: ContextVar[Any] = ContextVar("describing", default=None)
"""what describes, within a `describe` that asks for the fingerprint of a part"""
__all__ = ["PACKAGE", "digest", "fingerprint", "public"]


def fingerprint(value: Any) -> Any:
    """A JSON-able description of `value` that changes when its meaning does.

    Numbers and small tensors are spelled out, large ones hashed. A function of the user's own is the hash of its source (without
    comments and layout), of what its defaults and closure hold, and of what it reads in modules of the user's own; a class that
    of its members and of those of its bases, up to installed ones; an object that of its class and attributes. What is installed
    goes by its name. A part of a study is what its `describe` says, and its code and attributes, if its class is the user's own.

    Raises
    ------
    SMEError
        for what cannot be told apart (such as an open file).
    """
    known = _describing.get()
    token = _describing.set(known or Teller())
    try:
        return _plain(value, _describing.get())
    except RecursionError:
        raise SMEError("what is studied is nested too deep to be told apart from others, so a study of it has no name") from None
    finally:
        _describing.reset(token)


def _plain(value: Any, tell: Teller) -> Any:
    """Numbers, names and their tables as they stand; all else as `tell` has it."""
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float | complex | np.number):
        plain = value.item() if isinstance(value, np.number) else value
        return repr(plain) if isinstance(plain, complex) else plain
    if isinstance(value, Tensor | np.ndarray) and not own(type(value).__module__):
        return values.array(value)
    if not own(type(value).__module__):
        if isinstance(value, dict | types.MappingProxyType) and len({str(key) for key in value}) == len(value):
            return {str(key): _plain(item, tell) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [_plain(item, tell) for item in value]
        if isinstance(value, set | frozenset):
            return sorted((_plain(item, tell) for item in value), key=repr)
    if (place := tell.place(value)) is not None:
        return place
    with tell.within(value):
        part = tell.part(value)
        if part is not None:
            said, further = _plain(part[0], tell), part[1]
            return {**said, **further} if further and isinstance(said, dict) else [said, further] if further else said
    return tell(value)


def digest(specification: dict[str, Any], parts: Iterable[str]) -> str:
    """Eight hexadecimal digits of the specification and of the numbers of the `parts` that it uses (see `numerics`)."""
    return hashed(specification, numerics.written(parts))


def hashed(specification: dict[str, Any], numbers: Any) -> str:
    """The same of these numbers, whatever they are now: what the name of a study on disk ends in."""
    text = json.dumps({**specification, "numerics": numbers}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
