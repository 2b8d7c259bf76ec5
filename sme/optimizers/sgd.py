"""Stochastic gradient descent."""

from dataclasses import dataclass

from sme.optimizers.base import Optimizer, State
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class SGD(Optimizer):
    """`θ' = θ − s`, `s = gradient.step`.

    The steps of `torch.optim.SGD` with `lr = τ` in both regimes (in the batch-equivalent one the
    physical noise covariance is `Σ/τ`).
    """

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        return {"theta": state["theta"] - gradient.step}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": tau}
