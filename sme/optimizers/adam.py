"""Adam."""

import math
from dataclasses import dataclass

from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import instance, number, short, whole
from sme.optimizers.base import Optimizer, State, learning_rate, physical_eps, settle
from sme.optimizers.bias import NONE, Correction, correction
from sme.optimizers.preconditioner import places, preconditioner
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class Adam(Optimizer):
    r"""Adam, $1 - \beta_i = c_i\tau^q$, $q = 1$ unless `memory` says otherwise.

    ```math
    \begin{aligned}
    m' &= m + (1 - \beta_1)(s/\tau - m) \\
    v' &= v + (1 - \beta_2)(\hat g\circ\hat g - v) \\
    \theta' &= \theta - \tau\, \Gamma\, m' \circ 1/(\sqrt{w(\hat v)} + \varepsilon\sqrt{\gamma_2})
    \end{aligned}
    ```

    with `s = gradient.step`, `ĝ∘ĝ = gradient.square`, `v̂` and the floor `w` as in `RMSProp`.
    Without bias correction (the default here; **`torch.optim.Adam` always corrects**)
    `Γ = γ₂ = 1`. With it `γᵢ = 1 − βᵢ^{k + nᵢ}` at step `k`, `Γ = √γ₂/γ₁`, where
    `(n₁, n₂) = clock` is `(1, 1)` in torch.

    Parameters
    ----------
    c1, c2
        memory rates of `m` and `v`, per unit of time; `βᵢ = 1 − cᵢτ^q`.
    eps
        `ε`, in scaled variables (physical: `ε/√τ` in the batch-equivalent regime).
    denominator
        `"previous"` or `"updated"` (torch's).
    bias_correction
        needs `t0 > 0`, the time at which discrete run and equation start from the same state: a
        multiple of every `τ` (`Γ` behaves like `t^{-1/2}` at 0, where no expansion is uniform); with `memory < 1` it
        needs none.
    t0, clock, v_floor
        start time; the offsets `(n₁, n₂)`; `δ` of the floor, 0 for none.
    eps_mode
        `"outside"` the root as above (torch's), `"inside"`: `1/√(w(v̂) + εγ₂)`, or `"average"`: the
        average is of `ĝ∘ĝ + ε` in place of `ĝ∘ĝ`, and `1/√w(v̂)`. In these two `ε` is in units of `v`.
    memory
        `q ≥ 0` of `1 − βᵢ = cᵢτ^q`: at 1 both moments are variables of the equation; at 0 `βᵢ = 1 − cᵢ` are fixed, with
        `cᵢ < 1`; between them they follow their inputs as `τ → 0`, and beyond 1 they stay at their start.

    Raises
    ------
    SMEError
        for a value outside these ranges, or `bias_correction` without `t0`.
    """

    c1: float = 1.0
    c2: float = 0.5
    eps: float = 0.1
    denominator: str = "previous"
    bias_correction: bool = False
    t0: float = 0.0
    clock: tuple[int, int] = (1, 1)
    v_floor: float = 0.01
    eps_mode: str = "outside"
    memory: float = 1.0

    fields = ("theta", "m", "v")
    memories = ("c1", "c2")
    defaults = {"m": 0.0, "v": 1.0}
    nonnegative = ("v",)

    def __post_init__(self) -> None:
        settle(self, nonnegative=("memory", "eps", "v_floor"))
        object.__setattr__(self, "t0", number("t0", self.t0))
        instance("bias_correction", self.bias_correction, bool, "True or False")
        if not 0 <= self.t0 < math.inf:
            raise SMEError(f"t0 must be finite and ≥ 0, got {self.t0:g}")
        if self.bias_correction and not self.t0 > 0 and self.memory >= 1:
            raise SMEError(
                f"bias_correction=True needs a start time t0 > 0, a multiple of every τ, got t0 = {self.t0:g}: "
                "Γ is singular at t = 0 and no order holds there; give one such as t0=2"
            )
        if not self.bias_correction and self.t0 != 0:
            raise SMEError(f"t0 = {self.t0:g} has no effect without bias_correction=True")
        if not isinstance(self.clock, tuple | list) or len(self.clock) != 2:
            raise SMEError(f"clock must be two offsets ≥ 0 such as (1, 1), got {short(self.clock)}")
        object.__setattr__(self, "clock", tuple(whole("an offset of the clock", n, 0) for n in self.clock))
        if self.bias_correction and self.t0 == 0 and 0 in self.clock:
            raise SMEError(f"clock = {self.clock} divides by γ = 0 in the first step: give offsets ≥ 1, or t0 > 0")

    def correction(self, t: float | Tensor, tau: float | Tensor) -> Correction:
        """`Γ`, `√γ₂` and their derivatives at time `t`."""
        if not self.bias_correction:
            return NONE
        return correction(t, tau, self.c1, self.c2, self.clock, self.memory)

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        factor = self.correction(t, tau)
        m = state["m"] + self.pull(self.c1, tau) * (gradient.step - tau * state["m"])
        square = gradient.square + self.eps if self.eps_mode == "average" else gradient.square
        v = state["v"] + self.forgetting(self.c2, tau) * (square - state["v"])
        seen = v if self.denominator == "updated" else state["v"]
        p = self.precondition(seen, factor.root)
        return {"theta": state["theta"] - tau * factor.gain * m * p, "m": m, "v": v}

    def precondition(self, v: Tensor, root: float | Tensor = 1.0) -> Tensor:
        """`P(v)`, with `√γ₂ = root`."""
        outside, inside = places(self.eps, self.eps_mode, root)
        return preconditioner(v, outside, self.v_floor, inside).value

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": learning_rate(regime, tau), "beta1": 1 - self.forgetting(self.c1, tau),
                "beta2": 1 - self.forgetting(self.c2, tau), "eps": physical_eps(self.eps, self.eps_mode, regime, tau)}
