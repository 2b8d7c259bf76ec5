"""How many times closer to the discrete run one equation is than another."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sme.convergence.fit.fieller import factor
from sme.studies.trajectories.sample import Mean, Paths, Sums

COLUMNS = ["observable", "time", "error_1", "stderr_1", "error_2", "stderr_2", "factor", "low", "high"]


def sums(discrete: Paths | None, first: Paths, second: Paths) -> Sums:
    """Of each pair its differences `D₁`, `D₂` to both equations, and `D₁ + D₂`, whose variance tells their covariance.

    Without a discrete run of the same pairs those to 0.
    """
    good = first.finite() & second.finite() & (True if discrete is None else discrete.finite())
    d1, d2 = (((0 if discrete is None else discrete.best[:, good]) - each.best[:, good]).mean(0) for each in (first, second))
    return Sums.of(np.stack((d1, d2, d1 + d2), 1))


def table(found: Mean, names: Sequence[str], times: np.ndarray, discrete: Mean | None = None) -> pd.DataFrame:
    """The errors of both equations, the factor and its 95 % interval, a row for each observable and time after 0.

    `discrete` are the pairs of a discrete run that is independent of the equations' pairs.
    """
    rows = []
    for i, name in enumerate(names):
        for t, time in enumerate(times):
            means, errors = found.centre[:2, t, i], found.stderr[:, t, i]
            if discrete is not None:
                means = means + discrete.centre[t, i]
                errors = np.sqrt(errors**2 + np.array([1, 1, 4]) * discrete.stderr[t, i] ** 2)
            covariance = 0.5 * (errors[2] ** 2 - errors[0] ** 2 - errors[1] ** 2)
            if time > 0:
                known = bool(np.isfinite([*means, *errors]).all())
                variances = errors[0] ** 2, errors[1] ** 2, covariance
                quotient = factor(means.tolist(), variances, found.size) if known else (math.nan,) * 3
                rows.append((name, time, means[0], errors[0], means[1], errors[1], *quotient))
    return pd.DataFrame(rows, columns=COLUMNS)


def last(closer: pd.DataFrame, first: str = "order 1", second: str = "order 2") -> pd.DataFrame:
    """The rows at the end, to print: errors with their standard errors, factor and interval, and whether that includes 1."""
    end = closer[closer["time"] == closer["time"].max()]
    return pd.DataFrame({
        "observable": end["observable"],
        f"discrete − {first}": [f"{m:.3e} ± {s:.0e}" for m, s in zip(end["error_1"], end["stderr_1"], strict=True)],
        f"discrete − {second}": [f"{m:.3e} ± {s:.0e}" for m, s in zip(end["error_2"], end["stderr_2"], strict=True)],
        f"{second} is closer by": [_quoted(*each) for each in zip(end["factor"], end["low"], end["high"], strict=True)]})


def _quoted(value: float, low: float, high: float) -> str:
    if not math.isfinite(low):
        return "–"
    said = f"{value:.3g} [{low:.3g}, {high:.3g}]" if math.isfinite(high) else f"{value:.3g} [{low:.3g}, ∞)"
    return said + ("" if low > 1 else " (includes 1)" if high >= 1 else " (further away)")
