"""Numbers and lists as a user may write them."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from sme.errors import SMEError


def number(what: str, given: Any) -> float:
    """A number given as such or as a fraction in text (`1/16`).

    Raises
    ------
    SMEError
        for anything else.
    """
    try:
        if isinstance(given, bool):
            raise ValueError
        return float(Fraction(given.strip()) if isinstance(given, str) else given)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        raise SMEError(f"{what} must be a number such as 0.0625 or 1/16, got {given!r}") from None


def several(given: Any) -> list[Any]:
    """A list of one or more values from a value, a sequence, or text such as `[1/4, 1/8]`."""
    if isinstance(given, str):
        text = given.strip()
        inner = text.removeprefix("[").removesuffix("]") if text.startswith("[") else text  # theta[0] is no list
        return [part.strip() for part in inner.split(",") if part.strip()]
    if hasattr(given, "tolist"):
        given = given.tolist()
    return list(given) if isinstance(given, Sequence) else [given]


def whole(what: str, given: Any, least: int) -> int:
    """A whole number not below `least`.

    Raises
    ------
    SMEError
        for anything else.
    """
    exact = given if isinstance(given, int) and not isinstance(given, bool) else None
    if exact is None:
        try:
            value = number(what, given)
            exact = int(value) if value == int(value) else None
        except (SMEError, ValueError, OverflowError):
            exact = None
    if exact is None or exact < least:
        raise SMEError(f"{what} must be a whole number ≥ {least}, got {given!r}: give {least} or more")
    return exact
