"""What a study would cost, before it is run: a short pilot of every order and step size, in this process."""

import heapq
import inspect
import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.common.output.brief import Brief
from sme.common.process.turns import entry
from sme.common.storage.records import Records
from sme.convergence.api import parts, weak_error
from sme.convergence.cost import offer, pilot
from sme.convergence.cost.weight import WORKERS_S, point_mib
from sme.convergence.estimator.paired import BLOCKS
from sme.convergence.estimator.quadrature.method import QUADRATURE
from sme.convergence.fit import predicted
from sme.convergence.runner import ready, threaded, workers
from sme.convergence.spec.effort import SHARD_PATHS, warn_rounded
from sme.convergence.spec.job import Job
from sme.convergence.store.points import Key
from sme.convergence.study import Study
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.simulate import stability
from sme.simulate.ensemble import LEVELS
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

PICTURE_S, PANEL_S = 1.5, 0.25
"""seconds of tables and picture, beside those of each panel"""


@dataclass(frozen=True, repr=False)
class Plan(Brief):
    """What a study would cost.

    Attributes
    ----------
    table
        a row for each order and step size: `order tau paths shards found left_out steps substeps path_substeps seconds
        memory_mib point_mib`. `found` shards are there already, `left_out` ones would not be started within `budget_s`;
        `path_substeps` of all levels and `seconds`, its part of the whole run's, are of the rest; `memory_mib` is the peak of one
        process, `point_mib` what a shard takes in the folder at most, which grows with the square of the number of observables
        and times.
    starting
        seconds for what is no simulation: tracing, which is timed, starting processes and drawing, which are not
        (`WORKERS_S`, `PICTURE_S`, `PANEL_S`).
    predicting
        seconds for the constants that an obstruction leaves.
    memory_mib
        the peak memory of the main process and of its workers together.
    disk_mib
        what the points that are not there yet take, each with the covariances of all observables.
    """

    study: str
    table: pd.DataFrame
    starting: float
    predicting: float
    memory_mib: float
    processes: int
    at_least: bool
    """whether a tolerance may ask for more shards than the first"""
    disk_mib: float = 0.0
    offer: str = ""
    """that quadrature is cheaper, if it is"""

    @property
    def seconds(self) -> float:
        """The whole job's."""
        return self.starting + self.predicting + float(self.table["seconds"].sum())

    def __str__(self) -> str:
        table = self.table.assign(tau=[f"{tau:g}" for tau in self.table["tau"]],
                                  path_substeps=[f"{count:.3g}" for count in self.table["path_substeps"]],
                                  seconds=[_digits(each) for each in self.table["seconds"]],
                                  **{name: ["–" if math.isnan(each) else f"{each:{digits}}" for each in self.table[name]]
                                     for name, digits in (("memory_mib", ".0f"), ("point_mib", ".2g"))})
        if not self.table["left_out"].any():
            table = table.drop(columns="left_out")
        lines = [f"plan of {self.study}", "",
                 tabulate(table, headers=[name.replace("_", " ") for name in table], showindex=False), "",
                 f"starting (tracing, processes, tables): {_digits(self.starting)} s"]
        if self.predicting:
            lines.append(f"predicting what the obstruction leaves: {_digits(self.predicting)} s")
        if self.disk_mib >= 1:
            lines.append(f"points on disk: {self.disk_mib:.0f} MiB")
        lines += [self.offer] if self.offer else []
        least = "at least " if self.at_least else ""
        lines.append(f"in all: {least}{_digits(self.seconds)} s and {self.memory_mib:.0f} MiB on {self.processes} "
                     f"process{'es' if self.processes > 1 else ''}"
                     + (", for one shard each and one to decide by: the tolerance may ask for more" if self.at_least else ""))
        return "\n".join(lines)


@entry
def plan(problem: Problem, optimizer: Optimizer, **settings: Any) -> Plan:
    """What `weak_error` would cost with the same arguments; nothing of the study is run or written.

    All that comes before the simulation is done and timed. Then a few pairs run at each order and step size, of many step sizes
    at some from the coarsest to the finest, and the times are scaled to the shards that are not there yet. Processes that share
    memory and caches may take longer than one alone.

    Raises
    ------
    SMEError
        for bad input, as `weak_error`.
    """
    given = inspect.signature(weak_error).bind(problem, optimizer, **settings)
    given.apply_defaults()
    spec, asked = parts(**given.arguments)
    job = Job.of(spec, **asked)
    results = given.arguments["results"]
    if not isinstance(results, str | Path | None):
        raise SMEError(f"results must be a folder, got {short(results)}: give its name, or None to look at no points")
    folder = Path(results) / spec.name if results is not None else None
    study = Study.begin(spec, folder)
    there = {point.key for point in study.points}
    missing = sorted((key for key in job.keys if key not in there), key=lambda key: -key.steps)

    if spec.method == QUADRATURE:
        return _by_quadrature(job, there, folder)
    compiled, began = _compiled(), time.perf_counter()
    warn_rounded(given.arguments["paths"])
    every = {which: job.setups[which] for which in sorted({key[:2] for key in missing})}
    some = pilot.looked(every)
    whole = all(each.marks == every[which].marks for which, each in some.items())
    records = job.records if whole else Records(None)  # what is of a part of a run is no whole run's
    stability.warn(job.setups.values(), job.records)
    setups = ready(some, job.effort.backend, records)
    like = {which: replace(setups[pilot.nearest(setups, which)], marks=each.marks) for which, each in every.items()}
    others = [like[key[:2]] for key in missing if not threaded(like[key[:2]])]
    processes = workers(others, job.effort)
    hands = max(processes, min(job.effort.processes, len(missing) - len(others)))
    pilot.begin(setups)
    beginning = time.perf_counter() - began - (_compiled() - compiled)  # compiled code is kept
    beginning *= sum(each.marks[-1] for each in every.values()) / max(1, sum(each.marks[-1] for each in setups.values()))
    predicting, samples = _predicting(job, folder), pilot.filled(pilot.pilot(setups), setups, every)

    tasks = [samples[key[:2]].seconds for key in missing]
    running, started = _schedule(tasks, hands, job.effort.budget_s - beginning)
    seconds: Counter[tuple[int, int]] = Counter()
    for key, cost in zip(missing[:started], tasks, strict=False):
        seconds[key[:2]] += running * cost / sum(tasks[:started])  # type: ignore[assignment]
    left_out, found = (Counter(key[:2] for key in some) for some in (missing[started:], set(job.keys) & there))
    rows = [_row(setup, len(job.shards[which]), found[which], left_out[which], seconds[which],
                 samples[which].memory_mib if which in samples else math.nan,
                 point_mib(like[which]) if which in like else math.nan, like[which].thinned if which in like else 1)
            for which, setup in job.setups.items()]
    sizes = {which: BLOCKS * len(json.dumps(sample.block.to_json())) for which, sample in samples.items()}
    around = PICTURE_S + PANEL_S * len(spec.observables) * len(spec.times) + (WORKERS_S if processes > 1 else 0.0)
    return Plan(job.spec.name, pd.DataFrame(rows), beginning + around, predicting,
                pilot.peak() * (1 + processes if processes > 1 else 1), hands,
                job.effort.tolerance is not None, sum(sizes[key[:2]] for key in missing[:started]) / 2**20,
                offer.said(every, some, running))


def _by_quadrature(job: Job, there: set[Key], folder: Path | None) -> Plan:
    """Of a study without random paths, from the first rung of each setup."""
    rows = []
    for which, setup in job.setups.items():
        found = int(Key(*which, 0, 0) in there)
        cost = 0.0 if found else offer.seconds(setup)
        rows.append({**_row(setup, 1, found, 0, cost, math.nan, math.nan), "paths": 0, "path_substeps": 0})
    return Plan(job.spec.name, pd.DataFrame(rows), 0.0, _predicting(job, folder), pilot.peak(), 1, False)


plan.__signature__ = inspect.signature(weak_error).replace(return_annotation=Plan)  # type: ignore[attr-defined]


def _compiled() -> float:
    """Seconds that the C compiler has taken so far."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _row(setup: Setup, shards: int, found: int, left_out: int, seconds: float, memory_mib: float,
         point_mib: float, thinned: int = 1) -> dict[str, Any]:
    substeps, steps = setup.substeps(scheme(setup.equation())), setup.marks[-1]
    each = [substeps // factor for factor in LEVELS]
    levels = len(setup.equations()) * (each[-1] + sum(each[:-1]) / thinned)
    return {"order": setup.order, "tau": setup.grid.given, "paths": shards * SHARD_PATHS,
            "shards": shards, "found": found, "left_out": left_out, "steps": steps, "substeps": substeps,
            "path_substeps": round((shards - found - left_out) * SHARD_PATHS * steps * levels), "seconds": seconds,
            "memory_mib": memory_mib, "point_mib": point_mib}


def _predicting(job: Job, folder: Path | None) -> float:
    """Seconds for the constants that the obstruction leaves, from one block."""
    known, setup = predicted.read(folder, job.spec.name), job.obstructed
    if setup is None or (known is not None and known.blocks >= predicted.BLOCKS):
        return 0.0
    workers = min(job.effort.processes, predicted.BLOCKS)
    predicted.predict(job, setup, 1)  # traced and compiled, which later blocks are not
    began = time.perf_counter()
    predicted.predict(job, setup, 1)
    return (time.perf_counter() - began) * math.ceil(predicted.BLOCKS / workers)


def _schedule(tasks: list[float], processes: int, budget_s: float) -> tuple[float, int]:
    """The seconds until all tasks are done, and how many of them are begun within the budget.

    The next process that is free takes the next task; within a budget, all processes begin a task together.
    """
    free = [0.0] * processes
    for begun, task in enumerate(tasks):
        if math.isfinite(budget_s) and begun % processes == 0:
            free = [max(free)] * processes
            if free[0] > budget_s:
                return free[0], begun
        heapq.heappush(free, heapq.heappop(free) + task)
    return max(free), len(tasks)


def _digits(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"
