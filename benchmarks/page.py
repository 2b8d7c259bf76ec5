"""The page of measurements, docs/performance.md: what a benchmark prints, put at its place.

A place is a line `<!-- name -->`; what stands there goes on to the next line `<!-- end -->`.
"""

import argparse
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.figure import Figure
from tabulate import tabulate

from sme.info import cpu

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PICTURES = PAGE.parent / "performance"
PACKAGES = ("python", "numpy", "torch", "torchsde", "numba", "jax", "diffrax")


def fill(name: str, text: str, page: Path) -> None:
    """Put `text` in the place `name`, instead of what stood there.

    Raises
    ------
    ValueError
        if the page has no such place, or more than one.
    """
    old = page.read_text(encoding="utf-8")
    new, found = re.subn(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)",
                         lambda match: f"{match[1]}\n{text.strip()}\n\n{match[2]}", old, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{page} has {found} places <!-- {name} -->, there must be one")
    page.write_text(new, encoding="utf-8")


def machine() -> str:
    """Processor, cores and versions."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {platform.python_version() if name == 'python' else importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    return f"{cpu()}, {os.cpu_count()} cores, one thread; {', '.join(versions)}"


def options(text: str) -> argparse.ArgumentParser:
    """The options of a benchmark, with `--write`."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} too, with its picture")
    return parser


class Section:
    """What one benchmark says: printed as it comes, and written to its place at the end.

    Parameters
    ----------
    name
        of the place, and of the picture.
    write
        whether to write at all.
    """

    def __init__(self, name: str, write: bool) -> None:
        self.name, self.write = name, write
        self.parts: list[str] = []

    def say(self, text: str) -> None:
        """A paragraph."""
        print(f"{text}\n", flush=True)
        self.parts.append(text)

    def table(self, rows: Iterable[Sequence[object]], headers: Sequence[str], floatfmt: str | Sequence[str] = "g") -> None:
        """A table; a cell that is text stays as it is."""
        rows = [list(row) for row in rows]
        print(tabulate(rows, headers, floatfmt=floatfmt, disable_numparse=_texts(rows)), "\n", flush=True)
        escaped = [[cell.replace("|", "\\|") if isinstance(cell, str) else cell for cell in row] for row in rows]
        titles = [title.replace("|", "\\|") for title in headers]
        self.parts.append(tabulate(escaped, titles, "github", floatfmt=floatfmt, disable_numparse=_texts(rows)))

    def picture(self, figure: Figure, words: str) -> None:
        """A picture, if anything is written."""
        if self.write:
            PICTURES.mkdir(parents=True, exist_ok=True)
            figure.savefig(PICTURES / f"{self.name}.png", dpi=160)
            self.parts.append(f"![{words}]({PICTURES.name}/{self.name}.png)")

    def close(self) -> None:
        """Write it all to its place."""
        if self.write:
            fill(self.name, "\n\n".join(self.parts), PAGE)


def _texts(rows: Sequence[Sequence[object]]) -> list[int]:
    """The columns in which there is text that only looks like a number."""
    return sorted({i for row in rows for i, cell in enumerate(row) if isinstance(cell, str)})


def figure(columns: int, width: float = 3.0, height: float = 2.8) -> tuple[Figure, Sequence]:
    """A row of panels, for a paper."""
    with sns.axes_style("ticks"), sns.plotting_context("paper"), sns.color_palette("colorblind"):
        drawn = Figure(figsize=(width * columns, height), layout="constrained")
        return drawn, drawn.subplots(1, columns, squeeze=False)[0]
