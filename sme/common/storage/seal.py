"""Plain data in a file with its checksum, so that whatever has changed since is found."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sme.common.storage.files import LIMIT, read_json, sha, write_text

KEY = "sha256"


def of(data: dict[str, Any]) -> str:
    """The checksum: of the numbers as they are written, whatever stands between them."""
    return sha(json.dumps(data).encode())


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
    data = read_json(path, limit)
    if not isinstance(data, dict):
        raise ValueError(f"it is a {type(data).__name__}, and no group of names")
    sealed = KEY in data
    try:
        if sealed and data.pop(KEY) != of(data):
            raise ValueError("its numbers are not those that were written")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not sealed and (not older or not set(data) <= set(older)):
        raise ValueError("it has no checksum")
    return data, sealed
