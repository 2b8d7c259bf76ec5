"""The table and the picture of the orders that were proved."""

import math
import re
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from tabulate import tabulate

from sme.catalogue import EQUATIONS
from sme.files import replacing, write_text
from sme.identity import NUMERICS
from sme.version import version

COLOURS = ["#a05060", "#dd9f80", "#ecdfb4", "#86b8b1"]
CODES = {0.0: 0, 0.5: 1, 1.0: 2, 2.0: 3}


def show(table: pd.DataFrame, style: str = "simple") -> str:
    """The orders as they are printed; what stands in the way in numbered lines below."""
    shown = table.copy()
    for name in EQUATIONS:
        shown[name] = [_order(order) for order in shown[name]]
    words = [re.sub(r" of size [\d.e+-]+", "", text) for text in shown["in the way"]]
    reasons = list(dict.fromkeys(text for text in words if text))
    shown["in the way"] = [f"({reasons.index(text) + 1})" if text else "" for text in words]
    grid = tabulate(shown, headers="keys", tablefmt=style, showindex=False, disable_numparse=True)  # type: ignore[arg-type]
    return "\n\n".join([grid, "\n".join(f"({i}) {text}" for i, text in enumerate(reasons, 1))])


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write `orders.csv`, `orders.md` and `orders.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "orders.csv", table.assign(version=version()).to_csv(index=False))
    write_text(folder / "orders.md", f"{show(table, 'github')}\n\n{made()}\n")
    draw(table, folder / "orders.png")


def draw(table: pd.DataFrame, path: Path) -> None:
    """A chart of the proved orders: a row for each optimizer, a column for each regime, noise and equation."""
    names = [name if old in ("–", "previous") else f"{name}, updated v"
             for name, old in zip(table["optimizer"], table["denominator"], strict=True)]
    wide = table.assign(rule=names).melt(["rule", "regime", "noise"], list(EQUATIONS), "equation", "order")
    regimes = list(dict.fromkeys(table["regime"]))
    rules = list(dict.fromkeys(names))
    with sns.axes_style("white"), sns.plotting_context("paper"):
        figure = Figure(figsize=(9.5, 0.26 * len(rules) + 1.9), layout="constrained")
        axes = figure.subplots(1, len(regimes), sharey=True, squeeze=False).ravel()
        for axis, regime in zip(axes, regimes, strict=True):
            part = wide[wide["regime"] == regime].pivot(index="rule", columns=["noise", "equation"], values="order")
            columns = [(noise, name) for noise in dict.fromkeys(table["noise"]) for name in EQUATIONS]
            part = part.reindex(index=rules, columns=pd.MultiIndex.from_tuples(columns)).dropna(axis=1, how="all")
            sns.heatmap(part.replace(CODES), ax=axis, cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=3.5, cbar=False,
                        annot=part.map(_order).to_numpy(), fmt="", linewidths=0.6, linecolor="white")
            axis.set(title=regime.replace("_", "-"), xlabel="", ylabel="")
            axis.set_xticklabels([f"{noise}: {name}" for noise, name in part.columns], rotation=40, ha="right")
        figure.suptitle("weak order proved by the one-step moment test (empty: no such equation)", fontsize="small")
        figure.text(0.998, 0.002, made(), ha="right", va="bottom", fontsize=5, color="0.6")
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=160, format="png", metadata={"Software": made()})


def made() -> str:
    """The code that proved them; there are no random numbers in it."""
    return f"sme {version()}, numerics {NUMERICS}"


def _order(order: float) -> str:
    return "–" if math.isnan(order) else {0.5: "½"}.get(order, f"{order:g}")
