"""Gaussian gradient noise that is independent between parameters."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short
from sme.problems.noise.base import Paths
from sme.problems.noise.gaussian import GaussianNoise


class DiagonalNoise(GaussianNoise):
    """`S z = scale∘z` with `z ~ N(0, I_d)`: `GaussianNoise(scale.diag())` without a matrix, for any number of parameters.

    `(Σ∘Σ)^{1/2} = diag(scale²)`, so the noise of `ĝ∘ĝ` is `√2 scale∘scale∘dW²`.

    Parameters
    ----------
    scale
        the standard deviation of every parameter's noise, a number or of shape `(d,)`.
    dim
        `d`; needed for a number.

    Raises
    ------
    SMEError
        for a scale that is not finite and ≥ 0, or does not fit `d`.
    """

    def __init__(self, scale: Float[Tensor, " d"] | float, dim: int | None = None) -> None:
        try:
            given = torch.as_tensor(scale, dtype=torch.float64).detach()
        except (TypeError, ValueError, RuntimeError):
            raise SMEError(f"scale must be a number or a tensor (d,), got {short(scale)}") from None
        if given.dim() > 1 or not bool((torch.isfinite(given) & (given >= 0)).all()):
            raise SMEError(f"scale must be finite, ≥ 0, and a number or of shape (d,), got {short(scale)}")
        if given.dim() == 0 and dim is None:
            raise SMEError("a number as scale needs dim, the number of parameters: DiagonalNoise(0.1, dim=d)")
        self.scale = given.expand(dim).clone() if given.dim() == 0 and dim is not None else given.clone()
        self.constant, self.motions = True, len(self.scale)
        self.second_motions = self.motions

    def check(self, dim: int) -> None:
        if self.motions != dim:
            raise SMEError(f"the noise has {self.motions} parameters but the problem has dim = {dim}: scale must have shape (d,)")

    def diffuse(self, theta: Paths, dW: Tensor) -> Paths:
        return dW * self.scale

    def second(self, theta: Paths, dW: Tensor) -> Paths:
        return dW * (math.sqrt(2) * self.scale.square())

    def variance(self, theta: Paths) -> Paths:
        return self.scale.square().expand_as(theta)

    def correlated(self, points: Paths) -> bool:
        return False

    def describe(self) -> dict[str, Any]:
        return {"law": "gaussian, independent", "scale": fingerprint(self.scale)}

    def to(self, device: torch.device) -> "DiagonalNoise":
        return DiagonalNoise(self.scale.to(device))
