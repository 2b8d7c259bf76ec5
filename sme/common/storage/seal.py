"""Plain data in a file with its checksum, so that whatever has changed since is found."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sme.common.storage.files import LIMIT, parsed, read_bytes, sha, write_text

KEY = "sha256"
_END = re.compile(rb', "%s": "([0-9a-f]{16})"}\Z' % KEY.encode())


def of(data: dict[str, Any]) -> str:
    """The checksum: of the numbers as they are written, whatever stands between them."""
    return sha(json.dumps(data).encode())


def _written(content: bytes) -> str | None:
    """The checksum of the very bytes, of a file as `text` writes it; None of one that was laid out otherwise since."""
    end = _END.search(content)
    told = sha(content[: end.start()] + b"}") if end else None
    return told if end and told == end[1].decode() else None


def text(data: dict[str, Any], **how: Any) -> str:
    """The data as JSON, its checksum at the end; `how` is `json.dumps`'s."""
    return json.dumps({**data, KEY: of(data)}, **how)


def write(path: Path, data: dict[str, Any]) -> None:
    """Write the file to be read by people too."""
    write_text(path, text(data, indent=2, ensure_ascii=False) + "\n")


def read(path: Path, older: Collection[str] = (), limit: int = LIMIT) -> tuple[dict[str, Any], bool]:
    """The data, without the checksum, and whether there is one: a file of before has none, and no other names than the `older`.

    Raises
    ------
    OSError, ValueError
        if it cannot be read, or is not what was written.
    """
    content = read_bytes(path, limit)
    data = parsed(content)
    if not isinstance(data, dict):
        raise ValueError(f"it is a {type(data).__name__}, and no group of names")
    sealed = KEY in data
    try:
        if sealed and data.pop(KEY) != (_written(content) or of(data)):
            raise ValueError("its numbers are not those that were written")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not sealed and (not older or not set(data) <= set(older)):
        raise ValueError("it has no checksum")
    return data, sealed
