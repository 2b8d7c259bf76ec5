"""From points to the table of errors and the table of slopes."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from sme.crossfit import estimate
from sme.moments import Moments
from sme.outline import Outline
from sme.paired import BLOCKS
from sme.points import Point
from sme.slopes import Interval, Verdict, fit_constant, fit_slope, judge_first, judge_second, resolved

ERRORS = ["order", "tau", "observable", "at", "time", "error", "stderr", "integrator_bias", "paths", "diverged", "floored"]
SLOPES = ["order", "observable", "at", "slope", "slope_low", "slope_high", "c1", "c1_low", "c1_high", "c1_order1",
          "points", "verdict", "note"]
YARDSTICK = ["order1_error", "order1_stderr"]
"""columns beside `ERRORS` with the order-1 equation's error on the same discrete run"""
TOLERATED = 0.01
"""share of paths on the floor, or diverged, above which nothing is decided"""


def labels(times: Iterable[float], horizon: float) -> list[tuple[str, float]]:
    """`at` and `time` of each checkpoint: `end`, or `t=…`."""
    return [("end" if math.isclose(time, horizon) else f"t={time:g}", time) for time in times]


def errors(points: Iterable[Point], outline: Outline) -> pd.DataFrame:
    """One row for each order, τ, time and observable, from all shards and seeds together.

    `error = E[discrete] − E[equation]`; `diverged` and `floored` are shares of the paths.
    """
    groups: dict[tuple[int, int], list[Point]] = defaultdict(list)
    for point in sorted(points, key=lambda point: point.key):
        groups[point.key.order, point.key.steps].append(point)
    rows = [(label, time, name) for label, time in labels(outline.times, outline.horizon) for name in outline.observables]
    table = []
    for (order, steps), members in sorted(groups.items()):
        folds = [Moments.merged(point.blocks[i].moments for point in members) for i in range(BLOCKS)]
        kinds = 2 if order == 1 else 3
        mean, stderr = (part.reshape(kinds, -1) for part in estimate(folds, kinds * len(rows)))
        paths = sum(point.paths for point in members)
        lost = sum(block.diverged for point in members for block in point.blocks) / paths
        floored = sum(block.floored for point in members for block in point.blocks) / paths
        for i, (label, time, name) in enumerate(rows):
            yardstick = (mean[2, i], stderr[2, i]) if order == 2 else (mean[0, i], stderr[0, i])
            table.append((order, outline.horizon / steps, name, label, time, mean[0, i], stderr[0, i], mean[1, i],
                          paths, lost, floored, *yardstick))
    return pd.DataFrame(table, columns=ERRORS + YARDSTICK)


def slopes(table: pd.DataFrame, obstruction: str, predicted: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row for each order, observable and time: slope, `C₁`, verdict and the reason for it.

    `predicted` has the constants that the obstruction leaves, by `observable at time`, for the note.
    """
    rows = []
    for (order, at, observable), group in table.groupby(["order", "at", "observable"], sort=False):
        tau, error, noise, bias = (group[name].to_numpy(float) for name in ("tau", "error", "stderr", "integrator_bias"))
        good = np.isfinite(error) & np.isfinite(noise)
        tau, error, noise, bias = tau[good], error[good], noise[good], bias[good]
        reference, reference_noise = (group[name].to_numpy(float)[good] for name in YARDSTICK)
        slope, (constant, wide, free, noiseless), order1 = _fits(tau, error, noise, bias, reference, reference_noise)
        verdict = (judge_first(slope, constant, noiseless) if order == 1
                   else judge_second(constant, wide, free, noiseless, order1, slope))
        constant_note = (predicted or {}).get(f"{observable} at {at}", "")
        reason = obstruction + (f", predicted C1 {constant_note}" if constant_note else "")
        verdict = _qualified(verdict, group, reason if order == 2 and obstruction else "")
        seen = int(resolved(error, noise).sum())
        rows.append((order, observable, at, slope.value, slope.low, slope.high, constant.value, constant.low,
                     constant.high, order1.value, seen, verdict.word, verdict.note))
    return pd.DataFrame(rows, columns=SLOPES)


def _fits(tau: np.ndarray, error: np.ndarray, noise: np.ndarray, bias: np.ndarray, reference: np.ndarray,
          reference_noise: np.ndarray) -> tuple[Interval, tuple[Interval, ...], Interval]:
    """Slope; `C₁` at 99 %, at 99.9 %, without bias, without bias and noise; `C₁` of order 1."""
    if not len(tau):
        return Interval(), (Interval(),) * 4, Interval()
    constants = ((noise, bias, 0.99), (noise, bias, 0.999), (noise, 0 * bias, 0.99), (1e-6 * noise, 0 * bias, 0.99))
    return (fit_slope(tau, error, noise, bias), tuple(fit_constant(tau, error, *each) for each in constants),
            fit_constant(tau, reference, reference_noise, 0 * bias))


def _qualified(verdict: Verdict, group: pd.DataFrame, obstruction: str) -> Verdict:
    """The verdict with what stands against it: paths lost or on the floor, an obstruction."""
    notes = [verdict.note] if verdict.note else []
    word = verdict.word
    for column, note in (("diverged", "paths diverged"), ("floored", "floor active")):
        if (group[column] > TOLERATED).any():
            word = "undecided"
            notes.append(note)
    if (group["diverged"] > 0).any() and "paths diverged" not in notes:
        notes.append("some paths diverged")
    if obstruction:
        notes.append(f"obstructed: {obstruction}")
    return Verdict(word, "; ".join(notes))
