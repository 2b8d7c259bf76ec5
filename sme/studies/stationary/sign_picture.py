"""The picture of signSGD's phases."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.special import erf

from sme.common.output import style
from sme.common.output.figure import canvas, save
from sme.common.output.provenance import Provenance
from sme.equations.chain import Chain
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.signsgd import SignSGD
from sme.problems.polynomial import Polynomial
from sme.simulate.discrete import runs
from sme.studies.stationary.sign_phases import CLEAR, NOISY, simplified

FOOT = 0.2
"""inches: a line of provenance"""
TAU, NOISE, BEGIN, HORIZON, SEED = 0.02, 2.0, 8.0, 12.0, 0
"""of the run: `f = ½ θ²` with noise of this standard deviation, from this `θ`"""
SCALE = math.sqrt(2) * NOISE
"""`θ = y · SCALE`"""


def draw(provenance: Provenance, path: Path, paths: int = 512) -> Path:
    """Draw the drift with its simplifications, and a run through the three phases."""
    height = 3.0 + FOOT
    with style.paper():
        figure = canvas(8.2, height, FOOT)
        left, right = figure.subplots(1, 2)
        _drift(left)
        _run(right, paths)
        return save(figure, provenance, path)


def _shade(axis: Any, edges: list[float], vertical: bool) -> None:
    """The three phases, from the last to the first."""
    span = axis.axvspan if vertical else axis.axhspan
    for phase, (low, high), colour in zip((3, 2, 1), pairwise(edges), style.palette("pastel", 3), strict=True):
        span(low, high, color=colour, alpha=0.45, lw=0, label=f"phase {phase}")


def _drift(axis: Any) -> None:
    y = np.linspace(0.0, 2.5, 501)
    low, high = simplified(y)
    _shade(axis, [0.0, NOISY, CLEAR, 2.5], vertical=True)
    axis.plot(y, -erf(y), color="black", lw=1.4, label="−erf(y)")
    for where in (y <= NOISY, (y > NOISY) & (y <= CLEAR), y > CLEAR):
        axis.plot(y[where], low[where], "--", color="C3", lw=1.1)
        axis.plot(y[where], high[where], "--", color="C3", lw=1.1)
    axis.plot([], [], "--", color="C3", lw=1.1, label="simplified")
    axis.set(xlabel="y = ∇f/√(2σ)", ylabel="drift", xlim=(0, 2.5), title="drift of signSGD")
    _legend(axis)


def _legend(axis: Any) -> None:
    """Lines first, then the phases in the order in which a run goes through them."""
    handles, labels = axis.get_legend_handles_labels()
    axis.legend([*handles[3:], *handles[2::-1]], [*labels[3:], *labels[2::-1]], frameon=False, fontsize="x-small")


def _run(axis: Any, paths: int) -> None:
    marks = list(range(0, round(HORIZON / TAU) + 1, 10))
    chain = Chain(Polynomial([0.0, 0.0, 0.5], noise=NOISE), SignSGD(), BALLISTIC, TAU)
    start = {"theta": torch.tensor([BEGIN], dtype=torch.float64)}
    found = runs(chain, start, marks, lambda state: state["theta"], paths, SEED)[..., 0].numpy()
    time = TAU * np.array(marks)
    _shade(axis, [0.0, NOISY * SCALE, CLEAR * SCALE, 1.05 * BEGIN], vertical=False)
    axis.plot(time, found[:, 0], color="0.55", lw=0.7, label="one run")
    axis.plot(time, found.mean(1), color="black", lw=1.4, label=f"mean of {found.shape[1]}")
    label: str | None = "simplified, from each phase's start"
    for low, high in ((CLEAR, BEGIN / SCALE), (NOISY, CLEAR), (0.0, NOISY)):
        inside = (found.mean(1) <= high * SCALE + 1e-9) & (found.mean(1) >= low * SCALE)
        for which in (0, 1):
            mine = solve_ivp(lambda _, x, side=which: simplified(x / SCALE)[side], (time[inside][0], time[inside][-1]),
                             [found.mean(1)[inside][0]], "DOP853", time[inside], rtol=1e-8, max_step=0.05).y[0]
            axis.plot(time[inside], mine, "--", color="C3", lw=1.1, label=label)
            label = None
    axis.set(xlabel="time", ylabel="θ", ylim=(-0.5, 1.05 * BEGIN), xlim=(0, HORIZON),
             title=f"½ θ², noise {NOISE:g}, τ = {TAU:g}")
    _legend(axis)
