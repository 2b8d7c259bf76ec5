"""The derived equation in the ballistic regime."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.derived.along_curve import gradient, variance
from sme.equations.derived.second_order import Curvature
from sme.equations.derived.states import theta_of
from sme.equations.derived.step import Step
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem


class DerivedBallistic(Equation):
    """Ballistic, any update rule and law. With `ξ = (ĝ, ĝ∘ĝ)`, `ξ̄ = E ξ`, and `rate`, `bend` of `Step`:

        b = rate(ξ̄)        b₁ = E bend(ξ) − ½ (∂_t b + ∇b b)
        noise: √τ ∂rate/∂ξ (ξ − ξ̄), with the law's exact covariance of ξ, third and fourth moments included
        step memory (Gaussian noise): √τ ∂rate/∂ξ (S dW, 2 ∇f∘S dW) + ∂rate/∂q (2 S y∘S dW)

    Order 1 has `b` and the same noise. Source: docs/theory/derivation.md, section 9, (9.4).
    """

    small_noise = True
    repeats = True
    numerics: ClassVar[tuple[str, ...]] = ("derived",)

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        self.expansion = Step.of(optimizer, problem.dim)
        super().__init__(problem, optimizer, tau, order, brownian)
        self.curvature = Curvature(self.expansion, problem.noise) if order == 2 else None

    def squares_noise(self) -> bool:
        return self.expansion.squares

    def leading(self, t: Any, x: X) -> X:
        """`b`."""
        theta = theta_of(x, self.problem.dim)
        g = gradient(self.problem, theta)
        return self.expansion.rate(t, x, g, g * g + variance(self.law, theta))

    def drift(self, t: float, x: X) -> X:
        b = self.leading(t, x)
        if self.curvature is None:
            return b
        theta = x[:, : self.problem.dim]
        bend = self.curvature.mean(t, x, theta, self.problem.gradient(theta))
        change = self.expansion.slope(lambda e: self.leading(t + e, x + e * b), x)
        return b + self.tau * (bend - 0.5 * change)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta = x[:, : self.problem.dim]
        noise, square = self.law.diffuse_square(theta, dW[:, : self.first])
        if self.expansion.squares:
            square = square + 2 * self.problem.gradient(theta) * noise
        if self.second:
            square = square + self.second_noise(theta, dW)
        return self.tau**0.5 * self.expansion.push(t, x, noise, square)

    def recall(self, t: float, x: X, past: Tensor, dW: Tensor) -> X:
        theta = x[:, : self.problem.dim]
        square = self.square_memory(theta, past, dW)
        return self.expansion.push(t, x, torch.zeros_like(square), square)

    def memory_trace(self, t: float, x: X) -> X:
        sigma = self.law.variance(x[:, : self.problem.dim])
        return self.expansion.push(t, x, torch.zeros_like(sigma), 2 * sigma)
