"""The picture of errors over τ by noise and driver."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save, sizes, steps
from sme.common.output.provenance import Provenance
from sme.equations.drivers.names import DRIVERS

FOOT = 0.7
"""inches: a line of provenance, and two of the key"""
NARROWEST, WIDE = 4.4, 6.5
"""inches: what the key and the line need, and where five marks of the key stand side by side"""


def draw(table: pd.DataFrame, title: str, provenance: Provenance, path: Path) -> Path:
    """Draw |error| of the last observable over τ, a row for each regime and a column for each noise; bars of 95 %."""
    observable = table["observable"].iloc[-1]
    shown = table[table["observable"] == observable]
    regimes, noises = shown["regime"].unique(), shown["noise"].unique()
    colours = dict(zip(DRIVERS, style.palette("colorblind", len(DRIVERS)), strict=True))
    with style.paper():
        across = max(NARROWEST, 1.9 * len(noises) + 0.6)
        figure = canvas(across, 2.0 * len(regimes) + 0.4 + FOOT, FOOT)
        axes = figure.subplots(len(regimes), len(noises), squeeze=False)
        for row, regime in zip(axes, regimes, strict=True):
            for axis, noise in zip(row, noises, strict=True):
                _panel(axis, shown[(shown["regime"] == regime) & (shown["noise"] == noise)], colours)
                axis.set_title(f"{noise.replace('_', ' ')}\n{regime.replace('_', '-')}", fontsize="x-small")
            row[0].set_ylabel(f"|error| of {pretty(str(observable))}", fontsize="x-small")
        for axis in axes[-1]:
            axis.set_xlabel("step size τ", fontsize="x-small")
        there = [name for name in DRIVERS if name in set(shown["driver"])]
        marks = [Line2D([], [], marker="o", color=colours[name], ms=4, label=name.replace("_", " ")) for name in there]
        marks += [Line2D([], [], marker="o", mfc="white", color="0.3", ls="none", ms=4, label="< 0"),
                  *(Line2D([], [], color="0.6", ls=dash, lw=0.8, label=name) for dash, name in ((":", "τ"), ("--", "τ²")))]
        figure.suptitle(title, fontsize="x-small")
        key(figure, marks, 5 if across > WIDE else 3)
        return save(figure, provenance, path)


def _panel(axis: Any, part: pd.DataFrame, colours: dict[str, tuple[float, float, float]]) -> None:
    if part.empty or not 0 < part["error"].abs().max() < math.inf:
        axis.axis("off")
        return
    top, taus = part["error"].abs().max(), np.array(sorted(part["tau"].unique()))
    for power, dash in ((1, ":"), (2, "--")):
        axis.plot(taus, 1.3 * top * (taus / taus[-1]) ** power, dash, color="0.6", lw=0.8)
    for driver, own in part.groupby("driver", sort=False):
        at, error = own["tau"].to_numpy(float), own["error"].to_numpy(float)
        bar, size = 1.96 * own["stderr"].to_numpy(float) + own["integrator_bias"].abs().to_numpy(float), np.abs(error)
        colour = colours[str(driver)]
        axis.errorbar(at, size, yerr=np.stack([np.minimum(bar, 0.9 * size), bar]), color=colour, lw=0.8,
                      elinewidth=0.8, capsize=1.5)
        for sign, face in ((1, colour), (-1, "white")):
            axis.plot(at[np.sign(error) == sign], size[np.sign(error) == sign], "o", ms=3, mfc=face, mec=colour)
    sizes(axis, part["error"], 1.96 * part["stderr"] + part["integrator_bias"].abs())
    steps(axis, list(taus))
