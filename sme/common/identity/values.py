"""Descriptions of plain values: numbers, tensors, dtypes, fractions, dates and their like."""

import datetime
import decimal
import fractions
import hashlib
import json
import pathlib
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sme.common.errors import SMEError

SMALL = 64
"""numbers of a tensor that are spelled out"""
PRINTED = (complex, bytes, bytearray, range, slice, fractions.Fraction, decimal.Decimal, datetime.date, datetime.time,
           datetime.datetime, datetime.timedelta, datetime.timezone, pathlib.PurePath, torch.dtype, torch.device, torch.layout,
           torch.memory_format, np.dtype, type(Ellipsis), type(NotImplemented))
"""types whose printed form tells all"""


def sha(data: bytes) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:16]


def sha_of(parts: Any) -> str:
    """Of plain data."""
    return sha(json.dumps(parts).encode())


def simple(value: Any) -> Any:
    """What a plain value is, with its type; None for any other (and for None, which needs no more)."""
    if type(value) in (bool, int, str, float):
        return value
    if isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter, torch.nn.Buffer):
        return ["tensor", str(value.dtype), list(value.shape), array(value)]
    if type(value) is np.ndarray or isinstance(value, np.generic):
        given = np.asarray(value)
        return None if given.dtype.hasobject else ["array", str(given.dtype), list(given.shape), array(given)]
    if type(value) is torch.Size:
        return ["size", *value]
    if type(value) is re.Pattern:
        return ["pattern", repr(value.pattern), value.flags]
    kind = next((each for each in PRINTED if isinstance(value, each)), None)
    if kind is None or (type(value).__module__.partition(".")[0] not in ("torch", "numpy") and type(value).__module__ not in (
            kind.__module__, "pathlib._local", "builtins")):
        return None
    return [type(value).__name__, repr(value)]


def array(given: Tensor | np.ndarray) -> Any:
    """Nested lists of a small tensor, of a large one its type, shape and hash.

    Raises
    ------
    SMEError
        for one without numbers (on the device "meta"), or of numbers that JSON has not.
    """
    data: Any
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "biufc":
            if given.dtype.hasobject:
                raise SMEError("cannot tell two arrays of Python objects apart: give an array of numbers")
            return [str(given.dtype), list(given.shape), sha(np.ascontiguousarray(given).tobytes())]
        small, kind, data = given.tolist() if given.size <= SMALL else None, str(given.dtype), given
    else:
        given = given.detach()
        if given.is_meta or torch._C._functorch.is_functorch_wrapped_tensor(given):
            raise SMEError("a tensor without numbers (on the device meta, or inside a transform of torch.func) has no name")
        given = (given.to_dense() if given.layout != torch.strided else given).cpu().resolve_conj().resolve_neg().contiguous()
        small, kind = given.tolist() if given.numel() <= SMALL else None, str(given.dtype).removeprefix("torch.")
        data = given
    if small is not None:
        return _spelled(small)
    raw = data.reshape(-1).view(torch.uint8).numpy() if isinstance(data, Tensor) else np.ascontiguousarray(data)
    return f"array {kind} {tuple(data.shape)} sha256 {sha(raw.tobytes())}"


def _spelled(value: Any) -> Any:
    if isinstance(value, list):
        return [_spelled(each) for each in value]
    return repr(value) if isinstance(value, complex) else value
