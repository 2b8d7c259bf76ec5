"""Quasi-hyperbolic momentum."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.base import State
from sme.optimizers.library.base import LibraryRule
from sme.optimizers.regimes import Regime


@dataclass(frozen=True)
class QHM(LibraryRule):
    r"""Quasi-hyperbolic momentum, $1 - \beta = c\tau$: a mean of SGD's step and that of the damped momentum.

    ```math
    m' = m + c (s - \tau m), \qquad \Delta = -(1 - \nu)\, s - \nu\tau m'
    ```

    Source: Ma and Yarats 2018, arXiv 1810.06801.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    c
        memory rate of `m`.
    nu
        `ν` in `[0, 1]`.
    """

    c: float = 1.0
    nu: float = 0.7

    fields = ("theta", "m")
    defaults = {"m": 0.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu > 1:
            raise SMEError(f"nu must lie in [0, 1], got {self.nu:g}")

    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        m = state["m"] + self.c * (s - tau * state["m"])
        return {"theta": (self.nu - 1) * s - self.nu * tau * m, "m": m}

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        return {**super().physical(regime, tau), "nu": self.nu}
