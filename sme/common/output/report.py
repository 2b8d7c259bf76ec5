"""What a study leaves behind: tables, words and pictures."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import pandas as pd

from sme.common.output.brief import Brief
from sme.common.output.figure import printed, target
from sme.common.output.notebook import page
from sme.common.output.provenance import Provenance
from sme.common.process.turns import Turns
from sme.common.storage.files import write_text
from sme.common.version import version

Plot = Callable[[Path], object]
"""draws to a file, in a format that its ending names"""


@dataclass(frozen=True, repr=False)
class Kept:
    """What has a folder that it is kept in; None: in memory."""

    folder: Path | None = field(default=None, kw_only=True)


class Report(Kept, Brief, Turns, ABC):
    """Tables by name, pictures by name, and words, with a `name` and the `folder` that they are kept in; None: in memory.

    A study's report is a dataclass that derives from it, and states `file`, `title`, `table` or `tables`, `body`, and `draw` or
    `plots`.
    """

    file: ClassVar[str]
    """what the table in words is called, without its ending"""
    name: str
    table: pd.DataFrame
    """its one table, if it has not others in `tables`"""
    draw: Plot
    """draws its one picture"""

    @property
    def title(self) -> str:
        """The heading of the table in words."""
        return self.name

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that made the numbers; none if there is no chance in them."""
        seed = getattr(self, "seed", None)
        return () if seed is None else (seed,)

    @property
    def provenance(self) -> Provenance:
        """The code and the seeds that made the numbers."""
        return Provenance(self.name, (version(),), self.seeds)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """What is written as `.csv`, by name; by default its `table`."""
        return {self.file: self.table}

    @property
    def plots(self) -> Mapping[str, Plot]:
        """What is drawn as `.png` and `.pdf`, by name; by default what `draw` draws, if the class has it."""
        return {self.file: self.draw} if hasattr(self, "draw") else {}

    @abstractmethod
    def body(self, style: str) -> list[str]:
        """Tables and words in one of tabulate's styles, with an empty line between each two."""

    def text(self, style: str = "simple") -> str:
        """Tables, words and what made them, in one of tabulate's styles."""
        return "\n\n".join([*self.body(style), str(self.provenance)])

    def csv(self, table: pd.DataFrame) -> str:
        """A table as it stands in a file."""
        return self.provenance.csv(table)

    @property
    def document(self) -> str:
        """What stands in the `.md`; none is written if it is empty."""
        return f"# {self.title}\n\n{self.text('github')}\n"

    def keep(self, path: Path, content: str) -> None:
        """Write one of the files."""
        write_text(path, content)

    def plot(self, path: str | Path) -> Path:
        """Draw the first picture to a file, in a format that its ending names."""
        file = target(path)
        next(iter(self.plots.values()))(file)
        return file

    def save(self) -> None:
        """Write every table as `.csv`, the words as `.md` and every picture as `.png` and `.pdf`, to the folder."""
        if self.folder is None:
            return
        for name, table in self.tables.items():
            self.keep(self.folder / f"{name}.csv", self.csv(table))
        if self.document:
            self.keep(self.folder / f"{self.file}.md", self.document)
        with printed():
            for name, draw in self.plots.items():
                draw(self.folder / f"{name}.png")

    def saved(self) -> Self:
        """Itself, saved."""
        self.save()
        return self

    def __str__(self) -> str:
        return f"{self.title}\n\n{self.text()}"

    def _repr_html_(self) -> str:
        table = next(iter(self.tables.values()))
        return page(str(self), table, self.plot if self.plots else None)


@dataclass(frozen=True, repr=False)
class Tabled(Report):
    """A report of one table."""

    table: pd.DataFrame
