"""The reports of other studies in a folder of results, as they stand in their files: nothing is computed or drawn."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sme.common.errors import SMEError
from sme.common.storage.files import read_text
from sme.convergence.spec.outline import FILE

PLACES = ("*.md", "*/*.md", "*/*/*.md")
"""where a report's words lie in a folder of results"""
LARGEST = 2**20
"""bytes of a picture that a page has room for"""


class Table(NamedTuple):
    """Its columns and cells as text."""

    names: list[str]
    rows: list[list[str]]


class Beside(NamedTuple):
    """One report: `parts` are tables and paragraphs in their order, `pictures` addresses that hold the PNGs themselves."""

    name: str
    title: str
    parts: list[Table | str]
    pictures: list[tuple[str, str]]


def found(results: Path) -> list[Beside]:
    """Those of a folder, by their names; a study of weak errors is none of them, as its numbers stand in the page."""
    files = sorted(file for place in PLACES for file in results.glob(place) if not (file.parent / FILE).exists())
    return [made for file in files if (made := _read(file, results)) is not None]


def _read(file: Path, results: Path) -> Beside | None:
    """A report; None of a text that has no table, or cannot be read."""
    try:
        text = read_text(file)
    except (SMEError, OSError, UnicodeDecodeError):
        return None
    first, _, rest = text.partition("\n")
    parts = [_table(block) or " ".join(block.split()) for block in re.split(r"\n\s*\n", rest) if block.strip()]
    if not first.startswith("# ") or not any(isinstance(part, Table) for part in parts):
        return None
    name = file.relative_to(results).with_suffix("").as_posix()
    return Beside(name, first[2:].strip(), parts, [(path.stem, _address(path)) for path in _pictures(file, results)])


def _pictures(file: Path, results: Path) -> Iterator[Path]:
    """Its own, and in a folder of its own all there are."""
    alone = file.parent != results and len(list(file.parent.glob("*.md"))) == 1
    for path in sorted(file.parent.glob("*.png" if alone else f"{file.stem}.png")):
        if path.is_file() and path.stat().st_size <= LARGEST:
            yield path


def _address(picture: Path) -> str:
    """A picture within the page."""
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _table(block: str) -> Table | None:
    """A table of GitHub's form, whose cells may hold a `|` without spaces beside it; None of other text."""
    lines = [line.strip() for line in block.strip().splitlines()]
    if len(lines) < 2 or not all(line.startswith("|") and line.endswith("|") for line in lines) or set(lines[1]) - set("|-: "):
        return None
    rows = [[cell.strip() for cell in re.split(r" \|(?= )", line[1:-1])] for line in lines]
    return Table(rows[0], rows[2:])
