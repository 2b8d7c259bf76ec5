"""The work item: RMSProp on the quadratic in two dimensions, ballistic, `τ = 1/16`, from 0 to 1.

An `Advance` takes a number of paths, of equal substeps from 0 to 1, and a seed; it gives the end states, `(paths, 4)`
with `(θ, v)` in a row. Where paths are antithetic, number `i` and number `i + paths/2` are a pair.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

import sme
from sme.equations.base import Equation
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC

Advance = Callable[[int, int, int], Float[np.ndarray, "paths 4"]]

PROBLEM, OPTIMIZER = sme.Quadratic(2), sme.RMSProp(c=0.5, eps=0.1, denominator="previous", v_floor=0.01)
HORIZON, STEPS = 1.0, 16
TAU = HORIZON / STEPS
START = (1.0, 0.5, 1.0, 1.0)

MATRIX: Float[np.ndarray, "2 2"] = PROBLEM.a.numpy()
FACTOR: Float[np.ndarray, "2 2"] = 0.25 * MATRIX
VARIANCE = float((FACTOR @ FACTOR.T)[0, 0])
"""the same in both coordinates"""


def model() -> Equation:
    """The project's own equation of order 2, on two motions of each kind."""
    return equation(PROBLEM, OPTIMIZER, BALLISTIC, TAU, 2, "independent")


def second_factor() -> Float[np.ndarray, "2 2"]:
    """`√2 (Σ∘Σ)^{1/2}`, symmetric."""
    values, vectors = np.linalg.eigh((FACTOR @ FACTOR.T) ** 2)
    return np.sqrt(2) * (vectors * np.sqrt(values)) @ vectors.T
