"""The picture of runs beside their memory equations."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from sme.memory.runs import Curve
from sme.picture import save
from sme.provenance import Provenance

FOOT = 0.36
"""inches: a line of provenance, and the key"""
DOTS = 60
"""of a run"""


def draw(curves: Sequence[Curve], provenance: Provenance, path: Path) -> Path:
    """Draw `θ` over the steps, a panel for each optimizer and learning rate: dots the run, lines the equations."""
    rules = [curve.equation.rule for curve in curves]
    names, rates = list(dict.fromkeys(rule.optimizer for rule in rules)), list(dict.fromkeys(rule.lr for rule in rules))
    width, height = 3.2 * len(names), 2.4 * len(rates) + FOOT
    with sns.axes_style("ticks"), sns.plotting_context("paper"):
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(rect=(0, FOOT / height, 1, 1 - FOOT / height)))
        axes = figure.subplots(len(rates), len(names), squeeze=False)
        for (i, rate), (j, name) in ((a, b) for a in enumerate(rates) for b in enumerate(names)):
            axis = axes[i, j]
            shown = [curve for curve, rule in zip(curves, rules, strict=True) if (rule.lr, rule.optimizer) == (rate, name)]
            labels = list(dict.fromkeys(_label(curve) for curve in shown))
            colours = dict(zip(labels, sns.color_palette("colorblind", len(labels)), strict=True))
            for curve in shown:
                label, every = _label(curve), max(1, len(curve.steps) // DOTS)
                colour, named = colours[label], any(line.get_label() == label for line in axis.lines)
                axis.plot(curve.steps[::every], curve.run[::every], "o", ms=2.2, mew=0, color=colour, alpha=0.55)
                axis.plot(curve.steps, curve.memory, "-", lw=1, color=colour, label=None if named else label or None)
                axis.plot(curve.steps, curve.modified, "--", lw=1, color="0.15", dashes=(3, 3))
            axis.set(title=f"{name}, lr = {rate:g}", xlabel="step", ylabel="θ")
            if axis.get_legend_handles_labels()[1]:
                axis.legend(frameon=False, fontsize="x-small")
            if not shown:
                axis.remove()
        marks = [Line2D([], [], marker="o", color="0.4", ls="none", ms=3, label="run"),
                 Line2D([], [], color="0.4", lw=1, label="memory equation (IDE and ODE)"),
                 Line2D([], [], color="0.15", lw=1, ls="--", label="modified equation of order 2")]
        figure.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 0.13 / height), ncols=3, frameon=False,
                      fontsize="x-small")
        starts = ", ".join(f"{start:g}" for start in np.unique([curve.start for curve in curves])).replace("-", "−")
        figure.suptitle(f"{curves[0].loss}, θ₀ = {starts}", fontsize="small")
        return save(figure, provenance, path)


def _label(curve: Curve) -> str:
    rule = curve.equation.rule
    return ", ".join(f"{sign} = {beta:g}" for sign, beta in (("β₁", rule.beta1), ("β₂", rule.beta2)) if beta is not None)
