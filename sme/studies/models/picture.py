"""The pictures of several models: errors over the step size, and over what they cost."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save, sizes, steps
from sme.common.output.provenance import Provenance
from sme.convergence.output.picture import signed

ORDER = ["ode", "malladi", "compagnoni", "sme, order 1", "sme, order 2", "averaged", "backward, order 1", "backward, order 2",
         "midpoint"]
"""of the curves and of their colours in the palette"""
WIDE = 30.0
"""range of costs beyond which ticks at powers of 10 are enough"""
MANY = 1e5
"""a cost from which on it is written with a power of 10"""
ENOUGH = 3
"""curves of a problem and regime that are compared in the first picture"""


def several(errors: pd.DataFrame) -> pd.Series:
    """Which rows are of a problem and regime that has enough curves to be compared."""
    return errors.groupby(["problem", "regime"])["curve"].transform("nunique") >= ENOUGH


def draw(errors: pd.DataFrame, observable: str, over: str, provenance: Provenance, path: Path) -> Path:
    """Draw |error| of every `curve` over `tau` or `cost`: a column for each problem and regime, a row for each optimizer."""
    columns = list(errors[["problem", "regime"]].drop_duplicates().itertuples(index=False, name=None))
    optimizers = list(errors["optimizer"].unique())
    curves = sorted(errors["curve"].unique(), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    palette = dict(zip(ORDER, style.palette("colorblind", len(ORDER)), strict=True))
    handles = [Line2D([], [], color=palette.get(curve, "0.2"), marker="o", ms=4, label=curve) for curve in curves]
    handles.append(Line2D([], [], marker="o", mfc="white", color="0.3", ls="none", ms=4, label="error < 0"))
    if over == "tau":
        handles += [Line2D([], [], color="0.6", ls=dash, lw=0.8, label=f"slope {p}") for p, dash in ((1, ":"), (2, "--"))]
    across = max(2, 2 * len(columns))
    with style.paper():
        foot = 0.17 + 0.17 * math.ceil(len(handles) / across)
        figure = canvas(2.3 * len(columns) + 0.6, 2.0 * len(optimizers) + 0.3 + foot, foot)
        axes = figure.subplots(len(optimizers), len(columns), squeeze=False)
        for (problem, regime, optimizer), group in errors.groupby(["problem", "regime", "optimizer"], sort=False):
            row, column = optimizers.index(optimizer), columns.index((problem, regime))
            axis = axes[row, column]
            for curve, data in group.groupby("curve", sort=False):
                bar = 1.96 * data["stderr"].to_numpy() + data["integrator_bias"].abs().to_numpy()
                signed(axis, data[over].to_numpy(float), data["error"].to_numpy(float), bar, palette.get(curve, "0.2"),
                       "-" if over == "tau" else "none")  # one cost may belong to several step sizes
            if over == "tau":
                steps(axis, group["tau"])
                _guides(axis, group)
            else:
                _costs(axis, group["cost"])
            sizes(axis, group["error"], 1.96 * group["stderr"])
            if row == 0:
                axis.set_title(f"{problem}, {str(regime).replace('_', '-')}", fontsize="small")
            if row == len(optimizers) - 1:
                axis.set_xlabel("step size τ" if over == "tau" else "gradients for a path")
        for row, optimizer in enumerate(optimizers):
            axes[row, 0].set_ylabel(f"{optimizer}\n|error| in {pretty(observable)}")
        for axis in axes.ravel():
            if not axis.has_data():
                axis.remove()
        key(figure, handles, across)
        return save(figure, provenance, path)


def _costs(axis: Any, costs: pd.Series) -> None:
    """A logarithmic axis with few labels, of which none covers another."""
    axis.set_xscale("log")
    if costs.max() < WIDE * costs.min():
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}" if costs.max() < MANY else "{x:.0e}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _guides(axis: Any, group: pd.DataFrame) -> None:
    tau = np.array([group["tau"].min(), group["tau"].max()])
    top = 2 * group["error"].abs().max()
    for power, dash in ((1, ":"), (2, "--")):
        axis.plot(tau, top * (tau / tau[1]) ** power, dash, color="0.6", lw=0.8, zorder=0)
