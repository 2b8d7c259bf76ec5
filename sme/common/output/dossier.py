"""What a survey leaves in its folder: tables, words and a picture."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pandas as pd

from sme.common.output.brief import Brief
from sme.common.output.figure import printed
from sme.common.output.provenance import Provenance
from sme.common.process.turns import Turns
from sme.common.storage.files import write_text
from sme.common.version import version


class Dossier(Brief, Turns, ABC):
    """Findings with a `name` and the `folder` that they are kept in; None: in memory."""

    file: ClassVar[str]
    """what the table in words and the picture are called, without their endings"""
    name: str
    folder: Path | None

    @property
    def title(self) -> str:
        """The heading of the table in words."""
        return self.name

    @property
    def provenance(self) -> Provenance:
        """The code that made the numbers, and the seed if there is chance in them."""
        seed = getattr(self, "seed", None)
        return Provenance(self.name, (version(),), () if seed is None else (seed,))

    @property
    @abstractmethod
    def tables(self) -> dict[str, pd.DataFrame]:
        """What is written as `.csv`, by name."""

    @abstractmethod
    def text(self, style: str = "simple") -> str:
        """Tables and words, in one of tabulate's styles."""

    @abstractmethod
    def plot(self, path: str | Path) -> Path:
        """Draw the picture to a file, in a format that its ending names."""

    def save(self) -> None:
        """Write every table as `.csv`, `.md`, and `.png` with a `.pdf` beside it, to the folder."""
        if self.folder is None:
            return
        for name, table in self.tables.items():
            write_text(self.folder / f"{name}.csv", self.provenance.csv(table))
        write_text(self.folder / f"{self.file}.md", f"# {self.title}\n\n{self.text('github')}\n")
        with printed():
            self.plot(self.folder / f"{self.file}.png")

    def __str__(self) -> str:
        return self.text()
