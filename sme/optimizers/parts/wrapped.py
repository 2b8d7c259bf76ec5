"""A rule around another rule."""

from collections.abc import Mapping
from dataclasses import dataclass

from sme.optimizers.base import Optimizer, State, sound
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class Wrapped(Optimizer):
    """What a part that is put around a rule leaves as it is: fields, rates, start time and hyperparameters of `rule`."""

    rule: Optimizer

    def __post_init__(self) -> None:
        sound(self.rule)

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.rule.fields

    @property
    def defaults(self) -> Mapping[str, float]:  # type: ignore[override]
        return self.rule.defaults

    @property
    def nonnegative(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.rule.nonnegative

    @property
    def signed(self) -> bool:  # type: ignore[override]
        return self.rule.signed

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        return self.rule.mixes

    @property
    def opaque(self) -> bool:  # type: ignore[override]
        return self.rule.opaque

    @property
    def v_floor(self) -> float:  # type: ignore[override]
        return self.rule.v_floor

    @property
    def t0(self) -> float:  # type: ignore[override]
        return self.rule.t0

    @property
    def memory(self) -> float:  # type: ignore[override]
        return self.rule.memory

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
