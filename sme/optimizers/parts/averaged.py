"""An average of the parameters beside a run."""

import math
from dataclasses import dataclass

from sme.common.errors import SMEError
from sme.common.inputs import number
from sme.optimizers.base import State
from sme.optimizers.parts.wrapped import Wrapped
from sme.optimizers.regimes import Gradient


@dataclass(frozen=True)
class Averaged(Wrapped):
    """`e' = e + cτ (θ' − e)`, an exponential average of the weights; with `c = 0` Polyak's, `e' = e + τ/(t + τ) (θ' − e)`.

    Nothing of the rule depends on `e`, the field `average`.

    Parameters
    ----------
    rule
        any update rule; for Polyak's average one that starts at `t0 > 0`.
    c
        memory rate, decay `1 − cτ` per step; 0 for the average of all since time 0.

    Raises
    ------
    SMEError
        for another `c`.
    """

    c: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "c", number("c", self.c))
        if not 0 <= self.c < math.inf:
            raise SMEError(f"c must be finite and ≥ 0, got {self.c:g}")
        if self.c == 0 and not self.rule.t0 > 0:
            raise SMEError("the average of all steps (c = 0) needs a rule that starts at t0 > 0: give c > 0, or such a rule")

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self.rule.fields, "average")

    @property
    def defaults(self) -> dict[str, float]:  # type: ignore[override]
        return {**self.rule.defaults, "average": 0.0}

    def rates(self) -> dict[str, float]:
        return {**self.rule.rates(), **({"c of the average": self.c} if self.c else {})}

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        new, average = self.rule.update(state, gradient, tau, t), state["average"]
        share = tau * self.c if self.c else tau / (t + tau)
        return {**new, "average": average + share * (new["theta"] - average)}
