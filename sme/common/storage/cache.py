"""The folder for compiled code and what is kept beside it: the user's own, of files that nobody else can write to."""

import contextlib
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from sme.common.errors import SMEError
from sme.common.storage.files import read_bytes, sha

CACHE = "SME_CACHE"
"""the variable that names the folder"""


class NoCompilerError(SMEError):
    """There is no compiler, or it fails, or no place for what it makes."""


def _folders() -> Iterator[Path]:
    if given := os.environ.get(CACHE):
        yield Path(given)
    if home := os.environ.get("XDG_CACHE_HOME"):
        yield Path(home) / "sme"
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield Path.home() / ".cache" / "sme"
    yield Path(tempfile.gettempdir()) / f"sme-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"


def cache() -> Path:
    """Where libraries are kept: `$SME_CACHE`, else the user's cache folder, else a temporary one; one that is the user's own.

    Raises
    ------
    NoCompilerError
        if there is none.
    """
    for folder in _folders():
        with contextlib.suppress(OSError, RuntimeError):
            return _usable(folder)
    raise NoCompilerError(f"no folder for compiled code can be written: set {CACHE} to one")


def complain() -> None:
    """Warn of a folder that is given for compiled code and cannot be used."""
    if given := os.environ.get(CACHE):
        try:
            _usable(Path(given))
        except (OSError, RuntimeError) as fault:
            words = getattr(fault, "strerror", None) or fault
            warnings.warn(f"{CACHE}={given} cannot be used for compiled code ({words}), which goes elsewhere: give a folder "
                          "that is your own, and that nobody else can write to (chmod go-w)", stacklevel=2)


def _usable(folder: Path) -> Path:
    """The folder, made if it is not there; `OSError` where it cannot be written to, or others could put code there."""
    folder = folder.expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.resolve()
    _own(folder.stat())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError("it cannot be written to")
    return folder


def _own(found: os.stat_result) -> None:
    """Raise `PermissionError` where a file or folder belongs to somebody else, or others may write to it."""
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise PermissionError("it belongs to somebody else")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError("others can write to it")


def whole(path: Path) -> bool:
    """Whether a file of the cache is the user's own and has the checksum that it is named by; another is removed if it can be."""
    try:
        _own(path.lstat())
        if not path.is_symlink() and path.stem.endswith(f"-{sha(read_bytes(path))}"):
            return True
    except (OSError, ValueError):
        pass
    with contextlib.suppress(OSError):
        path.unlink()
    return False
