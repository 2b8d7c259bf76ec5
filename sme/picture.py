"""The picture of a study."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sme.errors import choose
from sme.files import replacing
from sme.report import quote


def draw(name: str, errors: pd.DataFrame, slopes: pd.DataFrame, path: Path) -> Path:
    """Draw |error| over τ for every observable to a file, with error bars, fits and reference slopes.

    Filled circles are positive errors, open ones negative; crosses are |integrator bias|.
    """
    groups = list(errors.groupby(["at", "observable"], sort=False))
    columns = min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    with sns.axes_style("ticks"), sns.plotting_context("paper"):
        figure = Figure(figsize=(2.9 * columns + 0.3, 2.6 * rows + 0.7), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        colours = dict(zip((1, 2), sns.color_palette("colorblind", 2), strict=True))
        for axis, ((at, observable), group) in zip(axes, groups, strict=False):
            for order, data in group.groupby("order"):
                row = slopes.query("order == @order and observable == @observable and at == @at").iloc[0]
                _errors(axis, data, row, colours[order])
            _frame(axis, group, observable if at == "end" else f"{observable}, {at}")
        for axis in axes[len(groups):]:
            axis.remove()
        figure.suptitle(name, fontsize="small")
        figure.legend(handles=_key(), loc="outside lower center", ncols=5, frameon=False, fontsize="x-small")
        choose("picture format", path.suffix.lstrip("."), sorted(figure.canvas.get_supported_filetypes()))
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=160, format=path.suffix.lstrip("."))
    return path


def _key() -> list[Line2D]:
    """What the marks mean."""
    black: dict[str, Any] = {"color": "0.3", "ls": "none", "ms": 4}
    return [
        Line2D([], [], marker="o", label="error > 0", **black),
        Line2D([], [], marker="o", mfc="white", label="error < 0 (bars: 95 %)", **black),
        Line2D([], [], marker="x", label="|integrator bias|", **black),
        Line2D([], [], color="0.6", ls=":", lw=0.8, label="slope 1"),
        Line2D([], [], color="0.6", ls="--", lw=0.8, label="slope 2"),
    ]


def _errors(axis: Any, data: pd.DataFrame, row: pd.Series, colour: Any) -> None:
    tau, error, noise = (data[name].to_numpy(float) for name in ("tau", "error", "stderr"))
    size = np.abs(error)
    axis.errorbar(tau, size, yerr=np.stack([np.minimum(1.96 * noise, 0.95 * size), 1.96 * noise]), fmt="none",
                  ecolor=colour, elinewidth=1, capsize=2)
    for sign, face in ((1, colour), (-1, "white")):
        there = np.sign(error) == sign
        axis.plot(tau[there], size[there], "o", ms=4, mfc=face, mec=colour)
    axis.plot(tau, np.abs(data["integrator_bias"]), "x", ms=3, color=colour, alpha=0.5)
    label = f"order {row['order']}: no slope"
    if math.isfinite(row["slope"]):
        label = f"order {row['order']}: {quote(row['slope'], row['slope_low'], row['slope_high'])}"
        anchor = np.flatnonzero(size > 3 * noise)
        i = anchor[np.argmin(tau[anchor])]
        axis.plot(tau, size[i] * (tau / tau[i]) ** row["slope"], "-", lw=1, color=colour)
    axis.plot([], [], "-o", ms=4, lw=1, color=colour, label=label)


def _frame(axis: Any, group: pd.DataFrame, title: str) -> None:
    tau = np.array([group["tau"].min(), group["tau"].max()])
    top = group["error"].abs().max()
    for p, dash in ((1, ":"), (2, "--")):
        axis.plot(tau, 2 * top * (tau / tau[1]) ** p, dash, color="0.6", lw=0.8, zorder=0)
    title = title.replace("theta", "θ").replace("^2", "²")
    axis.set(yscale="log", title=title, xlabel="step size τ", ylabel="|weak error|")
    axis.set_xscale("log", base=2)
    low, high = axis.get_ylim()
    axis.set_ylim(low * (low / high) ** 0.2, high)  # room for the legend below the data
    axis.legend(frameon=False, fontsize="x-small", loc="lower right")
