"""The picture of rounds: in each the losses at every learning rate, with and without the larger batch."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sme.common.output import style
from sme.common.output.figure import canvas, key, save
from sme.common.output.provenance import Provenance

FOOT = 0.36
"""inches: a line of provenance, and the key"""


def draw(table: pd.DataFrame, provenance: Provenance, path: Path) -> Path:
    """A panel for each round, its bands two standard errors wide."""
    starts, rates = list(table["trained"].unique()), list(table["lr"].unique())
    kappa = table["kappa"].max()
    with style.paper():
        figure = canvas(max(5.6, 3.4 * len(starts) + 0.4), 2.5 + FOOT, FOOT)
        axes = figure.subplots(1, len(starts), squeeze=False)[0]
        colours = style.palette("colorblind", len(rates))
        for axis, before in zip(axes, starts, strict=True):
            for (lr, factor), data in table[table["trained"] == before].groupby(["lr", "kappa"]):
                colour = colours[rates.index(lr)]
                axis.plot(data["epoch"], data["mean"], color=colour, ls="-" if factor == 1 else "--", lw=1.2)
                axis.fill_between(data["epoch"], data["mean"] - 2 * data["stderr"], data["mean"] + 2 * data["stderr"],
                                  color=colour, alpha=0.12, lw=0)
            axis.set(title=f"after {before} steps of training" if before else "from the random start", xlabel="epoch",
                     ylabel="train loss")
        marks: list[Any] = [Line2D([], [], color=colour, lw=1.5, label=f"learning rate {lr:g}")
                            for lr, colour in zip(rates, colours, strict=True)]
        marks += [Line2D([], [], color="0.3", ls=dash, lw=1.2, label=f"κ = {factor:g}")
                  for factor, dash in ((1, "-"), (kappa, "--"))]
        marks += [Patch(color="0.3", alpha=0.12, lw=0, label="± 2 standard errors")]
        key(figure, marks, len(marks), columnspacing=1.2)
        return save(figure, provenance, path)
