"""The picture of a certificate: the size of each equation's error with its interval, and what is good enough."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save
from sme.common.output.provenance import Provenance
from sme.convergence.comparison.choice import EQUATION, Choice, Names

FOOT = 0.36
"""inches: a line of provenance, and the key"""
MOST = 6
"""observables that have a panel"""


def draw(table: pd.DataFrame, names: Names, shown: str, tolerance: float | None, choice: Choice | None,
         provenance: Provenance, path: Path) -> Path:
    """Draw |predicted error| of each equation, a panel for each observable; the tolerance is a line, the choice is marked."""
    observables = [shown, *(each for each in dict.fromkeys(table["observable"]) if each != shown)][:MOST]
    called = [names[tuple(row)] for row in table[EQUATION].itertuples(index=False)]
    every = list(dict.fromkeys(called))
    chosen = None if choice is None or not choice.good else names[tuple(choice.row[EQUATION].iloc[0])]
    height = 0.28 * len(every) + 0.75 + FOOT
    with style.paper():
        figure = canvas(min(1.9 * len(observables) + 1.6, 10.0), height, FOOT)
        panels = figure.subplots(1, len(observables), sharex=True, sharey=True, squeeze=False)[0]
        colour, mark = style.palette("colorblind", 2)
        for axis, observable in zip(panels, observables, strict=True):
            rows = table.assign(equation=called)[table["observable"] == observable]
            value, half = rows["predicted"].to_numpy(float), (rows["high"] - rows["low"]).to_numpy(float) / 2
            size, place = np.abs(value), np.array([every.index(each) for each in rows["equation"]])
            bars = np.stack([np.minimum(half, 0.95 * size), half])
            axis.errorbar(size, place, xerr=bars, fmt="none", ecolor=colour, elinewidth=1, capsize=2)
            for sign, face in ((1, colour), (-1, "white")):
                there = np.sign(value) == sign
                axis.plot(size[there], place[there], "o", ms=4.5, mfc=face, mec=colour)
            if chosen is not None:
                there = rows["equation"] == chosen
                axis.plot(size[there], place[there], "s", ms=9, mfc="none", mec=mark)
            if tolerance is not None:
                axis.axvline(tolerance, color=mark, lw=1, ls="--")
            axis.set(xscale="log", title=pretty(observable), xlabel="|weak error|")
            axis.grid(axis="x", color="0.93", zorder=-1)
        panels[0].set_yticks(range(len(every)), every, fontsize=7)
        panels[0].invert_yaxis()
        marks = [Line2D([], [], marker="o", color=colour, ls="none", ms=4, label="error > 0"),
                 Line2D([], [], marker="o", mfc="white", color=colour, ls="none", ms=4, label="error < 0 (bars: interval)")]
        if tolerance is not None:
            marks.append(Line2D([], [], color=mark, ls="--", lw=1, label=f"tolerance {tolerance:g}"))
        if chosen is not None:
            marks.append(Line2D([], [], marker="s", mfc="none", mec=mark, ls="none", ms=6, label="chosen"))
        key(figure, marks, len(marks))
        return save(figure, provenance, path)
