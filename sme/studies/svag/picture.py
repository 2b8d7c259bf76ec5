"""The picture of a study of SVAG."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save, sizes
from sme.common.output.provenance import Provenance

FOOT = 0.36
"""inches: a line of provenance, and the key"""


def draw(table: pd.DataFrame, title: str, provenance: Provenance, path: Path) -> Path:
    """Draw |E[discrete] − E[equation]| over ℓ for every observable, with bars of 95 %; open marks are negative."""
    groups = list(table.groupby("observable", sort=False))
    columns = min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    width, height = max(2.6 * columns, 4.6) + 0.3, 2.5 * rows + 0.4 + FOOT
    colours = dict(zip(table["noise"].unique(), style.palette("colorblind", 2), strict=False))
    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, (observable, group) in zip(axes.ravel(), groups, strict=False):
            top, smallest = group["error"].abs().max(), group["ell"].min()
            if not 0 < top < math.inf:
                axis.set(title=pretty(str(observable)), xlabel="ℓ", xticks=[], yticks=[])
                axis.text(0.5, 0.5, "all are 0" if top == 0 else "no value: all paths diverged", transform=axis.transAxes,
                          ha="center", va="center", fontsize="x-small", color="0.4")
                continue
            ells = np.array(sorted(group["ell"].unique()), float)
            for power, dash in ((1, ":"), (2, "--")):
                axis.plot(ells, 1.5 * top * (ells / smallest) ** -power, dash, color="0.6", lw=0.8)
            for shift, (noise, part) in zip((0.97, 1.03), group.groupby("noise", sort=False), strict=False):
                at, error = part["ell"].to_numpy(float) * shift, part["error"].to_numpy(float)
                bar, size = 1.96 * part["stderr"].to_numpy(float) + part["integrator_bias"].abs().to_numpy(float), np.abs(error)
                axis.errorbar(at, size, yerr=np.stack([np.minimum(bar, 0.9 * size), bar]), color=colours[noise], lw=0.8,
                              elinewidth=1, capsize=2)
                for sign, face in ((1, colours[noise]), (-1, "white")):
                    axis.plot(at[np.sign(error) == sign], size[np.sign(error) == sign], "o", ms=4, mfc=face, mec=colours[noise])
            axis.set(title=pretty(str(observable)), xlabel="ℓ")
            sizes(axis, group["error"], 1.96 * group["stderr"] + group["integrator_bias"].abs())
            axis.set_xscale("log", base=2)
            axis.set_xticks(ells, [f"{x:g}" for x in ells])
        for axis in axes.ravel()[len(groups):]:
            axis.remove()
        for row in axes:
            row[0].set_ylabel("|discrete − equation|")
        marks = [Line2D([], [], marker="o", color=colour, ms=4, label=noise) for noise, colour in colours.items()]
        marks += [Line2D([], [], marker="o", mfc="white", color="0.3", ls="none", ms=4, label="< 0"),
                  *(Line2D([], [], color="0.6", ls=dash, lw=0.8, label=name) for dash, name in ((":", "1/ℓ"), ("--", "1/ℓ²")))]
        figure.suptitle(title, fontsize="x-small")
        key(figure, marks, 5)
        return save(figure, provenance, path)
