"""The picture of stationary variances."""

from pathlib import Path

import pandas as pd

from sme.common.output import style
from sme.common.output.figure import canvas, save
from sme.common.output.provenance import Provenance

FOOT = 0.2
"""inches: a line of provenance"""
MARKS = "x+^vDP"


def draw(table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Draw every variance over that of the linearised equation, a line for each case; bars of 95 % on what is simulated."""
    names = list(dict.fromkeys(table["case"]))
    sources = list(dict.fromkeys(table["source"]))
    reference = table[table["source"] == "linearised equation"].set_index("case")["variance"]
    height = 0.36 * len(names) + 1.1 + FOOT
    with style.paper():
        figure = canvas(7.2, height, FOOT)
        axis = figure.subplots()
        axis.axvline(0, color="0.8", lw=0.8, zorder=0)
        for i, (source, colour) in enumerate(zip(sources, style.palette("colorblind", len(sources)), strict=True)):
            part = table[table["source"] == source]
            base = part["case"].map(reference).to_numpy(float)
            off = 100 * (part["variance"].to_numpy(float) / base - 1)
            line = [names.index(case) for case in part["case"]]
            if (part["stderr"] > 0).any():
                axis.errorbar(off, line, xerr=196 * part["stderr"].to_numpy(float) / base, fmt="o", ms=4, color="black",
                              capsize=2, lw=1, label=source)
            else:
                axis.plot(off, line, MARKS[i % len(MARKS)], ms=6, color=colour, label=source, mfc="none")
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel="variance of θ over that of the linearised equation, off by %", ylim=(len(names) - 0.5, -0.5))
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize="x-small")
        return save(figure, provenance, path)
