"""The one exception that bad input raises."""

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class SMEError(ValueError):
    """Bad input: the message names what was given, what is allowed and what to change."""


class NotOfferedError(SMEError, AttributeError):
    """An attribute that is not there on purpose."""


def choose(kind: str, given: object, allowed: Iterable[str]) -> str:
    """Return `given` if it is one of the `allowed` names.

    Raises
    ------
    SMEError
        naming the nearest allowed name otherwise.
    """
    names = [str(name) for name in allowed]
    if isinstance(given, str) and given in names:
        return given
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    if not names:
        raise SMEError(f"unknown {kind} '{given}': there is none")
    hint = f"; did you mean '{near[0]}'?" if near else "; give one of these"
    raise SMEError(f"unknown {kind} '{given}': allowed are {', '.join(names)}{hint}")


def warn(said: str) -> None:
    """A warning that points to the line outside the package from which it came about."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        level, frame = level + 1, frame.f_back
    warnings.warn(said, stacklevel=level)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print a warning as one line `warning: …`, as a command line should."""
    before, warnings.formatwarning = warnings.formatwarning, lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before
