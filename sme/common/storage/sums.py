"""Checksums of a folder's tables, each in a file of its own beside them: a table that people read has no room for one."""

from pathlib import Path

from sme.common.storage import seal
from sme.common.storage.files import read_bytes, sha, write_text

FOLDER = "sums"
"""beside the tables"""


def write(path: Path, content: str, study: str) -> None:
    """Write a table, then its checksum with the name of its study."""
    write_text(path, content)
    seal.write(_beside(path), {"study": study, "file": path.name, "content": sha(content.encode())})


def check(path: Path, study: str) -> None:
    """Raise `ValueError` if the table is not what was written, or another study's; one of before has no checksum."""
    beside = _beside(path)
    if not beside.exists():
        return
    wanted, _ = seal.read(beside)
    if (wanted["study"], wanted["file"]) != (study, path.name):
        raise ValueError(f"its checksum, {beside}, is of {wanted['file']} of {wanted['study']}")
    if wanted["content"] != sha(read_bytes(path)):
        raise ValueError(f"it is not what was written: {beside} has another checksum")


def _beside(path: Path) -> Path:
    return path.parent / FOLDER / f"{path.name}.json"
