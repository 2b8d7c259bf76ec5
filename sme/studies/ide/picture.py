"""The picture of runs beside their memory equations."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from sme.common.output import style
from sme.common.output.figure import canvas, save
from sme.common.output.provenance import Provenance
from sme.studies.ide.curve import Curve

FOOT = 0.36
"""inches: a line of provenance, and the key"""
KEY = 0.3
"""inches for the values of β"""
DOTS = 60
"""of a run"""


def draw(curves: Sequence[Curve], provenance: Provenance, path: Path) -> Path:
    """Draw `θ` over the steps, a panel for each optimizer and learning rate: dots the run, lines the equations."""
    rules = [curve.equation.rule for curve in curves]
    names, rates = list(dict.fromkeys(rule.optimizer for rule in rules)), list(dict.fromkeys(rule.lr for rule in rules))
    width, height = 3.2 * len(names), 2.4 * len(rates) + FOOT + KEY
    with style.paper():
        figure = canvas(width, height, FOOT)
        axes = figure.subplots(len(rates), len(names), squeeze=False)
        for j, name in enumerate(names):
            column = [curve for curve in curves if curve.equation.rule.optimizer == name]
            labels = list(dict.fromkeys(map(_label, column)))
            colours = dict(zip(labels, style.palette("colorblind", len(labels)), strict=True))
            for axis, rate in zip(axes[:, j], rates, strict=True):
                for curve in (each for each in column if each.equation.rule.lr == rate):
                    colour, every = colours[_label(curve)], max(1, len(curve.steps) // DOTS)
                    axis.plot(curve.steps[::every], curve.run[::every], "o", ms=2.2, mew=0, color=colour, alpha=0.55)
                    axis.plot(curve.steps, curve.memory, "-", lw=1, color=colour)
                    axis.plot(curve.steps, curve.modified, "--", lw=1, color="0.15", dashes=(3, 3))
                axis.set(title=f"{name}, lr = {rate:g}", xlabel="step", ylabel="θ")
                axis.locator_params(axis="x", nbins=5)
                axis.set_visible(bool(axis.lines))
            if any(labels):
                lines = [Line2D([], [], lw=1, color=colours[label]) for label in labels]
                [axis for axis in axes[:, j] if axis.lines][-1].legend(
                    lines, labels, frameon=False, fontsize="x-small", ncols=2 if len(labels) > 3 else len(labels),
                    loc="upper center", bbox_to_anchor=(0.5, -0.24), columnspacing=1.0, handlelength=1.5)
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
