"""Gradient noise with heavy tails."""

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short
from sme.problems.noise.base import Named, Paths
from sme.problems.noise.components import ScaledNoise
from sme.problems.noise.independent.unit import Student

Scale = Float[Tensor, " d"] | float | Callable[[Tensor], Float[Tensor, " d"]]


class StudentNoise(ScaledNoise):
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

    names: ClassVar = {"student": Named(lambda factor, noise, nu: StudentNoise(nu, noise), "nu", 5.0)}

    def __init__(self, nu: float, scale: Scale) -> None:
        super().__init__(Student(nu))
        self.given, self.constant = scale.detach().clone() if isinstance(scale, Tensor) else scale, not callable(scale)
        if not callable(scale):
            try:
                self._scale = torch.as_tensor(self.given, dtype=torch.float64)
            except (TypeError, ValueError, RuntimeError):
                raise SMEError(f"scale must be a number, a tensor (d,) or a function of theta, got {short(scale)}") from None
            if self._scale.dim() > 1 or not bool((torch.isfinite(self._scale) & (self._scale > 0)).all()):
                raise SMEError(f"scale must be finite, > 0, and a number or of shape (d,), got {short(scale)}")

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
