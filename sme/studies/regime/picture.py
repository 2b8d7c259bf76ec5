"""The picture of a regime report: a map of the limits with the run on it, and what the step size does to the loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sme.common.output import style
from sme.common.output.figure import canvas, save
from sme.common.output.provenance import Provenance
from sme.studies.regime.limits import BOUNDS

FOOT = 0.17
"""inches: a line of provenance"""
WIDEST = 1.6
"""exponent at which the map ends; what lies beyond is drawn at its edge"""
BANDS = ("ballistic ODE", "averaged-noise ODE", "batch-equivalent SDE", "pure diffusion")
COLUMNS = ("a few steps", "slaved", "dynamic", "frozen")


def draw(noise: pd.DataFrame, memory: pd.DataFrame, curves: pd.DataFrame, steps: int, title: str, provenance: Provenance,
         path: Path) -> Path:
    """Draw where the run lies, from start (open) to end (filled) for each average, and the differences of the loss."""
    width, height = 7.6 if len(curves) else 3.9, 3.3
    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(1, 2 if len(curves) else 1, squeeze=False)[0]
        _map(axes[0], noise, memory, steps)
        if len(curves):
            _differences(axes[1], curves)
        figure.suptitle(title, fontsize="small")
        return save(figure, provenance, path)


def _map(axis: Any, noise: pd.DataFrame, memory: pd.DataFrame, steps: int) -> None:
    ratio = noise["tr Σ/|∇f|²"].to_numpy(float)
    inner = [float(steps) ** bound for bound in BOUNDS]
    right = float(steps) ** WIDEST
    low, high = min(inner[0] ** -2, np.nanmin(ratio, initial=1) / 3), max(right, np.nanmax(ratio, initial=1) * 3)
    low, high = max(low, steps**-2.0), min(high, steps**3.0)
    for colour, bottom, top, name in zip(style.palette("crest", 4), (low, *inner), (*inner, high), BANDS, strict=True):
        axis.axhspan(bottom, top, color=colour, alpha=0.28, lw=0)
        axis.text(right / 1.1, (bottom * top) ** 0.5, name, ha="right", va="center", fontsize="x-small", color="0.25")
    for left, edge, name in zip((0.7, *inner), (*inner, right), COLUMNS, strict=True):
        axis.axvline(edge, color="white", lw=1.2)
        axis.text((edge * left) ** 0.5, high, name, ha="center", va="bottom", fontsize="x-small", color="0.25")
    rows = [(row["average"], row["remembered steps"]) for _, row in memory.iterrows()] or [("θ", 1.0)]
    shown = ratio.clip(low, high)
    for (name, length), colour in zip(rows, style.palette("colorblind", 5)[2::2], strict=False):
        at = min(float(length), right)
        axis.plot([at, at], shown, "-", color=colour, lw=1)
        for value, face in zip(shown, ("white", colour), strict=True):
            axis.plot(at, value, "o", mfc=face, mec=colour, ms=5, zorder=3)
        axis.annotate(f" {name}", (at, shown[-1]), color=colour, va="bottom")
    axis.set(xscale="log", yscale="log", xlim=(0.7, right), ylim=(low, high), xlabel="steps remembered, 1/(1 − β)",
             ylabel="tr Σ/|∇f|²")
    axis.text(0.02, 0.97, f"{steps} steps: ○ start  ● end", transform=axis.transAxes, fontsize="x-small", va="top")


def _differences(axis: Any, curves: pd.DataFrame) -> None:
    for (order, group), colour in zip(curves.groupby("order"), style.palette("colorblind", 2), strict=True):
        inner = group[group["step"] > 0]
        axis.plot(inner["step"], inner["difference"].abs(), color=colour, lw=1.2, label=f"drift of order {order}")
    axis.set(yscale="log", xlabel="step", ylabel="|loss − that of the noiseless run|")
    axis.legend(frameon=False, fontsize="x-small")
