"""Adam and AdamW of torch.optim, with a penalty in the loss."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from sme.optimizers.base import State
from sme.optimizers.bias import correction
from sme.optimizers.library.base import OverRoot
from sme.optimizers.preconditioner import preconditioner

TORCH = (1, 1)
"""the clock of torch.optim"""


@dataclass(frozen=True)
class TwoMoments(OverRoot):
    """What Adam and its kin share: the averages `m` and `v`, `1 − βᵢ = cᵢτ`.

    Parameters
    ----------
    c1, c2
        memory rates of `m` and `v`.
    """

    c1: float = 1.0
    c2: float = 0.5
    t0: float = 1.0

    fields: ClassVar[tuple[str, ...]] = ("theta", "m", "v")
    defaults = {"m": 0.0, "v": 1.0}
    nonnegative = ("v",)
    clocked = True
    powers = (1, 0.5)

    def averages(self, state: State, s: Tensor, square: Tensor, tau: Any) -> tuple[Tensor, Tensor]:
        """`m'` and `v'`."""
        return (state["m"] + self.c1 * (s - tau * state["m"]), state["v"] + self.c2 * (square - tau * state["v"]))


@dataclass(frozen=True)
class CorrectedAdam(TwoMoments):
    r"""Adam of torch.optim, corrected for its bias: the steps of `sme.Adam(denominator="updated", bias_correction=True)`.

    ```math
    \begin{aligned}
    m' &= m + c_1 (s - \tau m), \qquad v' = v + \tau c_2 (q - v) \\
    \Delta &= -\tau\,\Gamma\, m'\circ 1/(\sqrt{w(v')} + \varepsilon\sqrt{\gamma_2})
    \end{aligned}
    ```

    It has the penalty, the ascent and the rate that `sme.Adam` has not; with `decay` it is AdamW.
    """

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        m, v = self.averages(state, s, square, tau)
        factor = correction(t, tau, self.c1, self.c2, TORCH)
        p = preconditioner(v, self.eps * factor.root, self.v_floor).value
        return {"theta": -tau * factor.gain * m * p, "m": m, "v": v}
