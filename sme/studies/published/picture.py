"""The picture of what the differences of the published equations cost."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save
from sme.common.output.provenance import Provenance

FOOT = 0.36
"""inches: a line of provenance, and the key"""
SIDES = (("error", "stderr", "integrator_bias"), ("error_published", "stderr_published", "bias_published"))
"""ours and theirs: the error, its standard error, the integrator bias"""


def draw(table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Draw |weak error| of ours and of theirs, a line for each difference and `τ`, with bars of 95 % and bias.

    Filled circles are positive errors, open ones negative.
    """
    shown = table[table["shown"]].sort_values(["tau"], ascending=False, kind="stable")
    names = list(dict.fromkeys(table["difference"]))
    taus = sorted(shown["tau"].unique(), reverse=True)
    height = 0.4 * len(names) + 0.7 + FOOT
    with style.paper():
        figure = canvas(8.2, height, FOOT)
        axes = figure.subplots(1, len(taus), sharex=True, sharey=True, squeeze=False).ravel()
        colours = style.palette("colorblind", 2)
        for axis, tau in zip(axes, taus, strict=True):
            part = shown[shown["tau"] == tau].set_index("difference").loc[names]
            place = np.arange(len(names))
            low, high = (part[[ours, theirs]].abs().agg(pick, axis=1)
                         for (ours, *_), (theirs, *_), pick in ((*SIDES, "min"), (*SIDES, "max")))
            axis.hlines(place, low, high, color="0.8", lw=1, zorder=0)
            for colour, columns in zip(colours, SIDES, strict=True):
                value, noise, bias = (part[name].to_numpy(float) for name in columns)
                size, bar = np.abs(value), 1.96 * noise + np.abs(bias)
                axis.errorbar(size, place, xerr=np.stack([np.minimum(bar, 0.95 * size), bar]), fmt="none", ecolor=colour,
                              elinewidth=1, capsize=2)
                for sign, face in ((1, colour), (-1, "white")):
                    there = np.sign(value) == sign
                    axis.plot(size[there], place[there], "o", ms=4.5, mfc=face, mec=colour)
            axis.set(xscale="log", title=f"τ = 1/{1 / tau:g}", xlabel="|weak error|")
            axis.grid(axis="x", color="0.93", zorder=-1)
        terms = shown.drop_duplicates("difference").set_index("difference").loc[names]
        labels = [f"{i}  {row.scheme}\n{row.published}   ({pretty(row.observable)})"
                  for i, row in enumerate(terms.itertuples(), 1)]
        axes[0].set_yticks(range(len(names)), labels, fontsize=6)
        axes[0].invert_yaxis()
        marks = [Line2D([], [], marker="o", color=colours[0], ls="none", ms=4, label="ours"),
                 Line2D([], [], marker="o", color=colours[1], ls="none", ms=4, label="with the published term"),
                 Line2D([], [], marker="o", mfc="white", color="0.3", ls="none", ms=4, label="error < 0 (bars: 95 % and bias)")]
        key(figure, marks, 3)
        return save(figure, provenance, path)
