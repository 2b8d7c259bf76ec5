"""How fast larger batches leave a run, from the run itself: its steps are taken by two beside it."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from sme.common.errors import SMEError
from sme.problems.networks.network import Network
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.studies.scaling.doubling import DOUBLE, Leg, beside, departures, even

RUNS, POINTS, SEED = 8, 32, 0
WORK, STEPS = 2**28, 4096
"""numbers of examples' gradients, and steps, at most, where nobody says how many steps are followed"""
FEW = 0.01
"""a difference of the log loss that is small"""
NAMES = ["rule", "part", "slope", "stderr", "kappa", "low", "high", "kappa of 1 %", "basis"]


def length(steps: int, batch: int, dim: int) -> int:
    """So many steps of the run are followed."""
    return min(steps, STEPS, max(DOUBLE * POINTS, WORK // (RUNS * batch * dim)))


def collapse(net: Network, run: Leg, rules: Mapping[str, Callable[[], Leg]], batch: int, steps: int) -> pd.DataFrame:
    """For each rule and part of the run the `κ` at which the mean log loss is 0.1 from that of the run, root mean square.

    A rule makes the leg of twice the step size; where it cannot, its row says why.
    """
    legs, rows, law = {}, [], net.noise
    for name, make in rules.items():
        try:
            if not isinstance(law, MinibatchNoise) or DOUBLE * batch > len(net.inputs):
                raise SMEError("two batches are more than the data")
            if steps < DOUBLE:
                raise SMEError("the run has one step")
            legs[name] = make()
        except SMEError as fault:
            rows.append((name, "whole", *[math.nan] * 6, f"not followed: {fault}"))
    if legs:
        assert isinstance(law, MinibatchNoise)
        found = beside(law.examples, (law.sampling.name, batch), [run, *legs.values()], even(steps, POINTS),
                       lambda state: net.loss(state["theta"])[:, None], RUNS, SEED)[..., 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(found)
        for name, mine in zip(legs, logs[1:], strict=True):
            for part, seen in departures(mine - logs[0]).items():
                rows.append((name, part, *seen, *seen.leaves(), seen.leaves(FEW)[0],
                             f"{RUNS} runs of {steps} steps, the same examples by two steps beside each; linear in κ − 1"))
    return pd.DataFrame(rows, columns=NAMES)
