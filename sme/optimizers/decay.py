"""Decoupled weight decay, for any update rule."""

from dataclasses import dataclass

from sme.optimizers.base import Optimizer, State, settle
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class DecoupledDecay(Optimizer):
    """A further step `−τ λ θ` beside that of the rule that it is mixed into, `θ` the old parameters.

    Parameters
    ----------
    decay
        `λ ≥ 0`, per unit of time (physical: `λ` ballistic, `√τ λ` batch-equivalent); `lr · weight_decay = τλ`.
    """

    decay: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        settle(self, nonnegative=("decay",))

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        new = super().update(state, gradient, tau, t)  # type: ignore[safe-super]
        return {**new, "theta": new["theta"] - tau * self.decay * state["theta"]}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        given = super().physical(regime, tau)
        return {**given, "weight_decay": tau * self.decay / given["lr"]}
