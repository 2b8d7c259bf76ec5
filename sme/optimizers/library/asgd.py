"""Averaged SGD."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.base import State
from sme.optimizers.library.base import LibraryRule, power
from sme.optimizers.regimes import Gradient


@dataclass(frozen=True)
class SlowingSGD(LibraryRule):
    r"""ASGD of torch.optim before its average begins, with `lr = ητ` in both regimes.

    ```math
    \Delta = -\frac{s + \tau\ell\theta}{(1 + \eta\ell t)^{\alpha}}
    ```

    Parameters
    ----------
    slowing
        `ℓ ≥ 0`, torch's `lambd`.
    alpha
        `α ≥ 0`.
    """

    slowing: float = 0.1
    alpha: float = 0.75

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        step = s + tau * self.slowing * state["theta"]
        return {"theta": -step / power(1 + self.rate * self.slowing * t, self.alpha) if self.slowing else -step}


@dataclass(frozen=True)
class ASGD(SlowingSGD):
    r"""ASGD of torch.optim, whose average `x` of the parameters begins at `t₁ < t0`.

    ```math
    \Delta = -\frac{s + \tau\ell\theta}{(1 + \eta\ell t)^{\alpha}}, \qquad x' = x + \frac{\tau}{t - t_1}\,(\theta' - x)
    ```

    Parameters
    ----------
    begins
        `t₁ ≥ 0`, torch's `t0` times `τ`; until then torch's average is `θ` itself.
    t0
        start time, after `begins`.
    """

    begins: float = 0.0
    t0: float = 1.0

    fields = ("theta", "x")
    defaults = {"x": 0.0}
    clocked = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.t0 > self.begins:
            raise SMEError(f"the average of ASGD begins at {self.begins:g}, and the start time must be later, got "
                           f"t0 = {self.t0:g}")

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        new = super().update(state, gradient, tau, t)
        return {**new, "x": state["x"] + tau / (t - self.begins) * (new["theta"] - state["x"])}
