"""RMSProp with decoupled weight decay."""

from dataclasses import dataclass

from sme.optimizers.base import State, settle
from sme.optimizers.rmsprop import RMSProp
from sme.regimes import Gradient, Regime


@dataclass(frozen=True)
class RMSPropW(RMSProp):
    """`RMSProp` with a further step `−τ λ θ`, `θ` the old parameters.

    The decoupled weight decay: `lr · weight_decay = τλ`.

    Parameters
    ----------
    decay
        `λ ≥ 0`, per unit of time (physical: `λ` ballistic, `√τ λ` batch-equivalent); the others are
        those of `RMSProp`.

    Raises
    ------
    SMEError
        for a value outside these ranges.
    """

    decay: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, nonnegative=("decay",))

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        new = super().update(state, gradient, tau, t)
        return {**new, "theta": new["theta"] - tau * self.decay * state["theta"]}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        given = super().physical(regime, tau)
        return {**given, "weight_decay": tau * self.decay / given["lr"]}
