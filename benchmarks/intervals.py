"""Whether the standard errors are honest: many independent runs, and how often their intervals contain the truth.

    python benchmarks/intervals.py [--write]

SGD and Momentum on the quadratic, where the weak error is known: chain and equation are linear, so that their means and
covariances are closed. RMSProp and Adam against the mean of all runs, which tells the spread alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from page import Section, figure, machine, options
from scipy.stats import norm
from tqdm import tqdm

import sme
from sme.convergence.estimator import crossfit
from sme.convergence.estimator.linear import exact
from sme.convergence.estimator.paired import BLOCKS, prepared, run_block
from sme.convergence.spec.specification import Specification
from sme.simulate.backend import compiled_setups
from sme.simulate.setup import Setup

STEPS, SEEDS, PAIRS = 8, 200, 128
"""`1/τ`; independent runs; pairs in each fold of a run"""
OBSERVABLE = "|theta|^2"
START = {"theta": torch.tensor([1.0, 0.5])}
Z95 = float(norm.ppf(0.975))


@torch.no_grad()
def setup(optimizer: sme.Optimizer, order: int) -> Setup:
    """Ballistic, prepared and compiled."""
    spec = Specification.of(sme.Quadratic(), optimizer, "ballistic", "independent", 1.0, START, [OBSERVABLE], None)
    return compiled_setups({(order, STEPS): prepared(spec.setup(order, STEPS))}, must=False)[order, STEPS]


@dataclass(frozen=True)
class Runs:
    """Independent runs, an entry a seed; and the truth, or the runs' mean where it is not known."""

    error: np.ndarray
    stderr: np.ndarray
    bias: np.ndarray
    truth: float | None

    @property
    def z(self) -> np.ndarray:
        """Distances from the truth, or from the runs' mean, in standard errors."""
        if self.truth is not None:
            return (self.error - self.truth) / self.stderr
        return (self.error - self.error.mean()) / self.stderr / (1 - 1 / len(self.error)) ** 0.5

    @property
    def covered(self) -> float:
        """The share of 95 % intervals that contain it."""
        return float((np.abs(self.z) <= Z95).mean())


@torch.no_grad()
def repeated(optimizer: sme.Optimizer, order: int, seeds: int = SEEDS, pairs: int = PAIRS, known: bool = True) -> Runs:
    """So many runs with a seed each."""
    ready, rows = setup(optimizer, order), []
    count = 3 if ready.ordinary is not None else 2
    for seed in range(seeds):
        folds = [run_block(ready, (seed, ready.steps, 0, block), pairs).moments for block in range(BLOCKS)]
        mean, stderr = crossfit.estimate(folds, count)
        rows.append((mean[0], stderr[0], mean[1]))
    return Runs(*np.array(rows).T, exact(ready)[OBSERVABLE] if known else None)


CASES = [(optimizer, order, known) for optimizer, known in ((sme.SGD(), True), (sme.Momentum(), True), (sme.RMSProp(), False),
                                                            (sme.Adam(), False)) for order in (1, 2)]


def draw(section: Section, results: dict[tuple[str, int], Runs]) -> None:
    """The distribution of the distances beside the normal one."""
    drawn, axes = figure(2)
    points = np.linspace(-3.5, 3.5, 200)
    for axis, known in zip(axes, (True, False), strict=True):
        for (name, order), runs in results.items():
            if (runs.truth is not None) == known:
                axis.step(np.sort(runs.z), (np.arange(len(runs.z)) + 0.5) / len(runs.z), lw=1, label=f"{name}, order {order}")
        axis.plot(points, norm.cdf(points), "--", color="0.5", lw=1, label="normal")
        axis.set(xlabel=f"z, distance from the {'truth' if known else 'mean of all runs'}", ylabel="share of runs below")
        axis.legend(frameon=False, fontsize="xx-small", loc="lower right")
    section.picture(drawn, "distribution of the distances in standard errors")


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="in each fold of a run")
    given = parser.parse_args()
    torch.set_num_threads(1)
    section = Section("intervals", given.write)
    section.say(f"{machine()}. τ = 1/{STEPS}, {given.seeds} runs of {2 * BLOCKS * given.pairs} paths each.")
    results = {(each.name, order): repeated(each, order, given.seeds, given.pairs, known)
               for each, order, known in tqdm(CASES, unit="case", disable=None, leave=False)}
    rows = []
    for (name, order), runs in results.items():
        truth, middle = ("–", "–") if runs.truth is None else (f"{runs.truth:.5e}", f"{runs.z.mean():.2f}")
        rows.append((name, order, truth, runs.error.mean(), runs.stderr.mean(), runs.bias.mean(),
                     f"{100 * runs.covered:.1f} %", middle, runs.z.std(ddof=1)))
    section.table(rows, ("optimizer", "order", "truth", "mean of runs", "mean standard error", "mean integrator bias", "covered",
                         "mean of z", "sd of z"), ("", "", "", ".5e", ".1e", ".1e", "", "", ".2f"))
    section.say("`z` is the distance in standard errors from the truth, or, where it is not known, from the mean of all runs; "
                f"the mean of {given.seeds} of them has a standard error of {given.seeds**-0.5:.2f}, their sd one of "
                f"{(2 * given.seeds) ** -0.5:.2f}.")
    draw(section, results)
    section.close()
