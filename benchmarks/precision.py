"""How long one core takes until the weak error is known to 1 %, and how long the usual way would.

    python benchmarks/precision.py [--write]

The work item is that of `rivals/item.py`, RMSProp at τ = 1/16, with E|θ|² and E|v|² at time 1. Seconds of a run are those of
the processor over all threads.
"""

import dataclasses
import math
import os
import tempfile
import time

import numpy as np
import torch
import usual
from page import Section, figure, machine, options
from rivals.torch_loops import chain, interval
from throughput import throughput
from workers import setup

from sme.common.library import load
from sme.convergence.estimator import crossfit
from sme.convergence.estimator.moments import Moments
from sme.convergence.estimator.paired import BLOCKS, run_block
from sme.simulate.codegen import ensemble as compiled
from sme.simulate.codegen import program
from sme.simulate.codegen.ensemble import ensemble
from sme.simulate.setup import Setup

NAMES = ("|theta|^2", "|v|^2")
KNOWN = {"|theta|^2": (-2.25e-4, 1.2e-6), "|v|^2": (2.65e-3, 5e-5)}
"""from an independent program, with its standard error"""
PERCENT, FEWEST = 1.0, 2**8
"""the standard error that is asked for, in percent of the error; pairs of the smallest run"""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of the estimator; an entry an observable."""

    pairs: int
    seconds: float
    error: np.ndarray
    stderr: np.ndarray
    bias: np.ndarray

    @property
    def percent(self) -> np.ndarray:
        """The standard error in percent of the error."""
        return 100 * self.stderr / np.abs(self.error)

    def needed(self, i: int) -> float:
        """Seconds to the standard error that is asked for, by `n^-1/2`."""
        return self.seconds * (self.percent[i] / PERCENT) ** 2


@torch.no_grad()
def run(ready: Setup, pairs: int, seed: int) -> Run:
    """So many pairs in the estimator's folds."""
    start, count = time.process_time(), len(ready.observables)
    blocks = [run_block(ready, (seed, ready.steps, 0, block), pairs // BLOCKS) for block in range(BLOCKS)]
    mean, stderr = crossfit.estimate([block.moments for block in blocks], 3 * count)
    seconds = time.process_time() - start
    return Run(pairs, seconds, mean[:count], stderr[:count], mean[count : 2 * count])


@torch.no_grad()
def ready_setup(section: Section) -> tuple[Setup, float]:
    """The setup, prepared and compiled, in a new cache, and the seconds that takes."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SME_CACHE"] = folder
        times = [time.perf_counter()]
        plain = setup(*NAMES)
        times.append(time.perf_counter())
        source = program.source(plain)
        times.append(time.perf_counter())
        load(source)
    times.append(time.perf_counter())
    if not compiled.agrees(plain, source):
        raise RuntimeError("compiled and uncompiled steps differ")
    times.append(time.perf_counter())
    weights, tracing, compiling, trying = np.diff(times)
    section.say(f"Before the first run, once: {weights:.2f} s for the control variates' weights, {tracing:.2f} s for tracing, "
                f"{compiling:.2f} s for compiling ({len(source.splitlines())} lines of C, the same for every step size), "
                f"{trying:.2f} s for trying a few pairs against torchsde.")
    return dataclasses.replace(plain, source=source), times[-1] - times[0]


def ladder(ready: Setup, most: int) -> list[Run]:
    """Runs four times as large each time, up to `most` pairs."""
    runs, pairs = [], FEWEST
    run(ready, pairs, 99)  # warms up
    while pairs <= most:
        runs.append(run(ready, pairs, 0))
        pairs *= 4
    return runs


def estimates(section: Section, runs: list[Run]) -> None:
    """A row for each run and observable."""
    rows = []
    for each in runs:
        for i, name in enumerate(NAMES):
            known, spread = KNOWN[name]
            distance = (each.error[i] - known) / math.hypot(each.stderr[i], spread)
            rows.append((2 * each.pairs, name, each.error[i], each.stderr[i], each.percent[i],
                         100 * each.bias[i] / abs(each.error[i]), each.seconds, f"{known:.2e} ± {spread:.1e}", distance))
    section.table(rows, ("paths", "observable", "error", "standard error", "in %", "integrator bias in %", "seconds", "known",
                         "distance"), ("", "", ".4e", ".1e", ".2f", ".2f", ".3f", "", ".2f"))
    section.say("`distance` is that of the estimate from the known value, in standard errors of both.")


def direct(ready: Setup, runs: list[Run], i: int) -> tuple[float, Run]:
    """Seconds by the smallest run that meets what is asked for, and a run of that size with another seed."""
    smallest = next((each for each in runs if each.percent[i] <= PERCENT), runs[-1])
    pairs = BLOCKS * math.ceil(smallest.pairs * (smallest.percent[i] / PERCENT) ** 2 / BLOCKS)
    return smallest.needed(i), run(ready, max(pairs, 16 * BLOCKS), 1)


@torch.no_grad()
def stages(ready: Setup, pairs: int) -> dict[str, np.ndarray]:
    """The variance of one path's error with more and more of what the estimator does, from the same paths."""
    done = ensemble(ready, (3, ready.steps, 0, 0), pairs)
    done.advance(ready.steps)
    discrete = ready.observe(done.state)
    solved = done.ladders[0].values(lambda x: ready.observe(ready.fields(x)))[0]
    error, count = discrete - solved, len(ready.observables)
    columns = torch.cat((error, done.carry), 1).numpy()
    means = 0.5 * (columns[:pairs] + columns[pairs:])

    def left(controls: int) -> np.ndarray:
        folds = [Moments.of(part) for part in np.array_split(means[:, : count + controls], BLOCKS)]
        return 2 * pairs * crossfit.estimate(folds, count)[1] ** 2

    return {"independent": (discrete.var(0) + solved.var(0)).numpy(), "coupled": error.var(0).numpy(),
            "+ antithetic pairs": left(0), "+ linear and quadratic responses": left(2 * count),
            "+ second-order responses": left(done.carry.shape[1])}


def gains(section: Section, variances: dict[str, np.ndarray], error: np.ndarray) -> None:
    """What each stage divides the number of paths by, and how many it leaves for what is asked for."""
    names, rows = list(variances), []
    for name, before in zip(names, names[:1] + names, strict=False):
        mine, last, first = variances[name], variances[before], variances[names[0]]
        paths = mine / (PERCENT / 100 * error) ** 2
        rows.append([name] + [number for i in range(len(error)) for number in (last[i] / mine[i], first[i] / mine[i], paths[i])])
    headers = ["", *(f"{name}: {what}" for name in NAMES for what in ("factor", "in all", f"paths for {PERCENT:g} %"))]
    section.table(rows, headers, ("", *(".1f", ",.0f", ".1e") * len(error)))


def compare(section: Section, way: usual.Usual, error: np.ndarray, own: list[float], before: float) -> None:
    """The usual way beside the project's, without and with the seconds before its first run."""
    paths = way.paths(error, PERCENT / 100)
    hours = way.seconds(paths) / 3600
    section.say(f"The usual way: torchsde with its default Brownian object, {way.sde_rate:.2f} M path-substeps/s, and a discrete "
                f"run on noise of its own, {way.chain_rate:.2f} M path-steps/s; Euler with dt = τ², {usual.SUBSTEPS} substeps. "
                f"Extrapolated from the variances, for a standard error of {PERCENT:g} %:")
    rows = [(name, paths[i], hours[i], own[i], 3600 * hours[i] / own[i], 3600 * hours[i] / (own[i] + before), way.bias[i],
             way.bias_error[i], way.bias[i] / abs(error[i])) for i, name in enumerate(NAMES)]
    section.table(rows, ("observable", "paths of each", "hours", "own seconds", "ratio", "with compiling", "bias of Euler",
                         "its standard error", "in units of the error"),
                  ("", ".1e", ".1f", ".3f", ",.0f", ",.0f", ".2e", ".1e", ".2f"))
    section.say("And these hours would give the integrator's bias along with the weak error: at dt = τ² it is "
                f"{' and '.join(f'{abs(row[-1]):.2f} times the error in {row[0]}' for row in rows)}.")


def draw(section: Section, runs: list[Run], way: usual.Usual) -> None:
    """Standard errors over seconds, and the usual way's."""
    drawn, (axis,) = figure(1, width=4.2)
    seconds = np.array([each.seconds for each in runs])
    far = float(way.seconds(way.paths(runs[-1].error, PERCENT / 100)).max())
    for i, name in enumerate(NAMES):
        label = f"$E{name}$".replace("|theta|^2", r"|\theta|^2")
        (line,) = axis.loglog(seconds, [each.percent[i] for each in runs], "o-", ms=4, lw=1, label=label)
        slow = way.seconds(way.paths(runs[-1].error[i], PERCENT / 100))[i]
        time_ = np.array([1.0, 2 * far])
        axis.loglog(time_, PERCENT * np.sqrt(slow / time_), "--", lw=1, color=line.get_color(),
                    label=f"{label}, usual way, extrapolated")
    axis.axhline(PERCENT, color="0.6", lw=0.8, ls=":")
    axis.set(xlabel="seconds on one core", ylabel="standard error in %")
    axis.legend(frameon=False, fontsize="xx-small")
    section.picture(drawn, "standard error over time, and extrapolated for the usual way")


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--most", type=int, default=2**18, help="pairs of the largest run")
    parser.add_argument("--pairs", type=int, default=2**15, help="for the variances and the bias of Euler")
    parser.add_argument("--paths", type=int, default=8192, help="for the usual way's variances, and in one of its calls")
    parser.add_argument("--repeats", type=int, default=5, help="of the usual way's throughput")
    given = parser.parse_args()
    torch.set_num_threads(1)
    section = Section("precision", given.write)
    section.say(f"{machine()}.")
    ready, before = ready_setup(section)
    runs = ladder(ready, given.most)
    estimates(section, runs)
    own, rows = [], []
    for i, name in enumerate(NAMES):
        interpolated, again = direct(ready, runs, i)
        own.append(again.needed(i))
        rows.append((name, interpolated, 2 * again.pairs, again.seconds, again.percent[i], again.needed(i)))
    section.say(f"Seconds to {PERCENT:g} %, by n^-1/2 from the smallest run that meets it; and by a run of that size:")
    section.table(rows, ("observable", "interpolated", "paths", "seconds", "standard error in %", f"seconds to {PERCENT:g} %"),
                  ("", ".3f", "", ".3f", ".2f", ".3f"))
    best = runs[-1].error
    section.say("What each part of the estimator divides the number of paths by, given the parts before it:")
    gains(section, stages(ready, given.pairs), best)
    with torch.no_grad():
        moved, spread = usual.bias(ready, given.pairs)
    rates = [throughput(advance, given.paths, substeps, given.repeats)
             for advance, substeps in ((interval, usual.SUBSTEPS), (chain, ready.steps))]
    way = usual.Usual(*rates, usual.variance(ready, given.paths), moved, spread)
    compare(section, way, best, own, before)
    draw(section, runs, way)
    section.close()
