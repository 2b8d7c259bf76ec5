"""How far the batch may grow under a scaling rule, by the first of the limits that one run shows."""

import math

import pandas as pd

from sme.optimizers.scaling_rules import POWERS, SHORT
from sme.studies.diagnosis.physical import Physical

RULES = {True: ("square_root", "linear"), False: ("linear", "square_root")}
"""of an adaptive rule, and of one that is not, the usual one first"""


def growth(given: Physical, ratio: float, curvature: float, count: float, seen: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row for each rule and limit: the `κ` at which it is met, with the noise `ratio = tr Σ/|∇f|²` and step × curvature of now.

    - loss: the loss of the scaled run is 0.1 in the logarithm from that of the run, where `seen` has it (see `baseline`);
    - memory: `κ (1 − β₁)` reaches 0.4, and the average no longer spans steps;
    - noise (square-root rule): `tr Σ/(κ |∇f|²) = 1`, and the drift is no longer small beside the noise;
      (linear rule of an adaptive optimizer): the noise shapes `v` while `tr Σ/|∇f|²` is above 1;
    - step: step size × curvature, times `κ` or `√κ`, is where order 2 misses a rate by 30 %;
    - data: the batch is all `count` examples.

    Where the loss is followed the noise binds no rule: what it does to the run is seen there.
    """
    rows = []
    followed = {} if seen is None else seen[seen["part"] == "whole"].dropna(subset="kappa").set_index("rule").to_dict("index")
    for rule in RULES[given.adaptive]:
        if rule in followed:
            rows.append((rule, "loss", followed[rule]["kappa"]))
        rows.append((rule, "memory", SHORT * min(given.memories.values(), default=math.inf)))
        if given.adaptive:
            noisy = max(ratio, 1.0) if rule == "square_root" else (1.0 if ratio > 1 else math.inf)
            rows.append((rule, "noise", noisy))
        rows.append((rule, "step", max(1.0, (given.fails / curvature) ** (1 / POWERS[rule])) if curvature > 0 else math.inf))
        rows.append((rule, "data", count))
    table = pd.DataFrame(rows, columns=["rule", "limit", "kappa"])
    free = (table["limit"] == "noise") & table["rule"].isin(followed)
    least = table["kappa"].where(~free, math.inf).groupby(table["rule"]).transform("min")
    table["binding"] = (table["kappa"] == least) & ~free
    table["basis"] = ["a limit, from the start of this one run" if limit != "loss" else followed[rule]["basis"]
                      for rule, limit in zip(table["rule"], table["limit"], strict=True)]
    return table
