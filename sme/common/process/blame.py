"""Whose code failed: the caller's own, which is said in one line, or ours."""

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sme.common.errors import SMEError, reason
from sme.common.identity.owned import PACKAGE, own

SCARCE = ("allocate memory", "map segment", "start new thread")
"""what torch, the loader of libraries and Python say where there is no memory, or no room for a thread's"""

FULL = (errno.EMFILE, errno.ENFILE)
"""of a process, of a machine: no more files may be open"""


@contextmanager
def theirs() -> Iterator[None]:
    """A fault in code of the user's own, wherever it was called from, as one line that says where.

    Raises
    ------
    SMEError
        in its place.
    """
    try:
        yield
    except SMEError:
        raise
    except Exception as fault:
        if (where := place(fault)) is None or scarce(fault):
            raise
        raise SMEError(f"code of yours fails: {reason(fault)} ({where})") from fault


def place(fault: BaseException) -> str | None:
    """`mine.py, line 6, in update` of what failed in the user's own code, or was called there; None of what failed in ours."""
    for frame, line in reversed(list(traceback.walk_tb(fault.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == PACKAGE:
            return None
        if own(module):
            return f"{Path(frame.f_code.co_filename).name}, line {line}, in {frame.f_code.co_name}"
    return None


def scarce(fault: BaseException) -> BaseException | None:
    """That memory ran out, where a fault is that or comes from it."""
    return next((each for each in causes(fault) if isinstance(each, MemoryError) or
                 (isinstance(each, RuntimeError | ImportError | OSError) and any(words in str(each) for words in SCARCE))), None)


def files_lack(fault: BaseException) -> OSError | None:
    """That a process may open no more files, where a fault is that or comes from it."""
    return next((each for each in causes(fault) if isinstance(each, OSError) and each.errno in FULL), None)


def causes(fault: BaseException | None) -> Iterator[BaseException]:
    """A fault, what it comes from, and so on; once each, as a cause may have come to be its own."""
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        yield fault
        fault = fault.__cause__ or fault.__context__
