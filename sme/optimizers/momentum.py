"""SGD with momentum (the heavy ball)."""

from dataclasses import dataclass

from torch import Tensor

from sme.optimizers.base import Optimizer, State, settle
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class Momentum(Optimizer):
    r"""Heavy ball, $1 - \beta = c\tau$.

    ```math
    \begin{aligned}
    m' &= m + c\,(s - \tau m) \\
    \theta' &= \theta - \tau m'
    \end{aligned}
    ```

    with `s = gradient.step`. The steps of `torch.optim.SGD` with momentum and dampening `1 − cτ`
    whose momentum buffer starts at `m`. A fresh optimizer's first buffer is its first gradient, undamped: set
    `optimizer.state[p]["momentum_buffer"]` to the start of `m` to repeat a run.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    c
        memory rate of `m`, per unit of time; `β = 1 − c τ`.
    """

    c: float = 1.0

    fields = ("theta", "m")
    memories = ("c",)
    defaults = {"m": 0.0}

    def __post_init__(self) -> None:
        settle(self, nonnegative=())

    def momentum(self, state: State, gradient: Gradient, tau: float) -> Tensor:
        """`m'`."""
        return state["m"] + self.c * (gradient.step - tau * state["m"])

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        m = self.momentum(state, gradient, tau)
        return {"theta": state["theta"] - tau * m, "m": m}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        beta = 1 - self.c * tau
        return {"lr": tau, "momentum": beta, "dampening": beta}
