"""What every rule of a library has: decays, the sign of the gradient, a learning rate beside τ."""

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import instance, number
from sme.optimizers.base import Optimizer, State, adaptive_scale, settle
from sme.optimizers.bias import log_decay
from sme.optimizers.regimes import BATCH_EQUIVALENT, REGIMES, Gradient, Regime

POSITIVE = ("c", "c1", "c2", "rate")
"""of the numbers of a rule those that must be > 0; the others are ≥ 0"""


@dataclass(frozen=True)
class LibraryRule(Optimizer):
    r"""`θ' = θ + η (Δ − τ λ θ)`, `Δ` the step of a subclass from `s` and `τ q`, as torch.optim takes it.

    With a penalty `½ p |θ|²` in the loss and the sign `± 1` of a descent or an ascent

    ```math
    s = \pm\,\mathtt{gradient.step} + \tau p\,\theta, \qquad
    \tau q = \tau\,\mathtt{gradient.square} + \kappa\, p\,\theta\circ(2 s - \tau p\,\theta)
    ```

    where `κ` is 1 in the ballistic regime and `τ` in the batch-equivalent one: what an average of squares sees of the penalty is
    the only thing here that knows its regime.

    A value outside the ranges below raises `SMEError`.

    Parameters
    ----------
    rate
        `η > 0`, the learning rate over the one that belongs to `τ`.
    decay
        `λ ≥ 0` of the decoupled weight decay, `lr · weight_decay = τ η λ`.
    penalty
        `p ≥ 0`, torch's `weight_decay` where it is coupled (L2).
    maximize
        an ascent.
    regime
        the one that `penalty` is seen in.
    t0
        start time; of rules with a clock it is > 0.
    """

    rate: float = 1.0
    decay: float = 0.0
    penalty: float = 0.0
    maximize: bool = False
    regime: str = "ballistic"
    t0: float = 0.0

    clocked: ClassVar[bool] = False
    """whether a step depends on its number, so that `t0 > 0` is needed"""
    powers: ClassVar[tuple[float, float]] = (1, 1)
    """of `τ` in torch's learning rate, ballistic and batch-equivalent"""

    def __post_init__(self) -> None:
        instance("maximize", self.maximize, bool, "True or False")
        choose("regime", self.regime, REGIMES)
        numbers = [each.name for each in fields(self) if each.type in (float, "float") and each.name != "t0"]
        settle(self, (), tuple(name for name in numbers if name in POSITIVE),
               tuple(name for name in numbers if name not in POSITIVE))
        object.__setattr__(self, "t0", number("t0", self.t0))
        if self.clocked and not self.t0 > 0:
            name = type(self).__name__.removeprefix("Corrected")
            raise SMEError(f"t0 of {name} must be > 0, and a multiple of every τ, got {self.t0:g}: its steps depend on their "
                           "number, and are singular at t = 0; t0 = τ is after the first")

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def rates(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("c", "c1", "c2") if hasattr(self, name)}

    def cross(self, tau: Any) -> Any:
        """`κ`: by how much `s²` is smaller than `τ² q / τ`."""
        return tau if self.regime == BATCH_EQUIVALENT.name else 1.0

    def _mixed(self) -> bool:
        """Whether a product of the gradient and the state joins an average of squares: it knows its regime."""
        return "u" in self.fields or (bool(self.penalty) and "v" in self.fields)

    def suits(self, regime: Regime) -> None:
        if regime.name != self.regime and self._mixed():
            raise SMEError(f"{self.name} was made for the other regime, regime='{self.regime}', and its second moment has "
                           f"products of gradient and state, which are of other sizes in '{regime.name}': make it with "
                           f"regime='{regime.name}', sme.from_torch(optimizer, regime='{regime.name}') if it is torch's")

    def seen(self, theta: Tensor, gradient: Gradient, tau: Any) -> tuple[Tensor, Tensor]:
        """`s` and `τ q`."""
        s, square = -gradient.step if self.maximize else gradient.step, tau * gradient.square
        if not self.penalty:
            return s, square
        pull = self.penalty * theta
        return s + tau * pull, square + self.cross(tau) * pull * (2 * s + tau * pull)

    def update(self, state: State, gradient: Gradient, tau: float, t: float) -> State:
        theta = state["theta"]
        new = self.step(state, *self.seen(theta, gradient, tau), tau, t)
        move = new["theta"] - tau * self.decay * theta if self.decay else new["theta"]
        return {**new, "theta": theta + (move if self.rate == 1 else self.rate * move)}

    @staticmethod
    def unit(regime: Regime, tau: float) -> float:
        """What `ε` is divided by to be torch's."""
        return adaptive_scale(regime, tau)

    def physical(self, regime: Regime, tau: float) -> dict[str, float]:
        given = {"lr": self.rate * tau ** self.powers[regime == BATCH_EQUIVALENT]}
        given |= {f"beta{name[1:]}": 1 - c * tau for name, c in self.rates().items()}
        if hasattr(self, "eps"):
            given["eps"] = self.eps / self.unit(regime, tau)
        if self.decay:
            return {**given, "weight_decay": tau * self.rate * self.decay / given["lr"]}
        return {**given, "weight_decay": self.penalty} if self.penalty else given

    @abstractmethod
    def step(self, state: State, s: Tensor, square: Tensor, tau: Any, t: Any) -> State:
        """The new averages, and as `theta` its step `Δ`, from `s` and `square = τ q`."""


def exponential(x: Any) -> Any:
    """`e^x` of a number, a tensor or a series."""
    return torch.exp(torch.tensor(x, dtype=torch.float64)) if isinstance(x, float | int) else torch.exp(x)


def power(x: Any, exponent: float) -> Any:
    """`x^a` of a number, a tensor or a series."""
    return x**exponent if isinstance(x, float | int) else torch.pow(x, exponent)


def decayed(c: float, t: Any, tau: Any) -> Any:
    """`(1 − cτ)^{t/τ}`, smooth in `τ` at 0."""
    return torch.exp(t * log_decay(c, tau))


@dataclass(frozen=True)
class OverRoot(LibraryRule):
    """A rule that divides its steps by the root of an average of squares.

    Parameters
    ----------
    eps
        `ε` in scaled variables.
    v_floor
        `δ` of the floor under the average; 0 for none.
    """

    eps: float = 0.1
    v_floor: float = 0.0
