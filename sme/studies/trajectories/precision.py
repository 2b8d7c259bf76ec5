"""Whether a network's equations can be computed in float32: what a few paths in both precisions say."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from sme.common.process.progress import say
from sme.problems.networks.network import Network
from sme.problems.networks.rounded import rounded
from sme.simulate.ensemble import LEVELS
from sme.simulate.setup import Setup
from sme.studies.trajectories.levels import EquationEnsemble

PRECISIONS = ("auto", "double")
FEW, LEAST, LARGE = 4, 32, 2**17
"""paths of the pilot; the fewest for which it pays, and the numbers that one path's layers hold at least"""
SHARE = 0.1
"""of the standard error at most, what rounding may move a path"""


def settled(setups: Mapping[str, Setup], seed: int, paths: int, precision: str) -> tuple[dict[str, Setup], str]:
    """The setups, each with a rounded problem where that is precise enough, and a sentence on what the pilot saw.

    On the coarsest substeps a path of the highest order moves by less than `SHARE` of the standard error of the mean at any mark,
    in every observable, root mean square over the pilot's paths. The discrete run and all states stay in float64.
    """
    network = next(iter(setups.values())).problem
    fit = precision == "auto" and paths >= LEAST and network.noise.footprint >= LARGE
    low = rounded(network) if fit and isinstance(network, Network) and not any(each.source for each in setups.values()) else None
    if low is None:
        return dict(setups), ""
    dearest = max(setups.values(), key=lambda setup: setup.order)
    worst = moved(_values(dearest, seed), _values(replace(dearest, rounded=low), seed), paths)
    fine = worst <= SHARE
    said = (f"in a pilot of {FEW} paths float32 moves the equation of order {dearest.order} by {worst:.1g} of a standard error: "
            f"sums over examples are computed in float{32 if fine else 64}")
    say(said)
    return ({name: replace(setup, rounded=low) for name, setup in setups.items()}, said) if fine else (dict(setups), "")


def _values(setup: Setup, seed: int) -> Float[np.ndarray, "paths marks observables"]:
    """The observables of the equation's coarsest level at every mark."""
    rows = []
    with torch.no_grad():
        run = EquationEnsemble(setup, (seed, setup.steps, 0, 0), FEW // 2, levels=LEVELS[-1:])
        for mark in setup.marks:
            run.advance(mark)
            rows.append(setup.observe(setup.fields(run.ladders[0].states[0])).expand(FEW, -1))
    return torch.stack(rows, 1).cpu().numpy()


def moved(exact: Float[np.ndarray, "paths marks observables"], single: Float[np.ndarray, "paths marks observables"],
          paths: int) -> float:
    """The largest move of a path, root mean square, over the standard error of the mean of so many, by mark and observable.

    Infinite where one of them is not finite, or moves while its paths do not differ.
    """
    if not (np.isfinite(exact) & np.isfinite(single)).all():
        return np.inf
    move = np.sqrt(np.square(single - exact).mean(0))
    error = exact.std(0, ddof=1) / np.sqrt(paths)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(move == 0, 0.0, move / error).max())
