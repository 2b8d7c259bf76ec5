"""The pictures of several studies, or of several trajectories, side by side."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sme.common.output import style
from sme.common.output.figure import key, pretty, save
from sme.common.output.provenance import Provenance
from sme.convergence.fit.tables import MAX
from sme.convergence.output.picture import frame, signed
from sme.studies.trajectories.picture import DISCRETE, GREY, line

CURVES = {"order 1": 0, "order 2": 1, "order 1, ODE": 2, "order 1, step memory": 4, "order 2, step memory": 4,
          "order 2, fast memory": 2, "order 1, examples one by one": 3}
OTHER = 7
"""colours of the equations, by their number in the palette; and of any other"""

WIDE: dict[str, Any] = {"lw": 5, "alpha": 0.45, "zorder": 1}


def errors(table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Draw |error| over τ, a column for each setting, a row for each observable at the end and for its largest error."""
    last = table.loc[table["at"] != MAX, "time"].max()
    shown = table[(table["at"] == MAX) | (table["time"] == last)]
    columns = list(shown["setting"].unique())
    rows = [(name, at) for name in shown["observable"].unique() for at in shown.loc[shown["observable"] == name, "at"].unique()]
    palette = style.palette("colorblind")
    with style.paper():
        figure, axes = _grid(len(rows), len(columns), 2.35, 2.0)
        for (setting, observable, at), group in shown.groupby(["setting", "observable", "at"], sort=False):
            axis = axes[rows.index((observable, at)), columns.index(setting)]
            for curve, data in group.groupby("equation", sort=False):
                tau, error, noise, bias = (data[name].to_numpy(float) for name in ("tau", "error", "stderr", "integrator_bias"))
                colour, bar = palette[CURVES.get(str(curve), OTHER)], 1.96 * noise + np.abs(bias)
                if "ODE" in str(curve):  # wide, since it may lie under that of an equation with noise
                    axis.errorbar(tau, np.abs(error), yerr=np.minimum(bar, 0.95 * np.abs(error)), color=colour, elinewidth=1,
                                  **WIDE)
                else:
                    signed(axis, tau, error, bar, colour, "-")
            place = "largest over t" if at == MAX else f"t = {last:g}"
            label = f"|error| in {pretty(observable)},\n{place}"
            frame(axis, group["tau"], group["error"], str(setting), label, 1.96 * group["stderr"])
        for axis in axes[1:].ravel():
            axis.set_title("")
        _outer(axes)
        curves = [Line2D([], [], color=palette[CURVES.get(curve, OTHER)], label=curve, **(WIDE if "ODE" in curve else {}))
                  for curve in sorted(shown["equation"].unique())]
        marks = [Line2D([], [], marker="o", color="0.3", ls="none", ms=4, label="error > 0"),
                 Line2D([], [], marker="o", mfc="white", color="0.3", ls="none", ms=4, label="error < 0"),
                 Line2D([], [], marker="|", color="0.3", ls="none", ms=7, label="95 % and bias"),
                 Line2D([], [], color="0.6", ls=":", lw=0.8, label="slope 1"),
                 Line2D([], [], color="0.6", ls="--", lw=0.8, label="slope 2")]
        _finish(figure, [*curves, *marks])
        return save(figure, provenance, path)


def histograms(table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Draw the discrete run's and the equations' densities, a row for each setting and variable, a column for each checkpoint.

    Where a row has several runs, each discrete run has its colour, and the equation is that of the finest.
    """
    rows = list(table[["setting", "variable"]].drop_duplicates().itertuples(index=False, name=None))
    times, runs = sorted(table["time"].unique()), list(table["over"].unique())
    palette, shades = style.palette("colorblind"), style.palette("flare", len(runs))
    several = len(runs) > 1
    with style.paper():
        figure, axes = _grid(len(rows), len(times), 2.1, 1.6)
        for (setting, variable, time), cell in table.groupby(["setting", "variable", "time"], sort=False):
            row, column = rows.index((setting, variable)), times.index(time)
            axis = axes[row, column]
            for (run, curve), part in cell.groupby(["over", "curve"], sort=False):
                inner = part.iloc[1:-1]
                edges = [*inner["low"], inner["high"].iloc[-1]]
                if curve != DISCRETE and (run == runs[-1] or not several):
                    axis.stairs(inner["density"], edges, color=palette[CURVES.get(curve, OTHER)], **line(curve))
                elif curve == DISCRETE and several:
                    axis.stairs(inner["density"], edges, color=shades[runs.index(run)], lw=0.9)
                elif curve == DISCRETE:
                    axis.stairs(inner["density"], edges, fill=True, color=GREY)
            axis.set_ylim(bottom=0)
            axis.locator_params(nbins=5)
            axis.set_xlabel(pretty(variable))
            if row == 0:
                axis.set_title(f"t = {time:g}")
            if column == 0:
                axis.set_ylabel("\n".join([*str(setting).split(", "), "density"]).strip())
        _outer(axes)
        curves = [Line2D([], [], color=palette[CURVES.get(curve, OTHER)], label=curve if not several else f"{curve}, {runs[-1]}",
                         **line(curve))
                  for curve in table["curve"].unique() if curve != DISCRETE]
        discrete = ([Line2D([], [], color=shade, label=f"discrete, {run}") for shade, run in zip(shades, runs, strict=True)]
                    if several else [Patch(color=GREY, label="discrete run")])
        _finish(figure, [*discrete, *curves])
        return save(figure, provenance, path)


def _grid(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(max(width * columns, 4.2) + 0.3, height * rows + 0.8), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _outer(axes: Any) -> None:
    """Without what has no data, and with the labels of axes at the left and below alone."""
    for row in axes:
        for axis in row:
            if not axis.has_data():
                axis.remove()
        for axis in row[1:]:
            axis.set_ylabel("")
    for axis in axes[:-1].ravel():
        axis.set_xlabel("")


def _finish(figure: Figure, handles: list[Any]) -> None:
    """The key, in one line or two above the line of provenance."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    across = max(2, int(figure.get_figwidth() / (0.45 + 0.062 * longest)))
    lines = math.ceil(len(handles) / across)
    across = math.ceil(len(handles) / lines)
    height = figure.get_figheight()
    foot = (0.2 + 0.17 * lines) / height
    figure.set_layout_engine("constrained", rect=(0, foot, 1, 1 - foot))
    key(figure, handles, across)
