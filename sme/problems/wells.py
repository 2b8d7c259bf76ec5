"""One parameter, two wells, and batches drawn from two examples."""

import math

import torch
from jaxtyping import Int
from numpy.polynomial import Polynomial as Expanded
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, whole
from sme.problems.base import Paths
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.per_example import Examples, Shares, Weights
from sme.problems.polynomial import Curve, Powers

NOISES = ("minibatch", "gaussian")
STEEP, FLAT = 0.2 * Expanded([1.1, 1.0]) ** 2 * Expanded([-1.9, 1.0]) ** 4, 2 * Expanded([-0.1, 1.0]) ** 2


class Halves(Examples):
    """Two examples of one parameter, with the losses `mean ± half`."""

    count = 2

    def __init__(self, mean: Powers, half: Powers) -> None:
        self.mean, self.half = mean, half

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        g, h = self.mean(theta, 1), self.half(theta, 1)
        return g, g * g + h * h

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        bend, other = self.mean(theta, 2) * u, self.half(theta, 2) * u
        return bend, 2 * (self.mean(theta, 1) * bend + self.half(theta, 1) * other)

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        g, h = self.mean(theta, 1), self.half(theta, 1)
        one, other = g + h, g - h
        linear = weights[:, :1] * one + weights[:, 1:] * other
        if squares is None:
            return linear, torch.zeros_like(linear)
        return linear, squares[:, :1] * one * one + squares[:, 1:] * other * other

    def power(self, theta: Paths, exponent: int, shares: Shares | None = None) -> Paths:
        g, h = self.mean(theta, 1), self.half(theta, 1)
        one, other = (0.5, 0.5) if shares is None else shares
        return one * (g + h).pow(exponent) + other * (g - h).pow(exponent)

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        share = 1 - 2 * indices.to(theta.dtype).mean(1, keepdim=True)
        return self.mean(theta, 1) + share * self.half(theta, 1)

    def describe(self) -> dict[str, object]:
        return {"mean": self.mean.coefficients, "half": self.half.coefficients}


class Wells(Curve):
    """`f = ½ (f₁ + f₂)` with `f₁ = 0.2 (θ + 1.1)² (θ − 1.9)⁴`, `f₂ = 2 (θ − 0.1)²`, one parameter.

    A noise level `α` adds `α (f₁ − f₂)` to `f₁` and takes it from `f₂`: the mean stays, the noise grows
    by `1 + 2α`. Each step averages `B` fair picks of the two, so that
    `Σ(θ) = scale² (1 + 2α)² ¼ (f₁′ − f₂′)² / B`.

    Parameters
    ----------
    level
        `α`.
    batch_size
        `B`.
    noise
        `"minibatch"`, the picks themselves; or `"gaussian"`, with the same `Σ`.
    scale
        multiplies the noise: with `√τ` the batch-equivalent regime is a physical run at learning rate `√τ` and batch `B`.

    Raises
    ------
    SMEError
        for `level < 0`, `batch_size < 1`, `scale ≤ 0`, or another noise.
    """

    def __init__(self, level: float = 0.0, batch_size: int = 8, noise: str = "minibatch", scale: float = 1.0) -> None:
        level, batch_size, scale = number("level", level), whole("batch_size", batch_size, 1), number("scale", scale)
        if not 0 <= level < math.inf:
            raise SMEError(f"level must be ≥ 0 and finite, got {level:g}: 0 is the noise of the two losses as they are")
        if not 0 < scale < math.inf:
            raise SMEError(f"scale must be positive and finite, got {scale:g}: 1 is the noise of the batch as it is")
        self._value = Powers((0.5 * (STEEP + FLAT)).coef.tolist())
        self._half = Powers(((0.5 + level) * (STEEP - FLAT)).coef.tolist())
        self._spec = {"problem": "wells", "level": level, "batch_size": batch_size, "noise": choose("noise", noise, NOISES),
                      "scale": scale}
        self._size = scale / math.sqrt(batch_size)
        # the signed root of Σ is smooth where the two slopes cross
        law = (MinibatchNoise(batch_size=batch_size, examples=Halves(self._value, self._half), scale=scale)
               if noise == "minibatch"
               else GaussianNoise(self._root))
        super().__init__(self._at, 1, law, "wells")

    def _root(self, theta: Tensor) -> Tensor:
        return self._half(theta, 1).unsqueeze(0) * self._size

