"""`trajectories`: the discrete run and its equations over time, as curves and as histograms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from sme import effort, paired, trajectory_picture
from sme.backend import BACKENDS, compiled_setups
from sme.errors import SMEError, choose
from sme.files import write_text
from sme.identity import NUMERICS
from sme.inputs import number, several, whole
from sme.observables import select
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.sample import Edges, Paths, Summary, edges, follow, summary
from sme.setup import Setup
from sme.specification import Observables, Specification, orders
from sme.version import version

DISCRETE = "discrete"
BANDS = ("sd", "quantiles", "none")
DEFAULT_POINTS, MOST_POINTS = 64, 1000
CHECKPOINTS = (0.25, 0.5, 1.0)
"""the default times of the histograms, as shares of the horizon"""
HELD, FEWEST = 2**24, 256
"""numbers of the curves at a time, and the least number of pairs"""
DIGITS = "%.6g"


@dataclass(frozen=True)
class Trajectories:
    """Means, spreads and histograms of the discrete run and of its equations at one step size.

    Attributes
    ----------
    table
        `observable tau time curve mean stderr sd low high difference difference_stderr integrator_bias paths diverged
        floored`: `mean ± stderr` over antithetic pairs (for an equation extrapolated in the substep); standard deviation
        and 5 % and 95 % quantiles over paths (of the finest level); `difference = E[discrete] − E[equation]` with the
        standard error of the paired difference. Paths that diverged anywhere are in no number but `paths` and in
        the share `diverged`; `floored` is the share where the discrete run or the equation saw the floor under `v`.
    histograms
        `variable tau time curve low high count density`: paths in `[low, high)`, the first and last row of each being what
        lies outside; with the paths that diverged they are all paths.
    """

    study: str
    tau: float
    seed: int
    table: pd.DataFrame
    histograms: pd.DataFrame
    band: str = "sd"
    folder: Path | None = None

    @property
    def provenance(self) -> str:
        """Which code, seed and study made the numbers, in one line."""
        return f"sme {version()}, numerics {NUMERICS}, seed {self.seed}, {self.study}, tau {self.tau:g}"

    def plot(self, path: str | Path) -> Path:
        """Draw the curves to a file, in a format that its ending names."""
        return trajectory_picture.curves(self.table, self.band, self.provenance, Path(path))

    def plot_histograms(self, path: str | Path) -> Path:
        """Draw the histograms to a file, in a format that its ending names."""
        return trajectory_picture.histograms(self.histograms, self.provenance, Path(path))

    def save(self) -> None:
        """Write `trajectories.csv`, `histograms.csv` and their pictures to the folder, each atomically."""
        if self.folder is None:
            return
        for name, table in (("trajectories", self.table), ("histograms", self.histograms)):
            made = table.assign(seeds=self.seed, version=version())
            write_text(self.folder / f"{name}.csv", made.to_csv(index=False, float_format=DIGITS))
        self.plot(self.folder / "trajectories.png")
        self.plot_histograms(self.folder / "histograms.png")

    def __str__(self) -> str:
        last = self.table[self.table["time"] == self.table["time"].max()]
        shown = pd.DataFrame({
            "observable": last["observable"], "curve": last["curve"],
            "mean": [f"{m:.6g} ± {s:.0e}" for m, s in zip(last["mean"], last["stderr"], strict=True)],
            "sd": last["sd"].map("{:.4g}".format), "5 %": last["low"].map("{:.4g}".format),
            "95 %": last["high"].map("{:.4g}".format),
            "discrete − equation": ["–" if curve == DISCRETE else f"{d:.3e} ± {s:.0e}" for curve, d, s in
                                    zip(last["curve"], last["difference"], last["difference_stderr"], strict=True)],
            "paths": last["paths"], "diverged": last["diverged"].map("{:.2%}".format),
            "floored": last["floored"].map("{:.2%}".format),
        })
        grid = tabulate(shown, headers="keys", showindex=False, disable_numparse=True)  # type: ignore[arg-type]
        return f"{self.study}, tau = {self.tau:g}, at the end:\n\n{grid}\n\n{self.provenance}"


def trajectories(
    problem: Problem,
    optimizer: Optimizer,
    *,
    tau: float | str | Sequence[float | str],
    start: Mapping[str, Tensor],
    regime: str = "ballistic",
    order: int | Sequence[int] = (1, 2),
    brownian: str = "independent",
    horizon: float = 1.0,
    observables: Observables = None,
    histogram: Sequence[str] | str = ("theta[0]",),
    checkpoints: Sequence[float] | None = None,
    points: int | None = None,
    band: str = "sd",
    paths: int = effort.SHARD_PATHS,
    seed: int = 0,
    device: str = "auto",
    backend: str = "auto",
    results: str | Path | None = None,
) -> Trajectories:
    """Follow the discrete run and the equations of the orders through time, on the same increments.

    The discrete run is the one that `weak_error` has at this seed, and the same for each order.

    Parameters
    ----------
    problem, optimizer, start, regime, brownian, horizon, seed, device, backend
        as for `weak_error`.
    tau
        the step size `τ`; of several the coarsest, where the curves are furthest apart.
    order
        1, 2 or both.
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
        rounded up to whole shards of 32 768.
    results
        folder; tables and pictures go to `trajectories/<study>-tau<τ>` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input: what was given, what is allowed, what to change.
    """
    spec = Specification.of(problem, optimizer, regime, brownian, horizon, start, observables, None)
    steps = _coarsest(spec, tau)
    last = _checkpoints(spec, steps, checkpoints)
    marks = _marks(steps, points, last)
    choose("band", band, BANDS)
    setups = _setups(spec, orders(order), steps, effort.device(device), marks, several(histogram), backend)
    names = list(next(iter(setups.values())).observables)
    where = [1 + marks.index(each) for each in last], [names.index(each) for each in several(histogram)]
    shards, seed = len(effort.shards(whole("paths", paths, 1), None, spec.horizon / steps)), whole("seed", seed, 0)
    place = effort.folder(results) / "trajectories" / f"{spec.name}-tau{spec.horizon / steps:g}" if results is not None else None
    found, bins = _run(setups, seed, shards, where)
    times = np.array([0, *marks]) * (spec.horizon / steps)
    made = Trajectories(spec.name, spec.horizon / steps, seed, _table(found, names[: len(spec.observables)], times),
                        _histograms(found, bins, [names[i] for i in where[1]], times[where[0]]), band, place)
    for table in (made.table, made.histograms):
        table.insert(1, "tau", made.tau)
    made.save()
    return made


def _coarsest(spec: Specification, tau: Any) -> int:
    given = several(tau)
    if not given:
        raise SMEError("tau is empty: give a step size")
    return min(spec.steps(each) for each in given)


def _checkpoints(spec: Specification, steps: int, given: Any) -> list[int]:
    """The steps of the histograms."""
    if given is None:
        return sorted({max(1, round(share * steps)) for share in CHECKPOINTS})
    times = tuple(sorted({number("a checkpoint", time) for time in several(given)}))
    if not times or not all(0 < time <= spec.horizon for time in times):
        raise SMEError(f"checkpoints must lie in (0, horizon] = (0, {spec.horizon:g}], got {given!r}")
    replace(spec, times=times).steps(spec.horizon / steps)  # on the grid, or says why not
    return [round(time * steps / spec.horizon) for time in times]


def _marks(steps: int, points: Any, checkpoints: Sequence[int]) -> list[int]:
    """The steps at which the curves are taken."""
    count = min(steps, DEFAULT_POINTS) if points is None else min(steps, whole("points", points, 1))
    if count > MOST_POINTS:
        raise SMEError(f"points = {count} are too many: {MOST_POINTS} at most")
    return sorted({round(i * steps / count) for i in range(1, count + 1)} | set(checkpoints))


def _setups(spec: Specification, wanted: Sequence[int], steps: int, device: str, marks: Sequence[int],
            histogram: Sequence[str], backend: str) -> dict[int, Setup]:
    """A setup for each order, without control variates, with the histograms' observables behind the others."""
    if not histogram:
        raise SMEError("histogram is empty: give at least one observable or coordinate, such as theta[0]")
    setups = {}
    for order in wanted:
        setup = spec.setup(order, steps, device)
        further = select(setup.problem, setup.optimizer, [each for each in histogram if each not in setup.observables])
        setups[order, steps] = replace(setup, marks=tuple(marks), observables={**setup.observables, **further})
    if choose("backend", backend, BACKENDS) != "torchsde":
        setups = compiled_setups(setups, must=backend == "compiled")
    return {order: setup for (order, _), setup in setups.items()}


def _run(setups: Mapping[int, Setup], seed: int, shards: int,
         where: tuple[list[int], list[int]]) -> tuple[dict[str, Summary], Edges]:
    """The summaries of all curves, and the edges of the histograms, which the first paths choose."""
    setup, chunk = next(iter(setups.values())), min(paired.chunk(each) for each in setups.values())
    held, size = 8 * len(setups) * (1 + len(setup.marks)) * len(setup.observables), paired.BLOCK_PAIRS
    while held * size > HELD and size > FEWEST:
        size //= 2
    found: dict[str, Summary] = {}
    bins: Edges | None = None
    bar = tqdm(total=shards * paired.BLOCKS * paired.BLOCK_PAIRS * len(setups) * setup.steps, unit="pair-step",
               unit_scale=True, disable=None, leave=False)
    pieces = [((seed, setup.steps, shard, block), range(first, min(first + size, paired.BLOCK_PAIRS)))
              for shard in range(shards) for block in range(paired.BLOCKS) for first in range(0, paired.BLOCK_PAIRS, size)]
    with bar, torch.no_grad():
        for numbers, pairs in pieces:
            curves: dict[str, Paths] = {}
            for order, each in setups.items():
                discrete, curve = follow(each, numbers, pairs, min(chunk, size), bar.update)
                curves.setdefault(DISCRETE, discrete)
                curves[f"order {order}"] = curve
            bins = edges(list(curves.values()), where) if bins is None else bins
            for name, curve in curves.items():
                new = summary(curve, curves[DISCRETE], bins, where)
                found[name] = found[name].merge(new) if name in found else new
    assert bins is not None
    return found, bins


def _table(found: Mapping[str, Summary], names: Sequence[str], times: np.ndarray) -> pd.DataFrame:
    parts = []
    for i, observable in enumerate(names):
        for curve, each in found.items():
            low, high = each.quantiles.centre[:, :, i]
            none = np.full(len(times), np.nan)
            of_equation = [none, none, none] if curve == DISCRETE else [
                each.difference.centre[:, i], each.difference.stderr[:, i], each.bias.centre[:, i]]
            parts.append(pd.DataFrame({
                "observable": observable, "time": times, "curve": curve, "mean": each.pairs.centre[:, i],
                "stderr": each.pairs.stderr[:, i], "sd": each.paths.sd[:, i], "low": low, "high": high,
                **dict(zip(("difference", "difference_stderr", "integrator_bias"), of_equation, strict=True)),
                "paths": each.total, "diverged": each.diverged / each.total, "floored": each.floored / each.total}))
    return pd.concat(parts, ignore_index=True)


def _histograms(found: Mapping[str, Summary], bins: Edges, names: Sequence[str], times: np.ndarray) -> pd.DataFrame:
    parts = []
    for b, variable in enumerate(names):
        for a, time in enumerate(times):
            limits = np.concatenate(([-np.inf], bins[a, b], [np.inf]))
            for curve, each in found.items():
                count = each.counts[a, b]
                density = count / max(each.paths.size, 1) / np.diff(limits)
                density[[0, -1]] = np.nan
                parts.append(pd.DataFrame({"variable": variable, "time": time, "curve": curve, "low": limits[:-1],
                                           "high": limits[1:], "count": count, "density": density}))
    return pd.concat(parts, ignore_index=True)
