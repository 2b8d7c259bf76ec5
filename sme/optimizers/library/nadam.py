"""NAdam."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.optimizers.base import State
from sme.optimizers.bias import correction
from sme.optimizers.library.adam import TORCH, TwoMoments
from sme.optimizers.library.base import exponential
from sme.optimizers.preconditioner import preconditioner

WARM = math.log(0.96)
"""torch's, of Dozat's schedule of the momentum"""


@dataclass(frozen=True)
class NAdam(TwoMoments):
    r"""NAdam of torch.optim, $1 - \beta_i = c_i\tau$, with `lr = ητ` ballistic, `η√τ` batch-equivalent.

    ```math
    \begin{aligned}
    m' &= m + c_1 (s - \tau m), \qquad v' = v + \tau c_2 (q - v) \\
    \mu(t) &= (1 - c_1\tau)\,(1 - \tfrac12\, 0.96^{\psi t}) \\
    \Delta &= -\left[(1 - \mu(t + \tau))\, s + \tau \mu(t + 2\tau)\, m'\right]\circ 1/(\sqrt{w(v')/\gamma_2} + \varepsilon)
    \end{aligned}
    ```

    Its limit is not Adam's: `θ` moves by a part of the gradient itself. The product of all `μ` so far, which torch subtracts
    from 1, is below every power of `τ` at `t > 0` and is left out.

    Parameters
    ----------
    psi
        `ψ ≥ 0`, torch's `momentum_decay = ψτ`.
    """

    psi: float = 0.4

    def mu(self, t: Any, tau: Any) -> Any:
        """`μ(t)`."""
        return (1 - self.c1 * tau) * (1 - 0.5 * exponential(WARM * self.psi * t))

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        m, v = self.averages(state, s, square, tau)
        root = correction(t, tau, self.c1, self.c2, TORCH).root
        p = root * preconditioner(v, self.eps * root, self.v_floor).value
        now, later = self.mu(t + tau, tau), self.mu(t + 2 * tau, tau)
        return {"theta": -((1 - now) * s + tau * later * m) * p, "m": m, "v": v}
