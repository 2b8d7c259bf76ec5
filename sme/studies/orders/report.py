"""The tables and the picture of the orders by the one-step test."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.colors import ListedColormap

from sme.common.output import style
from sme.common.output.figure import canvas, save
from sme.common.output.provenance import Provenance
from sme.common.output.report import Report, Tabled
from sme.common.output.text import grid
from sme.equations.order.order_check import LEFT_OUT, OrderCheck
from sme.studies.orders.run import EQUATIONS

FOOT = 0.17
"""inches: a line of provenance"""
COLOURS = ["#a05060", "#dd9f80", "#ecdfb4", "#86b8b1"]
CODES = {0.0: 0, 0.5: 1, 1.0: 2, 2.0: 3}


class Exact(Report):
    """A report that no chance is in: its tables have all digits."""

    def csv(self, table: pd.DataFrame) -> str:
        return table.assign(version=self.provenance.version).to_csv(index=False)


class Orders(Exact, Tabled):
    """The orders of every equation; `table` is that of `run.catalogue`."""

    file = name = "orders"
    title = "Orders by the one-step moment test"

    def draw(self, path: Path) -> None:
        draw(self.table, self.provenance, path)

    def body(self, style: str) -> list[str]:
        shown = self.table.copy()
        for name in EQUATIONS:
            shown[name] = [_order(order) for order in shown[name]]
        shown["in the way"], reasons = _numbered(shown["in the way"])
        return [grid(shown, style), reasons]


class ModelOrders(Exact, Tabled):
    """The orders of the models, a column for each noise law; `table`, with a row for each, is that of `run.modelled`."""

    file = name = "models"
    title = "Orders of the models of the literature"

    def body(self, style: str) -> list[str]:
        table = self.table
        marks, reasons = _numbered(["" if text == LEFT_OUT else text for text in table["in the way"]])
        cells = [_order(proved) + ("" if proved == claimed or math.isnan(proved) else f" (claimed {_order(claimed)})")
                 for proved, claimed in zip(table["proved"], table["claimed"], strict=True)]
        cells = [f"{cell} {mark}".strip() for cell, mark in zip(cells, marks, strict=True)]
        keys = ["model", "optimizer", "regime"]
        wide = table[[*keys, "noise"]].assign(cell=cells).pivot(index=keys, columns="noise", values="cell")
        rows = pd.MultiIndex.from_frame(table[keys].drop_duplicates())
        return [grid(wide.loc[rows, list(dict.fromkeys(table["noise"]))].reset_index(), style), reasons]


@dataclass(frozen=True, repr=False)
class OneOrder(Exact):
    """What is quoted of one equation, and a row for each cumulant that is off."""

    file = name = "equation"
    found: OrderCheck

    @property
    def title(self) -> str:
        return self.found.report.partition("\n")[0]

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        return self.found.differences

    def body(self, style: str) -> list[str]:
        return [self.found.report.partition("\n")[2].strip()]


def _numbered(words: Iterable[str]) -> tuple[list[str], str]:
    """A mark for each reason, `(1)`, and the reasons, a line each, in the order of their numbers."""
    words = [re.sub(r" of size [\d.e+-]+", "", text) for text in words]
    reasons = list(dict.fromkeys(text for text in words if text))
    return [f"({reasons.index(text) + 1})" if text else "" for text in words], "\n".join(
        f"({i}) {text}" for i, text in enumerate(reasons, 1))


def draw(table: pd.DataFrame, provenance: Provenance, path: Path) -> None:
    """A chart of the orders: a row for each optimizer, a column for each regime, noise and equation."""
    import seaborn as sns

    names = [name if old in ("–", "previous") else f"{name}, updated v"
             for name, old in zip(table["optimizer"], table["denominator"], strict=True)]
    wide = table.assign(rule=names).melt(["rule", "regime", "noise"], list(EQUATIONS), "equation", "order")
    regimes = list(dict.fromkeys(table["regime"]))
    rules = list(dict.fromkeys(names))
    with style.paper(), sns.axes_style("white"):
        figure = canvas(11.5, 0.26 * len(rules) + 1.3, FOOT)
        axes = figure.subplots(1, len(regimes), sharey=True, squeeze=False).ravel()
        for axis, regime in zip(axes, regimes, strict=True):
            part = wide[wide["regime"] == regime].pivot(index="rule", columns=["noise", "equation"], values="order")
            columns = [(noise, name) for noise in dict.fromkeys(table["noise"]) for name in EQUATIONS]
            part = part.reindex(index=rules, columns=pd.MultiIndex.from_tuples(columns)).dropna(axis=1, how="all")
            sns.heatmap(part.replace(CODES), ax=axis, cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=3.5, cbar=False,
                        annot=part.map(_order).to_numpy(), fmt="", linewidths=0.6, linecolor="white")
            axis.set(title=regime.replace("_", "-"), xlabel="", ylabel="")
            axis.set_xticklabels([name.replace(" ", "\n") for _, name in part.columns], rotation=0, fontsize="xx-small")
            axis.tick_params(length=0)
            for noise in dict.fromkeys(noise for noise, _ in part.columns):
                at = [place + 0.5 for place, (other, _) in enumerate(part.columns) if other == noise]
                axis.annotate(noise.replace(", ", ",\n"), (sum(at) / len(at), 0), (0, -26), xycoords=("data", "axes fraction"),
                              textcoords="offset points", ha="center", va="top", fontsize="x-small")
        figure.suptitle("weak order by the one-step moment test (empty: no such equation)", fontsize="small")
        save(figure, provenance, path)


def _order(order: float) -> str:
    return "–" if math.isnan(order) else {0.5: "½"}.get(order, f"{order:g}")
