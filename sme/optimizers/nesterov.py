"""Nesterov's momentum."""

from dataclasses import dataclass

from sme.optimizers.base import State
from sme.optimizers.momentum import Momentum
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class Nesterov(Momentum):
    r"""Nesterov's momentum in the form of `torch.optim`, $1 - \beta = c\tau$.

    ```math
    \begin{aligned}
    m' &= m + c\,(s - \tau m) \\
    \theta' &= \theta - \tau\,((1 - c\tau)\, m' + c s)
    \end{aligned}
    ```

    with `s = gradient.step`. The steps of `torch.optim.SGD` with `lr = cτ²`, momentum `1 − cτ`,
    `nesterov=True` and a momentum buffer that starts at `m/(cτ)`.

    The parameter and its errors are those of `Momentum`.
    """

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        m = self.momentum(state, gradient, tau)
        ahead = (1 - self.c * tau) * m + self.c * gradient.step
        return {"theta": state["theta"] - tau * ahead, "m": m}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": self.c * tau**2, "momentum": 1 - self.c * tau}
