"""The closed-form equations of SGD."""

from typing import ClassVar

from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.closed.curvature import curvature


class BallisticSGD(Equation):
    """Ballistic: `dθ = (−∇f − τ ½ ∇²f ∇f) dt − √τ S dW¹`; order 1 drops the term in `τ`.

    Source: docs/theory/equations.md, section 3, (3.2).
    """

    small_noise = True
    latex: ClassVar = {
        "leading drift, theta": r"-g",
        "drift correction, theta": r"-\tau\,\tfrac12\,H\,g",
        "noise of the first motion, theta": r"-\sqrt\tau\,S\,dW^1",
    }

    def drift(self, t: float, x: X) -> X:
        g = self.problem.gradient(x)
        return -g - 0.5 * self.tau * self.problem.hessian(x, g) if self.order == 2 else -g

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return -self.tau**0.5 * self.law.diffuse(x, dW)


class BatchEquivalentSGD(Equation):
    """Batch-equivalent: order 1 `dθ = −∇f dt − S dW¹`; order 2, for constant `S`,

    `dθ = (−∇f − τ ½ (∇²f ∇f − ½ Σ:∇²∇f)) dt − (S + τ ½ ∇²f S) dW¹`.

    Source: docs/theory/equations.md, section 4, (4.1).
    """

    small_noise = False
    latex: ClassVar = {
        "leading drift, theta": r"-g",
        "drift correction, theta": r"-\tau\,\tfrac12\,(H\,g - \tfrac12\,\Sigma:\nabla^2 g)",
        "noise of the first motion, theta": r"-S\,dW^1",
        "noise correction, theta": r"-\tau\,\tfrac12\,H\,S\,dW^1",
    }

    def drift(self, t: float, x: X) -> X:
        g = self.problem.gradient(x)
        if self.order == 1:
            return -g
        return -g - 0.5 * self.tau * (self.problem.hessian(x, g) - 0.5 * curvature(self.problem, x, 1.0))

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        noise = self.law.diffuse(x, dW)
        if self.order == 1:
            return -noise
        return -noise - 0.5 * self.tau * self.problem.hessian(x, noise)
