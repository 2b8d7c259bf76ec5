"""The picture of the atlas: a map of noise and memory with the limit, and how it is approached, in every cell."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, key, save, sizes, steps
from sme.common.output.provenance import Provenance
from sme.studies.atlas.cell import MEMORIES, NOISES

SIZES = {"ballistic": "s = O(1)", "averaged noise": "1 ≪ s² ≪ 1/τ", "batch-equivalent": "s² ~ 1/τ", "pure diffusion": "s² ≫ 1/τ"}
LENGTHS = {"a few steps": "1 − β = c", "slaved": "1 − β ≫ τ", "dynamic": "1 − β = c τ", "frozen": "1 − β ≪ τ"}
WIDEST = 46
"""letters of a title's line"""
FOOT = 0.4
"""inches: the key and a line of provenance"""


def draw(cells: pd.DataFrame, differences: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Draw |difference| over τ in a row for each size of the noise `s` and a column for each kind of memory."""
    optimizers = list(cells["optimizer"].unique())
    palette = dict(zip(optimizers, style.palette("colorblind", len(optimizers)), strict=True))
    shades = dict(zip(NOISES, style.palette("crest", len(NOISES)), strict=True))
    width, height = 11.4, 8.4
    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(len(NOISES), len(MEMORIES), sharex=True)
        for row, noise in enumerate(NOISES):
            for column, memory in enumerate(MEMORIES):
                axis = axes[row, column]
                axis.set_facecolor((*shades[noise], 0.18))
                here = (cells["noise"] == noise) & (cells["memory"] == memory)
                _cell(axis, differences[(differences["noise"] == noise) & (differences["memory"] == memory)], palette)
                axis.set_title("\n".join(_lines(one, text) for one, text in cells[here][["optimizer", "limit"]].to_numpy()),
                               fontsize=6.6, loc="left")
                if row == len(NOISES) - 1:
                    axis.set_xlabel(f"step size τ\n\n{memory}: {LENGTHS[memory]}")
            axes[row, 0].set_ylabel(f"{noise}\n{SIZES[noise]}\n\n|difference in E θ²|")
        handles: list[Any] = [Line2D([], [], color=palette[name], marker="o", ms=4, label=name) for name in optimizers]
        handles += [Line2D([], [], color="0.5", ls=dash, lw=0.8, label=f"slope {slope}")
                    for dash, slope in ((":", "½"), ("--", "1"))]
        key(figure, handles, len(handles))
        return save(figure, provenance, path)


def _lines(name: str, text: str) -> str:
    """The equations of one optimizer after its name, in two lines where one is too long."""
    whole = f"{name}: {text}"
    if len(whole) <= WIDEST:
        return whole
    at = whole.find("; ") + 1 if "; " in whole else whole.find(" + ")
    return f"{whole[:at]}\n    {whole[at:].strip()}"


def _cell(axis: Any, table: pd.DataFrame, palette: dict[str, Any]) -> None:
    for name, group in table.groupby("optimizer", sort=False):
        tau, size = group["tau"].to_numpy(), group["difference"].abs().to_numpy()
        bar = 1.96 * group["stderr"].to_numpy()
        axis.errorbar(tau, size, yerr=np.stack([np.minimum(bar, 0.9 * size), bar]), fmt="o-", ms=3.5, lw=1, elinewidth=1,
                      capsize=2, color=palette[str(name)])
    tau = np.array([table["tau"].min(), table["tau"].max()])
    top = 2 * table["difference"].abs().max()
    for power, dash in ((0.5, ":"), (1.0, "--")):
        axis.plot(tau, top * (tau / tau[1]) ** power, dash, color="0.5", lw=0.8, zorder=0)
    steps(axis, table["tau"])
    sizes(axis, table["difference"], 1.96 * table["stderr"])
