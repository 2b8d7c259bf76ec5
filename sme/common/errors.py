"""The one exception that bad input raises."""

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST = 1500
"""characters of a message"""
SHOWN = 80
"""characters of a name in it"""
LETTERS = 300
"""of a reason; more are no reason"""


class SMEError(ValueError):
    """Bad input: the message, one line, names what was given, what is allowed and what to change."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


def one_line(text: object) -> str:
    """Without line breaks, with what cannot be printed escaped, and of a very long text its two ends."""
    line = " ".join(str(text).split())
    line = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
    return line if len(line) <= LONGEST else f"{line[: 2 * LONGEST // 3]} … {line[-LONGEST // 4:]}"


class NotOfferedError(SMEError, AttributeError):
    """An attribute that is not there on purpose."""


def printed(given: object) -> str:
    """What Python prints of an object, in one line; of one that cannot be printed its type."""
    try:
        return " ".join(repr(given).split())
    except Exception:
        return f"an object of {type(given).__name__} that cannot be printed"


def reason(fault: BaseException) -> str:
    """What went wrong elsewhere, in one line: `KeyError: 'times'`."""
    words = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {words[:LETTERS]}" if words else type(fault).__name__


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
    text = given if isinstance(given, str) else printed(given)
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]} …"
    near = difflib.get_close_matches(shown, names, n=1, cutoff=0.5)
    if not names:
        raise SMEError(f"unknown {kind} '{shown}': there is none")
    hint = f"; did you mean '{near[0]}'?" if near else "; give one of these"
    raise SMEError(f"unknown {kind} '{shown}': allowed are {', '.join(names)}{hint}")


def warn(said: str) -> None:
    """A warning that points to the line outside the package from which it came about."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        level, frame = level + 1, frame.f_back
    warnings.warn(said, stacklevel=level)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print a warning as one line `warning: …`, as a command line should."""
    before, warnings.formatwarning = warnings.formatwarning, lambda message, *_, **__: f"warning: {one_line(message)}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before
