"""`weak_error`: from a specification to points to a study."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from joblib import Parallel, delayed, parallel_config
from torch import Tensor
from tqdm import tqdm

from sme import effort, predicted, stability
from sme.backend import ready
from sme.job import Job
from sme.optimizers.base import Optimizer
from sme.points import Key, Point, read
from sme.problems.base import Problem
from sme.setup import Setup
from sme.specification import Observables, Specification
from sme.study import Study

MOST_SHARDS = 64
"""where a relative tolerance stops adding shards"""


def weak_error(
    problem: Problem,
    optimizer: Optimizer,
    *,
    tau: float | str | Sequence[float | str],
    start: Mapping[str, Tensor],
    regime: str = "ballistic",
    order: int | Sequence[int] = 2,
    brownian: str = "independent",
    horizon: float = 1.0,
    observables: Observables = None,
    times: Sequence[float] | None = None,
    paths: int | None = None,
    tolerance: float | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    device: str = "auto",
    processes: int | str = 1,
    backend: str = "auto",
    results: str | Path | None = None,
) -> Study:
    """Measure how far the equation's expectations are from the discrete optimizer's, and at which order in `τ`.

    `error = E φ(discrete run) − E φ(equation)` at the horizon (or at `times`), for every
    observable `φ`, order and `τ`, both on the same Brownian path; then the slope over `τ`.

    Parameters
    ----------
    problem, optimizer
        what is run; the update rule and the gradient law of these.
    tau
        step sizes `τ`, as numbers or text such as `"1/16"`.
    start
        named fields at the start, tensors `(d,)`; `m` defaults to 0, `v` to 1.
    regime
        `"ballistic"` or `"batch_equivalent"`.
    order
        1, 2 or both.
    brownian
        `"independent"` motions on parameters (or momentum) and second moment, `"step_memory"` (one motion that
        remembers the optimizer's step; Gaussian noise), or `"none"` (order 1, ballistic: the ODE).
    horizon
        `T`, from the optimizer's `t0` on: a whole number of steps of every `τ`.
    observables
        functions from named fields `(paths, d)` to `(paths,)`, by name; or names of built-in
        ones; default `|field|^2`, means, loss.
    times
        checkpoints in `(0, T]`, on every grid; default the end alone.
    paths
        at each `τ`, rounded up to whole shards of 32 768; default 65 536, and more below `τ = 1/32`, as `1/τ`.
    tolerance
        in place of `paths`: add shards until each standard error is below this fraction of its error,
        or there are 64.
    budget_s
        stop starting new shards after so many seconds; tables then say so.
    seed
        of the random stream, a function of (seed, steps, shard).
    device
        `"auto"`, `"cpu"`, `"cuda"`, …
    processes
        over shards; `"auto"` is one a core. Any number gives the same digits.
    backend
        `"compiled"` C code, made from the equation and the update rule; `"torchsde"`; or `"auto"`: the
        first where it can be had, else the second, with a line that says why. They agree to rounding.
    results
        folder for points and tables; points found there are not computed again. None: in memory.

    Raises
    ------
    SMEError
        for bad input: what was given, what is allowed, what to change.
    """
    job = Job.of(problem, optimizer, tau=tau, start=start, regime=regime, order=order, brownian=brownian, horizon=horizon,
                 observables=observables, times=times, paths=paths, tolerance=tolerance, budget_s=budget_s, seed=seed,
                 device=device, processes=processes, backend=backend, results=results)
    stability.warn(job.setups.values())
    spec = job.spec
    folder = effort.folder(results) / spec.name if results is not None else None
    study = Study(spec.outline(), [], folder)
    run = _Run(study, job.setups, job.seed, job.processes, job.budget_s, job.backend)
    if folder is not None:
        spec.outline().write(folder, spec.describe())
        study.points += read(folder / "points", study.name)
    run.announce(job.counts)
    run.shards(job.counts)
    if job.tolerance is not None:
        run.refine(job.tolerance)
    if job.predicts:
        run.predict(spec, max(job.counts.values()))
    study.save()
    return study


class _Run:
    """Computes the points that a study lacks."""

    def __init__(self, study: Study, setups: dict[tuple[int, int], Setup], seed: int, processes: int,
                 budget_s: float, backend: str) -> None:
        self.backend = backend
        self.study, self.setups, self.seed, self.processes = study, setups, seed, processes
        self.deadline = time.monotonic() + budget_s

    def announce(self, counts: Mapping[tuple[int, int], int]) -> None:
        """Say how many of the points asked for are there already."""
        there = {point.key for point in self.study.points}
        wanted = [Key(*which, self.seed, shard) for which, count in counts.items() for shard in range(count)]
        if found := sum(key in there for key in wanted):
            print(f"{found} of {len(wanted)} points found")

    def shards(self, counts: Mapping[tuple[int, int], int]) -> None:
        """Have at least so many shards for each (order, steps)."""
        keys = [Key(*which, self.seed, shard) for which, count in counts.items() for shard in range(count)]
        there = {point.key for point in self.study.points}
        missing = sorted((key for key in keys if key not in there), key=lambda key: -key.steps)
        setups = ready({which: self.setups[which] for which in sorted({key[:2] for key in missing})}, self.backend)
        tasks = [(setups[key[:2]], key, self.study.name) for key in missing]
        bar = tqdm(total=sum(key.steps for key in missing), unit="step", disable=None, leave=False)
        with bar:
            for point in self._compute(tasks):
                if self.study.folder is not None:
                    point.save(self.study.folder / "points")
                self.study.add(point)
                bar.update(point.key.steps)

    def refine(self, tolerance: float) -> None:
        """Double the shards of each (order, steps) until every standard error is below the tolerance.

        Each step size decides by its own numbers, so that any ladder gives the same points.
        """
        counts = dict.fromkeys(self.setups, 1)
        while True:
            table = self.study.errors
            loose = table[table["stderr"] > tolerance * table["error"].abs()]
            steps = (self.study.outline.horizon / loose["tau"]).round().astype(int)
            open_ = set(zip(loose["order"], steps, strict=True))
            counts = {which: 2 * count for which, count in counts.items() if which in open_}
            if not counts:
                return
            if max(counts.values()) > MOST_SHARDS or time.monotonic() > self.deadline:
                why = "budget_s" if time.monotonic() > self.deadline else f"{MOST_SHARDS} shards"
                self.study.remark = f"stopped by {why} before every standard error was within the tolerance {tolerance:g}"
                return
            self.shards(counts)

    def predict(self, spec: Specification, shards: int) -> None:
        """Have the constants that the obstruction leaves, from an effort that grows with the shards."""
        blocks = predicted.effort(shards)
        known = predicted.read(self.study.folder)
        if known is None or known.blocks < blocks:
            setup = next(setup for (order, _), setup in self.setups.items() if order == 2)
            known = predicted.predict(setup, spec.times, blocks, self.processes)
            if self.study.folder is not None:
                predicted.write(self.study.folder, known)
        self.study.predicted = known

    def _compute(self, tasks: list[tuple[Setup, Key, str]]) -> Iterator[Point]:
        size = len(tasks) if math.isinf(self.deadline) else self.processes
        while tasks:
            if time.monotonic() > self.deadline:
                self.study.remark = f"stopped by budget_s with {len(tasks)} points left out"
                return
            now, tasks = tasks[:size], tasks[size:]
            if self.processes == 1:
                yield from (Point.compute(*task) for task in now)
            else:
                with parallel_config("loky", n_jobs=self.processes, inner_max_num_threads=1):
                    yield from Parallel(return_as="generator_unordered")(delayed(_work)(*task) for task in now)


def _work(setup: Setup, key: Key, study: str) -> Point:
    torch.set_num_threads(1)  # in a worker process of ours, never in the user's
    return Point.compute(setup, key, study)
