"""Gradient noise of independent components with any law."""

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.errors import SMEError
from sme.identity import fingerprint
from sme.laws.base import GradientLaw, Paths, Stream
from sme.laws.unit import Student, Unit

Scale = Float[Tensor, " d"] | float | Callable[[Tensor], Float[Tensor, " d"]]


class ComponentNoise(GradientLaw):
    """`scale(θ)∘z`, the `z_i` independent, all of the law `unit`, with `E z² = s`, `E z³ = κ`, `E z⁴ = μ`.

        S dW¹ = √s scale∘dW¹      noise of ĝ∘ĝ beside 2 ∇f∘S dW¹: (κ/√s) scale²∘dW¹ + √(μ − s² − κ²/s) scale²∘dW²

    `d` motions each. The discrete run draws `z` on its own: it is not paired with the equation.
    """

    paired = False
    apart = True

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.skewed, self.moments = unit.third != 0, unit.moments

    @abstractmethod
    def scale(self, theta: Paths) -> Paths:
        """Of the noise of every coordinate."""

    def check(self, dim: int) -> None:
        self.motions = self.second_motions = dim

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        return self.unit.draw(stream, paths, self.motions)

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.scale(theta) * z

    def diffuse(self, theta: Paths, dW: Tensor) -> Paths:
        return math.sqrt(self.unit.second) * self.scale(theta) * dW

    def diffuse_square(self, theta: Paths, dW: Tensor) -> tuple[Paths, Paths]:
        scale, s = self.scale(theta), self.unit.second
        return math.sqrt(s) * scale * dW, self.unit.third / math.sqrt(s) * scale * scale * dW

    def second(self, theta: Paths, dW: Tensor) -> Paths:
        s, kappa, mu = self.unit.second, self.unit.third, self.unit.fourth
        return math.sqrt(max(0.0, mu - s * s - kappa * kappa / s)) * self.scale(theta).square() * dW

    def variance(self, theta: Paths) -> Paths:
        return self.unit.second * self.scale(theta).square()

    def spread(self, theta: Paths) -> Paths:
        scale = self.scale(theta).square()
        return self.unit.second * scale if self.moments > 2 else scale

    def third(self, theta: Paths) -> Paths:
        return self.unit.third * self.scale(theta) ** 3

    def fourth(self, theta: Paths) -> Paths:
        return self.unit.fourth * self.scale(theta) ** 4

    def sign_mean(self, theta: Paths, g: Paths) -> Paths:
        return self.unit.sign_mean(g / self.scale(theta))


class StudentNoise(ComponentNoise):
    """`scale∘t`, the coordinates of `t` independent Student variates of `ν` degrees of freedom: noise with heavy tails.

    The variance is `scale² ν/(ν − 2)`, the fourth moment `3 scale⁴ ν²/((ν − 2)(ν − 4))`, and `E sign(g + S z) =
    2F_ν(g/scale) − 1` with the distribution function `F_ν` of `t`.

    Parameters
    ----------
    nu
        `ν > 0`. Equations ask for the moments that they need: `ν > 2` where the noise itself enters, `ν > 4` where its square
        does; signSGD for none.
    scale
        a number, a tensor `(d,)`, or a function of `theta` `(d,)` to such a tensor.

    Raises
    ------
    SMEError
        for `ν ≤ 0`, or a scale that is not finite and > 0 or does not fit `d`.
    """

    def __init__(self, nu: float, scale: Scale) -> None:
        super().__init__(Student(nu))
        self.given, self.constant = scale, not callable(scale)
        if not callable(scale):
            try:
                self._scale = torch.as_tensor(scale, dtype=torch.float64)
            except (TypeError, ValueError, RuntimeError):
                raise SMEError(f"scale must be a number, a tensor (d,) or a function of theta, got {scale!r}") from None
            if self._scale.dim() > 1 or not bool((torch.isfinite(self._scale) & (self._scale > 0)).all()):
                raise SMEError(f"scale must be finite, > 0, and a number or of shape (d,), got {scale!r}")

    def check(self, dim: int) -> None:
        super().check(dim)
        try:
            found = self.given(torch.ones(dim, dtype=torch.float64)) if callable(self.given) else self._scale
        except Exception as fault:
            raise SMEError(f"the scale of the noise fails at a float64 theta ({dim},): {fault}") from fault
        if not isinstance(found, Tensor) or tuple(found.shape) not in ((dim,), () if self.constant else (dim,)):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise SMEError(f"scale must have shape (d,) = ({dim},), got {got}")

    def scale(self, theta: Paths) -> Paths:
        if callable(self.given):
            return vmap(self.given)(theta).to(theta.dtype)
        return self._scale.expand_as(theta)

    def describe(self) -> dict[str, object]:
        return {"law": "student", "nu": self.unit.nu, "scale": fingerprint(self.given)}  # type: ignore[attr-defined]

    def to(self, device: torch.device) -> "StudentNoise":
        moved = StudentNoise(self.unit.nu, self.given if callable(self.given) else self._scale.to(device))  # type: ignore[attr-defined]
        moved.check(self.motions)
        return moved
