"""`trajectories`: the discrete run and its equations followed through time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, seed_of, several, short, whole
from sme.common.process.turns import entry
from sme.convergence.comparison import automatic
from sme.convergence.estimator import paired
from sme.convergence.spec import effort
from sme.convergence.spec.specification import Specification
from sme.convergence.spec.tried import Observables
from sme.equations.drivers.names import asked
from sme.equations.models import OWN, Given
from sme.optimizers.base import Optimizer
from sme.optimizers.grid import StepGrid
from sme.problems.base import Problem
from sme.simulate.ensemble import LEVELS
from sme.studies.trajectories import closer, cost, levels, pieces, runs
from sme.studies.trajectories.precision import PRECISIONS, settled
from sme.studies.trajectories.report import DISCRETE, Trajectories, counted, tabled
from sme.studies.trajectories.setups import setups as all_setups

BANDS = ("sd", "quantiles", "none")
DEFAULT_POINTS, MOST_POINTS = 64, 1000
CHECKPOINTS = (0.25, 0.5, 1.0)
"""the default times of the histograms, as shares of the horizon"""
SUBSTEPS = 2**16
"""the most in one step"""


@entry
def trajectories(
    problem: Problem,
    optimizer: Optimizer,
    *,
    tau: float | str | Sequence[float | str],
    start: Mapping[str, Tensor] | None = None,
    regime: str = "ballistic",
    order: int | str | Sequence[int] | None = None,
    driver: str | None = None,
    brownian: str | None = None,
    model: Given = OWN,
    horizon: float = 1.0,
    observables: Observables = None,
    histogram: Sequence[str] | str = ("theta[0]",),
    checkpoints: Sequence[float] | None = None,
    points: int | None = None,
    band: str = "sd",
    paths: int = effort.SHARD_PATHS,
    seed: int = 0,
    substeps: int | None = None,
    device: str = "auto",
    processes: int | str = 1,
    backend: str = "auto",
    results: str | Path | None = None,
    tolerance: float | None = None,
    precision: str = "auto",
    multilevel: bool = True,
    response: bool | str = "auto",
) -> Trajectories:
    """Follow the discrete run and the equations of the orders through time, on the same increments.

    The discrete run is the one that `weak_error` has at this seed, and the same for each order.

    Parameters
    ----------
    problem, optimizer, start, regime, driver, brownian, model, horizon, seed, device, processes, backend
        as for `weak_error`.
    tau
        the step size `τ`; of several the coarsest, where the curves are furthest apart.
    order
        1, 2 or both; default all that the model has. `"auto"`, as `model="auto"`: the cheapest whose predicted weak error is
        below `tolerance`.
    observables
        as for `weak_error`; a name may be that of a coordinate, such as `theta[0]`.
    histogram
        of which observables or coordinates there are histograms.
    checkpoints
        their times, multiples of `τ`; default a quarter, a half and the whole of the horizon, rounded to the grid.
    points
        at so many evenly spaced times after 0 (rounded to steps) the curves are taken; default at every step, 64 at most.
    band
        what is drawn around the means: `"sd"`, `"quantiles"` (5 % and 95 %), `"none"`.
    paths
        rounded up to whole shards of 32 768 or, with fewer than one, to whole pairs.
    substeps
        of the finest of three levels in one optimizer step, a multiple of 4; default the scheme's own number. What it
        costs is seen in the integrator bias.
    results
        folder; `spec.json`, tables and pictures go to `trajectories/<study>-tau<τ>` in it. None: in memory.
    tolerance
        with `"auto"`, the largest weak error that is allowed.
    precision
        of a network's equations, `"double"` or `"auto"`: where a pilot of 4 paths in both precisions moves by less than a tenth
        of the standard error, their sums over examples are computed in float32. The discrete run and all states stay in float64.
    multilevel
        of a network's equations: beside the paths on three levels of the substep further ones on the coarsest alone, where the
        variances of the former say that they pay. `paths` are those on three levels.
    response
        of a network whose discrete run draws for itself: whether the further discrete runs follow their linear response to the
        noise, a control variate that doubles their cost; `"auto"`: where the first ones gain by it.

    Raises
    ------
    SMEError
        for bad input: what was given, what is allowed, what to change.
    """
    meant = automatic.resolved(problem, optimizer,
                               automatic.Asked(model, order, asked(driver, brownian), tolerance), tau=tau, regime=regime,
                               horizon=horizon, start=start, observables=observables)
    if meant.tolerance is not None:
        raise SMEError(f"tolerance = {short(tolerance)} has a use with model='auto' or order='auto' alone: leave it out")
    order = meant.order
    spec = Specification.of(problem, optimizer, regime, meant.brownian, horizon, start, observables, None, meant.model)
    grid = _coarsest(spec, tau)
    last = _checkpoints(spec, grid, checkpoints)
    marks = _marks(grid.steps, points, last)
    choose("band", band, BANDS)
    choose("precision", precision, PRECISIONS)
    if not isinstance(multilevel, bool):
        raise SMEError(f"multilevel must be true or false, got {short(multilevel)}")
    if response is not True and response != "auto":
        raise SMEError(f"response must be true or auto, got {short(response)}: true is for all discrete runs, auto where it pays")
    orders = spec.orders(order, every=True)
    setups = all_setups(spec, orders, grid.steps, effort.device(device), marks, several(histogram), backend)
    names = list(next(iter(setups.values())).observables)
    where = [1 + marks.index(each) for each in last], [names.index(each) for each in several(histogram)]
    if substeps is not None:
        if whole("substeps", substeps, 1, SUBSTEPS) % LEVELS[-1]:
            raise SMEError(f"substeps must be a multiple of {LEVELS[-1]}, for three levels, got {substeps}")
        setups = {curve: replace(setup, finest=substeps) for curve, setup in setups.items()}
    seed, numbers = seed_of(seed), whole("paths", paths, 1)
    if numbers >= effort.SHARD_PATHS:
        effort.warn_rounded(numbers)
        numbers = len(effort.shards(numbers, None, grid.tau)) * 2 * paired.BLOCKS * paired.BLOCK_PAIRS
    place = effort.place(results, "trajectories", f"{spec.name}-tau{grid.tau:g}")
    setups, rounded = settled(setups, seed, numbers, precision)
    further = pieces.further(setups, seed, numbers, pieces.MORE)
    moving = all(each.equation().motions for each in setups.values())  # one path is all that there is of the others
    coarse = pieces.further(setups, seed, numbers, 1 + max(levels.MORE)) if multilevel and moving else []
    cost.tell(setups, numbers, levels.price(max(levels.MORE)) if coarse else 1)
    found, bins, sums, leveled = runs.all_of(setups, pieces.pieces(setups, seed, numbers), further, coarse, where,
                                             response == "auto", effort.processes(processes, effort.device(device)))
    rows = names[: len(spec.observables)]
    independent = found[DISCRETE].pairs if further else None
    if place is not None:
        spec.outline().write(place, spec.describe(), spec.recipe())
    times = grid.time(np.array([0, *marks]))
    made = Trajectories(spec.name, grid.given, seed, tabled(found, rows, times, independent is not None),
                        counted(found, bins, [names[i] for i in where[1]], times[where[0]]), band,
                        parts=spec.parts, origin=spec.model.origin, folder=place,
                        notes=tuple(each for each in (rounded, *leveled) if each),
                        **{which: closer.table(each, rows, times, independent) for which, each in sums.items()})
    for table in made.tables.values():
        table.insert(1, "tau", made.tau)
    made.withhold(spec.outline().doubts)
    return made.saved()


def _coarsest(spec: Specification, tau: Any) -> StepGrid:
    given = several(tau)
    if not given:
        raise SMEError("tau is empty: give a step size")
    return spec.grid(min(spec.steps(each) for each in given))


def _checkpoints(spec: Specification, grid: StepGrid, given: Any) -> list[int]:
    """The steps of the histograms."""
    if given is None:
        return sorted({max(1, round(share * grid.steps)) for share in CHECKPOINTS})
    times = tuple(sorted({number("a checkpoint", time) for time in several(given)}))
    if not times or not all(0 < time <= spec.horizon for time in times):
        raise SMEError(f"checkpoints must lie in (0, horizon] = (0, {spec.horizon:g}], got {short(given)}")
    replace(spec, times=times).steps(grid.tau)  # on the grid, or says why not
    return [*map(grid.step, times)]


def _marks(steps: int, points: Any, checkpoints: Sequence[int]) -> list[int]:
    """The steps at which the curves are taken."""
    count = min(steps, DEFAULT_POINTS) if points is None else min(steps, whole("points", points, 1))
    if count > MOST_POINTS:
        raise SMEError(f"points = {count} are too many: {MOST_POINTS} at most")
    return sorted({round(i * steps / count) for i in range(1, count + 1)} | set(checkpoints))
