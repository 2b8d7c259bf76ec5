"""The edge of stability of Adam: linear stability of averaged gradients with a frozen second moment, and how long a step can get.

With `v` frozen, Adam on a quadratic with curvature `λ` is `m' = β₁m + (1 − β₁)λθ`, `θ' = θ − s m'`, `s` the step size over
`√v + ε`. Without `m` it is `θ'' − (1 + β₁ − (1 − β₁)q)θ' + β₁θ = 0` with `q = sλ`, stable if and only if (Jury)

    0 < q < 2(1 + β₁)/(1 − β₁)

where a root leaves the unit circle at −1: the parameters flip their sign every step. Everything here is of `a = (1 − β₂)/η`
and `b = (1 − β₁)/η`, `η` the learning rate.
"""

import cmath
import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.problems.base import Paths, Problem

FREE = 5 / 4
"""for `b > FREE a` the gradient of a quadratic dies away faster than `√v` can follow, so that `v` falls to the edge: spikes"""
GROWING = 1 / 8
"""for `b < GROWING a` the gradient and `√v`, in balance, grow together to a cycle whose size does not depend on `η`"""


FAILS = 0.3
"""share of a rate by which order 2 is off where it is said to fail: step size × curvature 0.8 without momentum"""


def threshold(beta1: Any) -> Any:
    """`2(1 + β₁)/(1 − β₁)`, of a number or an array: momentum is stable while step size × curvature is below."""
    return 2 * (1 + beta1) / (1 - beta1)


def rate_error(beta1: float, q: float) -> float:
    """By what share the equation of order 2 misses the rate of a mode with `q` = step size × curvature, momentum with frozen `v`.

    The step's eigenvalue is `μ = 1 + z`, its rate `log μ`, that of order 2 `z − ½z²`; the worse of the two modes.
    """
    trace = 1 + beta1 - (1 - beta1) * q
    root = cmath.sqrt(trace * trace - 4 * beta1)
    z = [0.5 * (trace + root) - 1, *([0.5 * (trace - root) - 1] if beta1 else [])]
    return max(abs((each - 0.5 * each * each) / cmath.log(1 + each) - 1) for each in z if each + 1 != 0)


def failing(beta1: float) -> float:
    """The step size × curvature from which on order 2 misses a rate by `FAILS`."""
    grid = threshold(beta1) * np.linspace(0.001, 1.0, 1000)
    return float(next((q for q in grid if rate_error(beta1, q) > FAILS), math.inf))


def longest(beta1: float, beta2: float) -> float:
    """The longest step of one parameter after many steps, in units of `η`: infinite unless `β₁² < β₂`, that is `a < 2b − b²η`.

    `|m|/√v ≤ (1 − β₁)/√((1 − β₂)(1 − β₁²/β₂))` by Cauchy and Schwarz, with equality for gradients `∝ (β₁/β₂)^k`, `k` steps
    ago. For `η → 0` it is `b/√(a(2b − a))`: 1 at `a = b`, more elsewhere.
    """
    square = (1 - beta2) * (1 - beta1**2 / beta2) / (1 - beta1) ** 2
    return 1 / math.sqrt(square) if square > 0 else math.inf


def sharpness(problem: Problem, theta: Paths, scale: Float[Tensor, "paths d"], u: Paths,
              iterations: int) -> tuple[Float[Tensor, " paths"], Paths]:
    """The eigenvalue of `diag(scale) ∇²f` largest in size, and its vector, by steps of the power iteration from `u`.

    It is that of the symmetric `R ∇²f R`, `R = diag(scale)^½`, whose quotient is returned; that is never too large.
    """
    root = scale.sqrt()
    value = torch.zeros_like(theta[:, 0])
    for _ in range(iterations):
        u = u / u.norm(dim=-1, keepdim=True).clamp(min=1e-300)
        image = root * problem.hessian(theta, root * u)
        value, u = (u * image).sum(-1), image
    return value, u
