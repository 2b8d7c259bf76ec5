"""Lion."""

from dataclasses import dataclass

from sme.common.errors import SMEError
from sme.optimizers.base import State, settle
from sme.optimizers.momentum import Momentum
from sme.optimizers.regimes import Gradient, Regime

TINY = 1e-300


@dataclass(frozen=True)
class Lion(Momentum):
    r"""Lion with a fixed `β₁ = 1 − a` and $1 - \beta_2 = c\tau$; `lr = u`, `τ` ballistic and `√τ` batch-equivalent.

    ```math
    \theta' = \theta - u\,\mathrm{sign}((1 - a)\tfrac\tau u m + a\hat g) - \tau\lambda\theta, \qquad
    m' = m + c (s - \tau m)
    ```

    The sign is taken of the raw gradient: with noise of a density its mean is smooth in `θ` and `m`, since `a > 0`. In the
    batch-equivalent regime the equation is of order 1, since the sign has fourth moments that no Itô equation has.
    Source: Chen et al. 2023, arXiv 2302.06675.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    c
        memory rate of `m`.
    a
        `1 − β₁` in `(0, 1]`.
    decay
        `λ ≥ 0`.
    """

    a: float = 0.1
    decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, positive=("a",), nonnegative=("decay",))
        if self.a > 1:
            raise SMEError(f"a must lie in (0, 1], got {self.a:g}")

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        theta, unit = state["theta"], gradient.unit
        share = (tau + TINY) / (unit + TINY)  # of a mean gradient in ĝ, also at τ = 0
        move = ((1 - self.a) * share * state["m"] + self.a * gradient.scaled).sign() + share * self.decay * theta
        return {"theta": theta - unit * move, "m": self.momentum(state, gradient, tau)}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        unit = tau ** (regime.step_power / 2)
        return {"lr": unit, "beta1": 1 - self.a, "beta2": 1 - self.forgetting(self.c, tau),
                "weight_decay": self.decay * tau / unit}
