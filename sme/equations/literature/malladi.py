"""The equations that are named after Malladi, Lyu, Panigrahi and Arora (arXiv 2205.10287), of noise that dominates.

The text of their theorems was not seen: the form in scaled variables, and where it has which order, is derived and tested here.
"""

from typing import ClassVar

from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.closed.adam import BatchEquivalentAdam
from sme.equations.closed.rmsprop import BatchEquivalentRMSProp
from sme.equations.literature.model import Claim, Model, skewed, table
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.optimizers.rmsprop import RMSProp
from sme.problems.base import Problem


class _Small(Equation):
    """The leading terms of a batch-equivalent equation in the variables of the ballistic regime: its noise times `√τ`."""

    small_noise = True

    def squares_noise(self) -> bool:
        return False

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return self.tau**0.5 * super().diffuse(t, x, dW)  # type: ignore[safe-super]


class BallisticMalladiRMSProp(_Small, BatchEquivalentRMSProp):
    """Ballistic. With `g = ∇f`, `σ = diag Σ`:

        b_θ = −P∘g      b_v = c (σ − v)      noise on θ: −√τ P∘S dW¹

    In the batch-equivalent regime it is `BatchEquivalentRMSProp` of order 1, with the noise `−P∘S dW¹`. Here `b_v` lacks `c g∘g`,
    so it is of no order: good where `σ` is large beside `g∘g`.
    """

    latex: ClassVar = {
        "leading drift, theta": r"-P\circ g",
        "leading drift, v": r"c\,(\sigma - v)",
        "noise of the first motion, theta": r"-\sqrt\tau\,P\circ S\,dW^1",
    }


class BallisticMalladiAdam(_Small, BatchEquivalentAdam):
    """Ballistic. With `g = ∇f`, `σ = diag Σ`, and the bias correction `Γ`, `ε√γ₂` of `BallisticAdam`:

        b_θ = −Γ P∘m   b_m = c₁ (g − m)   b_v = c₂ (σ − v)      noise on m: √τ c₁ S dW¹

    In the batch-equivalent regime it is `BatchEquivalentAdam` of order 1, with the noise `c₁ S dW¹`. Here `b_v` lacks `c₂ g∘g`,
    so it is of no order: good where `σ` is large beside `g∘g`.
    """

    latex: ClassVar = {
        "leading drift, theta": r"-\Gamma\,P\circ m",
        "leading drift, m": r"c_1\,(g - m)",
        "leading drift, v": r"c_2\,(\sigma - v)",
        "noise of the first motion, m": r"\sqrt\tau\,c_1\,S\,dW^1",
    }


def _claim(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    if regime == BALLISTIC:
        return Claim(0, "v lacks the gradient's square, which is not small in this regime")
    return skewed(problem, regime)


MODEL = Model("malladi", table({
    (RMSProp, BALLISTIC): BallisticMalladiRMSProp,
    (RMSProp, BATCH_EQUIVALENT): BatchEquivalentRMSProp,
    (Adam, BALLISTIC): BallisticMalladiAdam,
    (Adam, BATCH_EQUIVALENT): BatchEquivalentAdam,
}), "RMSProp and Adam, with ε outside the root", _claim)
