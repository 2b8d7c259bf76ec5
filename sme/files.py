"""Atomic files: a reader finds the old content or the new, never a part."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sme.errors import SMEError

PART = ".part"
STALE = 60.0
"""seconds after which a half-written file is no job's that is still at work"""


@contextmanager
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
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as fault:
        raise SMEError(f"cannot write {path}: {fault.strerror or fault}. Nothing that is there was lost: make room or give the "
                       "right to write there, or choose another folder, and run the same command again") from fault
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write a text file atomically; one that has this content stays as it is."""
    try:
        if path.read_text(encoding="utf-8") == content:
            return
    except (OSError, ValueError):  # none, or of something else
        pass
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def half_written(folder: Path) -> list[Path]:
    """What jobs that were killed left half-written there."""
    now = time.time()
    return [path for path in sorted(folder.glob(f".*{PART}")) if now - path.stat().st_mtime > STALE]
