"""The update of AdaGrad, RMSProp and Adam, and what it becomes with memory integrals in place of sums."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sme.common.errors import SMEError
from sme.common.inputs import whole
from sme.optimizers.torch_terms import TorchTerms
from sme.simulate.integro.kernels import Fading, Kernel, Rising

BETAS = {"adagrad": (), "rmsprop": ("beta2",), "adam": ("beta1", "beta2")}
Points = Float[np.ndarray, "*points d"]


class Direction(NamedTuple):
    """`F` of `θ̇ = −F(t, g, m, v)` and its derivatives, elementwise."""

    value: Points
    g: Points
    m: Points
    v: Points


@dataclass(frozen=True)
class Rule(TorchTerms):
    """Hyperparameters `α = lr`, `β₁`, `β₂`, `ε`, the same in the discrete run and in its equations, with time `t = kα`.

    With the memories `m = ∫ K₁ g`, `v = ∫ K₂ g²` of `g = ∇f + ½ l2 θ`,

        AdaGrad, RMSProp    F = g/(√v + ε)
        Adam                F = √γ₂/γ₁ m/(√v + ε√γ₂),   γᵢ = 1 − βᵢ^(t/α + clock)

    divided by `1 + decay t/α`. `K₂ = 1/α` for AdaGrad, else `Kᵢ(s) = a e^{−as}`, `a = (1 − βᵢ)/α`.

    Parameters
    ----------
    optimizer
        `adagrad`, `rmsprop` (with `beta2`) or `adam` (with `beta1` and `beta2`).
    lr, beta1, beta2, eps
        as in `torch.optim`; `beta2` is torch's `alpha` in RMSprop.
    l2, decay
        the factor of `½ θ`, added to the gradient, as arXiv 2411.09734 has it (torch's `weight_decay` is half of it); how fast
        the learning rate falls.
    clock
        steps by which Adam's bias correction is ahead of the memory: 0, or 1 as in the discrete run.

    Raises
    ------
    SMEError
        for a value out of range, or one that the optimizer lacks or has not.
    """

    l2: float = 0.0
    decay: float = 0.0
    clock: int = 0

    def __post_init__(self) -> None:
        self.settle(BETAS, "l2", "decay")
        object.__setattr__(self, "clock", whole("clock", self.clock, 0))
        if self.clock and self.optimizer != "adam":
            raise SMEError(f"clock = {self.clock} has no meaning for {self.optimizer}, which corrects no bias: leave it out")

    def kernels(self, order: int = 1) -> tuple[Kernel | None, Kernel]:
        """Those of `m` (Adam alone) and `v`; `order` 2 for those that rise from 0."""
        if order == 2 and self.optimizer != "adam":
            raise SMEError(f"the second-order equation is one of Adam: got {self.optimizer}, use order=1")
        first, second = (None if beta is None else Rising(beta, self.lr) if order == 2
                         else Fading((1 - beta) / self.lr, (1 - beta) / self.lr) for beta in (self.beta1, self.beta2))
        return first, second or Fading(1 / self.lr, 0.0)

    def corrections(self, steps: Float[np.ndarray, "*n"]) -> tuple[np.ndarray, np.ndarray]:
        """`√γ₂/γ₁` and `√γ₂` after so many steps, above 0; without Adam both 1."""
        if self.beta1 is None or self.beta2 is None:
            return np.ones_like(steps), np.ones_like(steps)
        with np.errstate(divide="ignore"):
            gamma1, gamma2 = (-np.expm1(steps * np.log(beta)) for beta in (self.beta1, self.beta2))
        return np.sqrt(gamma2) / gamma1, np.sqrt(gamma2)

    def step(self, t: Float[np.ndarray, "*n"], g: Points, m: Points, v: Points) -> Points:
        """`F` at times `t > 0`; where no gradient was ever seen, so that it would be 0/0, it is 0."""
        gain, root = self._factors(t)
        seen = m if self.optimizer == "adam" else g
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((v == 0) & (seen == 0), 0.0, gain * seen / (np.sqrt(v) + self.eps * root))

    def direction(self, t: Float[np.ndarray, "*n"], g: Points, m: Points, v: Points) -> Direction:
        """`step` and its derivatives."""
        gain, root = self._factors(t)
        seen = m if self.optimizer == "adam" else g
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = gain / (np.sqrt(v) + self.eps * root)
            slope = np.where(v > 0, -0.5 * seen * scale * scale / (gain * np.sqrt(v)), 0.0)
        zero = np.zeros_like(scale)
        return Direction(self.step(t, g, m, v), *((zero, scale) if self.optimizer == "adam" else (scale, zero)), slope)

    def _factors(self, t: Float[np.ndarray, "*n"]) -> tuple[np.ndarray, np.ndarray]:
        """What multiplies the numerator, and `ε`."""
        t = np.asarray(t)
        gain, root = self.corrections(t / self.lr + self.clock)
        return (gain / (1 + self.decay * t / self.lr))[..., None], root[..., None]

    def __str__(self) -> str:
        given = [f"{name} = {getattr(self, field):g}" for name, field in (
            ("lr", "lr"), ("β₁", "beta1"), ("β₂", "beta2"), ("λ", "l2"), ("decay", "decay"))
            if getattr(self, field) is not None and (getattr(self, field) or field not in ("l2", "decay"))]
        return f"{self.optimizer}, {', '.join(given)}"
