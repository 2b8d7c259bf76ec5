"""A study: the points there are, and what they say."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from sme import picture, report, tables
from sme.errors import SMEError
from sme.files import write_text
from sme.outline import Outline
from sme.points import Point
from sme.predicted import Predicted, quote
from sme.provenance import Provenance

DIGITS = "%.6g"
REMARK = "remark.txt"


@dataclass
class Study:
    """An outline and its points; tables and pictures are derived from all points present.

    Attributes
    ----------
    errors
        `order tau observable at time error stderr integrator_bias paths diverged floored`, with
        `error = E[discrete] − E[equation]`; `at` is `end`, `t=…`, or `max` over the checkpoints (see `tables.errors`).
    slopes
        `order observable at slope slope_low slope_high c1 c1_low c1_high c1_order1 points verdict note`.
    """

    outline: Outline
    points: list[Point] = field(default_factory=list)
    folder: Path | None = None
    remark: str = ""
    """what a reader of the tables must know, such as a budget that ran out"""
    predicted: Predicted | None = None
    """the constants `C₁` that an obstruction leaves, if there is one and they were computed"""

    @property
    def name(self) -> str:
        """`<optimizer>-<regime>-<problem>-<brownian>-<8 hex>`."""
        return self.outline.study

    def add(self, point: Point) -> None:
        """Take in one more point."""
        self.points.append(point)
        for derived in ("_table", "slopes"):
            self.__dict__.pop(derived, None)

    @cached_property
    def _table(self) -> pd.DataFrame:
        return tables.errors(self.points, self.outline)

    @property
    def errors(self) -> pd.DataFrame:
        """The weak errors."""
        return self._table[tables.ERRORS].copy()

    @cached_property
    def slopes(self) -> pd.DataFrame:
        """The orders of convergence and their verdicts."""
        constants = self.predicted.constants if self.predicted else {}
        table = tables.slopes(self._table, self.outline.obstruction, {name: quote(*pair) for name, pair in constants.items()})
        if self.remark:
            table["note"] = [f"{note}; {self.remark}" if note else self.remark for note in table["note"]]
        return table

    @property
    def provenance(self) -> Provenance:
        """The code and the seeds that made the points."""
        return Provenance.of(self.points, self.outline)

    def plot(self, path: str | Path) -> Path:
        """Draw the errors with their fits to a file, in a format that its ending names.

        Raises
        ------
        SMEError
            if there are no points, or the ending names no format.
        """
        if self.errors.empty:
            raise SMEError(f"{self.name} has no points to draw")
        return picture.draw(self.provenance, self.errors, self.slopes, Path(path))

    def save(self) -> None:
        """Write `errors` and `slopes` as `.csv` and `.tex`, `slopes.md` and `errors.png` beside the points, each atomically.

        The `.csv` end with the columns `seeds` and `version`.
        """
        if self.folder is None or self.errors.empty:
            return
        remark = self.folder / REMARK
        if self.remark:
            write_text(remark, self.remark + "\n")
        else:
            remark.unlink(missing_ok=True)
        for name, table in {"errors": self.errors, "slopes": self.slopes}.items():
            content = table.assign(**self.provenance.columns).to_csv(index=False, float_format=DIGITS)
            write_text(self.folder / f"{name}.csv", content)
        for name, content in report.latex(self.errors, self.slopes, self.provenance).items():
            write_text(self.folder / f"{name}.tex", content + "\n")
        write_text(self.folder / "slopes.md", self.text("github") + "\n")
        self.plot(self.folder / "errors.png")

    @staticmethod
    def read_remark(folder: Path) -> str:
        """What an earlier run left to say."""
        path = folder / REMARK
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def text(self, style: str = "simple") -> str:
        """Header, slopes and errors, in one of tabulate's styles; `latex` is the tables of both, for booktabs."""
        if self.errors.empty:
            return f"{self.name}: no points{'; ' + self.remark if self.remark else ''}"
        if style == "latex":
            return "\n\n".join(report.latex(self.errors, self.slopes, self.provenance).values())
        physical = report.hyperparameters(self.points)
        return report.text(physical, self.errors, self.slopes, self.remark, self.provenance, style)

    def __str__(self) -> str:
        return self.text()
