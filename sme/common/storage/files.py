"""Files: read whole and guarded, written whole or not at all."""

import contextlib
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sme.common.errors import SMEError

if TYPE_CHECKING:
    import pandas as pd

PART = ".part"
STALE = 60.0
"""seconds after which a half-written file is no job's that is still at work"""
LIMIT = 2**26
"""bytes of a table or of a small file: a larger one is none of ours"""


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """A regular file's content: no pipe that never ends, no device, nothing larger than the limit.

    Raises
    ------
    OSError, ValueError
        if it cannot be had.
    """
    _regular(path.stat(), limit)  # a device may act on being opened
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        _regular(os.fstat(handle), limit)
        content: bytes | None = file.read(limit + 1)
    if content is None:  # of /proc
        raise ValueError("it has nothing to be read at once")
    if len(content) > limit:
        raise ValueError(f"it grew beyond {limit} bytes while it was read")
    return content


def _regular(found: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")
    if found.st_size > limit:
        raise ValueError(f"it has {found.st_size} bytes, more than the {limit} that such a file may have")


def read_text(path: Path, limit: int = LIMIT) -> str:
    """The same as text; `ValueError` where it is not UTF-8."""
    return read_bytes(path, limit).decode("utf-8")


def read_json(path: Path, limit: int = LIMIT) -> Any:
    """The same as what JSON says; `ValueError` where it is none, or nested too deeply."""
    return parsed(read_bytes(path, limit))


def parsed(content: bytes) -> Any:
    """What JSON says; `ValueError` where it is none, or nested too deeply."""
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_table(path: Path, **how: Any) -> "pd.DataFrame":
    """The same as a table (`pandas.read_csv`); `ValueError` where it is none."""
    import pandas as pd  # it takes longer than all that is imported here

    return pd.read_csv(StringIO(read_text(path)), **how)


def sha(content: bytes) -> str:
    """Sixteen hexadecimal digits of a content."""
    return hashlib.sha256(content).hexdigest()[:16]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of `path` that takes its place at the end.

    Raises
    ------
    SMEError
        if it cannot be written: no space, no right, something in the way. What is there stays.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}{PART}"
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # less what the umask takes away
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as fault:
        raise SMEError(f"cannot write {path}: {fault.strerror or fault}. Nothing that is there was lost: make room or give the "
                       "right to write there, or choose another folder, and run the same command again") from fault
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, rights: int | None = None) -> None:
    """Write a file atomically; what a library makes is made in memory first, as some hide that a disk is full."""
    with replacing(path) as temporary:
        if rights is not None:
            temporary.chmod(rights)
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a text file atomically; one that has this content stays as it is."""
    made = content.encode("utf-8")
    with contextlib.suppress(OSError, ValueError):  # none, or of something else
        if read_bytes(path) == made:
            return
    write_bytes(path, made)


def here() -> Path | None:
    """The working directory; None of one that was deleted."""
    try:
        return Path().absolute()
    except OSError:
        return None


def listed(folder: Path, pattern: str) -> list[Path]:
    """What there is of a pattern, in a fixed order; nothing in a folder that is gone, or goes meanwhile."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def half_written(folder: Path) -> list[Path]:
    """What jobs that were killed left half-written there."""
    return [path for path in listed(folder, f".*{PART}") if time.time() - _written(path) > STALE]


def _written(path: Path) -> float:
    """When; a file that its writer has put in its place meanwhile is as good as new."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
