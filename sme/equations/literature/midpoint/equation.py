"""The midpoint (Cayley, Tustin) equation: of order 2, and at rest and in its stability what the optimizer is."""

from typing import ClassVar

import torch
from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.closed.known import by_signs
from sme.equations.derived.states import repeat
from sme.equations.literature.midpoint.solve import DIRECT, eliminate, krylov
from sme.equations.literature.midpoint.step import OneStep
from sme.equations.literature.model import Claim, Kind, Model
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.optimizers.signsgd import SignSGD
from sme.problems.base import Problem


class Midpoint(Equation):
    """Ballistic, any rule and law. With mean `f̄` and covariance `G Gᵀ` of `φ = (x' − x)/τ` at the `τ` in question, `J = τ∇f̄`:

        dx = (I + ½J)⁻¹ [(f̄ − ½τ ∂_t f̄) dt + √τ G dW]          SGD: dθ = −(I − ½τ∇²f)⁻¹ (∇f dt + √τ S dW)

    As `(I + ½J)⁻¹ = I − ½J + O(τ²)` it is of order 2. Of a linear rule it has the optimizer's own stationary covariance at every
    `τ`, and is stable exactly where that is: an eigenvalue `z` of `J` becomes the rate `(z/(1 + ½z))/τ`, and
    `Re z/(1 + ½z) < 0` where `|1 + z| < 1`. Beyond `z = −1`, where one step changes sign, the rate itself is not the
    optimizer's. Source: docs/theory/limits.md, section 13.
    """

    small_noise = True
    bounded = True
    numerics = ("derived",)
    latex: ClassVar = {
        "leading drift, theta": r"(I + \tfrac12\,J)^{-1}\,\bar f,\quad \bar f = \operatorname E[x' - x]/\tau,\ "
                                r"J = \tau\,\nabla\bar f",
        "noise of the first motion, theta": r"\sqrt\tau\,(I + \tfrac12\,J)^{-1}\,G\,dW,\quad "
                                            r"G\,G^\top = \operatorname{Cov}(x' - x)/\tau^2",
    }

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        self.one = OneStep.of(problem, optimizer)
        super().__init__(self.one.leading.problem, optimizer, tau, order, brownian)
        self.first, self.second = self.one.leading.first, self.one.leading.second

    @property
    def bilinear(self) -> bool:
        return self.one.leading.bilinear

    def drift(self, t: float, x: X) -> X:
        return self.solve(t, x, self.one.mean(self.tau, t, x) - 0.5 * self.one.later(self.tau, t, x))

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return self.solve(t, x, self.tau**0.5 * self.one.noise(self.tau, t, x, dW))

    def solve(self, t: float, x: X, right: X) -> X:
        """`(I + ½J)⁻¹ right`: directly for up to `DIRECT` numbers of a state, else by products with `J` alone."""
        def multiply(u: X, at: X = x) -> X:
            return u + 0.5 * self.one.along(self.tau, t, at, u)

        paths, count = x.shape
        if count > DIRECT:
            return krylov(multiply, right)
        units = torch.eye(count, dtype=x.dtype, device=x.device).repeat_interleave(paths, 0)
        return eliminate(multiply(units, repeat(x, count)).reshape(count, paths, count), right)


def _kind(optimizer: Optimizer, regime: Regime) -> Kind:
    """None for a rule whose mean step jumps: it has no `J`."""
    jumps = by_signs(optimizer) and not isinstance(optimizer, SignSGD)
    return Midpoint if regime == BALLISTIC and not jumps else None


def _claim(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    return Claim(2)


MODEL = Model("midpoint", _kind, "every rule whose mean step does not jump, in the ballistic regime", _claim, (2,))
