"""SignSGD."""

from dataclasses import dataclass

from sme.optimizers.base import Optimizer, State, learning_rate
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class SignSGD(Optimizer):
    """`θ' = θ − gradient.sign`: a step of the learning rate against the sign of every entry of `ĝ`.

    The learning rate is `τ` in the ballistic regime, `√τ` in the batch-equivalent one.
    """

    signed = True

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        assert gradient.sign is not None
        return {"theta": state["theta"] - gradient.sign}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": learning_rate(regime, tau)}
