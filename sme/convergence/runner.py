"""From setups to points: what is missing is computed, over threads or processes, and kept shard by shard."""

import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchsde

from sme.common.process.processes import spread
from sme.common.process.progress import fraction, progress
from sme.common.process.threads import spread_threads
from sme.common.storage.records import Records
from sme.common.version import version
from sme.convergence.cost import weight
from sme.convergence.estimator import paired, trials
from sme.convergence.estimator.thinned import thinned
from sme.convergence.fit import tables
from sme.convergence.spec.effort import Execution
from sme.convergence.spec.job import Job
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store.asked import Requests
from sme.convergence.store.points import Key, Point
from sme.simulate.backend import begin, chosen
from sme.simulate.setup import Setup

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

    def __init__(self, job: Job, points: list[Any], folder: Path | None) -> None:
        self.job, self.folder, self.outline, self.effort = job, folder, job.spec.outline(), job.effort
        self.points, self.asked = points, Requests()
        self.deadline = time.monotonic() + job.effort.budget_s

    def ready(self, setups: Mapping[tuple[int, int], Setup]) -> dict[tuple[int, int], Setup]:
        """With what their shards share."""
        made = ready(setups, self.effort.backend, self.job.records)
        weight.warn(made.values())
        return made

    @property
    def work(self) -> Callable[..., Any]:
        """What makes a point of a setup, its key, an outline and a folder."""
        return _computed

    def expected(self, setups: list[Setup]) -> float:
        """Seconds of a shard of each of these, one after the other."""
        return weight.expected(setups)

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
        fresh = [key for key in keys if key not in self.asked.keys]
        self._ask(keys)
        if found := sum(key in there for key in fresh):
            print(f"{found} of {len(fresh)} points found")
        setups = self.ready({which: self.job.setups[which] for which in sorted({key[:2] for key in missing})})
        weight.long(setups[key[:2]] for key in missing)
        tasks = [(setups[key[:2]], key, self.outline, self.folder) for key in missing]
        left = Counter(key[:2] for key in missing)
        with progress(total=sum(key.steps for key in missing), unit="step", desc=self._now(left, len(left))) as bar:
            for point in self._compute(tasks):
                self.points.append(point)
                left -= Counter([point.key[:2]])
                bar.set_description(self._now(left, len(setups)), refresh=False)
                bar.update(point.key.steps)

    def _now(self, left: Mapping[tuple[int, int], int], count: int) -> str:
        """The first of the step sizes that are left, and which of how many that is: `order 2, τ = 1/16, 3 of 5`."""
        if not left:
            return ""
        order, steps = next(iter(left))
        return f"order {order}, τ = {fraction(self.job.spec.grid(steps).tau)}, {count - len(left) + 1} of {count}"

    def _refine(self, tolerance: float) -> None:
        """Have as many shards of each (order, steps) as its own trial shards ask for: any ladder gives the same points."""
        open_, counts = dict.fromkeys(self.job.setups, 1), dict[tuple[int, int], int]()
        while open_:
            self._shards({which: [trials.FIRST + i for i in range(count // 2, count)] for which, count in open_.items()})
            if time.monotonic() > self.deadline:
                break
            found = {which: self._needed(which, count, tolerance) for which, count in open_.items()}
            counts.update((which, number) for which, number in found.items() if number is not None)
            open_ = {which: 2 * count for which, count in open_.items() if found[which] is None}
        self._shards({which: list(range(number)) for which, number in counts.items()})

    def _needed(self, which: tuple[int, int], count: int, tolerance: float) -> int | None:
        """What the first `count` trial shards ask for."""
        keys = {Key(*which, self.effort.seed, trials.FIRST + i) for i in range(count)}
        table = tables.judged(tables.errors([point for point in self.points if point.key in keys], self.outline))
        return trials.needed(table["error"].to_numpy(float), table["stderr"].to_numpy(float), count, tolerance)

    def _ask(self, keys: list[Key]) -> None:
        """Note what is asked for beside the points, before any is computed."""
        asked = Requests(frozenset(keys), self.effort.tolerance)
        self.asked = self.asked.merge(asked)
        if self.folder is not None:
            asked.save(self.folder, self.outline.study)

    def _compute(self, tasks: list[tuple[Setup, Key, StudyMetadata, Path | None]]) -> Iterator[Point]:
        beside = [task for task in tasks if threaded(task[0])]
        others = [task for task in tasks if not threaded(task[0])]
        processes = workers([task[0] for task in others], self.effort, self.expected)
        left = len(tasks)
        for group, most in ((beside, self.effort.processes), (others, processes)):
            size = max(1, len(group)) if math.isinf(self.deadline) else most
            for first in range(0, len(group), size):
                if time.monotonic() > self.deadline:
                    print(f"stopped by budget_s with {left} points left out")
                    return
                now = group[first : first + size]
                left -= len(now)
                if group is beside:
                    yield from spread_threads(self.work, now, most)
                else:
                    yield from spread(self.work, now, most, ordered=False)


def threaded(setup: Setup) -> bool:
    """Whether threads do: what takes long is compiled code, and the law has no memory of its last examples."""
    return bool(setup.source) and setup.problem.noise.paired


def workers(setups: list[Setup], effort: Execution, expected: Callable[[list[Setup]], float] | None = None) -> int:
    """How many processes compute a shard of each of these: where they are left open, one if others load longer than they save."""
    most = max(1, min(effort.processes, len(setups)))
    if most == 1 or not effort.auto:
        return most
    return 1 if (expected or weight.expected)(setups) * (1 - 1 / most) < weight.WORKERS_S else most


def ready(setups: Mapping[tuple[int, int], Setup], backend: str, records: Records | None = None) -> dict[tuple[int, int], Setup]:
    """The setups with all that their shards share, compiled if the backend asks for it and they can be, and thinned.

    What the `records` of their study have is not made again.
    """
    records = records or Records(None)
    shared, paths = dict[tuple[int, int], Setup](), 2 * paired.BLOCKS * paired.BLOCK_PAIRS
    for which, setup in setups.items():
        shared[which] = paired.prepared(setup, records)
        begin(shared[which], backend, paths, records)  # the compiler works while the others are prepared
    compiled = chosen(shared, backend, paths, records)
    made = {which: thinned(setup, paired.BLOCK_PAIRS, paired.chunk(setup), records) for which, setup in compiled.items()}
    records.save()
    return made


def _computed(setup: Setup, key: Key, outline: StudyMetadata, folder: Path | None) -> Point:
    """The point, kept at once by the process that computed it: a parent that dies loses nothing."""
    began = time.perf_counter()
    blocks = paired.run_shard(setup, key.seed, key.shard)
    variables = tuple(setup.observables), tuple(mark * setup.tau for mark in setup.marks)
    point = Point(key, outline.study, blocks, physical(setup), made(setup, began), outline.numerics, setup.halving, variables)
    if folder is not None:
        point.save(folder / "points")
    return point


def physical(setup: Setup) -> dict[str, Any]:
    """The hyperparameters and the noise of a setup in the terms of torch.optim."""
    tau, regime = setup.tau, setup.regime
    return {"tau": setup.grid.given, **setup.optimizer.physical(regime, tau),
            **setup.problem.noise.physical(regime, tau)}


def made(setup: Setup, began: float) -> dict[str, Any]:
    """How a point was made, since a time of `time.perf_counter`."""
    versions = {"sme": version(), "python": platform.python_version(), "torch": torch.__version__,
                "torchsde": torchsde.__version__, "numpy": np.__version__}
    few = {"paths_on_all_levels": f"1 in {setup.thinned}"} if setup.thinned > 1 else {}
    return {"versions": versions, "device": setup.device, "seconds": round(time.perf_counter() - began, 3), **few}
