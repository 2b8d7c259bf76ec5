"""Observables that are asked for, each tried on a few states: its name, its shape, and that each path is by itself."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError, warn
from sme.common.inputs import several, short
from sme.common.output.provenance import RUN
from sme.optimizers.base import Optimizer, State
from sme.problems.base import Problem
from sme.problems.untouched import untouched
from sme.simulate.observables import Capped, available, default, select

APART = (1.0, 3.0, 0.0, 2.0)
"""how far the states lie apart, in no order, at which an observable is tried"""
Observables = Mapping[str, Callable[[State], Tensor] | str] | Sequence[str] | str | None
WHOLE, HALVES = slice(None), (slice(0, 2), slice(2, 4))


def chosen_observables(problem: Problem, optimizer: Optimizer, given: Observables, start: State,
                       reason: str) -> dict[str, Callable[[State], Tensor]]:
    """By name, each checked; by default the built-in ones of the fields of `start`; `reason`: why fields may be lacking.

    Raises
    ------
    SMEError
        naming what was given, what is allowed and what to change.
    """
    if given is None:
        found = default(problem, optimizer, tuple(start))
    elif isinstance(given, Mapping):
        found = {name: select(problem, optimizer, [each])[each] if isinstance(each, str) else each
                 for name, each in given.items()}
    else:
        found = dict(select(problem, optimizer, several(given)))
    if not found:
        raise SMEError("observables is empty: give at least one, or leave it out for the default ones")
    built_in = available(problem, optimizer)
    for name, observable in found.items():
        _check_name(name)
        own = name not in built_in or not is_same(observable, built_in[name])
        if own and name in built_in:
            warn(f"observable '{name}' is a function of your own in place of the built-in one: give it another name for both")
        _check(name, observable, start, reason)
        if own and not isinstance(observable, Capped):
            _check_paths(name, observable, start)
    return found


def is_same(given: object, built_in: Callable[[State], Tensor]) -> bool:
    """Whether an observable is this built-in one, be it of another problem of the kind."""
    if not isinstance(given, partial) or not isinstance(built_in, partial) or given.func is not built_in.func:
        return False
    return all(callable(one) or one == other for one, other in zip(given.args, built_in.args, strict=True))


def _check_name(name: Any) -> None:
    """Refuse what breaks the line of a table, or is run by a spreadsheet that opens it."""
    if not isinstance(name, str):
        raise SMEError(f"an observable is called by text, got {short(name)}: give such as {{'energy': function}}")
    if name.startswith(RUN):
        raise SMEError(f"observable {short(name)} would be run as a formula by a spreadsheet that opens its tables: let its name "
                       f"begin with a letter or a digit, and not with one of {' '.join(RUN[:4])}, a tab or a line break")
    odd = [each for each in name if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    if odd:
        raise SMEError(f"observable {short(name)} has {odd[0]!a} in its name, which no line of a table can hold: give it one of "
                       "letters, digits, spaces and signs")


def _check(name: str, observable: Any, start: State, reason: str) -> None:
    """Raise `SMEError` unless it maps fields `(paths, d)` to real numbers `(paths,)`."""
    if not callable(observable):
        raise SMEError(f"observable '{name}' must be a function of the named fields, got {short(observable)}")
    batch = {field: value.expand(3, -1).contiguous() for field, value in start.items()}
    try:
        with untouched(f"observable '{name}'", *batch.values()):
            value = observable(dict(batch))
    except SMEError:
        raise
    except KeyError as missing:
        have = ", ".join(start) + reason
        raise SMEError(f"observable '{name}' asks for the field {missing}, but the equation has {have}") from None
    except Exception as fault:
        raise SMEError(f"observable '{name}' fails on fields of shape (paths, d): {fault}") from fault
    if isinstance(value, Tensor) and value.is_complex():
        raise SMEError(f"observable '{name}' must be real, got numbers of {value.dtype}: give its real part, or its size")
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    if not plain or tuple(value.shape) != (3,):
        got = type(value).__name__ if not isinstance(value, Tensor) else tuple(value.shape) if plain else (
            f"a tensor of layout {value.layout} on {value.device}")
        raise SMEError(f"observable '{name}' must map fields (paths, d) to (paths,), got {got} for 3 paths: "
                       "reduce the last axis, as in s['theta'].square().sum(-1)")


def _check_paths(name: str, observable: Any, start: State) -> None:
    """Raise `SMEError` unless a path's value is the same every time, and whatever other paths there are."""
    steps = torch.tensor(APART, dtype=torch.float64).unsqueeze(1)
    batch = {field: value * (1 + steps / 8) + steps / 16 for field, value in start.items()}
    try:
        values = [observable({field: value[some].clone() for field, value in batch.items()}) for some in (WHOLE, WHOLE, *HALVES)]
    except Exception:  # not defined away from the start
        return
    whole, again, *halves = values
    if not torch.equal(whole.nan_to_num(), again.nan_to_num()):
        raise SMEError(f"observable '{name}' has another value each time, for the same fields: it counts its calls, or is "
                       "random, so its numbers cannot be reproduced. Give a function of the fields alone")
    if not torch.allclose(whole, torch.cat(halves), rtol=1e-6, atol=1e-9, equal_nan=True):
        raise SMEError(f"observable '{name}' mixes paths: the value of a path changes with the others beside it. An expectation "
                       "is over single paths: reduce the last axis alone, as in s['theta'].square().sum(-1)")
