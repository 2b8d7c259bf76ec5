"""Mean and noise of one step at its own size, `(x' − x)/τ`, and the derivative `J = τ∇f̄` of the mean."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.closed.known import by_signs
from sme.equations.derived.along_curve import gradient, variance
from sme.equations.derived.second_order import Curvature
from sme.equations.derived.states import theta_of
from sme.equations.derived.step import Step
from sme.equations.registry import assemble, is_raw
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem

SMALL = 2.0**-16
"""step size below which `x' − x` has lost too many digits"""
NEAR = 1e-5
"""step of differences, relative to the state"""


class OneStep(ABC):
    """The first two moments of `φ = (x' − x)/τ` of a rule on a problem."""

    def __init__(self, leading: Equation) -> None:
        self.leading = leading
        """the equation of order 1, whose Brownian motions the noise is made of"""

    @classmethod
    def of(cls, problem: Problem, optimizer: Optimizer) -> "OneStep":
        """By the expansion of the rule; of signs and of what takes the raw gradient apart by the means of order 1."""
        leading = assemble(problem, optimizer, BALLISTIC, SMALL, 1, "independent")
        apart = by_signs(optimizer) or is_raw(optimizer, problem.dim)
        return Averaged(leading) if apart else Expanded(leading)

    @abstractmethod
    def mean(self, tau: Any, t: Any, x: X) -> X:
        """`f̄ = E φ`."""

    @abstractmethod
    def along(self, tau: Any, t: Any, x: X, u: X) -> X:
        """`J u`."""

    @abstractmethod
    def later(self, tau: Any, t: Any, x: X) -> X:
        """`τ ∂_t f̄`."""

    @abstractmethod
    def noise(self, tau: Any, t: Any, x: X, dW: Tensor) -> X:
        """`G dW`, `G Gᵀ = Cov φ`."""


class Expanded(OneStep):
    """Of a rule that is smooth in step and square, `U` of `Step` at `τ`, with `ξ = (ĝ, ĝ∘ĝ)`, `ξ̄ = E ξ`:

        f̄ = (U(ξ̄) − x)/τ + τ ½ ∂²bend : Cov(ξ)        G dW = ∂U/∂ξ (ξ − ξ̄)/τ

    Both are exact for a rule that is affine in `ξ`, such as a momentum, and right to `O(τ²)` for others.
    """

    def __init__(self, leading: Equation) -> None:
        super().__init__(leading)
        self.problem, self.law = leading.problem, leading.law
        self.step = Step.of(leading.optimizer, self.problem.dim)
        self.curvature = Curvature(self.step, self.law)

    def _moved(self, tau: Any, t: Any, x: Any) -> Any:
        theta = theta_of(x, self.problem.dim)
        g = gradient(self.problem, theta)
        return self.step(t, x, tau * g, g * g + variance(self.law, theta), tau)

    def mean(self, tau: Any, t: Any, x: X) -> X:
        theta = x[:, : self.problem.dim]
        g = self.problem.gradient(theta)
        if not isinstance(tau, Tensor) and tau < SMALL:
            q = g * g + self.law.variance(theta)
            moved: X = self.step.rate(t, x, g, q) + tau * self.step.bend(t, x, g, q)
        else:
            moved = (self._moved(tau, t, x) - x) / tau
        spread = self.curvature.spread(t, x, theta, g)
        return moved if spread is None else moved + tau * spread

    def along(self, tau: Any, t: Any, x: X, u: X) -> X:
        return self.step.slope(lambda e: self._moved(tau, t, x + e * u), x) - u

    def later(self, tau: Any, t: Any, x: X) -> X:
        return self.step.slope(lambda e: self._moved(tau, t + e, x), x)

    def noise(self, tau: Any, t: Any, x: X, dW: Tensor) -> X:
        theta, leading = x[:, : self.problem.dim], self.leading
        g = self.problem.gradient(theta)
        q = g * g + self.law.variance(theta)
        noise, square = self.law.diffuse_square(theta, dW[:, : leading.first])
        square = square + 2 * g * noise + leading.second_noise(theta, dW)
        return self.step.slope(lambda e: self.step(t, x, tau * (g + e * noise), q + e * square, tau), x) / tau


class Averaged(OneStep):
    """Of a rule whose equation of order 1 holds the exact means over the noise: its drift and noise, `J` by differences."""

    def mean(self, tau: Any, t: Any, x: X) -> X:
        return self.leading.drift(t, x)

    def along(self, tau: Any, t: Any, x: X, u: X) -> X:
        far = NEAR * (1 + x.abs().amax(-1, keepdim=True))
        return tau * (self.leading.drift(t, x + far * u) - self.leading.drift(t, x - far * u)) / (2 * far)

    def later(self, tau: Any, t: Any, x: X) -> X:
        return tau * (self.leading.drift(t + NEAR, x) - self.leading.drift(t - NEAR, x)) / (2 * NEAR)

    def noise(self, tau: Any, t: Any, x: X, dW: Tensor) -> X:
        return self.leading.diffuse(t, x, dW) / self.leading.tau**0.5
