"""What a diagnosis says: one paragraph in plain words, the numbers in it with how each was got, and the tables."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from sme.common.output.brief import Brief
from sme.common.output.figure import target
from sme.common.output.provenance import Provenance
from sme.common.output.text import grid
from sme.common.storage.files import write_text
from sme.common.version import version
from sme.studies.diagnosis import picture
from sme.studies.diagnosis.dynamics import Dynamics

FILE = "diagnosis"


@dataclass(frozen=True, repr=False)
class Diagnosis(Brief):
    """What `sme.diagnose` finds.

    Attributes
    ----------
    text
        one paragraph in plain words.
    tables
        by name: `numbers`, every number of the text with its interval and how it was got; `noise`, `shape`, `correlation`,
        `regime`, `stability`, `scaling`, `dynamics`, and `certificate` where it was asked for.
    folder
        where tables and picture are kept; None: in memory.
    """

    name: str
    text: str
    tables: Mapping[str, pd.DataFrame]
    dynamics: Dynamics
    projection: np.ndarray
    folder: Path | None = None

    @property
    def provenance(self) -> Provenance:
        """The code that made the numbers."""
        return Provenance(self.name, (version(),), ())

    def plot(self, path: str | Path) -> Path:
        """Draw the picture to a file, in a format that its ending names."""
        return picture.draw(self.dynamics, self.projection, self.provenance, target(path))

    def document(self, style: str = "simple") -> str:
        """The paragraph and every table."""
        shown = {name: table.map(lambda x: f"{x:.4g}" if isinstance(x, float) else str(x)) for name, table in self.tables.items()}
        return "\n\n".join([self.text, *(f"{name}:\n\n{grid(table, style)}" for name, table in shown.items())])

    def saved(self) -> Self:
        """Itself; its tables, words and picture are written to the folder."""
        if self.folder is not None:
            for name, table in self.tables.items():
                write_text(self.folder / f"{name}.csv", self.provenance.csv(table))
            write_text(self.folder / f"{FILE}.md", f"# {self.name}\n\n{self.document('github')}\n\n{self.provenance}\n")
            self.plot(self.folder / f"{FILE}.png")
        return self

    def __str__(self) -> str:
        return self.document()


def percent(value: float) -> str:
    """A share in words: `0.3 %`."""
    return "an unknown share" if math.isnan(value) else f"{100 * value:.{2 if value < 0.995 else 3}g} %"
