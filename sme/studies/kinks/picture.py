"""The picture of errors at corners over τ."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, key, save, sizes, steps
from sme.common.output.provenance import Provenance

FOOT = 0.5
"""inches: a line of provenance, and two of the key"""
ACROSS = 3
NAMES = {1: "equation of order 1", 2: "equation of order 2"}
MARKS: dict[int, dict[str, Any]] = {1: {"marker": "s", "ms": 5, "mfc": "none"}, 2: {"marker": "o", "ms": 3.5}}
POWERS = {"1": "-", "1.5": "-.", "2": "--"}
"""slopes, and how their lines are drawn"""
SUPER = {"1": "", "1.5": "³ᐟ²", "2": "²"}


def draw(table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Draw |error| over τ, a panel for each case, with the line that the theory has for the equation of order 2."""
    cases = list(dict.fromkeys(table["case"]))
    across = min(ACROSS, len(cases))
    down = math.ceil(len(cases) / across)
    colours = dict(zip(NAMES, style.palette("colorblind", 2), strict=True))
    with style.paper():
        figure = canvas(2.4 * across + 0.4, 1.75 * down + FOOT, FOOT)
        axes = figure.subplots(down, across, squeeze=False)
        for axis in axes.ravel()[len(cases):]:
            axis.axis("off")
        for axis, name in zip(axes.ravel(), cases, strict=False):
            _panel(axis, table[table["case"] == name], colours)
        for row in axes:
            row[0].set_ylabel("|error|", fontsize="x-small")
        marks = [Line2D([], [], ls="none", color=colours[order], label=name, **MARKS[order]) for order, name in NAMES.items()]
        marks += [Line2D([], [], color="0.5", ls=dash, lw=0.9, label=f"τ{SUPER[power]}") for power, dash in POWERS.items()]
        marks += [Line2D([], [], color="black", lw=0.9, label="derived constant")]
        key(figure, marks, 3)
        return save(figure, provenance, path)


def _panel(axis: Any, part: pd.DataFrame, colours: dict[int, tuple[float, float, float]]) -> None:
    second = part[part["order"] == 2].sort_values("tau")
    expected, derived = float(second["expected"].iloc[0]), float(second["derived"].iloc[0])
    taus = second["tau"].to_numpy(float)
    known = not math.isnan(derived)
    height = abs(derived) * taus**expected if known else np.abs(second["error"].iloc[0]) * (taus / taus[0]) ** expected
    axis.plot(taus, height, POWERS[f"{expected:g}"], color="black" if known else "0.5", lw=0.9)
    for order in NAMES:
        own = part[part["order"] == order]
        axis.plot(own["tau"], own["error"].abs(), ls="none", color=colours[order], **MARKS[order])
    sizes(axis, part["error"])
    axis.tick_params(labelsize="xx-small")
    axis.set_title(f"{part['title'].iloc[0]}\n{part['meets'].iloc[0]}: {expected:g}", fontsize="x-small")
    steps(axis, list(taus))
