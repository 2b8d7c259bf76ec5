"""AdaBelief."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.optimizers.base import State
from sme.optimizers.bias import correction
from sme.optimizers.library.adam import TORCH, TwoMoments
from sme.optimizers.preconditioner import preconditioner


@dataclass(frozen=True)
class AdaBelief(TwoMoments):
    r"""AdaBelief, $1 - \beta_i = c_i\tau$: Adam with the average of `(ĝ − m')²` in place of `ĝ²`.

    ```math
    \begin{aligned}
    m' &= m + c_1 (s - \tau m), \qquad
    v' = v + c_2\left[(1 - c_1\tau)^2 (\tau q - \kappa\, m\circ(2 s - \tau m)) - \tau v\right] \\
    \Delta &= -\tau\,\Gamma\, m'\circ 1/(\sqrt{w(v')} + \varepsilon\sqrt{\gamma_2})
    \end{aligned}
    ```

    `κ` is 1 in the ballistic regime and `τ` in the batch-equivalent one, so that `regime` must be the one that it is used in. The
    `ε` that some libraries add to `v` in every step is left out. Source: Zhuang et al. 2020, arXiv 2010.07468.
    """

    def _mixed(self) -> bool:
        return True

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        old, keep = state["m"], 1 - self.c1 * tau
        m = old + self.c1 * (s - tau * old)
        away = keep * keep * (square - self.cross(tau) * old * (2 * s - tau * old))
        v = state["v"] + self.c2 * (away - tau * state["v"])
        factor = correction(t, tau, self.c1, self.c2, TORCH)
        p = preconditioner(v, self.eps * factor.root, self.v_floor).value
        return {"theta": -tau * factor.gain * m * p, "m": m, "v": v}
