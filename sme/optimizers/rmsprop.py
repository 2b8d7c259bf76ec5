"""RMSProp."""

from dataclasses import dataclass

from torch import Tensor

from sme.optimizers.base import Optimizer, State, learning_rate, physical_eps, settle
from sme.optimizers.preconditioner import places, preconditioner
from sme.optimizers.regimes import Gradient, Regime


@dataclass(frozen=True)
class RMSProp(Optimizer):
    r"""RMSProp, $1 - \beta = c\tau^q$, $q = 1$ unless `memory` says otherwise.

    ```math
    \begin{aligned}
    v' &= v + (1 - \beta)(\hat g\circ\hat g - v) \\
    \theta' &= \theta - s \circ P(\hat v), \qquad P(v) = 1/(\sqrt{w(v)} + \varepsilon)
    \end{aligned}
    ```

    with `s = gradient.step`, `ĝ∘ĝ = gradient.square`, `v̂ = v` (`denominator="previous"`, the
    convention of the analysis papers) or `v̂ = v'` (`"updated"`, that of `torch.optim.RMSprop`),
    and the floor `w` of `sme.optimizers.preconditioner`.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    c
        memory rate, per unit of time; `β = 1 − c τ^q`.
    eps
        `ε`, in scaled variables (physical: `ε/√τ` in the batch-equivalent regime).
    denominator
        `"previous"` or `"updated"`.
    v_floor
        `δ` of the floor; 0 for none.
    eps_mode
        `"outside"` the root as above (torch's), `"inside"`: `P = 1/√(w(v) + ε)`, or `"average"`: the
        average is of `ĝ∘ĝ + ε` in place of `ĝ∘ĝ`, and `P = 1/√w(v)`. In these two `ε` is in units of `v`.
    memory
        `q ≥ 0` of `1 − β = c τ^q`: at 1 the second moment is a variable of the equation; at 0 `β = 1 − c` is fixed, with
        `c < 1`; between them it follows its input as `τ → 0`, and beyond 1 it stays at its start.
    """

    c: float = 0.5
    eps: float = 0.1
    denominator: str = "previous"
    v_floor: float = 0.01
    eps_mode: str = "outside"
    memory: float = 1.0

    fields = ("theta", "v")
    memories = ("c",)
    defaults = {"v": 1.0}
    nonnegative = ("v",)

    def __post_init__(self) -> None:
        settle(self, nonnegative=("memory", "eps", "v_floor"))

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        square = gradient.square + self.eps if self.eps_mode == "average" else gradient.square
        v = state["v"] + self.forgetting(self.c, tau) * (square - state["v"])
        seen = v if self.denominator == "updated" else state["v"]
        return {"theta": state["theta"] - gradient.step * self.precondition(seen), "v": v}

    def precondition(self, v: Tensor) -> Tensor:
        """`P(v)`."""
        outside, inside = places(self.eps, self.eps_mode)
        return preconditioner(v, outside, self.v_floor, inside).value

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {"lr": learning_rate(regime, tau), "beta": 1 - self.forgetting(self.c, tau),
                "eps": physical_eps(self.eps, self.eps_mode, regime, tau)}
