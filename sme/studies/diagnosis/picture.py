"""The picture of a diagnosis: the loss of a few steps, and the noise of the examples beside a Gaussian."""

from pathlib import Path

import numpy as np

from sme.common.output import style
from sme.common.output.figure import canvas, save
from sme.common.output.provenance import Provenance
from sme.studies.diagnosis.dynamics import Dynamics

FOOT = 0.17
BINS = 40


def draw(seen: Dynamics, projection: np.ndarray, provenance: Provenance, path: Path) -> Path:
    """Left noiseless run, drift and noisy runs; right the examples' gradients along the mean, in standard deviations."""
    with style.paper():
        figure = canvas(7.2, 2.8, FOOT)
        left, right = figure.subplots(1, 2)
        colours = style.palette("colorblind", 4)
        left.plot(seen.steps, seen.noisy, color="0.75", lw=0.8)
        left.plot([], [], color="0.75", lw=0.8, label="noisy runs")
        left.plot(seen.steps, seen.discrete, "o-", color=colours[0], ms=3, label="without noise")
        for order, values in seen.ode.items():
            left.plot(seen.steps, values, "--", color=colours[order], label=f"drift of order {order}")
        left.set(xlabel="step", ylabel="loss")
        left.legend(frameon=False, fontsize="x-small")
        if len(projection):
            y = projection / projection.std()
            right.hist(y, BINS, density=True, color=colours[0], alpha=0.4)
            grid = np.linspace(y.min(), y.max(), 200)
            right.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), color="0.3", lw=1, label="Gaussian")
            right.set(yscale="log", ylim=(0.3 / len(y) / max(np.ptp(y) / BINS, 1e-9), None))
            right.legend(frameon=False, fontsize="x-small")
        right.set(xlabel="an example's gradient along the mean, in deviations", ylabel="density")
        return save(figure, provenance, path)
