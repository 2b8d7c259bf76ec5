"""Whether a network's equations can be computed in float32: what a few paths in both precisions say."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from sme.common.process.progress import say
from sme.problems.networks.network import Network
from sme.simulate.setup import Setup
from sme.studies.trajectories.sample import Paths, follow

PRECISIONS = ("auto", "double")
FEW, LEAST, LARGE = 4, 32, 2**17
"""paths of the pilot; the fewest for which it pays, and the numbers that one path's layers hold at least"""
SHARE = 0.1
"""of the standard error at most, what rounding may move a path"""


def settled(setups: Mapping[str, Setup], seed: int, paths: int, precision: str) -> tuple[dict[str, Setup], str]:
    """The setups, each with a rounded problem where that is precise enough, and a sentence on what the pilot saw.

    A path moves by less than `SHARE` of the standard error of the mean at any mark, in every observable, root mean square over
    the pilot's paths. The discrete run and the states of the equations stay in float64.
    """
    network = next(iter(setups.values())).problem
    fit = precision == "auto" and paths >= LEAST and network.noise.footprint >= LARGE
    low = network.low() if fit and isinstance(network, Network) and not any(each.source for each in setups.values()) else None
    if low is None:
        return dict(setups), ""
    made = {name: replace(setup, rounded=low) for name, setup in setups.items()}
    worst = 0.0
    for name, setup in setups.items():
        exact, rounded = (_equation(each, seed) for each in (setup, made[name]))
        worst = max(worst, moved(exact, rounded, paths))
    fine = worst <= SHARE
    said = (f"in a pilot of {FEW} paths float32 moves the equations by {worst:.1g} of a standard error at most: their sums over "
            f"examples are computed in float{32 if fine else 64}")
    say(said)
    return (made if fine else dict(setups)), said if fine else ""


def _equation(setup: Setup, seed: int) -> Paths:
    with torch.no_grad():
        return follow(setup, (seed, setup.steps, 0, 0), range(FEW // 2), FEW // 2, lambda _: None)[1]


def moved(exact: Paths, rounded: Paths, paths: int) -> float:
    """The largest move of a path, root mean square, over the standard error of the mean of so many, by mark and observable.

    Infinite where one of them is not finite, or moves while its paths do not differ.
    """
    if not (exact.finite() & rounded.finite()).all():
        return np.inf
    here, there = (each.best.reshape(-1, *each.best.shape[2:]) for each in (exact, rounded))
    move = np.sqrt(np.square(there - here).mean(0))
    error = here.std(0, ddof=1) / np.sqrt(paths)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(move == 0, 0.0, move / error).max())
