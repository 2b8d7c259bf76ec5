"""A paper's variables: each is a factor, a function of `τ`, times the scaled one."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from sme.common.errors import SMEError, reason
from sme.common.inputs import number, short

TIME = "time"
"""the unit of time, among those of the fields"""
PROBE = 2.0**-6
"""step size at which functions of `τ` are tried"""
Of = float | Callable[[Any], Any]
"""a number, or a function of `τ`"""


def factors(given: object) -> dict[str, Of]:
    """The units as they are kept: by field (or `time`) a power of `τ`, or a function of it.

    Raises
    ------
    SMEError
        for what is no mapping, and for a factor that is no number, is 0, or of time is negative.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SMEError(f"units must map fields, or 'time', to powers of τ or functions of it, got {short(given)}: give such as "
                       "{'v': -1} where the paper's v is τ⁻¹ times the scaled one")
    found: dict[str, Of] = {}
    for name, each in given.items():
        what = f"units[{name!r}]"
        found[str(name)] = each if callable(each) else number(what, each)
        value = number(what, _called(what, each, PROBE)) if callable(each) else PROBE ** found[str(name)]  # type: ignore[operator]
        if not math.isfinite(value) or value == 0 or (name == TIME and value < 0):
            raise SMEError(f"{what} is the factor {value:g} at τ = {PROBE:g}: give one that is finite and not 0, of the time "
                           "positive")
    return found


def factor(units: Mapping[str, Of], name: str, tau: Any) -> Any:
    """What the scaled variable is multiplied by to be the paper's."""
    each = units.get(name, 0.0)
    if callable(each):
        return _called(f"units[{name!r}]", each, tau)
    return 1.0 if each == 0 else tau**each


def letters(given: object, reserved: tuple[str, ...]) -> dict[str, Of]:
    """The paper's symbols: numbers, and functions of `τ` that are.

    Raises
    ------
    SMEError
        for what is no mapping of names to these, and for a name that is taken.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SMEError(f"symbols must map the paper's letters to numbers or functions of τ, got {short(given)}: give such as "
                       "{'eta': lambda tau: tau**0.5}")
    for name, each in given.items():
        what = f"symbols[{short(name)}]"
        if not (isinstance(name, str) and name.isidentifier()):
            raise SMEError(f"{what} is no name of an argument: give letters, such as 'eta'")
        if name in reserved:
            raise SMEError(f"{what} is a name that is taken ({', '.join(reserved)}): call the paper's symbol otherwise")
        value = number(what, _called(what, each, PROBE) if callable(each) else each)
        if not math.isfinite(value):
            raise SMEError(f"{what} is {value:g}{f' at τ = {PROBE:g}' if callable(each) else ''}: give a finite number")
    return {name: each if callable(each) else number(name, each) for name, each in given.items()}


def values(symbols: Mapping[str, Of], tau: Any) -> dict[str, Any]:
    """Their values at a step size."""
    return {name: _called(f"symbols[{name!r}]", each, tau) if callable(each) else each for name, each in symbols.items()}


def _called(what: str, function: Callable[[Any], Any], tau: Any) -> Any:
    try:
        return function(tau)
    except Exception as fault:
        raise SMEError(f"{what} fails at τ ({reason(fault)}): give a function of τ alone, by operations that take a tensor too, "
                       "such as lambda tau: tau**0.5") from fault
