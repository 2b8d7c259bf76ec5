"""From setups to points: what is missing is computed, over processes, and kept shard by shard."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from sme import tables
from sme.asked import Asked
from sme.backend import compiled_setups
from sme.effort import MOST_SHARDS, Effort
from sme.outline import Outline
from sme.paired import prepared
from sme.points import Key, Point
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

    def __init__(self, outline: Outline, setups: Mapping[tuple[int, int], Setup], points: list[Point], folder: Path | None,
                 effort: Effort) -> None:
        self.outline, self.setups, self.folder, self.effort = outline, setups, folder, effort
        self.points, self.asked = points, Asked()
        self.deadline = time.monotonic() + effort.budget_s

    def shards(self, wanted: Wanted) -> None:
        """Have these shards."""
        keys = [Key(*which, self.effort.seed, shard) for which, numbers in wanted.items() for shard in numbers]
        there = {point.key for point in self.points}
        missing = sorted((key for key in keys if key not in there), key=lambda key: -key.steps)
        self._ask(keys)
        if len(missing) < len(keys):
            print(f"{len(keys) - len(missing)} of {len(keys)} points found")
        ready = self._ready(sorted({key[:2] for key in missing}))
        tasks = [(ready[key[:2]], key, self.outline.study, self.folder) for key in missing]
        bar = tqdm(total=sum(key.steps for key in missing), unit="step", disable=None, leave=False)
        with bar:
            for point in self._compute(tasks):
                self.points.append(point)
                bar.update(point.key.steps)

    def refine(self, tolerance: float) -> None:
        """Double the shards of each (order, steps) until every standard error is below the tolerance.

        Each step size decides by its own numbers, so that any ladder gives the same points.
        """
        counts = dict.fromkeys(self.setups, 1)
        while True:
            loose = tables.loose(tables.errors(self.points, self.outline), tolerance)
            steps = (self.outline.horizon / loose["tau"]).round().astype(int)
            open_ = set(zip(loose["order"], steps, strict=True))
            counts = {which: 2 * count for which, count in counts.items() if which in open_}
            if not counts or max(counts.values()) > MOST_SHARDS or time.monotonic() > self.deadline:
                return
            self.shards({which: list(range(count)) for which, count in counts.items()})

    def _ask(self, keys: list[Key]) -> None:
        """Note what is asked for beside the points, before any is computed."""
        asked = Asked(frozenset(keys), self.effort.tolerance)
        self.asked = self.asked.merge(asked)
        if self.folder is not None:
            asked.save(self.folder)

    def _ready(self, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], Setup]:
        ready = {which: prepared(self.setups[which]) for which in wanted}
        backend = self.effort.backend
        return ready if backend == "torchsde" else compiled_setups(ready, must=backend == "compiled")

    def _compute(self, tasks: list[tuple[Setup, Key, str, Path | None]]) -> Iterator[Point]:
        processes = self.effort.processes
        size = len(tasks) if math.isinf(self.deadline) else processes
        while tasks:
            if time.monotonic() > self.deadline:
                print(f"stopped by budget_s with {len(tasks)} points left out")
                return
            now, tasks = tasks[:size], tasks[size:]
            if processes == 1:
                yield from (_computed(*task) for task in now)
            else:
                with parallel_config("loky", n_jobs=processes, inner_max_num_threads=1):
                    yield from Parallel(return_as="generator_unordered")(delayed(_work)(*task) for task in now)


def _computed(setup: Setup, key: Key, study: str, folder: Path | None) -> Point:
    """The point, kept at once by the process that computed it: a parent that dies loses nothing."""
    point = Point.compute(setup, key, study)
    if folder is not None:
        point.save(folder / "points")
    return point


def _work(setup: Setup, key: Key, study: str, folder: Path | None) -> Point:
    torch.set_num_threads(1)  # in a worker process of ours, never in the user's
    return _computed(setup, key, study, folder)
