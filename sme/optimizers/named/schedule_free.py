"""SGD and AdamW without a schedule."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.base import State
from sme.optimizers.bias import correction
from sme.optimizers.library.adam import TORCH
from sme.optimizers.library.base import LibraryRule, OverRoot
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class ScheduleFreeSGD(LibraryRule):
    r"""Schedule-free SGD: `θ` is `y`, at which the gradient is taken, and `x` its average, `θ = (1 − β) z + β x`.

    ```math
    z' = z - \eta (s + \tau\lambda\theta), \qquad
    \theta' = \theta - (1 - \beta)\,\eta (s + \tau\lambda\theta) + \frac{\beta\tau}{t + \tau}\,(z' - x), \qquad
    x = (\theta - (1 - \beta) z)/\beta
    ```

    `x` is the mean of `z` since time 0: `z` starts where `θ` does, `start={"theta": a, "z": a}`.
    Source: Defazio et al. 2024, arXiv 2405.15682.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    beta
        the fixed `β` in `(0, 1)`.
    """

    beta: float = 0.9
    t0: float = 1.0

    fields: ClassVar[tuple[str, ...]] = ("theta", "z")
    defaults = {"z": 0.0}
    clocked = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta < 1:
            raise SMEError(f"beta must lie in (0, 1), got {self.beta:g}")

    @property
    def name(self) -> str:
        return "schedule_free_" + super().name.removeprefix("schedulefree")

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        theta, z, beta = state["theta"], state["z"], self.beta
        new = self.step(state, *self.seen(theta, gradient, tau), tau, t)
        move = self.rate * (new.pop("theta") - tau * self.decay * theta)
        average = (theta - (1 - beta) * z) / beta
        return {"theta": theta + (1 - beta) * move + beta * tau / (t + tau) * (z + move - average), "z": z + move, **new}

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        return {"theta": -s}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        given = super().physical(regime, tau)
        second = {"beta2": given.pop("beta")} if "beta" in given else {}
        return {**given, "beta1": self.beta, **second}


@dataclass(frozen=True)
class ScheduleFreeAdamW(ScheduleFreeSGD, OverRoot):
    r"""Schedule-free AdamW, $1 - \beta_2 = c\tau$: `ScheduleFreeSGD` with `s` over the root of the second moment.

    ```math
    v' = v + \tau c (q - v), \qquad s \to s\circ 1/(\sqrt{w(v')/\gamma} + \varepsilon)
    ```

    Parameters
    ----------
    c
        memory rate of `v`.
    """

    c: float = 0.5

    fields = ("theta", "z", "v")
    defaults = {"z": 0.0, "v": 1.0}
    nonnegative = ("v",)
    powers = (1, 0.5)

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        v = state["v"] + self.c * (square - tau * state["v"])
        root = correction(t, tau, self.c, self.c, TORCH).root
        return {"theta": -root * s * preconditioner(v, self.eps * root, self.v_floor).value, "v": v}
