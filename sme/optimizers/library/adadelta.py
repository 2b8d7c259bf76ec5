"""Adadelta."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.optimizers.base import State, adaptive_scale
from sme.optimizers.library.base import OverRoot
from sme.optimizers.preconditioner import floor
from sme.optimizers.regimes import Regime


@dataclass(frozen=True)
class Adadelta(OverRoot):
    r"""Adadelta of torch.optim, $1 - \rho = c\tau$, with `lr = ητ` in both regimes.

    ```math
    \begin{aligned}
    v' &= v + \tau c (q - v), \qquad r = \sqrt{(a + \varepsilon)/(w(v') + \varepsilon)} \\
    a' &= a + \tau c (r^2 q - a), \qquad \Delta = -r\circ s
    \end{aligned}
    ```

    In the batch-equivalent regime torch's `ε`, `v` and `a` are these over `τ`. Torch's default `lr = 1` is no small step: it
    has no limit as `τ → 0`.

    Parameters
    ----------
    c
        memory rate of both averages.
    """

    c: float = 0.5

    fields = ("theta", "v", "a")
    defaults = {"v": 1.0, "a": 1.0}
    nonnegative = ("v", "a")

    @staticmethod
    def unit(regime: Regime, tau: float) -> float:
        return adaptive_scale(regime, tau) ** 2

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        v = state["v"] + self.c * (square - tau * state["v"])
        ratio = (state["a"] + self.eps) / (floor(v, self.v_floor) + self.eps)
        return {"theta": -ratio.sqrt() * s, "v": v, "a": state["a"] + self.c * (ratio * square - tau * state["a"])}
