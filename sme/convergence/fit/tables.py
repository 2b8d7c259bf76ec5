"""From points to the table of errors and the table of slopes."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sme.convergence.estimator.quadrature.computed import Computed
from sme.convergence.fit.fits import Fits
from sme.convergence.fit.slopes import Interval, Verdict, fit_constant
from sme.convergence.fit.tails import LEFT
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store.points import Point
from sme.equations.registry import SKEWNESS

ERRORS = ["order", "tau", "observable", "at", "time", "error", "stderr", "integrator_bias", "paths", "diverged", "floored"]
SLOPES = ["order", "observable", "at", "slope", "slope_low", "slope_high", "c1", "c1_low", "c1_high", "c1_order1", "c1_ode",
          "c0_low", "c0_high", "points", "verdict", "note"]
YARDSTICK = ["order1_error", "order1_stderr"]
"""columns beside `ERRORS` with the error of what order 2 is held against, on the same discrete run: ballistic of the ODE, else
of order 1's equation"""
HIDDEN = [*YARDSTICK, "sign", "doubt"]
"""all columns beside `ERRORS`; `sign` times the error is what is fitted; `doubt` says why nothing can be decided, if so"""
MAX = "max"
"""`at` of the rows with the largest |error| over the checkpoints"""
TOLERATED = 0.01
"""share of paths on the floor, or diverged, above which nothing is decided"""


def labels(times: Iterable[float], horizon: float) -> list[tuple[str, float]]:
    """`at` and `time` of each checkpoint: `end`, or `t=…`."""
    return [("end" if math.isclose(time, horizon) else f"t={time:g}", time) for time in times]


def errors(points: Iterable[Point | Computed], outline: StudyMetadata) -> pd.DataFrame:
    """One row for each order, τ, time and observable, from all shards and seeds together.

    `error = E[discrete] − E[equation]`; `diverged` and `floored` are shares of the paths. With more
    than one checkpoint, and shards of odd and of even number, there are rows `at="max"` too: see `_largest`.
    """
    groups: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for point in sorted(points, key=lambda point: point.key):
        groups[point.key.order, point.key.steps].append(point)
    checkpoints = labels(outline.times, outline.horizon)
    rows = pd.DataFrame([(name, label, time) for label, time in checkpoints for name in outline.observables],
                        columns=["observable", "at", "time"])
    parts = []
    for (order, steps), members in sorted(groups.items()):
        measured = [_measured(members, order, rows)]
        odd, even = ([point for point in members if point.exact or point.key.shard % 2 == parity] for parity in (1, 0))
        if len(checkpoints) > 1 and odd and even:
            measured.append(_largest(_measured(odd, order, rows), _measured(even, order, rows), len(checkpoints)))
        parts += [part.assign(order=order, tau=outline.grid(steps).given) for part in measured]
    if not parts:
        return pd.DataFrame(columns=ERRORS + HIDDEN)
    return _withheld(pd.concat(parts, ignore_index=True)[ERRORS + HIDDEN], outline.doubts)


def _withheld(table: pd.DataFrame, doubts: Mapping[str, str]) -> pd.DataFrame:
    """Without the standard errors of observables that have no variance, and so without intervals."""
    found = table["observable"].map(doubts)
    table["doubt"] = found.where(found.notna(), table["doubt"])
    table.loc[found.notna(), ["stderr", "order1_stderr"]] = np.nan
    return table


def _measured(members: list[Any], order: int, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with what these points say of them."""
    found, reference = members[0].merged(members, 2 if order == 1 else 3, len(rows)), 2 if order == 2 else 0
    halving = next((point.halving for point in members if point.halving is not None), None)
    bias = found.mean[1] if halving is None else halving.bias(found.mean[1])
    return rows.assign(
        error=found.mean[0], stderr=found.stderr[0], integrator_bias=bias, paths=found.paths, diverged=found.diverged,
        floored=found.floored, order1_error=found.mean[reference], order1_stderr=found.stderr[reference], sign=1.0,
        doubt=found.undefined)


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
    """The rows whose standard error is above this share of the error."""
    table = judged(table)
    return table[~(table["stderr"] <= tolerance * table["error"].abs())]  # a number that is none is not within


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that a tolerance is for: not `max`, which has half of the paths, nor those of which nothing can be decided."""
    return table[(table["at"] != MAX) & (table["doubt"] == "")]


def _sign(values: pd.Series) -> np.ndarray:
    return np.where(values < 0, -1.0, 1.0)


def slopes(table: pd.DataFrame, obstruction: str, predicted: Mapping[str, tuple[str, float]] | None = None,
           lack: str = "", ode: bool = False, yardsticks: Mapping[tuple[int, str, str], Interval] | None = None,
           tail: float = math.inf, halves: bool = False) -> pd.DataFrame:
    """One row for each order, observable and time: slope, constants, verdict and the reason for it.

    At `max` they are of |error|, elsewhere of the error with its sign. `c1_order1` is that of order 1's equation, `c1_ode`
    that of the ODE, which order 2 is held against if `ode`; `c0_low` and `c0_high` are the ends of the 99.9 % interval of the
    limit.
    `predicted` has the constants that the obstruction leaves, in words, and their standard errors, by `observable at time`,
    for the note: one that is less certain than the yardstick is large is not quoted. `lack` says why no order is claimed:
    then the limit `C₀` of the errors is in the note, and must be 0 for any order. `yardsticks` are taken, by order, observable
    and time, where the table has not the columns to fit them. Rows of an order above `tail` say that it is left alone.
    With `halves` the errors are series in `√τ`.
    """
    rows, first = [], {}
    for (order, at, observable), group in table.groupby(["order", "at", "observable"], sort=False):
        tau, error, noise, bias = (group[name].to_numpy(float) for name in ("tau", "error", "stderr", "integrator_bias"))
        good = np.isfinite(error) & np.isfinite(noise)
        error = (group["sign"] * error)[good].to_numpy()
        fits = Fits(tau[good], error, noise[good], bias[good], halves, not lack)
        if yardsticks is None:
            reference, reference_noise = (group[name].to_numpy(float)[good] for name in YARDSTICK)
            yardstick = fit_constant(fits.tau, reference, reference_noise, 0 * fits.bias, step=fits.step)
        else:
            yardstick = yardsticks.get((order, observable, at), Interval())
        slope, constant, limits = fits.slopes[0], fits.constants[0], fits.limits
        if order == 1:
            first[observable, at] = constant.value
        quoted, uncertain = (predicted or {}).get(f"{observable} at {at}", ("", 0.0))
        known = quoted if not uncertain > abs(yardstick.value) else "not resolved"
        reason = obstruction + (f", predicted C1 {known}" if quoted else "")
        notes = [f"obstructed: {reason}"] if obstruction and (order == 2 or obstruction == SKEWNESS) else []
        if order > tail:
            notes.append(f"order {tail:g} {LEFT}")
        if lack:
            notes += [lack, f"limit {limits[0].value:.3g} [{limits[0].low:.3g}, {limits[0].high:.3g}]"]
        verdict = _qualified(fits.judge(order, yardstick), group, notes)
        held = order != 1 and ode
        order1 = first.get((observable, at), math.nan if held else yardstick.value)
        rows.append((order, observable, at, slope.value, slope.low, slope.high, constant.value, constant.low, constant.high,
                     order1, yardstick.value if held else math.nan, limits[1].low, limits[1].high, fits.resolved, verdict.word,
                     verdict.note))
    return pd.DataFrame(rows, columns=SLOPES)


def _qualified(verdict: Verdict, group: pd.DataFrame, further: list[str]) -> Verdict:
    """The verdict with what stands against it: a doubt in its place, paths lost or on the floor, and `further` notes."""
    doubts = [doubt for doubt in group.get("doubt", ()) if doubt]
    word, first = ("undecided", doubts[0]) if doubts else (verdict.word, verdict.note)
    notes = [first] if first else []
    for column, note in (("diverged", "paths diverged"), ("floored", "floor active")):
        if (group[column] > TOLERATED).any():
            word = "undecided"
            notes.append(note)
    if (group["diverged"] > 0).any() and "paths diverged" not in notes:
        notes.append("some paths diverged")
    return Verdict(word, "; ".join([*notes, *further]))
