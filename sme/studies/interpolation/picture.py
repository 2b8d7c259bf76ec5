"""The picture of AdaBayes between SGD and Adam."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, save, steps
from sme.common.output.provenance import Provenance

FOOT = 0.2
"""inches for the line of provenance"""


def draw(table: pd.DataFrame, beside: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Learning rates over `√v/a`; and how far the filter's are from the fixed point's over `τ`."""
    fixed = table[table["tau"].isna()]
    filters = dict(list(table[table["tau"].notna()].groupby("curve", sort=False)))
    taus = sorted(table["tau"].dropna().unique(), reverse=True)
    colours = dict(zip(taus, style.palette("viridis_r", len(taus) + 1)[1:], strict=True))
    with style.paper():
        figure = canvas(8.2, 3.4, FOOT)
        rates, distances = figure.subplots(1, 2)
        ratio = np.geomspace(fixed["ratio"].min(), fixed["ratio"].max(), 200)
        rates.plot(ratio, np.ones_like(ratio), ":", color="0.4", lw=1, label="SGD: 1/(2a)")
        rates.plot(ratio, 2 / ratio, "--", color="0.4", lw=1, label="Adam: 1/√v")
        rates.plot(fixed["ratio"], fixed["rate"], color="black", lw=1.4, label="AdaBayes, fixed point")
        for curve, mark in zip(filters, ("-", "o"), strict=True):
            for tau, part in filters[curve].groupby("tau"):
                rates.errorbar(part["ratio"], part["rate"], yerr=1.96 * part["stderr"].fillna(0), fmt=mark, ms=3.5, lw=0.9,
                               color=colours[tau], alpha=0.8)
        rates.set(xscale="log", yscale="log", ylim=(0.5 * table["rate"].min(), 3), xlabel="√v/a",
                  ylabel="learning rate relative to SGD's")
        lines = [*rates.get_legend_handles_labels()[0], *(Line2D([], [], color=colour, label=f"filter, τ = 1/{1 / tau:g}")
                                                         for tau, colour in colours.items())]
        marks = [Line2D([], [], color="0.3", lw=0.9, label="constant gradients"),
                 Line2D([], [], color="0.3", marker="o", ls="none", ms=3.5, label="Gaussian (mean, 95 %)")]
        rates.legend(handles=[*lines, *marks], frameon=False, fontsize="x-small", loc="lower left")
        shown = sorted(beside["ratio"].unique())[2::2]
        hues = dict(zip(shown, style.palette("flare", len(shown)), strict=True))
        for (curve, size), part in beside[beside["ratio"].isin(shown)].groupby(["curve", "ratio"], sort=False):
            apart = np.abs(part["quotient"] - 1)
            bar = np.minimum(1.96 * part["stderr"], 0.95 * apart)
            distances.errorbar(part["tau"], apart, yerr=np.stack([bar, 1.96 * part["stderr"]]), color=hues[size], lw=1, ms=3.5,
                               fmt="-" if "constant" in curve else "o:")
        guide = np.array([min(taus), max(taus)])
        distances.plot(guide, 2 * guide, "--", color="0.6", lw=0.9)  # dotted lines are those of Gaussian gradients
        least = np.abs(beside.loc[beside["ratio"].isin(shown), "quotient"] - 1).min()
        distances.set(yscale="log", ylim=(0.02 * least, 2), xlabel="step size τ", ylabel="|filter/fixed point − 1|")
        steps(distances, taus)
        keys = [Line2D([], [], color=hue, label=f"√v/a = {size:g}") for size, hue in hues.items()]
        distances.legend(handles=[*keys, *marks, Line2D([], [], color="0.6", ls="--", lw=0.9, label="slope 1")], frameon=False,
                         fontsize="x-small", loc="lower right", ncols=2)
        return save(figure, provenance, path)
