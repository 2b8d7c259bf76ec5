"""Learning rates that return, and those of a function of the user's own."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sme.common.errors import SMEError, reason
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short
from sme.optimizers.parts.schedules import ROUNDING, Line, Schedule, as_tensor

NEAR = 1e-6
"""as single precision has it, in which torch makes a tensor of a whole number"""
PLACES = (0.0, 1.0, 2.0, 7.0, 40.0)
"""steps at which a function is tried"""


class Swing(Line):
    """From `first` at time 0 along half a cosine to `last` at `end`, and `last` from then on: a phase of a one-cycle run."""

    def way(self, share: Any) -> Any:
        return 0.5 * (1 - torch.cos(math.pi * share))


@dataclass(frozen=True)
class Waves(Schedule):
    """Up from 1 to `high` over `up` and down over `down`, again and again.

    `η − 1` shrinks by `factor` each time, and like `e^(−rate t)`.
    """

    high: float
    up: float
    down: float
    factor: float = 1.0
    rate: float = 0.0

    def __call__(self, t: Any) -> Any:
        t, period = as_tensor(t), self.up + self.down
        number = torch.floor(t / period * (1 + ROUNDING))
        into = (t - number * period).clamp(min=0.0)
        share = torch.minimum(into / self.up, (period - into) / self.down)
        return 1 + (self.high - 1) * share * self.factor**number * torch.exp(-self.rate * t)


@dataclass(frozen=True)
class Restarts(Schedule):
    """A cosine from 1 to `least` over `end`, which begins anew at its end, each `growth` times as long: it jumps there."""

    end: float
    least: float = 0.0
    growth: float = 1.0

    def __call__(self, t: Any) -> Any:
        t, m = as_tensor(t) / self.end * (1 + ROUNDING), self.growth
        number = torch.floor(t) if m == 1 else torch.floor(torch.log(t * (m - 1) + 1) / math.log(m) * (1 + ROUNDING))
        begun, length = (number, 1.0) if m == 1 else ((m**number - 1) / (m - 1), m**number)
        return self.least + 0.5 * (1 - self.least) * (1 + torch.cos(math.pi * (t - begun) / length))


@dataclass(frozen=True)
class Function(Schedule):
    """`η(t) = function(t/every)`, of the number of a step as a tensor, in torch functions."""

    function: Callable[[Any], Any]
    every: float

    def __post_init__(self) -> None:
        """Raise `SMEError` for a function that takes no tensor, or gives other numbers than at whole steps."""
        for step in PLACES:
            try:
                plain = float(self.function(int(step)))
                taken = torch.func.vmap(lambda at: torch.as_tensor(self.function(at), dtype=torch.float64))(
                    torch.tensor([step], dtype=torch.float64))
            except Exception as fault:
                raise SMEError(f"the function of steps {short(self.function)} takes no tensor ({reason(fault).splitlines()[0]}): "
                               "write it in torch functions without branches, such as "
                               "torch.clamp(torch.as_tensor(step) / 10, max=1.0), or give the steps of the run") from fault
            if not abs(float(taken) - plain) <= NEAR * (1 + abs(plain)):
                raise SMEError(f"the function of steps {short(self.function)} gives {float(taken):g} at a tensor and {plain:g} "
                               f"at the number {step:g}: both must be one function")

    def describe(self) -> dict[str, Any]:
        return {"name": type(self).__name__, "function": fingerprint(self.function), "every": self.every}

    def __call__(self, t: Any) -> Any:
        return as_tensor(self.function(as_tensor(t) / self.every))


@dataclass(frozen=True)
class Table(Schedule):
    """Lines through the values at whole steps `k`, at times `k every`; the last one from there on."""

    values: tuple[float, ...]
    every: float

    def __post_init__(self) -> None:
        """Keep them as a tensor, the last one twice."""
        object.__setattr__(self, "_found", torch.tensor([*self.values, self.values[-1]], dtype=torch.float64))

    def describe(self) -> dict[str, Any]:
        return {"name": type(self).__name__, "values": fingerprint(self.values), "every": self.every}

    def __call__(self, t: Any) -> Any:
        last = len(self.values) - 1
        at = (as_tensor(t) / self.every * (1 + ROUNDING)).clamp(0.0, last)
        k = torch.floor(at.detach()).long()
        before, after = self._found[k], self._found[k + 1]  # type: ignore[attr-defined]
        return before + (at - k) * (after - before)
