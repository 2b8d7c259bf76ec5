"""Learning rates as functions of time: the factor `η(t)` by which every step of `θ` is multiplied."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import torch

from sme.common.errors import SMEError
from sme.common.inputs import number

ROUNDING = 1e-12
"""share of a time by which a step may miss it, being a sum of steps"""


@dataclass(frozen=True)
class Schedule(ABC):
    """`η(t)`, smooth but at a few times; a run whose τ puts these on its steps keeps its order."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Schedule):
                continue
            if not 0 <= number(f"{each.name} of {type(self).__name__}", value) < math.inf:
                raise SMEError(f"{each.name} of {type(self).__name__} must be finite and ≥ 0, got {value:g}")
            object.__setattr__(self, each.name, float(value))

    def describe(self) -> dict[str, Any]:
        """What identifies it, in words."""
        return {"name": type(self).__name__, **vars(self)}

    @abstractmethod
    def __call__(self, t: Any) -> Any:
        """`η` at a time: a number, a tensor or a series."""


def as_tensor(t: Any) -> Any:
    """A time that torch functions take."""
    return torch.tensor(t, dtype=torch.float64) if isinstance(t, float | int) else t


@dataclass(frozen=True)
class Constant(Schedule):
    """`η = value`."""

    value: float = 1.0

    def __call__(self, t: Any) -> Any:
        return self.value


@dataclass(frozen=True)
class Line(Schedule):
    """From `first` at time 0 straight to `last` at `end`, and `last` from then on: a warm-up, or a decay."""

    first: float
    last: float
    end: float

    def way(self, share: Any) -> Any:
        """The share of the way from `first` to `last` after a share of the time."""
        return share

    def __call__(self, t: Any) -> Any:
        return self.first + (self.last - self.first) * self.way((as_tensor(t) / self.end).clamp(max=1.0))


@dataclass(frozen=True)
class Cosine(Schedule):
    """`least + ½ (1 − least)(1 + cos(πt/end))`: from 1 at time 0 to `least` at `end`, and up again after it, as torch's."""

    end: float
    least: float = 0.0

    def __call__(self, t: Any) -> Any:
        return self.least + 0.5 * (1 - self.least) * (1 + torch.cos(math.pi / self.end * as_tensor(t)))


@dataclass(frozen=True)
class Exponential(Schedule):
    """`η = e^(−rate t)`."""

    rate: float

    def __call__(self, t: Any) -> Any:
        return torch.exp(-self.rate * as_tensor(t))


@dataclass(frozen=True)
class Power(Schedule):
    """`η = (1 − t/end)^exponent`, and 0 from `end` on."""

    end: float
    exponent: float = 1.0

    def __call__(self, t: Any) -> Any:
        left = (1 - as_tensor(t) / self.end).clamp(min=0.0)
        return left if self.exponent == 1 else torch.pow(left, self.exponent)


@dataclass(frozen=True)
class Stairs(Schedule):
    """`η = factor^k` after `k` whole stretches of `every`. It jumps, and keeps order 2 where each jump is on a step."""

    factor: float
    every: float

    def __call__(self, t: Any) -> Any:
        return self.factor ** torch.floor(as_tensor(t) / self.every * (1 + ROUNDING))


@dataclass(frozen=True)
class Times(Schedule):
    """The product of two."""

    one: Schedule
    other: Schedule

    def __call__(self, t: Any) -> Any:
        return self.one(t) * self.other(t)


@dataclass(frozen=True)
class Then(Schedule):
    """`first` before `at`, from there on `second`, whose time 0 is `at`; WSD is `Then(Then(rise, Constant(), a), fall, b)`."""

    first: Schedule
    second: Schedule
    at: float

    def __call__(self, t: Any) -> Any:
        t = as_tensor(t)
        later = self.second((t - self.at).clamp(min=0.0))
        return torch.where(t < self.at * (1 - ROUNDING), as_tensor(self.first(t)), as_tensor(later))
