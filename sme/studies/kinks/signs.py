"""Signum on a linear loss `slope θ`, without chance: its momentum is normal at every time, and so is the equation's."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial.legendre import leggauss
from scipy.optimize import brentq
from scipy.special import ndtr

from sme.equations.base import Equation
from sme.studies.kinks.exact import Points

PANELS, NODES = 400, 8
"""of the integral over time, closer together near the time at which the mean is 0"""


def chain(c: float, slope: float, size: float, start: float, tau: float, horizon: float) -> float:
    """`E θ − θ₀` of `m' = m + cτ(slope + size z − m)`, `θ' = θ − τ sign m'`."""
    k = np.arange(1, round(horizon / tau) + 1)
    kept = (1 - c * tau) ** k
    mean, spread = slope + (start - slope) * kept, (c * tau * size) ** 2 * (1 - kept**2) / (1 - (1 - c * tau) ** 2)
    return float(-tau * _sign(mean, spread**0.5).sum())


def equation(eq: Equation, start: float, horizon: float) -> float:
    """The same of an equation of `(θ, m)` whose drift of `m` is affine in `m`, and of `θ` the sign of such a function."""
    def drift(m: float) -> Float[np.ndarray, " fields"]:
        with torch.no_grad():
            found: Float[np.ndarray, " fields"] = eq.drift(0.0, torch.tensor([[0.0, m]], dtype=torch.float64))[0].numpy()
        return found

    zero, one = drift(0.0)[1], drift(1.0)[1]
    rate, aim = zero - one, zero / (zero - one)
    place = brentq(lambda m: drift(m)[0] or 1.0, -1.0, 1.0, xtol=1e-15)  # where θ turns
    noise = float(eq.diffuse(0.0, torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))[0, 1])
    meets = (place - aim) / (start - aim)
    t, weight = _times(horizon, -np.log(meets) / rate if 0 < meets < 1 else horizon)
    kept = np.exp(-rate * t)
    spread = noise**2 * (1 - kept**2) / (2 * rate)
    return float(-weight @ _sign(aim + (start - aim) * kept - place, spread**0.5))


def _sign(mean: Points, size: Points) -> Points:
    """`E sign` of a normal number."""
    made: Points = 2 * ndtr(mean / size) - 1
    return made


def _times(horizon: float, near: float) -> tuple[Points, Points]:
    """Nodes and weights over time, with panels that grow with the distance from one time."""
    at, weight = leggauss(NODES)
    middle = min(max(near, 0.0), horizon)
    grow = np.linspace(0, 1, PANELS // 2 + 1) ** 3
    edges = np.unique(np.concatenate([middle - middle * grow, middle + (horizon - middle) * grow]))
    low, width = edges[:-1, None], np.diff(edges)[:, None]
    return (low + width * (at + 1) / 2).ravel(), (width * weight / 2).ravel()
