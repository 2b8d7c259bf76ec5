"""Adagrad of torch.optim, with the decay of its learning rate."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.optimizers.base import State, adaptive_scale
from sme.optimizers.library.base import OverRoot
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import Regime


@dataclass(frozen=True)
class DecayedAdagrad(OverRoot):
    r"""Adagrad of torch.optim: the steps of `sme.AdaGrad(denominator="updated")`, with `lr_decay = ℓτ`.

    ```math
    v' = v + \tau q, \qquad \Delta = -\frac{1}{1 + \ell t}\; s\circ 1/(\sqrt{w(v')} + \varepsilon)
    ```

    `lr = η√τ` and torch's sum of squares is `v/τ` ballistic, `lr = η` and `v/τ²` batch-equivalent.

    Parameters
    ----------
    slowing
        `ℓ ≥ 0`.
    """

    slowing: float = 0.0

    powers = (0.5, 0)
    fields = ("theta", "v")
    defaults = {"v": 1.0}
    nonnegative = ("v",)

    @staticmethod
    def unit(regime: Regime, tau: float) -> float:
        return tau**0.5 * adaptive_scale(regime, tau)

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        v = state["v"] + square
        p = preconditioner(v, self.eps, self.v_floor).value
        return {"theta": -(s / (1 + self.slowing * t) if self.slowing else s) * p, "v": v}
