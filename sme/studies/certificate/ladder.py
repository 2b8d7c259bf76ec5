"""The picture of predicted errors over the step size, with what is measured, the gate, the tolerance and the choice."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, key, pretty, save, steps
from sme.convergence.comparison.choice import EQUATION
from sme.convergence.estimator.closure.closure import GATE

if TYPE_CHECKING:
    from sme.studies.certificate.report import Certificate

FOOT = 0.62
"""inches: a line of provenance, and the key"""


def draw(made: "Certificate", path: Path) -> Path:
    """Draw |error| of each equation over `τ`: a line is predicted, with its interval, a cross measured."""
    rows = made.ladder[made.ladder["observable"] == made.shown]
    names = dict.fromkeys(tuple(row) for row in rows[EQUATION].itertuples(index=False))
    with style.paper():
        figure = canvas(5.2, 3.6 + FOOT, FOOT)
        axis = figure.subplots()
        handles = []
        for equation, colour in zip(names, style.palette("colorblind", len(names)), strict=True):
            mine = rows[(rows[EQUATION] == list(equation)).all(axis=1)].sort_values("tau")
            value, half = mine["predicted"].abs(), (mine["high"] - mine["low"]) / 2
            axis.plot(mine["tau"], value, "-", color=colour, lw=1.2)
            axis.fill_between(mine["tau"], (value - half).clip(lower=1e-3 * value), value + half, color=colour, alpha=0.25, lw=0)
            handles.append(Line2D([], [], color=colour, lw=1.2, label=made.names[equation]))
            if made.measured is not None:
                _crosses(axis, made, equation, colour)
            if made.choice is not None and made.choice.good and tuple(made.choice.row[EQUATION].iloc[0]) == equation:
                there = float(made.choice.row.set_index("observable")["predicted"][made.shown])
                axis.plot(made.tau, abs(there), "s", ms=9, mfc="none", mec="black", zorder=4)
                handles.append(Line2D([], [], marker="s", mfc="none", mec="black", ls="none", ms=6, label="chosen"))
        if made.tolerance is not None:
            axis.axhline(made.tolerance, color="0.3", lw=1, ls="--")
            handles.append(Line2D([], [], color="0.3", lw=1, ls="--", label=f"tolerance {made.tolerance:g}"))
        if (gate := _gate(made.ladder)) is not None:
            axis.axvspan(gate, 1.15 * made.ladder["tau"].max(), color="0.9", lw=0, zorder=0)
            handles.append(Line2D([], [], color="0.85", lw=6, label="beyond the gate"))
        if made.measured is not None:
            handles.append(Line2D([], [], marker="x", color="0.3", ls="none", ms=5, label="measured"))
        axis.set(yscale="log", xlabel="step size τ", ylabel=f"|weak error| in {pretty(made.shown)}")
        steps(axis, made.ladder["tau"].unique().tolist())
        axis.set_xlim(made.ladder["tau"].min() / 1.15, 1.15 * made.ladder["tau"].max())
        key(figure, handles, 4)
        return save(figure, made.provenance, path)


def _crosses(axis: object, made: "Certificate", equation: tuple[object, ...], colour: object) -> None:
    _, model, order, _ = equation
    table = made.measured
    assert table is not None
    rows = table[(table["model"] == model) & (table["order"] == order) & (table["observable"] == made.shown)]
    wide = 2 * np.hypot(rows["stderr"], rows["integrator_bias"])
    axis.errorbar(rows["tau"], rows["error"].abs(), yerr=wide, fmt="x", color=colour, ms=5, elinewidth=1)  # type: ignore[attr-defined]


def _gate(ladder: pd.DataFrame) -> float | None:
    """The step size at which the second moment spreads too far, between those that are shown: its spread grows like `√τ`."""
    spread = ladder.groupby("tau")["spread"].first()
    beyond = spread[spread >= GATE]
    if beyond.empty:
        return None
    tau = float(beyond.index.min())
    within = spread.index[(spread < GATE) & (spread.index < tau)]
    return max(tau * (GATE / float(beyond[tau])) ** 2, 1.02 * float(within.max()) if len(within) else 0.0)
