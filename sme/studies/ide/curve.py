"""A run without noise, beside its equations with memory."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sme.simulate.integro.ide import IDE


@dataclass(frozen=True)
class Curve:
    """One run, and its equations at some of its steps; not a number where an equation has no value."""

    loss: str
    equation: IDE
    start: float
    steps: Float[np.ndarray, " n"]
    run: Float[np.ndarray, " n"]
    memory: Float[np.ndarray, " n"]
    modified: Float[np.ndarray, " n"]
