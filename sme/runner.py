"""From setups to points: what is missing is computed, over processes, and kept shard by shard."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from sme import tables
from sme.asked import Asked
from sme.backend import ready
from sme.effort import MOST_SHARDS
from sme.job import Job
from sme.outline import Outline
from sme.points import Key, Point
from sme.processes import spread
from sme.setup import Setup

Wanted = Mapping[tuple[int, int], list[int]]
"""the shards wanted of each (order, steps)"""


class Runner:
    """Computes the points that a study lacks.

    Attributes
    ----------
    points
        those that were there, and those computed since.
    asked
        the points that this runner was asked for.
    """

    def __init__(self, job: Job, points: list[Point], folder: Path | None) -> None:
        self.job, self.folder, self.outline, self.effort = job, folder, job.spec.outline(), job.effort
        self.points, self.asked = points, Asked()
        self.deadline = time.monotonic() + job.effort.budget_s

    def run(self) -> None:
        """Have what the job asks for."""
        self._shards(self.job.shards)
        if self.effort.tolerance is not None:
            self._refine(self.effort.tolerance)

    def _shards(self, wanted: Wanted) -> None:
        """Have these shards."""
        keys = [Key(*which, self.effort.seed, shard) for which, numbers in wanted.items() for shard in numbers]
        there = {point.key for point in self.points}
        missing = sorted((key for key in keys if key not in there), key=lambda key: -key.steps)
        self._ask(keys)
        if len(missing) < len(keys):
            print(f"{len(keys) - len(missing)} of {len(keys)} points found")
        setups = ready({which: self.job.setups[which] for which in sorted({key[:2] for key in missing})}, self.effort.backend)
        tasks = [(setups[key[:2]], key, self.outline, self.folder) for key in missing]
        bar = tqdm(total=sum(key.steps for key in missing), unit="step", disable=None, leave=False)
        with bar:
            for point in self._compute(tasks):
                self.points.append(point)
                bar.update(point.key.steps)

    def _refine(self, tolerance: float) -> None:
        """Double the shards of each (order, steps) until every standard error is below the tolerance.

        Each step size decides by its own numbers, so that any ladder gives the same points.
        """
        counts = dict.fromkeys(self.job.setups, 1)
        while True:
            loose = tables.loose(tables.errors(self.points, self.outline), tolerance)
            steps = (self.outline.horizon / loose["tau"]).round().astype(int)
            open_ = set(zip(loose["order"], steps, strict=True))
            counts = {which: 2 * count for which, count in counts.items() if which in open_}
            if not counts or max(counts.values()) > MOST_SHARDS or time.monotonic() > self.deadline:
                return
            self._shards({which: list(range(count)) for which, count in counts.items()})

    def _ask(self, keys: list[Key]) -> None:
        """Note what is asked for beside the points, before any is computed."""
        asked = Asked(frozenset(keys), self.effort.tolerance)
        self.asked = self.asked.merge(asked)
        if self.folder is not None:
            asked.save(self.folder)

    def _compute(self, tasks: list[tuple[Setup, Key, Outline, Path | None]]) -> Iterator[Point]:
        processes = self.effort.processes
        size = len(tasks) if math.isinf(self.deadline) else processes
        while tasks:
            if time.monotonic() > self.deadline:
                print(f"stopped by budget_s with {len(tasks)} points left out")
                return
            now, tasks = tasks[:size], tasks[size:]
            yield from spread(_computed, now, processes, ordered=False)


def _computed(setup: Setup, key: Key, outline: Outline, folder: Path | None) -> Point:
    """The point, kept at once by the process that computed it: a parent that dies loses nothing."""
    point = Point.compute(setup, key, outline.study, outline.numerics)
    if folder is not None:
        point.save(folder / "points")
    return point
