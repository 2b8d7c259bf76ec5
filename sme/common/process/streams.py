"""Standard streams that can always be written to: closed, in a narrow encoding, or with a reader that has gone."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BANNER = "Error executing job with overrides"
"""what Hydra says before an exception of ours"""


class Stream:
    """A stream without Hydra's banner, and silent as soon as nobody reads it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """All of it, or nothing where nobody reads."""
        if text.startswith(BANNER):
            return len(text)
        with self._unread():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """What was written."""
        with self._unread():
            self._stream.flush()

    def silence(self) -> None:
        """Write to nowhere from now on, also what is buffered."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    @contextlib.contextmanager
    def _unread(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # `| head -1`: the work is done all the same
            self.silence()
        except OSError:  # said once
            self.silence()
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """Both streams, usable; as they were afterwards.

    Raises
    ------
    OSError
        at the end, if what was printed cannot be written, as on a full disk.
    """
    for descriptor in range(3):  # lest a file that is opened takes the number of a closed stream, and its text
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    ways = [getattr(stream, "errors", None) for stream in before]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        streams = [Stream(nowhere if stream is None else stream) for stream in before]
        for own in before:
            if hasattr(own, "reconfigure"):
                own.reconfigure(errors="backslashreplace")
        sys.stdout, sys.stderr = streams  # type: ignore[assignment]
        try:
            yield
        finally:
            try:
                for stream in streams:
                    stream.flush()
            finally:
                sys.stdout, sys.stderr = before
                for own, errors in zip(before, ways, strict=True):
                    if errors is not None and hasattr(own, "reconfigure"):
                        own.reconfigure(errors=errors)
