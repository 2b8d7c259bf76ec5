"""Signum: the sign of the momentum."""

from dataclasses import dataclass

from sme.optimizers.base import State
from sme.optimizers.momentum import Momentum
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class Signum(Momentum):
    r"""Signum, $1 - \beta = c\tau$.

    ```math
    \begin{aligned}
    m' &= m + c\,(s - \tau m) \\
    \theta' &= \theta - \tau\, \mathrm{sign}(m')
    \end{aligned}
    ```

    with `s = gradient.step`. The learning rate is `τ` in both regimes. Its equation of order 2 has this order while `m` crosses
    0; where `m` comes to rest there, the order is 1.

    The parameter and its errors are those of `Momentum`.
    """

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        m = self.momentum(state, gradient, tau)
        return {"theta": state["theta"] - tau * m.sign(), "m": m}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": tau, "beta": 1 - self.c * tau}
