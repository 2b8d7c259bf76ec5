"""AdaGrad."""

import math
from dataclasses import dataclass

from torch import Tensor

from sme.optimizers.base import Optimizer, State, adaptive_scale, settle
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    r"""AdaGrad.

    ```math
    \begin{aligned}
    v' &= v + \tau q \\
    \theta' &= \theta - s \circ P(\hat v), \qquad P(v) = 1/(\sqrt{w(v)} + \varepsilon)
    \end{aligned}
    ```

    with `s = gradient.step`, `q = gradient.square`, `v̂` and the floor `w` as in `RMSProp`. The sum of
    squares of `torch.optim.Adagrad` is `v/τ` in the ballistic regime, with `lr = √τ`, and `v/τ²` in
    the batch-equivalent one, with `lr = 1`.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    eps
        `ε`, in scaled variables (physical: `ε/√τ` ballistic, `ε/τ` batch-equivalent).
    denominator
        `"previous"` or `"updated"` (torch's).
    v_floor
        `δ` of the floor; 0 for none.
    """

    eps: float = 0.1
    denominator: str = "previous"
    v_floor: float = 0.01

    fields = ("theta", "v")
    defaults = {"v": 1.0}
    nonnegative = ("v",)

    def __post_init__(self) -> None:
        settle(self)

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        v = state["v"] + tau * gradient.square
        seen = v if self.denominator == "updated" else state["v"]
        return {"theta": state["theta"] - gradient.step * self.precondition(seen), "v": v}

    def precondition(self, v: Tensor) -> Tensor:
        """`P(v)`."""
        return preconditioner(v, self.eps, self.v_floor).value

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        scale = adaptive_scale(regime, tau)
        return {"lr": math.sqrt(tau) / scale, "eps": self.eps / (math.sqrt(tau) * scale)}
