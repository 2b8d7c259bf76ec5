"""What is kept beside the compiled code for later runs of the same thing: arrays by name, never more than can be made again."""

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import platform
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sme.common.errors import SMEError
from sme.common.library import key as library_key
from sme.common.storage.cache import NoCompilerError, cache, whole
from sme.common.storage.files import LIMIT, listed, sha, write_bytes

Arrays = dict[str, np.ndarray]
"""of numbers, or of bytes"""
ROOM = 2**28
"""bytes of all records of a cache folder, beyond which the oldest go"""
ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "numpy", "scipy", "torchsde")


@functools.cache
def environment() -> str:
    """What any record depends on: the package's own code, versions, the processor, and the compiler with all that it is told."""
    code = hashlib.sha256()
    for path in sorted(each for kind in ("*.py", "*.c") for each in ROOT.rglob(kind)):
        code.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    versions = [platform.python_version(), *map(importlib.metadata.version, PACKAGES), *platform.libc_ver()]
    try:
        compiler = library_key("")
    except NoCompilerError:
        compiler = "none"
    return sha("\n".join((code.hexdigest(), *versions, compiler)).encode())


class Records:
    """What is kept of one thing, in one file of the cache folder beside the libraries that are compiled.

    The file is named by all that its arrays depend on and by its checksum, is the user's own, and holds numbers alone (no
    pickles). One that is damaged, or that others can write to, is removed. Processes that add to it at once leave a file each,
    and what is read is all of them.

    Parameters
    ----------
    of
        plain data that says what the thing is; None where nothing can be kept.
    """

    kept = True
    """whether anything is: not where functions of the package are replaced, as in its tests"""

    def __init__(self, of: Any) -> None:
        self.of, self.new = of if self.kept else None, False

    @functools.cached_property
    def _key(self) -> str:
        state = (torch.get_num_threads(), str(torch.get_default_dtype()))
        return sha(json.dumps((environment(), state, self.of), sort_keys=True).encode())

    @functools.cached_property
    def _there(self) -> dict[str, Arrays]:
        found: dict[str, Arrays] = {}
        for path in self._files():
            found.update(_read(path))
        return found

    def _files(self) -> Iterator[Path]:
        with contextlib.suppress(NoCompilerError):
            if self.of is not None:
                yield from filter(whole, listed(cache(), f"{self._key}-*.npz"))

    def get(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of this name, kept or made now."""
        if name not in self._there:
            self._there[name] = make()
            self.new = True
        return self._there[name]

    def save(self) -> None:
        """Write what is new, with all that is there; nothing where it cannot be written, or is too large."""
        if not self.new or self.of is None:
            return
        self.new = False
        with contextlib.suppress(OSError, SMEError):
            older = list(self._files())
            content = _content({**{name: each for path in older for name, each in _read(path).items()}, **self._there})
            if len(content) > LIMIT:
                return
            new = cache() / f"{self._key}-{sha(content)}.npz"
            write_bytes(new, content, 0o600)
            for path in older:
                if path != new:
                    path.unlink(missing_ok=True)
            _make_room(cache())


def text(given: str) -> np.ndarray:
    """A text as an array."""
    return np.frombuffer(given.encode(), dtype=np.uint8)


def words(given: np.ndarray) -> str:
    """The inverse of `text`."""
    return given.tobytes().decode()


def _content(kept: dict[str, Arrays]) -> bytes:
    written = io.BytesIO()
    named: dict[str, Any] = {f"{name}/{part}": array for name, arrays in kept.items() for part, array in arrays.items()}
    np.savez(written, **named)
    return written.getvalue()


def _read(path: Path) -> dict[str, Arrays]:
    """All of a file by name; nothing where it is none of ours."""
    found: dict[str, Arrays] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for each in arrays.files:
                name, _, part = each.rpartition("/")
                found.setdefault(name, {})[part] = arrays[each]
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):  # whole, but of no such format; or gone meanwhile
        return {}
    return found


def _make_room(folder: Path) -> None:
    """Let the oldest records go where there are too many: those of code that has changed since are never read again."""
    total = 0
    for _, size, path in sorted(((each.stat().st_mtime, each.stat().st_size, each) for each in listed(folder, "*.npz")),
                                reverse=True):
        total += size
        if total > ROOM:
            path.unlink(missing_ok=True)
