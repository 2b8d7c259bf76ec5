"""Whole states and their fields, also along a power series."""

from typing import Any

import torch
from torch import Tensor

from sme.common.derivatives.tracing import traced
from sme.equations.base import join
from sme.equations.derived.series import Series


def split(x: Any, dim: int) -> list[Any]:
    """The fields of a whole state; of a series, field by field without the coefficients that are 0."""
    if not isinstance(x, Series):
        return list(x.split(dim, -1))
    parts = [None if c is None else split(c, dim) for c in x.coefficients]
    count = next(len(part) for part in parts if part is not None)
    fields = []
    for i in range(count):
        own = [None if part is None or (k and _zero(part[i])) else part[i] for k, part in enumerate(parts)]
        fields.append(Series(own, x.level) if any(c is not None for c in own[1:]) else own[0])
    return fields


def _zero(part: Any) -> bool:
    return not traced() and isinstance(part, Tensor) and not bool(part.any())


def beside(fields: list[Any]) -> Any:
    """The fields as a whole state, or as a series of whole states."""
    found = [field for field in fields if isinstance(field, Series)]
    if not found:
        return join(*fields)
    level, length = max((field.level, len(field.coefficients)) for field in found)
    shape = _template(fields[0])
    parts = [field.coefficients if isinstance(field, Series) and field.level == level else [field] + [None] * (length - 1)
             for field in fields]
    rows = [[part[k] for part in parts] for k in range(length)]
    whole = [None if all(c is None for c in row) else beside([shape if c is None else c for c in row]) for row in rows]
    return Series(whole, level)


def _template(field: Any) -> Tensor:
    while isinstance(field, Series):
        field = next(c for c in field.coefficients if c is not None)
    return torch.zeros_like(field)


def theta_of(x: Any, dim: int) -> Any:
    """The parameters in a whole state."""
    return split(x, dim)[0]


def repeat(x: Tensor, count: int) -> Tensor:
    """The paths `count` times over, stored field by field as `x` is."""
    return x.T.repeat(1, count).T


def every_field(part: Tensor, x: Tensor) -> Tensor:
    """What belongs to the coordinates, `(paths, d)`, once for each field of `x`."""
    return part.T.repeat(x.shape[1] // part.shape[1], 1).T
