"""A rule around another rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sme.optimizers.base import Optimizer, State, sound
from sme.optimizers.regimes import Gradient, Regime


def _told(name: str) -> Any:
    """What the rule within says of itself."""
    return property(attrgetter(f"rule.{name}"))


@dataclass(frozen=True)
class Wrapped(Optimizer):
    """What a part that is put around a rule leaves as it is: fields, rates, start time and hyperparameters of `rule`."""

    rule: Optimizer

    def __post_init__(self) -> None:
        sound(self.rule)

    fields = _told("fields")
    defaults = _told("defaults")
    nonnegative = _told("nonnegative")
    signed = _told("signed")
    mixes = _told("mixes")
    opaque = _told("opaque")
    v_floor = _told("v_floor")
    t0 = _told("t0")
    memory = _told("memory")

    @property
    def name(self) -> str:
        return f"{type(self).__name__.lower()}_{self.rule.name}"

    def rates(self) -> Mapping[str, float]:
        return self.rule.rates()

    def suits(self, regime: Regime) -> None:
        self.rule.suits(regime)

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return self.rule.physical(regime, tau)

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        return self.rule.update(state, gradient, tau, t)
