"""A problem's gradient and curvature as a memory equation sees them, in numpy; a line fitted to data."""

import math

import numpy as np
import torch
from jaxtyping import Float

from sme.common.errors import SMEError
from sme.common.inputs import number, whole
from sme.problems.base import Problem
from sme.problems.polynomial import Polynomial


class Losses:
    """`g = ∇f + ½ l2 θ` of a problem; its noise is left out."""

    def __init__(self, problem: Problem, l2: float) -> None:
        self.problem, self.l2 = problem, l2

    def gradient(self, theta: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
        """`g` at many points."""
        with torch.no_grad():
            found = self.problem.gradient(torch.from_numpy(np.ascontiguousarray(theta.reshape(-1, self.problem.dim))))
        return found.numpy().reshape(theta.shape) + 0.5 * self.l2 * theta

    def curvature(self, theta: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d d"]:
        """`∂g` at many points."""
        dim = self.problem.dim
        with torch.no_grad():
            flat = torch.from_numpy(np.ascontiguousarray(theta.reshape(-1, dim)))
            columns = [self.problem.hessian(flat, unit.expand_as(flat)) for unit in torch.eye(dim, dtype=flat.dtype)]
        return torch.stack(columns, -1).numpy().reshape(*theta.shape, dim) + 0.5 * self.l2 * np.eye(dim)


def regression(slope: float, scatter: float, examples: int, seed: int) -> Polynomial:
    """`f(θ) = (1/n) Σᵢ (yᵢ − θ xᵢ)²`, a parabola, of data `y = slope x + scatter z`, `x` uniform on (0, 1), `z` normal.

    Of numpy's `RandomState(seed)`: first every `x`, then every `z`.

    Raises
    ------
    SMEError
        for bad input.
    """
    slope, scatter, n = number("slope", slope), number("scatter", scatter), whole("examples", examples, 1)
    if not (math.isfinite(slope) and 0 <= scatter < math.inf) or not (seed := whole("seed", seed, 0)) < 2**32:
        raise SMEError(f"a regression needs a finite slope, scatter ≥ 0 and a seed below 2³², got {slope:g}, {scatter:g}, {seed}")
    random = np.random.RandomState(seed)
    x = random.uniform(size=n)
    y = slope * x + scatter * random.normal(size=n)
    return Polynomial([float(y @ y) / n, -2 * float(x @ y) / n, float(x @ x) / n], noise=0.0)
