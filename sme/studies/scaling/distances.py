"""How far the curves of `κ` lie from that of `κ = 1`, and where they leave it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from sme.studies.scaling.doubling import NORMAL, crossing, departures, leaves, within

Key = tuple[str, str, float]
"""optimizer, rule, `κ`"""
COLUMNS = {"whole": ("distance", "stderr"), "early": ("early", "early_stderr"), "late": ("late", "late_stderr")}
"""of the table of distances, by the part of a run"""


def distances(values: Mapping[Key, Float[np.ndarray, "marks runs observables"]], observables: Sequence[str],
               limits: Mapping[str, float]) -> pd.DataFrame:
    """The root mean square over epochs of the difference of mean logarithms to `κ = 1`, over all of them and over each half."""
    rows = []
    for i, observable in enumerate(observables):
        for (optimizer, rule, kappa), found in values.items():
            if kappa == 1:
                continue
            mine, base = (np.log(each[1:, :, i]) for each in (found, values[optimizer, rule, 1.0]))
            row = {"optimizer": optimizer, "rule": rule, "kappa": kappa, "share": kappa / limits[optimizer],
                   "observable": observable}
            for part, (name, error) in COLUMNS.items():
                some = within(len(mine), part)
                row[name], row[error] = (jackknifed(mine[some], base[some]) if np.isfinite(mine).all()
                                         else (math.nan, math.nan))
            rows.append(row)
    front = ["optimizer", "rule", "kappa", "share", "observable"]
    return pd.DataFrame(rows, columns=[*front, *(name for pair in COLUMNS.values() for name in pair)])


def ends(table: pd.DataFrame, beside: Mapping[Key, np.ndarray], observables: Sequence[str]) -> pd.DataFrame:
    """Where the collapse leaves the limit, measured, and predicted from the runs beside that of `κ = 1`."""
    rows = []
    for optimizer, rule in dict.fromkeys(key[:2] for key in beside):
        for i, observable in enumerate(observables):
            seen = {int(kappa): departures(found[:, :, i]) for (*names, kappa), found in beside.items()
                    if names == [optimizer, rule]}
            mine = table[(table["optimizer"] == optimizer) & (table["rule"] == rule) & (table["observable"] == observable)]
            if mine.empty:
                continue
            for part, (name, error) in COLUMNS.items():
                measured = [crossing(list(mine["kappa"]), list(mine[name] + shift * NORMAL * mine[error]))
                            for shift in (0, 1, -1)]
                rows.append([optimizer, rule, observable, part, *measured,
                             *leaves({kappa: each[part] for kappa, each in seen.items()})])
    return pd.DataFrame(rows, columns=["optimizer", "rule", "observable", "part", "kappa", "low", "high", "predicted",
                                       "predicted_low", "predicted_high"])


def _square(mine: Float[np.ndarray, "marks runs"], base: Float[np.ndarray, "marks runs"]) -> float:
    """The mean square over marks of the difference of the means over runs, less what chance adds to it."""
    apart = mine.mean(1) - base.mean(1)
    chance = sum(each.var(1, ddof=1) / each.shape[1] for each in (mine, base))
    return float((apart**2 - chance).mean())


def jackknifed(mine: Float[np.ndarray, "marks runs"], base: Float[np.ndarray, "marks runs"]) -> tuple[float, float]:
    """The distance `√q` and its standard error: `s/(2√q)` from that of `q`, and no more than `√s`, which it is at `q ≤ 0`."""
    count = mine.shape[1]
    without = [[_square(np.delete(mine, r, 1), base) for r in range(count)],
               [_square(mine, np.delete(base, r, 1)) for r in range(count)]]
    error = math.sqrt((count - 1) * sum(float(np.var(each)) for each in without))
    distance = math.sqrt(max(0.0, _square(mine, base)))
    return distance, error / max(2 * distance, math.sqrt(error)) if error else 0.0
