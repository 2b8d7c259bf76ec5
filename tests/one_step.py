"""The deterministic one-step moment test: no Monte Carlo.

The chain's expectation over one step, exactly, against the equation's
`φ + τ 𝓛φ + ½ τ² 𝓛²φ` with its generator `𝓛 = ∂_t + b·∇ + ½ G Gᵀ:∇²`.
"""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.func import jvp, vmap

from sme.equations.base import Equation
from sme.problems.base import Problem
from sme.simulate.chain import Chain

TestFunction = Callable[[Tensor], Tensor]
"""from a whole state `(S,)` to a vector of test functions"""


def chain_expectation(chain: Chain, x: Tensor, phi: TestFunction, t: float, nodes: int = 12) -> Tensor:
    """`E φ(x')` over the law of one step: Gauss–Hermite, or the sum over all batches."""
    law = chain.problem.noise
    if law.paired:
        points, weights = np.polynomial.hermite_e.hermegauss(nodes)
        grid = torch.tensor(list(itertools.product(points, repeat=law.motions)), dtype=torch.float64)
        weight = torch.tensor([np.prod(w) for w in itertools.product(weights / weights.sum(), repeat=law.motions)])
    else:
        grid = torch.tensor(list(itertools.product(range(law.motions), repeat=law.batch_size)))
        weight = torch.full((len(grid),), 1 / len(grid), dtype=torch.float64)
    fields = dict(zip(chain.optimizer.fields, x.split(chain.problem.dim), strict=True))
    start = {name: field.expand(len(grid), -1) for name, field in fields.items()}
    chain.time = lambda k: t
    state, _ = chain.step(start, grid, 0)
    values = vmap(phi)(torch.cat([state[name] for name in chain.optimizer.fields], -1))
    return weight @ values


def columns(equation: Equation) -> list[Tensor]:
    """Increments whose images under `diffuse` are the columns of a dense factor of the covariance."""
    units = list(torch.eye(equation.motions, dtype=torch.float64))
    if equation.law.paired or not equation.second:
        return units
    # minibatch: the second motion is (S dV)∘(S ζ), bilinear in dV and the signs ζ
    n = equation.first
    pairs = [units[n + j] + units[2 * n + k] + units[3 * n] for j in range(n) for k in range(n)]
    return units[:n] + pairs


def generator(equation: Equation, phi: TestFunction, t: float, x: Tensor) -> Tensor:
    """`𝓛φ` at many points `(points, S)`, derivatives of `φ` by automatic differentiation."""

    def along(y: Tensor, u: Tensor) -> Tensor:
        return jvp(phi, (y,), (u,))[1]

    def twice(y: Tensor, u: Tensor) -> Tensor:
        return jvp(lambda z: along(z, u), (y,), (u,))[1]

    increments = columns(equation)
    total = vmap(along)(x, equation.drift(t, x))
    if increments:
        g = equation.diffuse(t, x.repeat(len(increments), 1), torch.stack(increments).repeat_interleave(len(x), 0))
        total = total + 0.5 * vmap(twice)(x.repeat(len(increments), 1), g).reshape(len(increments), *total.shape).sum(0)
    return total


def generator_twice(equation: Equation, phi: TestFunction, t: float, x: Tensor, step: float = 1e-2) -> Tensor:
    """`𝓛²φ` at `x`: the outer derivatives by five-point differences, whose error `½τ²` makes negligible."""
    point, drift = x.unsqueeze(0), equation.drift(t, x.unsqueeze(0))[0]
    first = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=torch.float64) / (12 * step)
    second = torch.tensor([-1.0, 16.0, 16.0, -1.0], dtype=torch.float64) / (12 * step**2)
    shifts = torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64) * step
    if equation.optimizer.t0 == 0:  # the same time everywhere: one call
        inner = generator(equation, phi, t, point + shifts[:, None] * drift)
    else:
        inner = torch.cat([generator(equation, phi, t + float(e), point + e * drift) for e in shifts])
    total = first @ inner
    increments = columns(equation)
    if increments:
        g = equation.diffuse(t, point.repeat(len(increments), 1), torch.stack(increments))
        around = generator(equation, phi, t, (x + shifts[:, None, None] * g).reshape(-1, len(x)))
        here = len(increments) * generator(equation, phi, t, point)[0]
        total = total + 0.5 * (second @ around.reshape(4, len(increments), -1).sum(1) - 30 / (12 * step**2) * here)
    return total


def equation_expectation(equation: Equation, x: Tensor, phi: TestFunction, t: float) -> Tensor:
    """`φ + τ 𝓛φ + ½ τ² 𝓛²φ`; up to `τ 𝓛φ` at order 1."""
    value = phi(x) + equation.tau * generator(equation, phi, t, x.unsqueeze(0))[0]
    if equation.order == 2:
        value = value + 0.5 * equation.tau**2 * generator_twice(equation, phi, t, x)
    return value


def residual(chain: Chain, equation: Equation, x: Tensor, phi: TestFunction, t: float = 0.0) -> Tensor:
    """Chain minus equation, one number for each test function."""
    return chain_expectation(chain, x, phi, t) - equation_expectation(equation, x, phi, t)


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
