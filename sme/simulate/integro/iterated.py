"""Adam's memory equations by explicit Euler steps and a damped fixed point, as the public scripts of arXiv 2602.09101 do."""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.signal import lfilter

from sme.simulate.integro.kernels import Kernel
from sme.simulate.integro.losses import Losses
from sme.simulate.integro.rule import Rule

SUBSTEPS, POINTS = 5, 4
"""Euler steps in one learning rate; Gauss points of a memory integral in each"""
STOP, MOST, DAMPING = 1e-5, 3000, np.linspace(0.5, 0.9999, 1000)
"""of the fixed point: the Euclidean norm over the whole grid at which it ends, its sweeps, the shares of the old iterate"""

Grid = Float[np.ndarray, " n"]


def grid(losses: Losses, rule: Rule, theta: float, steps: int, order: int = 1, velocity: float = 0.0,
         stop: float = STOP) -> Grid:
    """`θ` of one parameter every `α/5`, for as long as `steps` learning rates but the first.

    In each sweep the memories are those of a cubic spline through the last one. The clock of the bias correction starts one
    step ahead, as `rule.clock = 1` does, and at order 2 `F` is read one learning rate ahead:
    `θ̈(t) = −(2/α)(θ̇(t) + F(t + α))`, with the last value held at the end.
    """
    # as np.arange(α, steps α, α/5) counts, rounding included
    h, n = rule.lr / SUBSTEPS, len(np.arange(rule.lr, steps * rule.lr, rule.lr / SUBSTEPS))
    gain, root = rule.corrections(rule.clock + np.arange(n) / SUBSTEPS)
    ahead = np.minimum(np.arange(n) + (SUBSTEPS if order == 2 else 0), n - 1)
    kernels = rule.kernels(order)

    def integrate(step: Grid) -> Float[np.ndarray, "order n"]:
        if order == 1:
            return (theta - h * np.concatenate([[0.0], np.cumsum(step[:-1])]))[None]
        speed = lfilter([1.0], [1.0, 2 / SUBSTEPS - 1], np.concatenate([[velocity], -2 / SUBSTEPS * step[:-1]]))
        return np.stack([theta + h * np.concatenate([[0.0], np.cumsum(speed[:-1])]), speed])

    def sweep(state: Float[np.ndarray, "order n"]) -> Float[np.ndarray, "order n"]:
        points, weights = (part / 2 for part in np.polynomial.legendre.leggauss(POINTS))
        within = points + 0.5
        g = losses.gradient(CubicSpline(np.arange(n), state[0])(np.arange(n - 1)[:, None] + within)[..., None])[..., 0]
        m, v = (_memory(kernel, g**power, h, within, weights) for kernel, power in zip(kernels, (1, 2), strict=True)
                if kernel is not None)
        return integrate((gain * m / (np.sqrt(np.maximum(v, 0.0)) + rule.eps * root))[ahead])

    old = integrate(np.zeros(n))
    new = sweep(old)
    last = error = float(np.linalg.norm(new - old))
    share = 0
    for _ in range(MOST):
        if not error > stop:
            break
        old = DAMPING[share] * old + (1 - DAMPING[share]) * new
        new = sweep(old)
        error = float(np.linalg.norm(new - old))
        share = min(share + (error > last), len(DAMPING) - 1)
        last = error
    return new[0]


def _memory(kernel: Kernel, q: Float[np.ndarray, "n-1 points"], h: float, within: np.ndarray, weights: np.ndarray) -> Grid:
    """`∫₀ᵗ K(t − s) q(s) ds` on the grid, from `q` at the Gauss points of its cells."""
    total = np.zeros(len(q) + 1)
    for weight, rate in kernel.modes():
        cells = q @ (h * weights * weight * np.exp(rate * h * (1 - within)))
        total = total + lfilter([1.0], [1.0, -np.exp(rate * h)], np.concatenate([[0.0], cells])).real
    return total
