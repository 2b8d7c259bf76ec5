"""A study: the points there are, what they say, and how it grows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sme import asked as requests
from sme import effort, picture, report, tables
from sme import points as files
from sme import predicted as prediction
from sme.asked import Asked
from sme.comparison import Comparison, compare
from sme.effort import Effort
from sme.errors import SMEError, choose
from sme.files import write_text
from sme.inputs import several
from sme.outline import Outline
from sme.points import Key, Point
from sme.predicted import Predicted, quote
from sme.runner import Runner
from sme.specification import Specification, orders

DIGITS = "%.6g"
PARTS = ("problem", "optimizer", "start", "observables")
"""what may be handed over to a loaded study"""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run: `study` has every shard that was finished."""

    def __init__(self, study: "Study") -> None:
        super().__init__(f"{study.name} was interrupted; its finished points are kept")
        self.study = study


@dataclass
class Study:
    """An outline and its points; tables and pictures are derived from all points present.

    Attributes
    ----------
    errors
        `order tau observable at time error stderr integrator_bias paths diverged floored`, with
        `error = E[discrete] − E[equation]`.
    slopes
        `order observable at slope slope_low slope_high c1 c1_low c1_high c1_order1 points verdict note`.
    orders
        those that this study was asked for when it was made or last extended; of a loaded one, all there are.
    """

    outline: Outline
    points: list[Point] = field(default_factory=list)
    folder: Path | None = None
    predicted: Predicted | None = None
    """the constants `C₁` that an obstruction leaves, if there is one and they were computed"""
    asked: Asked = field(default_factory=Asked)
    """the points that runs were asked for"""
    known: Specification | None = None
    """what is studied, if this study was not loaded"""
    orders: tuple[int, ...] = ()
    read: frozenset[str] = frozenset()
    """the names of the files that `points` are from"""

    @classmethod
    def begin(cls, specification: Specification, folder: Path | None) -> "Study":
        """The study of a specification, with the points that its folder has; nothing is written."""
        study = cls(specification.outline(), folder=folder, known=specification)
        study.reload()
        return study

    @classmethod
    def load(cls, folder: Path) -> "Study":
        """The study that a folder holds.

        Raises
        ------
        SMEError
            if it holds none, or one of other numerics.
        """
        study = cls(Outline.read(folder), folder=folder)
        study.reload()
        study.orders = tuple(sorted({point.key.order for point in study.points}))
        return study

    @property
    def name(self) -> str:
        """`<optimizer>-<regime>-<problem>-<brownian>-<8 hex>`."""
        return self.outline.study

    def reload(self) -> None:
        """Take the points that are in the folder now."""
        if self.folder is not None:
            place = self.folder / "points"
            self.read = _names(place)
            self.points = list(files.read(place, self.name))
            self.asked = requests.read(self.folder)
            self.predicted = prediction.read(self.folder)
        self.forget()

    def forget(self) -> None:
        """Have the tables derived anew."""
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
        if self.missing:
            short = f"{len(self.missing)} of {len(self.asked.keys)} points missing"
            table["note"] = [f"{note}; {short}" if note else short for note in table["note"]]
        return table

    @property
    def missing(self) -> list[Key]:
        """The points that were asked for and are not there."""
        return self.asked.missing(point.key for point in self.points)

    @property
    def remark(self) -> str:
        """What a reader of the tables must know: points that are missing, a tolerance that is not met."""
        parts = []
        if self.missing:
            names = requests.named(self.missing, self.outline.horizon)
            parts.append(f"{len(self.missing)} of the {len(self.asked.keys)} points asked for are missing ({names}): "
                         "run the same command again to have them computed.")
        limit = self.asked.tolerance
        if limit is not None and (self._table["stderr"] > limit * self._table["error"].abs()).any():
            parts.append(f"Not every standard error is within the tolerance {limit:g}.")
        return " ".join(parts)

    def specification(self, **given: Any) -> Specification:
        """What is studied; `given` are parts that cannot be made again from the folder alone.

        Raises
        ------
        SMEError
            if a part is needed, or is not the study's.
        """
        if self.known is None:
            data = Outline.recipe(self.folder) if self.folder is not None else None
            if data is None:
                raise SMEError(f"{self.name} does not say what it was made from: run its own command or script again")
            for name in given:
                choose("part", name, PARTS)
            found = Specification.remake(data, given)
            if found.name != self.name:
                raise SMEError(f"the parts of {self.name} have changed since it was begun: they make {found.name} now. Restore "
                               "them, or begin a new study")
            self.known = found
        return self.known

    def extend(self, *, tau: Any = None, paths: int | None = None, order: int | Sequence[int] | None = None,
               tolerance: float | None = None, budget_s: float | None = None, seed: int | None = None, shards: Any = None,
               device: str = "auto", processes: int | str = 1, backend: str = "auto") -> "Study":
        """Compute more: further step sizes, paths, orders or seeds; what is there is not computed again.

        The arguments are those of `sme.weak_error`. What is left out is as it was: the step sizes, orders and first seed
        that are there, and as many paths as a study has by default.

        Raises
        ------
        SMEError
            for bad input, or if the study's parts cannot be made again (see `specification`).
        Interrupted
            on Ctrl-C; its `study` has what was finished.
        """
        spec, keys = self.specification(), [point.key for point in self.points]
        wanted = orders(sorted({key.order for key in keys}) if order is None else order)
        grid = sorted({key.steps for key in keys}) if tau is None else sorted({spec.steps(each) for each in several(tau)})
        if not grid:
            raise SMEError("tau is empty: give at least one step size")
        how = Effort.of(min((key.seed for key in keys), default=0) if seed is None else seed, device, processes, backend,
                        paths, tolerance, budget_s)
        numbers = {(each, steps): effort.shards(paths, tolerance, spec.horizon / steps, shards)
                   for each in wanted for steps in grid}
        setups = {which: spec.setup(*which, how.device) for which in numbers}
        if self.folder is not None:
            self.outline.write(self.folder, spec.describe(), spec.recipe())
        runner = Runner(self.outline, setups, self.points, self.folder, how)
        self.orders = tuple(wanted)
        try:
            runner.shards(numbers)
            if how.tolerance is not None:
                runner.refine()
            if self.outline.obstruction and 2 in wanted:
                setup = next(setup for (each, _), setup in setups.items() if each == 2)
                self.predicted = prediction.known(self.folder, self.predicted, setup, spec.times, how.processes)
        except KeyboardInterrupt as fault:
            raise Interrupted(self._after(runner)) from fault
        return self._after(runner)

    def _after(self, runner: Runner) -> "Study":
        """With what a runner computed, saved."""
        self.asked = self.asked.merge(runner.asked)
        if self.folder is not None:
            self.reload()
        self.forget()
        self.save()
        return self

    def compare(self, other: "Study | None" = None, *, orders: Sequence[int] | None = None, tau: Any = None,
                paths: int | None = None, seed: int = 0, device: str = "auto", processes: int | str = 1,
                backend: str = "auto") -> Comparison:
        """How far two equations' expectations are apart, on common noise; see `sme.comparison.Comparison`.

        Parameters
        ----------
        other
            a study of the same optimizer on the same problem; default this one.
        orders
            of this study's equation and of the other's. Default: the highest of this one, and the other's
            lowest, or its highest if its Brownian motions are others.
        tau, paths, seed, device, processes, backend
            as in `sme.weak_error`; default the step sizes that both have.

        Raises
        ------
        SMEError
            for bad input, or if the studies differ in more than their equations.
        """
        there = self if other is None else other
        one, two = self.specification(), there.specification()
        chosen = orders or (max(self.orders), (min if one.brownian == two.brownian else max)(there.orders))
        grid = ({key.steps for key in self.asked.keys} & {key.steps for key in there.asked.keys} if tau is None
                else {one.steps(each) for each in several(tau)})
        how = Effort.of(seed, device, processes, backend, paths, None, None)
        found = compare((one, chosen[0]), (two, chosen[1]), sorted(grid), paths, how, (self._table, there._table))
        if self.folder is not None:
            found.save(self.folder)
        return found

    def plot(self, path: str | Path) -> Path:
        """Draw the errors with their fits to a file, in a format that its ending names.

        Raises
        ------
        SMEError
            if there are no points, or the ending names no format.
        """
        if self.errors.empty:
            raise SMEError(f"{self.name} has no points to draw")
        return picture.draw(self.name, self.errors, self.slopes, Path(path))

    def save(self) -> None:
        """Write `errors.csv`, `slopes.csv`, `slopes.md` and `errors.png` beside the points, each atomically.

        Again, if other jobs have added points meanwhile: whoever writes last has seen all of them.
        """
        while self.folder is not None and not self.errors.empty:
            write_text(self.folder / "errors.csv", self.errors.to_csv(index=False, float_format=DIGITS))
            write_text(self.folder / "slopes.csv", self.slopes.to_csv(index=False, float_format=DIGITS))
            write_text(self.folder / "slopes.md", self.text("github") + "\n")
            self.plot(self.folder / "errors.png")
            if _names(self.folder / "points") == self.read:
                return
            self.reload()

    def text(self, style: str = "simple") -> str:
        """Header, slopes and errors, in one of tabulate's styles."""
        if self.errors.empty:
            return f"{self.name}: no points. {self.remark}".strip()
        return report.text(self.name, report.hyperparameters(self.points), self.errors, self.slopes, self.remark, style)

    def __str__(self) -> str:
        return self.text()


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.glob("*.json"))
