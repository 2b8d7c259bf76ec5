"""AdEMAMix."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.optimizers.base import State
from sme.optimizers.bias import correction
from sme.optimizers.library.adam import TORCH, TwoMoments
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import Regime


@dataclass(frozen=True)
class AdEMAMix(TwoMoments):
    r"""AdEMAMix, $1 - \beta_i = c_i\tau$: Adam with a second, slow momentum `n` beside its own.

    ```math
    \begin{aligned}
    m' &= m + c_1 (s - \tau m), \qquad v' = v + \tau c_2 (q - v), \qquad n' = n + c_3 (s - \tau n) \\
    \Delta &= -\tau\,(m'/\gamma_1 + \alpha n')\circ 1/(\sqrt{w(v')/\gamma_2} + \varepsilon)
    \end{aligned}
    ```

    Its schedules of `α` and `β₃` are left out: both are constant. Source: Pagliardini et al. 2024, arXiv 2409.03137.

    Parameters
    ----------
    c3
        memory rate of `n`, much below `c1`.
    alpha
        `α ≥ 0`.
    """

    c3: float = 0.05
    alpha: float = 5.0

    fields = ("theta", "m", "v", "n")
    defaults = {"m": 0.0, "v": 1.0, "n": 0.0}

    def rates(self) -> dict[str, float]:
        return {**super().rates(), "c3": self.c3}

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        m, v = self.averages(state, s, square, tau)
        n = state["n"] + self.c3 * (s - tau * state["n"])
        factor = correction(t, tau, self.c1, self.c2, TORCH)
        p = preconditioner(v, self.eps * factor.root, self.v_floor).value
        return {"theta": -tau * (factor.gain * m + self.alpha * factor.root * n) * p, "m": m, "v": v, "n": n}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {**super().physical(regime, tau), "alpha": self.alpha}
