"""The kernels with which an optimizer remembers its gradients, and the equations that they solve."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from sme.common.errors import SMEError

Array = Float[np.ndarray, "..."]


@dataclass(frozen=True)
class Fading:
    """`K(s) = weight e^{−rate s}`, of RMSProp and Adam; with `rate = 0` the plain sum of AdaGrad.

    The memory `y(t) = ∫₀ᵗ K(t − s) q(s) ds` of `q` solves `ẏ = weight q − rate y`, `y(0) = 0`.
    """

    weight: float
    rate: float
    parts: ClassVar[int] = 1
    """numbers that make up the memory as the state of an ordinary equation"""

    def __call__(self, s: Array) -> Array:
        return self.weight * np.exp(-self.rate * s)

    def modes(self) -> list[tuple[complex, complex]]:
        """`(w, r)` with `K(s) = Re Σ w e^{rs}`."""
        return [(self.weight, -self.rate)]

    def slope(self, y: Float[np.ndarray, "1 d"], q: Float[np.ndarray, " d"]) -> Float[np.ndarray, "1 d"]:
        """The time derivative of that state."""
        return self.weight * q - self.rate * y

    def start(self, t: float, q: Float[np.ndarray, " d"]) -> Float[np.ndarray, "1 d"]:
        """The state at a small `t`, to leading order."""
        return (self.weight * t * q)[None]


@dataclass(frozen=True)
class Rising:
    """`K(s) = ((1 − β)/α) (2/κ) e^{−s/α} sinh(κ s/α)`, `κ = √(2β − 1)`; at `β = ½` the limit, below it a sine.

    It is what `y(t + α) = β y(t) + (1 − β) q(t)` becomes with `y(t + α) ≈ y + α ẏ + ½ α² ÿ`: the memory solves
    `½ α² ÿ + α ẏ + (1 − β) y = (1 − β) q`, `y(0) = ẏ(0) = 0`. Below `β = ½` the kernel changes its sign, and the memory of
    a square may be negative.
    """

    beta: float
    lr: float
    parts: ClassVar[int] = 2

    @property
    def rate(self) -> float:
        """The slower of its rates."""
        return (1 - math.sqrt(max(2 * self.beta - 1, 0.0))) / self.lr

    def __call__(self, s: Array) -> Array:
        if self.beta == 0.5:  # both modes are one
            return s / self.lr**2 * np.exp(-np.asarray(s) / self.lr)
        return np.sum([weight * np.exp(rate * s) for weight, rate in self.modes()], axis=0).real

    def modes(self) -> list[tuple[complex, complex]]:
        """`(w, r)` with `K(s) = Re Σ w e^{rs}`; there are none at `β = ½`."""
        if self.beta == 0.5:
            raise SMEError("the kernel of β = 1/2 is no sum of exponentials: take another β, such as 0.501")
        kappa = complex(2 * self.beta - 1) ** 0.5
        return [(sign * (1 - self.beta) / (kappa * self.lr), (sign * kappa - 1) / self.lr) for sign in (1, -1)]

    def slope(self, y: Float[np.ndarray, "2 d"], q: Float[np.ndarray, " d"]) -> Float[np.ndarray, "2 d"]:
        """The time derivative of `(y, ẏ)`."""
        return np.stack([y[1], (2 * (1 - self.beta) * (q - y[0]) / self.lr - 2 * y[1]) / self.lr])

    def start(self, t: float, q: Float[np.ndarray, " d"]) -> Float[np.ndarray, "2 d"]:
        """`(y, ẏ)` at a small `t`, to leading order."""
        pull = 2 * (1 - self.beta) / self.lr**2 * q
        return np.stack([pull * t * t / 2, pull * t])


Kernel = Fading | Rising
