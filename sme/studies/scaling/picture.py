"""The picture of a scaling rule: losses against epochs, and how far they are from those of `κ = 1`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sme.common.output import style
from sme.common.output.figure import canvas, key, save
from sme.common.output.provenance import Provenance
from sme.studies.scaling.doubling import LIMIT, NORMAL

FOOT = 0.52
"""inches: a line of provenance, and a key of two lines"""
WORDS = {"square_root": "square-root rule", "linear": "linear rule"}
MARKS = {"square_root": ("o", "-"), "linear": ("s", "--")}


def draw(table: pd.DataFrame, distances: pd.DataFrame, limits: Mapping[str, float], provenance: Provenance, path: Path) -> Path:
    """A row for each optimizer: a panel for each rule and observable, then the distances over `κ`."""
    kappas = sorted(table["kappa"].unique())
    colours = dict(zip(kappas, style.palette("viridis_r", len(kappas) + 1)[1:], strict=True))
    optimizers, observables = list(table["optimizer"].unique()), list(table["observable"].unique())
    panels = [(True, observable) for observable in observables] + [(False, observables[0])] * (table["rule"].nunique() > 1)
    columns = len(panels) + 1
    width, height = 2.5 * columns + 0.4, 2.1 * len(optimizers) + 0.3 + FOOT
    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(len(optimizers), columns, squeeze=False)
        for row, optimizer in zip(axes, optimizers, strict=True):
            mine = table[table["optimizer"] == optimizer]
            own, other = list(MARKS) if "square_root" in set(mine["rule"]) else list(MARKS)[::-1]
            for axis, (first, observable) in zip(row, panels, strict=False):
                rule = own if first else other
                part = mine[(mine["rule"] == rule) & (mine["observable"] == observable)]
                if part.empty:
                    axis.remove()
                    continue
                _curves(axis, part, colours)
                axis.set(title=f"{optimizer}, {WORDS[rule]}", xlabel="epoch", ylabel=observable)
            _distances(row[-1], distances[(distances["optimizer"] == optimizer)
                                          & (distances["observable"] == observables[0])], limits[optimizer], colours)
        marks: list[Any] = [Line2D([], [], color=colour, lw=1.5, label=f"κ = {kappa:g}") for kappa, colour in colours.items()]
        others: list[Any] = [Line2D([], [], color="0.3", marker=MARKS[rule][0], ls=MARKS[rule][1], ms=4, label=WORDS[rule])
                             for rule in MARKS if rule in set(table["rule"])]
        others += [Patch(color="0.3", alpha=0.2, lw=0, label="10 % to 90 % of the runs, of the smallest and the largest κ")]
        if (distances["distance"] <= NORMAL * distances["stderr"]).any():
            others += [Line2D([], [], color="0.3", marker="v", mfc="none", ls="", ms=5, label="less than this (95 %)")]
        key(figure, others, len(others), columnspacing=1.2)
        key(figure, marks, len(marks), line=1, columnspacing=1.2)
        return save(figure, provenance, path)


def _curves(axis: Any, part: pd.DataFrame, colours: Mapping[float, Any]) -> None:
    """Means, with the band of the runs for the smallest and the largest `κ`."""
    ends = {part["kappa"].min(), part["kappa"].max()}
    for kappa, data in part.groupby("kappa"):
        axis.plot(data["epoch"], data["mean"], color=colours[float(kappa)], lw=1.1)
        if kappa in ends:
            axis.fill_between(data["epoch"], data["low"], data["high"], color=colours[float(kappa)], alpha=0.2, lw=0)
    base = part[part["kappa"] == 1]
    axis.set(yscale="log", ylim=(0.7 * base["low"].min(), 1.6 * base["high"].max()))
    _plain(axis)


def _plain(axis: Any) -> None:
    """Numbers without powers of ten."""
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _distances(axis: Any, part: pd.DataFrame, limit: float, colours: Mapping[float, Any]) -> None:
    if part.empty:  # of κ = 1 alone there is no distance
        axis.remove()
        return
    axis.axhline(LIMIT, color="0.6", lw=0.8)
    for rule, data in part.groupby("rule", sort=False):
        mark, dash = MARKS[str(rule)]
        bar = NORMAL * data["stderr"]
        seen = data["distance"] > bar
        axis.errorbar(data["kappa"][seen], data["distance"][seen], yerr=bar[seen], color="0.4", ls=dash, lw=0.8, elinewidth=0.8)
        for kappa, distance, above, told in zip(data["kappa"], data["distance"], data["distance"] + bar, seen, strict=True):
            axis.plot(kappa, distance if told else above, mark if told else "v", color=colours[kappa],
                      mfc=colours[kappa] if told else "none", ms=4 if told else 5, zorder=3)
    if math.isfinite(limit):
        axis.axvline(limit, color="0.6", lw=0.8, ls=":")
        axis.annotate("κ(1 − β) = 1", (limit, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize="x-small",
                      color="0.4", ha="right", va="bottom")
    axis.set_xscale("log", base=2)
    axis.set_xticks(list(colours)[1:], [f"{kappa:g}" for kappa in list(colours)[1:]])
    axis.set(yscale="log", xlabel="κ", ylabel="distance of log loss", title=f"{part['observable'].iloc[0]} against κ = 1")
    _plain(axis)
