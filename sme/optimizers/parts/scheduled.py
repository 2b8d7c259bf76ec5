"""A learning rate that changes with time, on any rule."""

from dataclasses import dataclass

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.optimizers.base import State
from sme.optimizers.parts.schedules import Schedule
from sme.optimizers.parts.wrapped import Wrapped
from sme.optimizers.regimes import Gradient


@dataclass(frozen=True)
class Scheduled(Wrapped):
    """`θ' = θ + η(t) (θ'' − θ)`, `θ''` the parameters after a step of `rule`; its averages are as they are.

    As torch's schedulers have it: every step of `θ` is its learning rate times something, decays too.

    Parameters
    ----------
    rule
        any update rule.
    schedule
        `η`, such as `Cosine(end=2.0)`.

    Raises
    ------
    SMEError
        for what is no rule or no schedule.
    """

    schedule: Schedule

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.schedule, Schedule):
            raise SMEError(f"schedule must be one of sme.optimizers.parts.schedules, such as Cosine(end=2.0), got "
                           f"{short(self.schedule)}")

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        new, theta = self.rule.update(state, gradient, tau, t), state["theta"]
        return {**new, "theta": theta + self.schedule(t) * (new["theta"] - theta)}
