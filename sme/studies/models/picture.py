"""The picture of several models: errors over the step size, and over what they cost."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save, sizes, steps
from sme.common.output.provenance import Provenance
from sme.convergence.output.picture import signed

ORDER = ["ode", "malladi", "compagnoni", "sme, order 1", "sme, order 2", "averaged", "backward, order 1", "backward, order 2"]
"""of the curves and of their colours in the palette"""
WIDE = 30.0
"""range of costs beyond which ticks at powers of 10 are enough"""
FOOT = 0.4
"""inches: the key and a line of provenance"""


def draw(errors: pd.DataFrame, observable: str, provenance: Provenance, path: Path) -> Path:
    """Draw |error| of every `curve` over τ, and below it over the cost.

    There is a column for each problem and regime, and a pair of rows for each optimizer.
    """
    columns = list(errors[["problem", "regime"]].drop_duplicates().itertuples(index=False, name=None))
    optimizers = list(errors["optimizer"].unique())
    curves = sorted(errors["curve"].unique(), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    palette = dict(zip(curves, style.palette("colorblind", len(curves)), strict=True))
    with style.paper():
        width, height = 2.2 * len(columns) + 0.6, 1.9 * 2 * len(optimizers) + 0.7
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(2 * len(optimizers), len(columns), squeeze=False)
        for (problem, regime, optimizer), group in errors.groupby(["problem", "regime", "optimizer"], sort=False):
            row, column = 2 * optimizers.index(optimizer), columns.index((problem, regime))
            for axis, name in ((axes[row, column], "tau"), (axes[row + 1, column], "cost")):
                for curve, data in group.groupby("curve", sort=False):
                    bar = 1.96 * data["stderr"].to_numpy() + data["integrator_bias"].abs().to_numpy()
                    signed(axis, data[name].to_numpy(float), data["error"].to_numpy(float), bar, palette[curve],
                           "-" if name == "tau" else "none")  # one cost may belong to several step sizes
                axis.set(xlabel="step size τ" if name == "tau" else "gradients for a path")
                if name == "tau":
                    steps(axis, group["tau"])
                else:
                    axis.set_xscale("log")
                    if group["cost"].max() < WIDE * group["cost"].min():
                        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
                        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
                    axis.xaxis.set_minor_formatter(NullFormatter())
            _guides(axes[row, column], group)
            axes[row + 1, column].sharey(axes[row, column])
            sizes(axes[row, column], group["error"], 1.96 * group["stderr"])
            if row == 0:
                axes[0, column].set_title(f"{problem}, {str(regime).replace('_', '-')}", fontsize="small")
        for row, optimizer in enumerate(optimizers):
            for below in (0, 1):
                axes[2 * row + below, 0].set_ylabel(f"{optimizer}\n|error| in {pretty(observable)}")
        for axis in axes.ravel():
            if not axis.has_data():
                axis.remove()
        handles = [Line2D([], [], color=palette[curve], marker="o", ms=4, label=curve) for curve in curves]
        handles += [Line2D([], [], marker="o", mfc="white", color="0.3", ls="none", ms=4, label="error < 0"),
                    Line2D([], [], color="0.6", ls=":", lw=0.8, label="slope 1"),
                    Line2D([], [], color="0.6", ls="--", lw=0.8, label="slope 2")]
        key(figure, handles, len(handles))
        return save(figure, provenance, path)


def _guides(axis: object, group: pd.DataFrame) -> None:
    tau = np.array([group["tau"].min(), group["tau"].max()])
    top = 2 * group["error"].abs().max()
    for power, dash in ((1, ":"), (2, "--")):
        axis.plot(tau, top * (tau / tau[1]) ** power, dash, color="0.6", lw=0.8, zorder=0)  # type: ignore[attr-defined]
