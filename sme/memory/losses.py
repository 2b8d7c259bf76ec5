"""A problem's gradient and curvature as a memory equation sees them, in numpy."""

import numpy as np
import torch
from jaxtyping import Float

from sme.problems.base import Problem


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
