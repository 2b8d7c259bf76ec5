"""What the noise makes of the third derivatives of a loss."""

import torch
from jaxtyping import Float
from torch import Tensor

from sme.problems.base import Problem


def curvature(problem: Problem, theta: Float[Tensor, "paths d"], scale: Tensor | float) -> Float[Tensor, "paths d"]:
    """`(D:∇²)∇f = Σ_j ∇³f[u_j, u_j]` with `D = Σ_j u_j u_jᵀ`, `u_j = scale∘S e_j`."""
    total = torch.zeros_like(theta)
    for unit in torch.eye(problem.noise.motions, dtype=theta.dtype, device=theta.device):
        u = scale * problem.noise.diffuse(theta, unit.expand(theta.shape[0], -1))
        total = total + problem.third(theta, u, u)
    return total
