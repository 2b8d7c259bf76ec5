"""AdaBayes as a filter."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from sme.optimizers.base import Optimizer, State, learning_rate, settle
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class AdaBayesFilter(Optimizer):
    r"""AdaBayes (Aitchison, NeurIPS 2020) as a filter, $1 - \beta = c_1\tau$.

    ```math
    \begin{aligned}
    m' &= m + c_1 (s - \tau m) \\
    p^- &= e^{-2a\tau} p + (1 - e^{-2a\tau})/(2a), \qquad 1/p' = 1/p^- + \tau q \\
    \theta' &= (1 - \tau\lambda)(\theta - \tau\, m' \circ \hat p)
    \end{aligned}
    ```

    with `s = gradient.step`, `q = gradient.square`, and `p̂` either `p` or `p'`; without bias correction. `p` is a learning
    rate for each parameter: the posterior variance is `τp` (batch-equivalent `p`) and starts at the prior's, `p = 1/(2a)`,
    for the default `a`. Its memory has the rate `2√(a² + q)`, so no `c₂` is free. `AdaBayes` is where it is stationary for
    a constant `q = v`, up to `O(τ)`.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    c1
        memory rate of `m`, per unit of time.
    prior
        `a > 0`, in scaled variables: the prior variance is `τ/(2a)` (batch-equivalent `1/(2a)`).
    denominator
        `"previous"` for `p̂ = p` or `"updated"` for `p̂ = p'` (the paper's).
    decay
        `λ ≥ 0`, per unit of time, of all that is in `θ` after the step (the weight drift of the paper's code).
    """

    c1: float = 1.0
    prior: float = 0.5
    denominator: str = "previous"
    decay: float = 0.0

    fields = ("theta", "m", "p")
    memories = ("c1",)
    defaults = {"m": 0.0, "p": 1.0}
    nonnegative = ("p",)

    def __post_init__(self) -> None:
        settle(self, positive=("prior",), nonnegative=("decay",))

    @property
    def name(self) -> str:
        return "adabayes_filter"

    def update(self, state: State, gradient: Gradient, tau: Any, t: Any) -> State:
        m = state["m"] + self.c1 * (gradient.step - tau * state["m"])
        forgotten = -(math if isinstance(tau, float | int) else torch).expm1(-2 * self.prior * tau)
        before = state["p"] + forgotten * (0.5 / self.prior - state["p"])
        p = before / (1 + tau * gradient.square * before)
        seen = p if self.denominator == "updated" else state["p"]
        return {"theta": (1 - tau * self.decay) * (state["theta"] - tau * m * seen), "m": m, "p": p}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        # the filter sees batch · gradient, and in the batch-equivalent regime the batch shrinks with τ
        batch = tau ** (regime.mean_power)
        return {"lr": learning_rate(regime, tau), "beta1": 1 - self.c1 * tau, "sigma2": tau / (2 * self.prior * batch),
                "batch": batch, "weight_drift": tau * self.decay}
