"""Lion."""

from dataclasses import dataclass

from sme.common.errors import SMEError
from sme.optimizers.base import State, settle
from sme.optimizers.momentum import Momentum
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class Lion(Momentum):
    r"""Lion with a fixed `β₁ = 1 − a` and $1 - \beta_2 = c\tau$, `lr = τ`; ballistic.

    ```math
    \theta' = \theta - \tau\left[\mathrm{sign}((1 - a)\, m + a\hat g) + \lambda\theta\right], \qquad
    m' = m + c (s - \tau m)
    ```

    The sign is taken of the raw gradient: with noise of a density its mean is smooth in `θ` and `m`, since `a > 0`.
    Source: Chen et al. 2023, arXiv 2302.06675.

    Parameters
    ----------
    c
        memory rate of `m`.
    a
        `1 − β₁` in `(0, 1]`.
    decay
        `λ ≥ 0`.

    Raises
    ------
    SMEError
        for a value outside these ranges.
    """

    a: float = 0.1
    decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, positive=("a",), nonnegative=("decay",))
        if self.a > 1:
            raise SMEError(f"a must lie in (0, 1], got {self.a:g}")

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        theta, m = state["theta"], state["m"]
        move = ((1 - self.a) * m + self.a * gradient.scaled).sign() + self.decay * theta
        return {"theta": theta - tau * move, "m": self.momentum(state, gradient, tau)}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": tau, "beta1": 1 - self.a, "beta2": 1 - self.forgetting(self.c, tau), "weight_decay": self.decay}
