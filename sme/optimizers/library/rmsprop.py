"""RMSprop of torch.optim: plain, centred, with momentum, or both."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from sme.optimizers.base import State
from sme.optimizers.library.base import OverRoot
from sme.optimizers.preconditioner import preconditioner


@dataclass(frozen=True)
class PlainRMSprop(OverRoot):
    r"""RMSprop of torch.optim, $1 - \alpha = c\tau$: the steps of `sme.RMSProp(denominator="updated")`.

    ```math
    v' = v + \tau c (q - v), \qquad \Delta = -s\circ 1/(\sqrt{w(v')} + \varepsilon)
    ```

    `lr = ητ` ballistic, `η√τ` batch-equivalent.

    Parameters
    ----------
    c
        memory rate.
    """

    c: float = 0.5

    powers = (1, 0.5)
    fields: ClassVar[tuple[str, ...]] = ("theta", "v")
    defaults = {"v": 1.0}
    nonnegative = ("v",)

    def averages(self, state: State, s: Tensor, square: Tensor, tau: Any) -> State:
        """What stands under the root, first, and any other average."""
        return {"v": state["v"] + self.c * (square - tau * state["v"])}

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        new = self.averages(state, s, square, tau)
        under = next(iter(new.values()))
        return {"theta": -s * preconditioner(under, self.eps, self.v_floor).value, **new}


@dataclass(frozen=True)
class CentredRMSprop(PlainRMSprop):
    r"""`PlainRMSprop` with the variance in place of the second moment.

    ```math
    \begin{aligned}
    m' &= m + c (s - \tau m) \\
    u' &= (1 - c\tau)\,\bigl(u + \tau c q + \kappa c\, m\circ(\tau m - 2 s)\bigr), \qquad
    \Delta = -s\circ 1/(\sqrt{w(u')} + \varepsilon)
    \end{aligned}
    ```

    `u = v − κ m²` is what torch has under the root, and stays ≥ 0; `κ` is 1 ballistic and `τ` batch-equivalent.
    """

    fields: ClassVar[tuple[str, ...]] = ("theta", "u", "m")
    defaults = {"u": 1.0, "m": 0.0}
    nonnegative = ("u",)

    def averages(self, state: State, s: Tensor, square: Tensor, tau: Any) -> State:
        u, m = state["u"], state["m"]
        spread = u + self.c * (square + self.cross(tau) * m * (tau * m - 2 * s))
        return {"u": spread - tau * self.c * spread, "m": m + self.c * (s - tau * m)}


class Heavy(PlainRMSprop):
    r"""With momentum, `1 − β = c₁τ`: `b' = (1 − c₁τ) b + s P`, `Δ = −τ b'`, `lr = ητ²` ballistic, `ητ^{3/2}` batch-equivalent."""

    c1: float
    powers = (2, 1.5)

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        new = super().step(state, s, square, tau, t)
        b = state["b"] - tau * self.c1 * state["b"] - new["theta"]
        return {**new, "theta": -tau * b, "b": b}


@dataclass(frozen=True)
class HeavyRMSprop(Heavy, PlainRMSprop):
    r"""`PlainRMSprop` with momentum, $1 - \beta = c_1\tau$.

    ```math
    b' = (1 - c_1\tau)\, b + s\circ 1/(\sqrt{w(v')} + \varepsilon), \qquad \Delta = -\tau b'
    ```

    `lr = ητ²` ballistic, `ητ^{3/2}` batch-equivalent; torch's buffer is `b/τ`, `b/√τ`.

    Parameters
    ----------
    c1
        memory rate of `b`.
    """

    c1: float = 1.0

    fields = ("theta", "v", "b")
    defaults = {"v": 1.0, "b": 0.0}


@dataclass(frozen=True)
class HeavyCentredRMSprop(Heavy, CentredRMSprop):
    """`HeavyRMSprop` with `u` of `CentredRMSprop` in place of `v`."""

    c1: float = 1.0

    fields = ("theta", "u", "m", "b")
    defaults = {"u": 1.0, "m": 0.0, "b": 0.0}
