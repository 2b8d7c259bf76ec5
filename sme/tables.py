"""From points to the table of errors and the table of slopes."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from sme.crossfit import estimate
from sme.equations.registry import SKEWNESS
from sme.inputs import step_size
from sme.moments import Moments
from sme.outline import Outline
from sme.paired import BLOCKS
from sme.points import Point
from sme.slopes import (
    FROM_ZERO,
    ORDERS,
    Interval,
    Verdict,
    fit_constant,
    fit_slope,
    judge_first,
    judge_limit,
    judge_second,
    resolved,
)

ERRORS = ["order", "tau", "observable", "at", "time", "error", "stderr", "integrator_bias", "paths", "diverged", "floored"]
SLOPES = ["order", "observable", "at", "slope", "slope_low", "slope_high", "c1", "c1_low", "c1_high", "c1_order1",
          "points", "verdict", "note"]
YARDSTICK = ["order1_error", "order1_stderr"]
"""columns beside `ERRORS` with the order-1 equation's error on the same discrete run"""
HIDDEN = [*YARDSTICK, "sign"]
"""all columns beside `ERRORS`; `sign` times the error is what is fitted"""
MAX = "max"
"""`at` of the rows with the largest |error| over the checkpoints"""
TOLERATED = 0.01
"""share of paths on the floor, or diverged, above which nothing is decided"""


def labels(times: Iterable[float], horizon: float) -> list[tuple[str, float]]:
    """`at` and `time` of each checkpoint: `end`, or `t=…`."""
    return [("end" if math.isclose(time, horizon) else f"t={time:g}", time) for time in times]


def errors(points: Iterable[Point], outline: Outline) -> pd.DataFrame:
    """One row for each order, τ, time and observable, from all shards and seeds together.

    `error = E[discrete] − E[equation]`; `diverged` and `floored` are shares of the paths. With more
    than one checkpoint, and shards of odd and of even number, there are rows `at="max"` too: see `_largest`.
    """
    groups: dict[tuple[int, int], list[Point]] = defaultdict(list)
    for point in sorted(points, key=lambda point: point.key):
        groups[point.key.order, point.key.steps].append(point)
    checkpoints = labels(outline.times, outline.horizon)
    rows = pd.DataFrame([(name, label, time) for label, time in checkpoints for name in outline.observables],
                        columns=["observable", "at", "time"])
    parts = []
    for (order, steps), members in sorted(groups.items()):
        measured = [_measured(members, order, rows)]
        odd, even = ([point for point in members if point.key.shard % 2 == parity] for parity in (1, 0))
        if len(checkpoints) > 1 and odd and even:
            measured.append(_largest(_measured(odd, order, rows), _measured(even, order, rows), len(checkpoints)))
        parts += [part.assign(order=order, tau=step_size(outline.horizon, steps)) for part in measured]
    return pd.concat(parts, ignore_index=True)[ERRORS + HIDDEN] if parts else pd.DataFrame(columns=ERRORS + HIDDEN)


def _measured(members: list[Point], order: int, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with what these points say of them."""
    folds = [Moments.merged(point.blocks[i].moments for point in members) for i in range(BLOCKS)]
    kinds = 2 if order == 1 else 3
    mean, stderr = (part.reshape(kinds, -1) for part in estimate(folds, kinds * len(rows)))
    reference = 2 if order == 2 else 0
    paths = sum(point.paths for point in members)
    return rows.assign(
        error=mean[0], stderr=stderr[0], integrator_bias=mean[1], paths=paths,
        diverged=sum(block.diverged for point in members for block in point.blocks) / paths,
        floored=sum(block.floored for point in members for block in point.blocks) / paths,
        order1_error=mean[reference], order1_stderr=stderr[reference], sign=1.0)


def _largest(odd: pd.DataFrame, even: pd.DataFrame, times: int) -> pd.DataFrame:
    """The largest |error| over the checkpoints, for each observable.

    The odd-numbered shards choose the time, the even-numbered ones measure there: the largest of
    several estimates would be too large on average, this one is unbiased given the time. The odd
    shards give the sign too with which the error, and order 1's, enter the fits: those are of
    |error|, so that times of opposite errors can follow each other along τ.
    """
    size = odd["error"].abs().to_numpy().reshape(times, -1)  # times are outermost
    chosen = size.argmax(0) * size.shape[1] + np.arange(size.shape[1])
    seen, rows = odd.iloc[chosen], even.iloc[chosen]
    rows = rows.assign(at=MAX, sign=_sign(seen["error"]), order1_error=_sign(seen["order1_error"]) * rows["order1_error"])
    return rows[np.isfinite(seen["error"])]


def loose(table: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """The rows whose standard error is above this share of the error; `max`, which has half of the paths, is not judged."""
    within = table["stderr"] <= tolerance * table["error"].abs()  # a number that is none is not
    return table[~within & (table["at"] != MAX)]


def _sign(values: pd.Series) -> np.ndarray:
    return np.where(values < 0, -1.0, 1.0)


def slopes(table: pd.DataFrame, obstruction: str, predicted: Mapping[str, tuple[str, float]] | None = None,
           lack: str = "") -> pd.DataFrame:
    """One row for each order, observable and time: slope, `C₁`, verdict and the reason for it.

    At `max` they are of |error|, elsewhere of the error with its sign.
    `predicted` has the constants that the obstruction leaves, in words, and their standard errors, by `observable at time`,
    for the note: one that is less certain than order 1's `C₁` is large is not quoted. `lack` says why no order is claimed:
    then the limit `C₀` of the errors is in the note, and must be 0 for any order.
    """
    rows = []
    for (order, at, observable), group in table.groupby(["order", "at", "observable"], sort=False):
        tau, error, noise, bias = (group[name].to_numpy(float) for name in ("tau", "error", "stderr", "integrator_bias"))
        good = np.isfinite(error) & np.isfinite(noise)
        tau, error, noise, bias = tau[good], (group["sign"] * error)[good].to_numpy(), noise[good], bias[good]
        reference, reference_noise = (group[name].to_numpy(float)[good] for name in YARDSTICK)
        slope, (constant, wide, free, noiseless), order1 = _fits(tau, error, noise, bias, reference, reference_noise, bool(lack))
        verdict = (judge_first(slope, constant, noiseless) if order == 1
                   else judge_second(constant, wide, free, noiseless, order1, slope))
        quoted, uncertain = (predicted or {}).get(f"{observable} at {at}", ("", 0.0))
        known = quoted if not uncertain > abs(order1.value) else "not resolved"
        reason = obstruction + (f", predicted C1 {known}" if quoted else "")
        notes = [f"obstructed: {reason}"] if obstruction and (order == 2 or obstruction == SKEWNESS) else []
        if lack:
            limit = fit_constant(tau, error, noise, bias, power=0) if len(tau) else Interval()
            verdict = judge_limit(verdict, limit, max(abs(error), default=0.0))
            notes += [lack, f"limit {limit.value:.3g} [{limit.low:.3g}, {limit.high:.3g}]"]
        verdict = _qualified(verdict, group, notes)
        seen = int(resolved(error, noise).sum())
        rows.append((order, observable, at, slope.value, slope.low, slope.high, constant.value, constant.low,
                     constant.high, order1.value, seen, verdict.word, verdict.note))
    return pd.DataFrame(rows, columns=SLOPES)


def _fits(tau: np.ndarray, error: np.ndarray, noise: np.ndarray, bias: np.ndarray, reference: np.ndarray,
          reference_noise: np.ndarray, from_zero: bool) -> tuple[Interval, tuple[Interval, ...], Interval]:
    """Slope; `C₁` at 99 %, at 99.9 %, without bias, without bias and noise; `C₁` of order 1."""
    if not len(tau):
        return Interval(), (Interval(),) * 4, Interval()
    constants = ((noise, bias, 0.99), (noise, bias, 0.999), (noise, 0 * bias, 0.99), (1e-6 * noise, 0 * bias, 0.99))
    orders = FROM_ZERO if from_zero else ORDERS
    return (fit_slope(tau, error, noise, bias, orders=orders), tuple(fit_constant(tau, error, *each) for each in constants),
            fit_constant(tau, reference, reference_noise, 0 * bias))


def _qualified(verdict: Verdict, group: pd.DataFrame, further: list[str]) -> Verdict:
    """The verdict with what stands against it: paths lost or on the floor, and `further` notes."""
    notes = [verdict.note] if verdict.note else []
    word = verdict.word
    for column, note in (("diverged", "paths diverged"), ("floored", "floor active")):
        if (group[column] > TOLERATED).any():
            word = "undecided"
            notes.append(note)
    if (group["diverged"] > 0).any() and "paths diverged" not in notes:
        notes.append("some paths diverged")
    return Verdict(word, "; ".join([*notes, *further]))
