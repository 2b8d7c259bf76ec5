"""What the points of a study say: tables, pictures, what is missing."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sme.common.errors import SMEError
from sme.common.output import notebook
from sme.common.output.figure import printed, target
from sme.common.output.provenance import Provenance
from sme.common.output.text import known
from sme.common.process.turns import Turns
from sme.common.storage import sums
from sme.common.storage.files import here, listed, write_text
from sme.common.storage.told import told
from sme.convergence.estimator.quadrature import computed
from sme.convergence.estimator.quadrature.computed import Computed
from sme.convergence.estimator.quadrature.method import QUADRATURE
from sme.convergence.fit import predicted, tables
from sme.convergence.fit.predicted import ObstructionConstants, quote
from sme.convergence.output import page, picture, remarks, report
from sme.convergence.spec import effort
from sme.convergence.spec.effort import SHARD_PATHS
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store import asked as requests
from sme.convergence.store import points as files
from sme.convergence.store.asked import Requests
from sme.convergence.store.kept import Kept
from sme.convergence.store.points import Key, Point, Seen
from sme.optimizers.regimes import BALLISTIC


@dataclass(repr=False)
class Findings(Turns):
    """An outline and its points; tables and pictures are derived from all points present.

    Attributes
    ----------
    errors
        `order tau observable at time error stderr integrator_bias paths diverged floored`, with
        `error = E[discrete] − E[equation]`; `at` is `end`, `t=…`, or `max` over the checkpoints (see `tables.errors`).
    slopes
        `order observable at slope slope_low slope_high c1 c1_low c1_high c1_order1 c1_ode c0_low c0_high points verdict note`,
        see `tables.slopes`.
    """

    outline: StudyMetadata
    points: list[Point | Computed] = field(default_factory=list)
    folder: Path | None = None
    predicted: ObstructionConstants | None = None
    """the constants `C₁` that an obstruction leaves, if there is one and they were computed"""
    asked: Requests = field(default_factory=Requests)
    """the points that runs were asked for"""
    kept: Kept | None = None
    """the tables in the folder, of a study whose points are not there"""
    read: frozenset[str] = frozenset()
    """the names of the files that `points` and `predicted` are from"""
    seen: Seen = field(default_factory=dict, repr=False, compare=False)
    """the points that were read from files"""
    home: Path | None = field(default_factory=here, repr=False)
    """where the program was as it began, if it was anywhere; a relative `folder` is meant from there"""

    @property
    def name(self) -> str:
        """`<optimizer>-<regime>-<problem>-<brownian>-<8 hex>`."""
        return self.outline.study

    def reload(self, strict: bool = True) -> None:
        """Take the points that are in the folder now, or else its tables; unless `strict`, pass over tables that are damaged."""
        self.stay()
        if self.folder is not None:
            self.read = _names(self.folder)
            place = self.folder / "points"
            self.points = list(computed.read(place, self.outline) if self.outline.method == QUADRATURE
                               else files.read(place, self.outline, self.seen))
            self.asked = requests.read(self.folder, self.name)
            self.predicted = predicted.read(self.folder, self.name)
            self.kept = None
            if not self.reported:
                try:
                    self.kept = Kept.read(self.folder, self.outline)
                except SMEError:
                    if strict:
                        raise
        self.forget()

    def stay(self) -> None:
        """Have a relative folder be the one that it was, in a program that has changed its working directory since."""
        if self.folder is not None and not self.folder.is_absolute() and self.home is not None and self.home != here():
            self.folder = self.home / self.folder

    def forget(self) -> None:
        """Have the tables derived anew."""
        for derived in ("_table", "_slopes"):
            self.__dict__.pop(derived, None)

    @cached_property
    def _table(self) -> pd.DataFrame:
        """The weak errors with all that slopes are judged by."""
        if self.kept is not None:
            return self.kept.errors
        return tables.errors(self.reported, self.outline)

    @property
    def reported(self) -> list[Point | Computed]:
        """The points that stand in the tables."""
        return [point for point in self.points if not point.key.trial]

    @property
    def errors(self) -> pd.DataFrame:
        """The weak errors."""
        return self._table[tables.ERRORS].copy()

    @property
    def slopes(self) -> pd.DataFrame:
        """The orders of convergence and their verdicts."""
        return self._slopes.copy()

    @cached_property
    def _slopes(self) -> pd.DataFrame:
        constants = self.predicted.constants if self.predicted else {}
        quoted = {name: (quote(*pair), pair[1]) for name, pair in constants.items()}
        table = tables.slopes(self._table, self.outline.obstruction, quoted, self.outline.lack,
                              ode=self.outline.regime == BALLISTIC.name,
                              yardsticks=None if self.kept is None else self.kept.yardsticks, tail=self.outline.tail,
                              halves=self.outline.halves)
        if self.missing:
            lacking = table["order"].isin({key.order for key in self.missing})
            noted = [f"{note}; points missing".removeprefix("; ") for note in table["note"]]
            table["note"] = table["note"].where(~lacking, noted)
        return table

    @property
    def missing(self) -> list[Key]:
        """The points that were asked for and are not there."""
        return self.asked.missing(point.key for point in self.points)

    @property
    def remark(self) -> str:
        """What a reader of the tables must know: points that are missing, a tolerance that is not met."""
        return remarks.remark(self)

    @property
    def provenance(self) -> Provenance:
        """The code and the seeds that made the points."""
        if self.kept is not None:
            return self.kept.provenance
        made = [(point.version, point.key.seed) for point in self.reported]
        versions, seeds = (tuple(sorted(set(part))) for part in zip(*made, strict=True)) if made else ((), ())
        return Provenance(self.outline.study, versions, seeds, self.outline.parts)

    @property
    def physical(self) -> pd.DataFrame:
        """The hyperparameters of torch.optim, a row for each τ."""
        return report.hyperparameters(self.reported) if self.kept is None else self.kept.physical

    @property
    def requested(self) -> dict[str, Any]:
        """What `sme.weak_error` was asked for, beside what is studied: `order`, `tau`, and what is not by default."""
        errors, seeds = self.errors, self.provenance.seeds
        if self.outline.method:
            return {"order": sorted({int(order) for order in errors["order"]}), "tau": sorted(set(errors["tau"]), reverse=True),
                    "method": self.outline.method}
        counts = {tau: int(paths) for tau, paths in errors.groupby("tau")["paths"].max().items()}
        default = all(count == SHARD_PATHS * len(effort.shards(None, None, tau)) for tau, count in counts.items())
        return {"order": sorted({int(order) for order in errors["order"]}), "tau": sorted(counts, reverse=True),
                **({} if default else {"paths": max(counts.values())}), **({"seed": seeds[0]} if any(seeds) else {})}

    def report(self, path: str | Path) -> Path:
        """Write all that is known of the study to one page of HTML, which needs no network.

        Raises
        ------
        SMEError
            if there are no errors to show, or the file cannot be written.
        """
        return page.write([self], path, self.provenance.title)

    def plot(self, path: str | Path) -> Path:
        """Draw the errors with their fits to a file, in a format that its ending names.

        Raises
        ------
        SMEError
            if there are no points, or the ending names no format.
        """
        if self.errors.empty:
            raise SMEError(f"{self.name} has no points to draw: run its command again, or extend it")
        return picture.draw(self.provenance, self.errors, self.slopes, target(path))

    def save(self) -> None:
        """Write `errors` and `slopes` as `.csv` and `.tex`, `slopes.md` and `errors.png` beside the points, each atomically.

        The `.csv` end with the columns `seeds` and `version`. Written again, if other jobs have added points or a prediction
        meanwhile: whoever writes last has seen all of them.
        """
        self.stay()
        while self.folder is not None and not self.errors.empty:
            written = {name: self.provenance.csv(getattr(self, name)) for name in ("errors", "slopes")}
            if self.kept is None and not self.missing and told(self.folder, written, self.name):
                return
            for name, content in written.items():
                self._write(f"{name}.csv", content)
            for name, content in report.latex(self.errors, self.slopes, self.provenance).items():
                if name == "errors" and self.kept is not None:
                    continue  # it was rounded from more digits than the table has
                write_text(self.folder / f"{name}.tex", content + "\n")
            self._write("slopes.md", self.text("github") + "\n")
            with printed():
                self.plot(self.folder / "errors.png")
            if _names(self.folder) == self.read:
                return
            self.reload()

    def _write(self, name: str, content: str) -> None:
        """A table that is read again where the points are not there, with its checksum; one without points keeps what it has."""
        assert self.folder is not None
        if self.kept is None or (self.folder / sums.FOLDER).is_dir():
            sums.write(self.folder / name, content, self.name)
        else:
            write_text(self.folder / name, content)

    def text(self, style: str = "simple") -> str:
        """Header, slopes and errors, in one of tabulate's styles; `latex` is the tables of both, for booktabs."""
        if self.errors.empty:
            return f"{self.name}: no points. {self.remark}".strip()
        if known(style) == "latex":
            return "\n\n".join(report.latex(self.errors, self.slopes, self.provenance).values())
        return report.text(self.outline.optimizer, self.physical, self.errors, self.slopes, self.remark, self.provenance, style)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        """A screen: the name, what there is, and the verdicts by how many rows have each."""
        return remarks.screen(self)

    def _repr_html_(self) -> str:
        """The same with the first rows of the slopes and the picture of the errors, for a notebook."""
        columns = ["order", "observable", "at", "slope", "slope_low", "slope_high", "verdict", "note"]
        return notebook.page(repr(self), self.slopes[columns], self.plot)


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.name for pattern in ("points/*.json", predicted.FILE) for path in listed(folder, pattern))
