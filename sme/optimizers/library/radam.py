"""RAdam."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.optimizers.base import State
from sme.optimizers.library.adam import TwoMoments
from sme.optimizers.library.base import decayed
from sme.optimizers.preconditioner import preconditioner


@dataclass(frozen=True)
class RAdam(TwoMoments):
    r"""RAdam of torch.optim, $1 - \beta_i = c_i\tau$, with `lr = ητ` ballistic, `η√τ` batch-equivalent.

    ```math
    \begin{aligned}
    m' &= m + c_1 (s - \tau m), \qquad v' = v + \tau c_2 (q - v), \qquad B_i = (1 - c_i\tau)^{t/\tau + 1} \\
    \rho_\infty &= 2/c_2 - \tau, \qquad \rho = \rho_\infty - 2 (t + \tau) B_2/(1 - B_2) \\
    \Delta &= -\tau\,\sqrt{\frac{(\rho - 4\tau)(\rho - 2\tau)\rho_\infty}{(\rho_\infty - 4\tau)(\rho_\infty - 2\tau)\rho}}\;
    \frac{\sqrt{1 - B_2}}{1 - B_1}\; m'\circ 1/(\sqrt{w(v')} + \varepsilon)
    \end{aligned}
    ```

    `ρ` is torch's times `τ`. Its first steps, with `ρ ≤ 5τ`, are of another form: they belong to no `t > 0` as `τ → 0`.
    """

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        m, v = self.averages(state, s, square, tau)
        first, second = (decayed(c, t + tau, tau) for c in (self.c1, self.c2))
        limit = 2 / self.c2 - tau
        rho = limit - 2 * (t + tau) * second / (1 - second)
        share = (rho - 4 * tau) * (rho - 2 * tau) * limit / ((limit - 4 * tau) * (limit - 2 * tau) * rho)
        gain = (share * (1 - second)).sqrt() / (1 - first)
        return {"theta": -tau * gain * m * preconditioner(v, self.eps, self.v_floor).value, "m": m, "v": v}
