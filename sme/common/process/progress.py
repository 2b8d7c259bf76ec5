"""The progress of long work: a bar on a terminal or in a notebook, and now and then a line in a log."""

import contextlib
import io
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from tqdm import tqdm

FIRST, SLOWEST = 15.0, 600.0
"""seconds until the first line of a log; the time to the next one doubles, up to this"""
GAP = 5.0
"""seconds without any work after which a log begins anew"""
LARGEST, DIGITS = 2**14, 5e-6
"""denominator of a step size that is written as a fraction, and what the six digits of a table may have taken from it"""


def progress(*given: Any, **named: Any) -> Any:
    """A bar of `tqdm`, or `Lines`; none where errors go nowhere (`sys.stderr` is None, or closed), or in a worker's log."""
    kind, disabled = _kind()
    return kind(*given, **{"leave": False, **named, "disable": disabled})


@contextlib.contextmanager
def phase(words: str) -> Iterator[None]:
    """Work of unknown length, such as a compiler's: its name, as long as it lasts."""
    with progress(desc=words, bar_format="{desc} …"):
        yield


def say(words: str) -> None:
    """A line of its own, where errors go."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads, or there is nowhere to write
        print(words, file=sys.stderr, flush=True)


def fraction(tau: float) -> str:
    """A step size as it is given: 1/16."""
    parts = round(1 / tau) if tau > 0 else 0
    if not 1 <= parts <= LARGEST or abs(parts * tau - 1) > DIGITS:
        return f"{tau:g}"
    return f"1/{parts}" if parts > 1 else "1"


def _kind() -> tuple[type[Any], bool | None]:
    """What shows progress here, and whether it is disabled; None: where there is no terminal."""
    if _notebook():
        from tqdm.auto import tqdm as widget

        return widget, False
    try:
        terminal, nowhere = sys.stderr.isatty(), False
    except (AttributeError, ValueError):  # there is none, or it was closed
        terminal = nowhere = True
    if terminal or multiprocessing.current_process().name != "MainProcess" or os.environ.get("TQDM_DISABLE"):
        return tqdm, True if nowhere else None
    return Lines, False


def _notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


class Lines(tqdm):
    """No bar: as long as there is work, a thread now and then prints a line of all that is going on."""

    monitor_interval = 0
    running: ClassVar[list["Lines"]] = []
    _turn: ClassVar[Any] = threading.Condition()
    _due: ClassVar[float] = 0.0
    _wait: ClassVar[float] = 0.0
    _ended: ClassVar[float] = -GAP

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{**named, "file": io.StringIO(), "delay": 0})
        with Lines._turn:
            if not Lines.running:
                now = time.monotonic()
                if now - Lines._ended > GAP:
                    Lines._wait, Lines._due = FIRST, now + FIRST
                with contextlib.suppress(RuntimeError):  # no thread can be had: no lines
                    threading.Thread(target=_speak, name="sme-progress", daemon=True).start()
            Lines.running.append(self)

    def display(self, *given: Any, **named: Any) -> None:
        """Nothing at once."""

    def close(self) -> None:
        """Say no more of this work."""
        with Lines._turn:
            if self in Lines.running:
                Lines.running.remove(self)
                Lines._ended = time.monotonic()
                Lines._turn.notify_all()
        super().close()

    def said(self) -> str:
        """`τ = 1/16, 3 of 5: 40 % after 02:05, 03:10 left`."""
        spent = time.time() - self.start_t
        after = f"after {self.format_interval(spent)}"
        words = str(self.desc or "").removesuffix(": ")
        if not self.total:
            return f"{words}: {after}" if not self.n else f"{words}: {self.n} {self.unit}s {after}"
        left = f", {self.format_interval(spent * (self.total - self.n) / self.n)} left" if self.n else ""
        return f"{words or self.unit}: {self.n / self.total:.0%} {after}{left}"


def _speak() -> None:
    """Print a line whenever one is due, until nothing is left to do."""
    while True:
        with Lines._turn:
            while Lines.running and (rest := Lines._due - time.monotonic()) > 0:
                Lines._turn.wait(rest)
            if not Lines.running:
                return
            said = "; ".join(each.said() for each in Lines.running)
            Lines._wait = min(2 * Lines._wait, SLOWEST)
            Lines._due = time.monotonic() + Lines._wait
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads, or the stream was closed
            print(f"progress: {said}", file=sys.stderr, flush=True)
