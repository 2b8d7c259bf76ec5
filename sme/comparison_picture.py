"""The picture of a comparison."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from sme.errors import choose
from sme.files import replacing


def draw(title: str, table: pd.DataFrame, path: Path) -> Path:
    """Draw |difference| over τ for every observable, bars of 95 %; filled circles are positive, open ones negative."""
    groups = list(table.groupby(["at", "observable"], sort=False))
    columns = min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    with sns.axes_style("ticks"), sns.plotting_context("paper"):
        figure = Figure(figsize=(2.7 * columns + 0.3, 2.3 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        colour = sns.color_palette("colorblind")[2]
        for axis, ((at, observable), group) in zip(axes, groups, strict=False):
            tau, value, noise = (group[name].to_numpy(float) for name in ("tau", "difference", "stderr"))
            size = np.abs(value)
            axis.errorbar(tau, size, yerr=np.stack([np.minimum(1.96 * noise, 0.95 * size), 1.96 * noise]), fmt="-",
                          color=colour, elinewidth=1, capsize=2, lw=1)
            for sign, face, label in ((1, colour, "difference > 0"), (-1, "white", "difference < 0")):
                there = np.sign(value) == sign
                if there.any():
                    axis.plot(tau[there], size[there], "o", ms=4, mfc=face, mec=colour, label=label)
            name = observable if at == "end" else f"{observable}, {at}"
            title_here = name.replace("theta", "θ").replace("^2", "²")
            axis.set(yscale="log", title=title_here, xlabel="step size τ", ylabel="|difference|")
            axis.set_xscale("log", base=2)
            axis.legend(frameon=False, fontsize="x-small", loc="lower right")
        for axis in axes[len(groups):]:
            axis.remove()
        figure.suptitle(title, fontsize="small")
        choose("picture format", path.suffix.lstrip("."), sorted(figure.canvas.get_supported_filetypes()))
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=160, format=path.suffix.lstrip("."))
    return path
