"""The picture of a race: runs and equations over the steps, and how far they are apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy.special import stdtrit

from sme.common.output import style
from sme.common.output.figure import canvas, decades, key, save
from sme.common.output.provenance import Provenance
from sme.studies.autoencoder.run import OBSERVABLES, AutoencoderComparison
from sme.studies.trajectories.report import DISCRETE

FOOT = 0.36
"""inches: a line of provenance, and the key"""
ORDERS = ("order 1", "order 2")
LABELS = {"|gradient|": "gradient norm", "lowest curvature": "lowest curvature"}
DASHES = dict(zip(ORDERS, ("--", "-"), strict=True))
LINEAR = 1e-3
"""of the lowest curvature: sizes below which its axis is linear"""


def draw(made: AutoencoderComparison, provenance: Provenance, path: Path) -> Path:
    """A column for each contender and one for all, a row for each observable, below it the differences of log loss."""
    names, last = list(made.chosen["contender"]), len(OBSERVABLES)
    colours = dict(zip(ORDERS, style.palette("colorblind", 2), strict=True))
    shades = dict(zip(names, style.palette("Dark2", len(names)), strict=True))
    height = 1.75 * (last + 1) + 0.4 + FOOT
    with style.paper():
        figure = canvas(2.0 * (len(names) + 1) + 0.5, height, FOOT)
        axes = figure.subplots(last + 1, len(names) + 1, sharex=True, sharey="row")
        for column, name in enumerate(names):
            mine = made.table[made.table["contender"] == name]
            for row, observable in enumerate(OBSERVABLES):
                _curves(axes[row, column], mine[mine["observable"] == observable], colours)
                _line(axes[row, -1], mine[(mine["observable"] == observable) & (mine["curve"] == DISCRETE)], shades[name])
            _differences(axes[-1, column], mine[mine["observable"] == "loss"], colours)
            lr = made.chosen.set_index("contender").loc[name, "lr"]
            axes[0, column].set_title(f"{name}, lr {lr:g}", fontsize="small")
            axes[-1, column].set_xlabel("step")
        for row, observable in enumerate(OBSERVABLES):
            axes[row, 0].set_ylabel(LABELS.get(observable, observable))
            axes[row, 0].set_yscale("log")
            decades(axes[row, 0])
        axes[-2, 0].set_yscale("symlog", linthresh=LINEAR)
        axes[-1, 0].set_ylabel("log loss,\ndiscrete − equation")
        axes[-1, 0].set_yscale("symlog", linthresh=LINEAR)
        axes[0, -1].set_title("discrete runs", fontsize="small")
        axes[-1, -1].set_axis_off()  # the place of the runs' key
        axes[-2, -1].tick_params(labelbottom=True)
        axes[-2, -1].set_xlabel("step")
        axes[-1, -1].legend(handles=[Line2D([], [], color=shade, label=name) for name, shade in shades.items()], frameon=False,
                            loc="center", title="discrete runs", fontsize="small", title_fontsize="small")
        marks = [Line2D([], [], marker="o", color="black", ls="none", ms=3, label="discrete run, mean over the starts"),
                 *(Line2D([], [], color=colour, ls=DASHES[order], label=order) for order, colour in colours.items()),
                 Line2D([], [], marker="|", color="0.3", ls="none", ms=7, label="95 % over the starts")]
        key(figure, marks, len(marks))
        return save(figure, provenance, path)


def _curves(axis: Any, part: pd.DataFrame, colours: dict[str, Any]) -> None:
    for curve, data in part.groupby("curve", sort=False):
        mean = data.groupby("step")["value"].mean()
        if curve == DISCRETE:
            axis.plot(mean.index, mean, "o", color="black", ms=3, zorder=3)
        else:
            axis.plot(mean.index, mean, color=colours[str(curve)], lw=1.2, ls=DASHES[str(curve)])


def _line(axis: Any, part: pd.DataFrame, shade: Any) -> None:
    mean = part.groupby("step")["value"].mean()
    axis.plot(mean.index, mean, color=shade, lw=1.1)


def _differences(axis: Any, part: pd.DataFrame, colours: dict[str, Any]) -> None:
    axis.axhline(0, color="0.7", lw=0.8, zorder=0)
    logs = part.assign(value=np.log(part["value"])).pivot(index=["seed", "step"], columns="curve", values="value")
    for order, colour in colours.items():
        gap = (logs[DISCRETE] - logs[order]).groupby("step")
        count = gap.count()
        half = stdtrit(count - 1, 0.975) * gap.std() / np.sqrt(count)
        axis.errorbar(count.index, gap.mean(), yerr=half, color=colour, lw=1, ls=DASHES[order], elinewidth=0.8, capsize=1.5)
