"""The leading drift alone, of any optimizer: the kind of ODE that is studied for Adam (Barakat and Bianchi, arXiv 1810.02263)."""

from typing import ClassVar

import torch
from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.closed.known import check_known
from sme.equations.literature.model import Claim, Model
from sme.equations.registry import assemble
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.problems.base import Problem


class BallisticODE(Equation):
    """Ballistic: `dx = b dt`, `b` the drift of order 1 of `sme`, of any optimizer and law; of order 1.

    Of RMSProp `b_θ = −P∘∇f`, `b_v = c ((∇f)² + diag Σ − v)`; of Adam `b_θ = −Γ P∘m`, `b_m = c₁ (∇f − m)`,
    `b_v = c₂ ((∇f)² + diag Σ − v)`. It is what order=1, brownian="none" is.
    """

    small_noise = True
    numerics = ("derived",)  # of a rule without a closed form
    regime: ClassVar[Regime] = BALLISTIC

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        check_known(optimizer, self.regime)
        self.model = assemble(problem, optimizer, self.regime, tau, 1, "none")

    def drift(self, t: float, x: X) -> X:
        return self.model.drift(t, x)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return torch.zeros_like(x)


class BatchEquivalentODE(BallisticODE):
    """Batch-equivalent: `dx = b dt`. The noise that it leaves out is of size 1 there, so it is of no order."""

    regime = BATCH_EQUIVALENT


def claim(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    """Order 1 where the noise is small."""
    if regime == BATCH_EQUIVALENT:
        return Claim(0, "the ODE lacks the noise, which is not small in this regime")
    return Claim(1)


def kind(optimizer: Optimizer, regime: Regime) -> type[BallisticODE]:
    """The class for a regime."""
    return BallisticODE if regime == BALLISTIC else BatchEquivalentODE


MODEL = Model("ode", kind, "every rule", claim, brownian=("none",))
