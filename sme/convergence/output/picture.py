"""The picture of a study."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save, sizes, steps
from sme.common.output.provenance import Provenance
from sme.common.output.text import quote
from sme.convergence.fit.tables import MAX

MOST = 12
"""panels of a picture; beyond that only the last checkpoint and the largest error have theirs"""


def draw(provenance: Provenance, errors: pd.DataFrame, slopes: pd.DataFrame, path: Path) -> Path:
    """Draw |error| over τ for every observable and checkpoint to a file, with error bars, fits and reference slopes.

    Filled circles are positive errors, open ones negative; crosses are |integrator bias|, where it is not far below the errors:
    the axis follows these. A fit is a straight line, its leading term: `C τ^p` with the slope `p`, through the finest point
    that is three standard errors from 0.
    """
    rows_shown = shown(errors)
    places, names = (list(rows_shown[name].unique()) for name in ("at", "observable"))
    columns = min(4 if len(names) == 4 else 3, len(names))
    rows = math.ceil(len(names) / columns)  # for each checkpoint, which begins a row
    across = 3 if columns > 1 else 2  # entries of the key side by side
    foot = 0.17 + 0.17 * math.ceil(len(_key()) / across)  # inches: a line of provenance, and the key
    width, height = 2.9 * columns + 0.3, 2.6 * rows * len(places) + 0.4 + foot
    with style.paper():
        figure = canvas(width, height, foot)
        panels = figure.subplots(rows * len(places), columns, squeeze=False).reshape(len(places), -1)
        colours = dict(zip((1, 2), style.palette("colorblind", 2), strict=True))
        for (at, observable), group in rows_shown.groupby(["at", "observable"], sort=False):
            axis = panels[places.index(at), names.index(observable)]
            least = group["error"].abs().replace(0, math.nan).min() / 2
            for order, data in group.groupby("order"):
                row = slopes.query("order == @order and observable == @observable and at == @at").iloc[0]
                _errors(axis, data, row, colours[order], least)
            place = "largest over t" if at == MAX else at
            title = f"{observable}, {place}" if place != "end" or errors["at"].nunique() > 1 else str(observable)
            frame(axis, group["tau"], group["error"], title, "|weak error|", 1.96 * group["stderr"])
        for axis in panels.ravel():
            if not axis.has_data():
                axis.remove()
        orders = " and ".join(map(str, sorted(rows_shown["order"].unique())))
        figure.suptitle(f"{provenance.title}, order {orders}", fontsize="small")
        key(figure, _key(), across)
        return save(figure, provenance, path)


def shown(errors: pd.DataFrame) -> pd.DataFrame:
    """What there is room for."""
    last = errors.loc[errors["at"] != MAX, "time"].max()
    late = (errors["at"] == MAX) | (errors["time"] == last)
    return errors if len(errors.groupby(["at", "observable"])) <= MOST else errors[late]


def _key() -> list[Any]:
    """What the marks mean."""
    from matplotlib.lines import Line2D

    black: dict[str, Any] = {"color": "0.3", "ls": "none", "ms": 4}
    return [
        Line2D([], [], marker="o", label="error > 0", **black),
        Line2D([], [], marker="o", mfc="white", label="error < 0 (bars: 95 %)", **black),
        Line2D([], [], marker="x", label="|integrator bias|, if not far below", **black),
        Line2D([], [], color="0.3", lw=1, label="C τᵖ, leading term alone"),
        Line2D([], [], color="0.6", ls=":", lw=0.8, label="slope 1"),
        Line2D([], [], color="0.6", ls="--", lw=0.8, label="slope 2"),
    ]


def _errors(axis: Any, data: pd.DataFrame, row: pd.Series, colour: Any, least: float) -> None:
    """The errors of one order, their fit, and the integrator's bias where it is at least so large."""
    tau, error, noise, bias = (data[name].to_numpy(float) for name in ("tau", "error", "stderr", "integrator_bias"))
    signed(axis, tau, error, 1.96 * noise, colour)
    axis.plot(tau[np.abs(bias) >= least], np.abs(bias)[np.abs(bias) >= least], "x", ms=3, color=colour, alpha=0.5)
    label = f"order {row['order']}: no slope"
    if math.isfinite(row["slope"]):
        label = f"order {row['order']}: {quote(row['slope'], row['slope_low'], row['slope_high'])}"
        anchor = np.flatnonzero(np.abs(error) > 3 * noise)
        i = anchor[np.argmin(tau[anchor])]
        axis.plot(tau, np.abs(error[i]) * (tau / tau[i]) ** row["slope"], "-", lw=1, color=colour)
    axis.plot([], [], "-o", ms=4, lw=1, color=colour, label=label)


def signed(axis: Any, tau: np.ndarray, value: np.ndarray, bar: np.ndarray, colour: Any, line: str = "none") -> None:
    """Sizes over `τ` with bars: filled circles where the value is positive, open ones where it is negative."""
    size = np.abs(value)
    axis.errorbar(tau, size, yerr=np.stack([np.minimum(bar, 0.95 * size), bar]), ls=line, color=colour, elinewidth=1, capsize=2,
                  lw=1)
    for sign, face in ((1, colour), (-1, "white")):
        there = np.sign(value) == sign
        axis.plot(tau[there], size[there], "o", ms=4, mfc=face, mec=colour)


def frame(axis: Any, taus: pd.Series, values: pd.Series, title: str, label: str, bars: Any = 0.0) -> None:
    """Logarithmic axes that follow the values and their bars, guides of slope 1 and 2; words where all are 0 or none is there."""
    tau = np.array([taus.min(), taus.max()])
    top = values.abs().max()
    if not (math.isfinite(top) and top > 0):
        axis.set(title=pretty(title), xlabel="step size τ", ylabel=label, xticks=[], yticks=[])
        axis.text(0.5, 0.5, "all are 0" if top == 0 else "no value: all paths diverged, or have none", transform=axis.transAxes,
                  ha="center", va="center", fontsize="x-small", color="0.4")
        return
    for p, dash in ((1, ":"), (2, "--")):
        axis.plot(tau, 2 * top * (tau / tau[1]) ** p, dash, color="0.6", lw=0.8, zorder=0)
    axis.set(title=pretty(title), xlabel="step size τ", ylabel=label)
    steps(axis, taus)
    sizes(axis, values, bars)
    if axis.get_legend_handles_labels()[1]:
        low, high = axis.get_ylim()
        axis.set_ylim(low * (low / high) ** 0.25, high)  # room for the legend below the data
        axis.legend(frameon=False, fontsize="x-small", loc="lower right")
