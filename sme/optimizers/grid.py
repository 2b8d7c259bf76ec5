"""The times of the steps of a run."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepGrid:
    """So many steps of one size `τ` from 0 to the horizon."""

    horizon: float
    steps: int

    @classmethod
    def of(cls, tau: float, steps: int) -> "StepGrid":
        """So many steps of this size."""
        return cls(steps * tau, steps)

    @classmethod
    def near(cls, horizon: float, tau: float) -> "StepGrid":
        """Steps of this size up to rounding, as of a table that was read."""
        return cls(horizon, round(horizon / tau))

    @property
    def tau(self) -> float:
        """`τ = horizon/steps`."""
        return self.horizon / self.steps

    @property
    def given(self) -> float:
        """`τ` as it was given: beside the quotient, up to rounding, a decimal number or `1/n`; `0.1` for `0.7/7`."""
        tau = self.tau
        likely = float(f"{tau:.14g}"), 1 / max(1, round(1 / tau))
        return next((each for each in likely if abs(each - tau) <= 2 * math.ulp(tau)), tau)

    def time(self, step: Any) -> Any:
        """`k τ` of step `k`, a number or an array of them."""
        return step * self.tau

    def step(self, time: float) -> int:
        """The step that is nearest to a time."""
        return round(time / self.tau)
