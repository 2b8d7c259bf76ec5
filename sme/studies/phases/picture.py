"""The diagram of patterns over `a` and `b`, and the losses of the examples with the threshold that they meet."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from sme.common.output import style
from sme.common.output.figure import canvas, save
from sme.common.output.provenance import Provenance
from sme.studies.phases.edge import FREE, GROWING
from sme.studies.phases.patterns import DIVERGED, LARGE, PATTERNS, SMALL, SPIKES

FOOT = 0.17
"""inches: a line of provenance"""
COLOURS = dict(zip((SMALL, SPIKES, LARGE, DIVERGED), ("#b9d7ea", "#f2b05e", "#b5495b", "0.35"), strict=True))
MARKS = "os^Dv"
"""of the examples"""
SHARE = 0.1
"""of cells at most in which a prediction that holds is wrong"""
LINES = {FREE: ("-", "b = 5a/4"), GROWING: ("--", "b = a/8")}


def diagram(table: pd.DataFrame, examples: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Patterns, mean losses, and how near the runs came to the threshold, with the lines of the equation on a quadratic."""
    width, height = 10.2, 3.5
    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(1, 3, sharex=True, sharey=True)
        a, b = np.sort(table["a"].unique()), np.sort(table["b"].unique())
        values = {name: table.pivot(index="b", columns="a", values=name).to_numpy() for name in ("pattern", "mean", "edge")}
        codes = np.vectorize(PATTERNS.index)(values["pattern"])
        axes[0].pcolormesh(_edges(a), _edges(b), codes, cmap=ListedColormap([COLOURS[each] for each in PATTERNS]), vmin=-0.5,
                           vmax=len(PATTERNS) - 0.5, edgecolors="white", lw=0.3)
        shown = [Patch(color=COLOURS[each], label=each) for each in PATTERNS if each in set(table["pattern"])]
        axes[0].legend(handles=shown, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=len(shown), frameon=False,
                       fontsize="x-small", handlelength=1, columnspacing=1)
        for axis, name, map_, title in ((axes[1], "mean", "mako_r", "mean loss, log₁₀"),
                                        (axes[2], "edge", "vlag", "step size × curvature over threshold, log₁₀")):
            with np.errstate(divide="ignore", invalid="ignore"):
                value = np.log10(np.where(values[name] > 0, values[name], np.nan))
            limits = {"vmin": -1, "vmax": 1} if name == "edge" else {}
            drawn = axis.pcolormesh(_edges(a), _edges(b), value, cmap=map_, **limits)
            figure.colorbar(drawn, ax=axis, location="bottom", shrink=0.9, aspect=30, pad=0.03,
                            extend="both" if limits else "neither")
            axis.set_title(title)
        wrong = int((table["pattern"] != table["predicted"]).sum())
        for axis in axes:
            _lines(axis, a, held=wrong <= SHARE * len(table))
            for mark, (_, row) in zip(MARKS, examples.iterrows(), strict=False):
                axis.plot(row["a"], row["b"], mark, mfc="white", mec="black", ms=5, zorder=4)
            axis.set(xscale="log", yscale="log", xlim=_edges(a)[[0, -1]], ylim=_edges(b)[[0, -1]], xlabel="a, the rate of v")
        said = f"pattern; the lines of a quadratic fail in {wrong} of {len(table)} cells" if wrong else "pattern"
        if "followed" in table:
            missed = table[table["pattern"] != table["followed"]]
            axes[0].plot(missed["a"], missed["b"], "x", color="0.2", ms=3, mew=0.7, zorder=3)
            said = f"pattern; × not as the followed equation foretells, {len(missed)} of {len(table)}"
        axes[0].set(ylabel="b, the rate of m")
        axes[0].set_title(said, fontsize="small")
        return save(figure, provenance, path)


def examples(curves: pd.DataFrame, table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """A column for each: the loss, and step size × curvature over the threshold."""
    count = max(1, len(table))
    width, height = 2.9 * count + 0.3, 3.8
    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(2, count, sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2))
        for (top, bottom), mark, (_, row) in zip(axes.T, MARKS, table.iterrows(), strict=False):
            mine = curves[(curves["a"] == row["a"]) & (curves["b"] == row["b"])]
            top.plot(mine["step"], mine["loss"], lw=0.7, color="0.15")
            top.set(yscale="log", title=f"a = {row['a']:.3g}, b = {row['b']:.3g}: {row['pattern']}\n"
                                    f"(β₁ = {row['beta1']:.6g}, β₂ = {row['beta2']:.6g})")
            top.plot(0.95, 0.9, mark, mfc="white", mec="black", ms=5, transform=top.transAxes)
            seen = mine[mine["edge"] > 0]
            bottom.plot(seen["step"], seen["edge"], lw=0.7, color=style.palette("colorblind")[0])
            above = seen[seen["edge"] > 1]
            bottom.plot(above["step"], above["edge"], ".", ms=2.5, color=COLOURS[LARGE])
            bottom.axhline(1, color="0.3", lw=0.8, ls="--")
            bottom.set(yscale="log", xlabel="step")
            bottom.locator_params(axis="x", nbins=4)
        axes[0, 0].set_ylabel("loss")
        axes[1, 0].set_ylabel("step size × curvature\nover threshold")
        return save(figure, provenance, path)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Of cells around centres evenly spaced in the logarithm."""
    half = (centres[1] / centres[0]) ** 0.5
    return np.append(centres / half, centres[-1] * half)


def _lines(axis: Any, a: np.ndarray, held: bool) -> None:
    """Where the equation on a quadratic changes its pattern; grey and thin where that does not hold here."""
    ends, outline = _edges(a)[[0, -1]], [withStroke(linewidth=2, foreground="white", alpha=0.8)]
    for slope, (dash, name) in LINES.items():
        colour = "0.1" if held else "0.55"
        axis.plot(ends, slope * ends, dash, color=colour, lw=1 if held else 0.6, path_effects=outline)
        middle = np.sqrt(ends[0] * ends[1]) * (1 / slope) ** 0.5
        axis.annotate(name, (middle, slope * middle), rotation=45, rotation_mode="anchor", ha="center", va="bottom",
                      fontsize="x-small", color=colour, path_effects=outline)
