"""How fast larger batches leave a run, from the run itself: its steps are taken by two and by four beside it."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from sme.common.errors import SMEError
from sme.problems.networks.network import Network
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.studies.scaling.doubling import BESIDE, NORMAL, PARTS, Departure, beside, departures, leaves, rounded
from sme.studies.scaling.legs import Leg

RUNS, FEWEST, POINTS, SEED = 16, 4, 32, 0
"""runs at most and at least: differences on the same examples scatter little"""
WORK, STEPS = 3 * 2**26, 4096
"""numbers of examples' gradients, and steps, at most, where nobody says how many steps are followed"""
FEW = 0.01
"""a difference of the log loss that is small"""
NAMES = ["rule", "part", "beside", "distance", "stderr", "kappa", "low", "high", "kappa of 1 %", "steps", "basis"]


def length(steps: int, batch: int, dim: int) -> int:
    """So many steps of the run are followed."""
    return min(steps, STEPS, max(2 * POINTS, WORK // (FEWEST * batch * dim)))


def number_of_runs(steps: int, batch: int, dim: int) -> int:
    """How many runs of so many steps are afforded, an even number."""
    return 2 * (min(RUNS, max(FEWEST, WORK // (steps * batch * dim))) // 2)


def collapse(net: Network, run: Leg, rules: Mapping[str, Callable[[int], Leg]], batch: int, steps: int) -> pd.DataFrame:
    """For each rule and part of the run the `κ` at which the mean log loss is 0.1 from that of the run, root mean square.

    A rule makes the leg of a `κ`; where it cannot for the smallest, its row says why.
    """
    from scipy.special import stdtrit  # takes a while, and few ask for it

    legs, rows, law = {}, [], net.noise
    for name, make in rules.items():
        for kappa in BESIDE:
            try:
                if not isinstance(law, MinibatchNoise) or kappa * batch > len(net.inputs):
                    raise SMEError(f"{kappa} batches are more than the data")
                if steps < kappa:
                    raise SMEError(f"the run has fewer than {kappa} steps")
                legs[name, kappa] = make(kappa)
            except SMEError as fault:
                if kappa == BESIDE[0]:
                    rows.append((name, "whole", 1, *[math.nan] * 6, 0, f"not followed: {fault}"))
                break
    if legs:
        assert isinstance(law, MinibatchNoise)
        window = max(kappa for _, kappa in legs)
        runs = number_of_runs(steps, batch, net.dim)
        wide = float(stdtrit(runs - 1, 0.975)) / NORMAL  # of few runs an interval has more standard errors
        marks = rounded(steps, min(POINTS, steps // window), window)
        found = beside(law.examples, (law.sampling.name, batch), [run, *legs.values()], marks,
                       lambda state: net.loss(state["theta"])[:, None], runs, SEED)[..., 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(found)
        seen = {key: departures(mine - logs[0]) for key, mine in zip(legs, logs[1:], strict=True)}
        for name in dict.fromkeys(name for name, _ in legs):
            for part in PARTS:
                mine = {kappa: each[part] for (of, kappa), each in seen.items() if of == name}
                last = max(mine)
                wider = {kappa: Departure(each.distance, wide * each.stderr) for kappa, each in mine.items()}
                rows.append((name, part, last, *mine[last], *leaves(wider), leaves(mine, FEW)[0], marks[-1],
                             f"{runs} runs of {marks[-1]} steps, beside each the same examples by {' and '.join(map(str, mine))} "
                             "steps"))
    return pd.DataFrame(rows, columns=NAMES)
