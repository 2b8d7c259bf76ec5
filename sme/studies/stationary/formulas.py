"""Closed stationary variances of one parameter, `f = ½ h θ²`, gradient noise of standard deviation `s`, ballistic.

All are derived in docs/theory/rules.md, section 12, and tested against the linearised equation (`sme.stationary`); a chain's
against its simulation.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.integrate import cumulative_simpson, simpson
from scipy.special import logsumexp

GRID = 20_001
"""points of a density"""
TAIL = 1e-9
"""chance of a step uphill beyond which nothing is left of a stationary law"""
FEWEST, MOST = 512, 2**22
"""steps from the minimum that are looked at"""
NOTHING = -80.0
"""the logarithm of a share of the density"""
Mean = Callable[[Float[np.ndarray, " points"]], Float[np.ndarray, " points"]]
"""`p = E sign(ĝ)` as a function of `∇f`"""


def sgd(tau: float, h: float, s: float) -> float:
    """`½ τ s²/h`."""
    return 0.5 * tau * s * s / h


def sgd_chain(tau: float, h: float, s: float) -> float:
    """`½ τ s²/(h (1 − ½ τ h))`, exact for the discrete run."""
    return sgd(tau, h, s) / (1 - 0.5 * tau * h)


def adaptive(tau: float, h: float, s: float, decay: float = 0.0, c1: float = math.inf, eps: float = 0.0) -> float:
    """RMSProp, Adam, and with decay `λ`: `½ τ P² s²/(P h + λ) · c₁/(c₁ + λ)`, `P = 1/(s + ε)`; the last factor with a momentum.

    At `ε = 0` these are `½ τ s/h`, `½ τ/(h/s + λ)`, and for AdamW `c₁/(c₁ + λ)` times the latter.
    """
    p = 1 / (s + eps)
    momentum = 1.0 if math.isinf(c1) else c1 / (c1 + decay)
    return 0.5 * tau * p * p * s * s / (p * h + decay) * momentum


def signs(tau: float, h: float, slope: float) -> float:
    """signSGD to leading order, `½ τ/(ℓ h)`, `ℓ = ∂_g E sign(ĝ)` at `g = 0`: `√(2/π)/s` for Gaussian noise."""
    return 0.5 * tau / (slope * h)


def signs_linear(tau: float, h: float, slope: float) -> float:
    """signSGD with the drift `−ℓ h θ` and the diffusion `τ (1 − ℓ² h² θ²)`: `½ τ/(ℓ h + ½ τ ℓ² h²)`."""
    return 0.5 * tau / (slope * h + 0.5 * tau * slope**2 * h**2)


def signs_equation(tau: float, h: float, mean: Mean) -> float:
    """signSGD's equation of order 1, `dθ = −p dt + √(τ (1 − p²)) dW`: exact, by its stationary density.

    `density ∝ exp(−∫ 2p/(τ (1 − p²)) dθ)/(1 − p²)`.
    """
    theta = np.linspace(0.0, _far(tau, h, mean), GRID)
    p = mean(h * theta)
    log = -cumulative_simpson(2 * p / (tau * (1 - p * p)), x=theta, initial=0.0) - np.log1p(-p * p)
    density = np.exp(log - log.max())
    return float(simpson(density * theta * theta, x=theta) / simpson(density, x=theta))


def signs_chain(tau: float, h: float, mean: Mean, offset: float = 0.0) -> float:
    """signSGD's discrete run on `θ = (k + offset) τ`: exact, by detailed balance.

    `π_k P(up at k) = π_{k+1} P(down at k + 1)`, `P(up) = ½ (1 − p)`, `P(down) = ½ (1 + p)`. Which lattice it is, the start
    decides; it hardly matters.
    """
    count = math.ceil(_far(tau, h, mean) / tau)
    theta = tau * (np.arange(-count, count + 1) + offset)
    p = mean(h * theta)
    weight = np.concatenate([[0.0], np.cumsum(np.log1p(-p[:-1]) - np.log1p(p[1:]))])
    return float(np.exp(weight - logsumexp(weight)) @ theta**2)


def _far(tau: float, h: float, mean: Mean) -> float:
    """A `θ` that the stationary law does not reach: so far out that its density is nothing, or that no step leads further."""
    count = FEWEST
    while True:
        theta = tau * np.arange(1, count + 1)
        p = mean(h * theta)
        with np.errstate(divide="ignore"):
            low = np.flatnonzero((1 - p < TAIL) | (np.cumsum(np.log1p(-p) - np.log1p(p)) < NOTHING))
        if len(low) or count >= MOST:
            return float(theta[low[0] if len(low) else -1])
        count *= 2
