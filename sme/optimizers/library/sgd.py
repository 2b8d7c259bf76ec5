"""SGD of torch.optim with its momentum, dampening and Nesterov's step."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.common.inputs import instance
from sme.optimizers.base import State
from sme.optimizers.library.base import LibraryRule


@dataclass(frozen=True)
class PlainSGD(LibraryRule):
    """`Δ = −s`: SGD of torch.optim without momentum, `lr = η τ`."""

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        return {"theta": -s}


@dataclass(frozen=True)
class HeavyBall(LibraryRule):
    r"""SGD with the momentum of torch.optim, $1 - \beta = c\tau$.

    ```math
    \begin{aligned}
    m' &= (1 - c\tau)\, m + a s \\
    \Delta &= -\tau m' \quad\text{or, Nesterov's,}\quad -\tau\,(s + (1 - c\tau)\, m')
    \end{aligned}
    ```

    `a = 1 − dampening`, `lr = η τ²`, and torch's buffer is `m/τ`.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    c
        memory rate of `m`.
    gain
        `a > 0`.
    nesterov
        Nesterov's step; it has no dampening.
    """

    c: float = 1.0
    gain: float = 1.0
    nesterov: bool = False

    powers = (2, 2)
    fields = ("theta", "m")
    defaults = {"m": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        instance("nesterov", self.nesterov, bool, "True or False")

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        m = state["m"] - tau * self.c * state["m"] + self.gain * s
        ahead = s + m - tau * self.c * m if self.nesterov else m
        return {"theta": -tau * ahead, "m": m}


@dataclass(frozen=True)
class DampedBall(HeavyBall):
    """`HeavyBall` with a dampening that is the momentum: `a = c`, `lr = η τ`, and torch's buffer is `m` itself."""

    powers = (1, 1)
