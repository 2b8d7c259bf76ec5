"""The pictures of trajectories: curves with their differences, and histograms."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from sme.common.output import style
from sme.common.output.figure import pretty, save
from sme.common.output.provenance import Provenance
from sme.common.process.progress import fraction

DISCRETE = "discrete"
DENSE = 24
"""so many marks and more are drawn small"""
GREY = "0.82"
FOOT = 0.12
"""inches: a line of provenance"""


def curves(table: pd.DataFrame, band: str, tau: float, provenance: Provenance, path: Path) -> Path:
    """Draw the means over time with bands, and below them the difference to the discrete run with bars of 95 %."""
    from matplotlib.figure import Figure  # takes longer than the rest of a study whose points are there
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    groups = list(table.groupby("observable", sort=False))
    columns = 2 if len(groups) == 4 else min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    with style.paper():
        figure = Figure(figsize=(max(2.6 * columns, 3.7) + 0.3, 3.2 * rows + 0.6), layout="constrained")
        axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2, 1] * rows)
        for i in range(rows * columns):
            upper, lower = axes[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
            if i >= len(groups):
                upper.remove()
                lower.remove()
                continue
            observable, group = groups[i]
            _means(upper, group, band)
            _differences(lower, group)
            upper.set_title(pretty(str(observable)))
            upper.tick_params(labelbottom=False)
            lower.set(xlabel="time", xlim=upper.get_xlim())
            if i % columns == 0:
                upper.set_ylabel("mean")
                lower.set_ylabel("discrete − eq.", fontsize="small")
        width = {"sd": "mean ± sd of the paths", "quantiles": "5 % to 95 % of the paths"}.get(band)
        dots = Line2D([], [], color="black", marker="o", ms=3, ls="none", label=_named(table, DISCRETE, "discrete run"))
        orders = [Line2D([], [], color=colour, label=_named(table, curve, curve)) for curve, colour in _colours(table).items()]
        bars = Line2D([], [], color="0.3", marker="|", ls="none", label="difference, 95 %")
        bands = [Line2D([], [], color="0.2", ls=":", lw=0.9, label=f"discrete: {width}"),
                 Patch(color="0.5", alpha=0.25, lw=0, label=f"equation: {width}")] if width else []
        _finish(figure, [dots, *orders, bars, *bands], max(2, columns), tau, provenance)
        return save(figure, provenance, path)


def histograms(table: pd.DataFrame, tau: float, provenance: Provenance, path: Path) -> Path:
    """Draw a row of histograms for each variable, a column for each checkpoint."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    variables, times = table["variable"].unique(), table["time"].unique()
    colours = _colours(table)
    with style.paper():
        figure = Figure(figsize=(max(2.6 * len(times), 3.7) + 0.3, 2.1 * len(variables) + 0.7), layout="constrained")
        axes = figure.subplots(len(variables), len(times), squeeze=False)
        for (variable, time), group in table.groupby(["variable", "time"], sort=False):
            axis = axes[list(variables).index(variable), list(times).index(time)]
            for curve, part in group.groupby("curve", sort=False):
                inner = part.iloc[1:-1]
                edges = [*inner["low"], inner["high"].iloc[-1]]
                if curve == DISCRETE:
                    axis.stairs(inner["density"], edges, fill=True, color=GREY)
                else:
                    axis.stairs(inner["density"], edges, color=colours[curve], **line(str(curve)))
            axis.set(title=f"t = {time:g}", xlabel=pretty(variable))
            axis.locator_params(axis="x", nbins=5)
            axis.set_ylim(bottom=0)
        for row in axes:
            row[0].set_ylabel("density")
        lines = [Line2D([], [], color=colour, label=curve, **line(curve)) for curve, colour in colours.items()]
        _finish(figure, [Patch(color=GREY, label="discrete run"), *lines], 3, tau, provenance)
        return save(figure, provenance, path)


def line(curve: str) -> dict[str, Any]:
    """How an equation's density is drawn: order 1 wide and pale below order 2, so that neither hides the other."""
    first = curve.startswith("order 1")
    return {"lw": 3.0, "alpha": 0.55, "zorder": 2} if first else {"lw": 1.0, "zorder": 3}


def _colours(table: pd.DataFrame) -> dict[str, Any]:
    """Of the equations, by their curves: order 1 and order 2 have theirs whether the other is there or not."""
    first, second, third = style.palette("colorblind", 3)
    there = [curve for curve in table["curve"].unique() if curve != DISCRETE]
    return {curve: {"order 1": first, "order 2": second}.get(curve, third) for curve in sorted(there)}


def _named(table: pd.DataFrame, curve: str, label: str) -> str:
    """The label of a curve, with the share of its paths that diverged and are not in it."""
    share = table.loc[table["curve"] == curve, "diverged"].max()
    return f"{label} ({share:.2%} diverged)" if share > 0 else label


def _means(axis: Any, group: pd.DataFrame, band: str) -> None:
    for curve, data in group.groupby("curve", sort=False):
        time, mean = data["time"], data["mean"]
        limits = {"sd": (mean - data["sd"], mean + data["sd"]), "quantiles": (data["low"], data["high"])}.get(band, ())
        if curve == DISCRETE:
            axis.plot(time, mean, "o", color="black", ms=3 if len(data) < DENSE else 1.5, zorder=3)
            for limit in limits:
                axis.plot(time, limit, ":", color="0.2", lw=0.9)
            continue
        colour = _colours(group)[curve]
        axis.plot(time, mean, color=colour, lw=1.2)
        if limits:
            axis.fill_between(time, *limits, color=colour, alpha=0.18, lw=0)


def _differences(axis: Any, group: pd.DataFrame) -> None:
    axis.axhline(0, color="0.7", lw=0.8, zorder=0)
    for curve, colour in _colours(group).items():
        data = group[group["curve"] == curve]
        axis.errorbar(data["time"], data["difference"], yerr=1.96 * data["difference_stderr"], color=colour, lw=1,
                      elinewidth=0.8, capsize=0 if len(data) >= DENSE else 1.5)
    axis.ticklabel_format(axis="y", scilimits=(-2, 3), useMathText=True)


def _finish(figure: Any, handles: list[Any], columns: int, tau: float, provenance: Provenance) -> None:
    """Title and key; the foot is left free for the line of provenance."""
    foot = FOOT / figure.get_figheight()
    figure.set_layout_engine("constrained", rect=(0, foot, 1, 1 - foot))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize="x-small",
                  title=f"{provenance.title}, τ = {fraction(tau)}", title_fontsize="small")
