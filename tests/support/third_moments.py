"""The obstruction of RMSProp and Adam in its explicit form."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp

from sme.equations.base import Equation
from sme.problems.base import Problem

TestFunction = Callable[[Tensor], Tensor]


def obstruction(problem: Problem, equation: Equation, x: Tensor, phi: TestFunction) -> Tensor:
    """`T₃φ = rate Σ_k ∂_{v_k} ∂²φ[u_k, u_k]`, `u_k = ρ∘Σ_k` on θ (RMSProp, `ρ = P`) or on m (Adam, `ρ = c₁`)."""
    d = problem.dim
    fields = x.split(d)
    s = problem.noise
    factor = torch.stack([s.diffuse(fields[0][None], e[None])[0] for e in torch.eye(s.motions, dtype=torch.float64)], -1)
    sigma = factor @ factor.T
    adam = len(fields) == 3
    rate = equation.optimizer.c2 if adam else equation.optimizer.c
    scale = equation.optimizer.c1 if adam else equation.precondition(fields[1][None], equation.optimizer.eps).value[0]
    total = torch.zeros_like(phi(x))
    for k in range(d):
        u, e = torch.zeros_like(x), torch.zeros_like(x)
        u[d : 2 * d] = scale * sigma[k] if adam else 0
        if not adam:
            u[:d] = scale * sigma[k]
        e[-d + k] = 1.0
        once = lambda y, u=u: jvp(phi, (y,), (u,))[1]  # noqa: E731
        twice = lambda y, u=u, once=once: jvp(once, (y,), (u,))[1]  # noqa: E731
        total = total + rate * jvp(twice, (x,), (e,))[1]
    return total
