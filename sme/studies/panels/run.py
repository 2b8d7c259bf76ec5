"""Several studies, or several trajectories, side by side: one table and one picture of what is on disk."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, short
from sme.common.output.provenance import COLUMNS, Provenance, numbers
from sme.common.output.report import Plot, Report
from sme.common.output.text import grid
from sme.common.storage import sums
from sme.common.storage.files import read_table
from sme.convergence.collect import studies
from sme.convergence.fit.tables import MAX
from sme.convergence.output import report
from sme.convergence.spec import effort
from sme.convergence.spec.outline import FILE, opened
from sme.studies.panels import picture
from sme.studies.panels.selection import Settings, following, label, select, settings, telling
from sme.studies.trajectories.report import DISCRETE

EQUATIONS = {"independent": "", "none": ", ODE", "step_memory": ", step memory", "fast_memory": ", fast memory",
             "poisson": ", examples one by one"}
"""what a curve's name says of its Brownian motions"""
LEVEL = 1.358
"""95 % quantile of Kolmogorov's distribution"""


@dataclass(frozen=True, repr=False)
class Panels(Report):
    """A table of all rows with their studies, and what is shown of it; `distances` are what is kept of histograms."""

    name: str
    table: pd.DataFrame
    shown: pd.DataFrame
    words: str
    painter: Callable[[pd.DataFrame, Provenance, Path], Path]
    distances: pd.DataFrame | None = None

    @property
    def file(self) -> str:  # type: ignore[override]
        return self.name

    @property
    def provenance(self) -> Provenance:
        versions = {one for each in self.table["version"] for one in each.split()}
        seeds = {seed for each in self.table["seeds"].unique() for seed in numbers(each)}
        return Provenance(self.name, tuple(sorted(versions)), tuple(sorted(seeds)))

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {self.name: self.table if self.distances is None else self.distances}

    @property
    def plots(self) -> dict[str, Plot]:
        return {self.name: lambda path: self.painter(self.table, self.provenance, path)}

    def csv(self, table: pd.DataFrame) -> str:
        return super().csv(table) if self.distances is not None else table.to_csv(index=False)

    def body(self, style: str) -> list[str]:
        return [grid(self.shown, style), *filter(None, [self.words])]


def errors(results: Path, name: str, conditions: Sequence[str], observables: Sequence[str] = (),
           source: Path | None = None) -> "Panels":
    """Join the weak errors of all studies that meet the conditions; a panel for each setting, a curve for each equation.

    The report writes `panels/<name>.csv`, the errors, `.md`, the slopes at the end and of the largest errors, and `.png` in the
    results folder. The studies are those of `source`, by default of the results folder.

    Raises
    ------
    SMEError
        if no study meets the conditions, or one has no tables; for a name that names no file.
    """
    source = _checked(source or results, name)
    chosen = select({folder: settings(folder) for folder in studies(source)}, conditions)
    apart = telling(chosen.values(), apart=["brownian", "model"]) or ["optimizer.name", "regime"]
    errors, slopes = (_joined(chosen, table, apart) for table in ("errors", "slopes"))
    slopes = slopes[slopes["at"].isin(["end", MAX])].fillna({"note": ""})
    if observables:
        errors, slopes = (table[table["observable"].isin(observables)] for table in (errors, slopes))
    if errors.empty:
        raise SMEError(f"none of these studies has the observables {', '.join(observables)}: leave them out for all")
    shown = report.slope_table(slopes).assign(order=slopes["equation"]).rename(columns={"order": "equation"})
    shown.insert(0, "setting", slopes["setting"])
    return Panels(name, errors, shown, "", picture.errors, folder=effort.folder(results / "panels")).saved()


def histograms(results: Path, name: str, conditions: Sequence[str], over: Sequence[str] = (),
               source: Path | None = None) -> "Panels":
    """Join the histograms of all trajectories that meet the conditions; a row for each setting, a column for each checkpoint.

    Trajectories that differ only in the settings `over`, as in the step size `tau`, and in what follows these, share a row.
    The report writes `panels/<name>.csv`, `.md` and `.png` in the results folder, of distances. The trajectories are those of
    `source`, by default of the results folder.

    Raises
    ------
    SMEError
        if no trajectories meet the conditions, or they have no such setting; for a name that names no file.
    """
    source = _checked(source or results, name)
    folders = sorted(path.parent for path in source.glob(f"trajectories/*/{FILE}"))
    there = {folder: {**settings(folder), "tau": number(f"what follows -tau in {folder}", folder.name.rpartition("-tau")[2])}
             for folder in folders}
    chosen = select(there, conditions)
    for other in over:
        choose("setting", other, next(iter(chosen.values())))
    chosen = dict(sorted(chosen.items(), key=lambda item: [_rank(item[1][each]) for each in over], reverse=True))
    apart = telling(chosen.values(), apart=following(chosen.values(), over) if over else ())
    table = _joined(chosen, "histograms", apart)
    table["over"] = table["study"].map({folder.name: label(each, over) for folder, each in chosen.items()})
    distances = _distances(table)
    shown = distances.assign(time=distances["time"].map("{:g}".format), largest=distances["largest"].map("{:.4f}".format),
                             chance=distances["chance"].map("{:.4f}".format))
    words = ("largest: the largest difference between the distribution functions of the discrete run and of the equation, over "
             "the edges of the bins; chance: its 95 % quantile for two independent samples of one law.")
    return Panels(name, table, shown, words, picture.histograms, distances,
                  folder=effort.folder(results / "panels")).saved()


def _checked(source: Path, name: str) -> Path:
    """The folder that holds the studies; `SMEError` if there is none, or the name names no file."""
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise SMEError(f"name must consist of letters, digits, _, - and ., since it names files; got {short(name)}")
    if not source.is_dir():
        raise SMEError(f"{source} is not a folder: give the folder that holds the results, such as results/")
    return source


def _joined(chosen: dict[Path, Settings], file: str, apart: Iterable[str]) -> pd.DataFrame:
    """The tables of that name below each other, with what tells their settings apart and, of studies, the equation."""
    parts = []
    for folder, each in chosen.items():
        try:
            sums.check(folder / f"{file}.csv", folder.name if file == "histograms" else opened(folder)["study"])
            table = read_table(folder / f"{file}.csv", dtype=dict.fromkeys((*COLUMNS, "note"), str))
        except (OSError, ValueError) as fault:
            raise SMEError(f"{folder / file}.csv is no table ({fault}): run scripts/collect.py, or the command that made it, "
                           "again") from fault
        table.insert(0, "study", folder.name)
        table.insert(1, "setting", label(each, apart))
        if "order" in table:
            motions = each["brownian"]
            name = f", {each['model']}" if "model" in each else EQUATIONS.get(motions, f", {motions}")
            table.insert(2, "equation", [f"order {order}{name}" for order in table["order"]])
        parts.append((tuple(_rank(each.get(name)) for name in apart), table))
    return pd.concat([table for _, table in sorted(parts, key=lambda part: part[0])], ignore_index=True)


def _rank(value: object) -> tuple[float, str]:
    """Numbers by size, words by their letters."""
    number = value[0] if isinstance(value, list) else value
    return (float(number), "") if isinstance(number, int | float) else (0.0, str(value))


def _distances(table: pd.DataFrame) -> pd.DataFrame:
    """How far each equation's law is from its discrete run's, and how far two samples of one law are."""
    rows = []
    keys = ["setting", "over", "variable", "time"]
    for where, group in table.groupby(keys, sort=False):
        counts = {curve: part["count"].to_numpy(float) for curve, part in group.groupby("curve", sort=False)}
        shares = {curve: np.cumsum(count) / count.sum() for curve, count in counts.items()}
        for curve in counts:
            if curve != DISCRETE:
                chance = LEVEL * np.sqrt(1 / counts[curve].sum() + 1 / counts[DISCRETE].sum())
                rows.append((*where, curve, np.abs(shares[curve] - shares[DISCRETE]).max(), chance))
    made = pd.DataFrame(rows, columns=[*keys, "curve", "largest", "chance"])
    return made if made["over"].any() else made.drop(columns="over")
