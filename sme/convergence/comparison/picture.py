"""The picture of a comparison."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.output import style
from sme.common.output.figure import canvas, key, save
from sme.common.output.provenance import Provenance
from sme.convergence.output.picture import frame, signed

FOOT = 0.36
"""inches: a line of provenance, and the key"""


def draw(names: tuple[str, str], table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """Draw |difference| over τ for every observable and checkpoint, with bars of 95 % and the integrator bias."""
    groups = list(table.groupby(["at", "observable"], sort=False))
    columns = min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    width, height = 2.9 * columns + 0.3, 2.4 * rows + 0.4 + FOOT
    from matplotlib.lines import Line2D

    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        colour = style.palette("colorblind")[2]
        for axis, ((at, observable), group) in zip(axes, groups, strict=False):
            tau, value, noise, bias = (group[name].to_numpy(float) for name in ("tau", "difference", "stderr", "integrator_bias"))
            signed(axis, tau, value, 1.96 * noise + np.abs(bias), colour, "-")
            title = str(observable) if at == "end" else f"{observable}, {at}"
            frame(axis, group["tau"], group["difference"], title, "|difference|", 1.96 * noise + np.abs(bias))
        for axis in axes[len(groups):]:
            axis.remove()
        figure.suptitle(f"{provenance.title}: E[{names[0]}] − E[{names[1]}]", fontsize="small")
        marks = [Line2D([], [], marker="o", color=colour, ls="none", ms=4, label="> 0"),
                 Line2D([], [], marker="o", mfc="white", color=colour, ls="none", ms=4, label="< 0 (bars: 95 % and bias)"),
                 Line2D([], [], color="0.6", ls=":", lw=0.8, label="slope 1"),
                 Line2D([], [], color="0.6", ls="--", lw=0.8, label="slope 2")]
        key(figure, marks, 4 if columns > 1 else 2)
        return save(figure, provenance, path)
