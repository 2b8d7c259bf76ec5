"""AdaBayes at its fixed point."""

from dataclasses import dataclass

from torch import Tensor

from sme.optimizers.base import Optimizer, State, learning_rate, settle
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class AdaBayes(Optimizer):
    r"""The fixed point of AdaBayes (Aitchison, NeurIPS 2020), $1 - \beta_i = c_i\tau$.

    ```math
    \begin{aligned}
    m' &= m + c_1 (s - \tau m) \\
    v' &= v + \tau c_2 (q - v) \\
    \theta' &= \theta - \tau\, m' \circ P(\hat v), \qquad P(v) = 1/(a + \sqrt{a^2 + w(v)})
    \end{aligned}
    ```

    with `s = gradient.step`, `q = gradient.square`, `v̂` and the floor `w` as in `RMSProp`, without bias
    correction. For `v ≪ a²` it is `Momentum` times `1/(2a)`, for `v ≫ a²` Adam with `ε → 0`.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    c1, c2
        memory rates of `m` and `v`, per unit of time; `βᵢ = 1 − cᵢτ`.
    prior
        `a > 0`, in scaled variables: `η/(2σ²)` for a learning rate `η` and a prior variance `σ²` (the
        code of the paper has `σ² = lr_sgd/batch_size`); `σ² = τ/(2a)` in both regimes.
    denominator
        `"previous"` or `"updated"` (the paper's).
    v_floor
        `δ` of the floor; 0 for none.
    """

    c1: float = 1.0
    c2: float = 0.5
    prior: float = 0.5
    denominator: str = "previous"
    v_floor: float = 0.01

    fields = ("theta", "m", "v")
    memories = ("c1", "c2")
    defaults = {"m": 0.0, "v": 1.0}
    nonnegative = ("v",)

    def __post_init__(self) -> None:
        settle(self, positive=("prior",), nonnegative=("v_floor",))

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        m = state["m"] + self.c1 * (gradient.step - tau * state["m"])
        v = state["v"] + tau * self.c2 * (gradient.square - state["v"])
        seen = v if self.denominator == "updated" else state["v"]
        return {"theta": state["theta"] - tau * m * self.precondition(seen), "m": m, "v": v}

    def precondition(self, v: Tensor) -> Tensor:
        """`P(v)`."""
        return preconditioner(v, self.prior, self.v_floor, inside=self.prior**2).value

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": learning_rate(regime, tau), "beta1": 1 - self.c1 * tau, "beta2": 1 - self.c2 * tau,
                "sigma2": tau / (2 * self.prior)}
