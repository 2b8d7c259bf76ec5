"""Gradient noise by its distribution function."""

import copy
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short, whole
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Paths, Stream
from sme.problems.noise.independent.quantiles import LARGEST, ROUNDING, Distribution, quantile, scale
from sme.problems.noise.independent.tail import MOST, Side, density, nodes, side, side_by_chances

ACCURACY = 1e-7
"""of the mean, in units of `E |z|`, and of the ends of a distribution function"""
FALL = 1e-13
"""by which rounding may make it fall"""
MASS = 1e-9
"""error of `P(−∞ < z < ∞)` from which on a density is not used"""
SKEWED = 1e-8
"""of a third moment in units of `E |z|³`, below which it is rounding"""
PLACES = torch.tensor([0.0, *(2.0**k for k in range(-2, 11))], dtype=torch.float64).unsqueeze(1)
"""in scales, where a distribution function is looked at"""


class DistributionNoise(GradientLaw):
    """Noise that is independent between parameters, given by `F(z) = P(noise ≤ z)`: so `P(ĝ < 0) = F(−∇f)`.

    What signSGD needs is `F` alone, `E sign(ĝ) = 1 − 2 F(−∇f)`: its equation is known for every smooth `F`. The
    discrete run draws `F⁻¹(Φ(x))` with normal `x`. Moments, for rules that ask for them, are integrals of the density `F'`
    in units of the law's own scale, the median of `|z|` (see `tail`), or of the tails where there is no density.

    Parameters
    ----------
    cdf
        `F`, elementwise and differentiable, from a tensor whose last axis is the parameters to one of that shape.
    dim
        `d`, the number of parameters.

    Raises
    ------
    SMEError
        if `cdf` does not rise from 0 to 1, or has another mean than 0; where a moment is asked for that does not exist.
    """

    paired, constant, apart = False, True, True
    numerics = ("distribution",)

    def __init__(self, cdf: Distribution, dim: int = 1) -> None:
        if not callable(cdf):
            raise SMEError(f"cdf must be a function from z (d,) to P(noise ≤ z), got {short(cdf)}")
        self.cdf, self.motions = cdf, whole("dim", dim, 1)
        self.second_motions = self.motions
        self._check_shape()
        self._scale = scale(self._chance, self.motions)
        self._check_rise()
        self._ends: list[Tensor] | None = None
        sides = self._sides()
        self._moments: list[Tensor] = []
        for k in range(1, MOST + 1):
            found = sides[0].moments[:, k] + (-1) ** k * sides[1].moments[:, k]
            if not bool(torch.isfinite(found).all()):
                break
            self._moments.append(self._scale**k * found)
        size = sides[0].moments + sides[1].moments
        power = round(float(torch.minimum(sides[0].power, sides[1].power).min()), 2)
        self.moments = power if len(self._moments) == MOST else min(power, len(self._moments) + 1.0)
        if self._moments and bool((self._moments[0].abs() > ACCURACY * self._scale * size[:, 1]).any()):
            raise SMEError(f"the noise must have mean 0, got {self._moments[0].tolist()}: shift cdf by its mean")
        if len(self._moments) >= 3:
            self.skewed = bool((self._moments[2].abs() > SKEWED * self._scale**3 * size[:, 3]).any())
        else:
            z = self._scale * PLACES
            self.skewed = bool(((self._chance(z) + self._chance(-z) - 1).abs() > SKEWED).any())

    def _chance(self, z: Float[Tensor, "*paths d"]) -> Float[Tensor, "*paths d"]:
        """`F` of a copy, lest it write over what is still needed."""
        return self.cdf(z.clone())

    def _check_shape(self) -> None:
        at = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64).unsqueeze(1).expand(-1, self.motions)
        try:
            values = self._chance(at)
        except Exception as fault:
            raise SMEError(f"cdf fails at a float64 tensor (3, {self.motions}): {fault}") from fault
        if not isinstance(values, Tensor) or values.shape != at.shape:
            raise SMEError(f"cdf must return a tensor of the shape that it is given, {tuple(at.shape)}")

    def _check_rise(self) -> None:
        places = torch.cat([PLACES, torch.full((1, 1), LARGEST, dtype=torch.float64)])
        z = self._scale * torch.cat([-places.flip(0), places[1:]])
        values = self._chance(z)
        ends = values[[0, -1]] - torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        if not bool((ends.abs() < ACCURACY).all()) or bool((values.diff(dim=0) < -FALL).any()):
            shown = [0, len(z) // 2 - 3, len(z) // 2, len(z) // 2 + 3, -1]
            raise SMEError(f"cdf must rise from 0 to 1, got {values[shown, 0].tolist()} at z = {z[shown, 0].tolist()}")

    def _sides(self) -> list[Side]:
        """The upper and the lower side, in units of the scales: by the density where there is one that holds the whole law."""
        try:
            sides = [side(self._chance, self._scale, sign) for sign in (1, -1)]
        except (RuntimeError, NotImplementedError):  # no derivative
            sides = []
        if sides and bool(((sides[0].moments + sides[1].moments)[:, 0] - 1).abs().max() < MASS):
            self._ends = [torch.asinh(each.end.exp()) for each in sides]
            return sides
        return [side_by_chances(self._chance, self._scale, sign) for sign in (1, -1)]

    def _moment(self, power: int) -> Tensor:
        if power > len(self._moments):
            raise SMEError(f"the moment E z^{power} of this noise does not exist, or cannot be computed: a rule that needs it "
                           "has no equation here, signSGD needs none")
        return self._moments[power - 1]

    def check(self, dim: int) -> None:
        if self.motions != dim:
            raise SMEError(f"the noise has {self.motions} parameters but the problem has dim = {dim}: give "
                           f"DistributionNoise(cdf, dim={dim})")

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        return stream.normal(paths, self.motions)

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        """`F⁻¹(Φ(z))`."""
        return quantile(self._chance, self._scale, torch.special.ndtr(z))

    def quadrature(self) -> Iterator[rules.Rule]:
        """By the density; without one those of the normal draws."""
        return super().quadrature() if self._ends is None else rules.independent(self._rule)

    def _rule(self, level: int) -> rules.Marginals:
        """Draws `z` of each parameter and their weights, finer with each level."""
        parts = []
        for sign, end in zip((1, -1), self._ends or (), strict=True):
            u, shares = nodes(2 ** (level + 2), end)
            x = sign * self._scale * torch.sinh(u)
            weight = self._scale * torch.cosh(u) * density(self._chance, x) * shares
            parts.append((torch.special.ndtri(self._chance(x).clamp(ROUNDING, 1 - ROUNDING)), weight))
        z, weights = (torch.cat(each) for each in zip(*parts, strict=True))
        return z, weights / weights.sum(0)

    def sign_mean(self, theta: Paths, g: Paths) -> Paths:
        """`1 − 2 F(−g)`."""
        return 1 - 2 * self._chance(-g)

    def diffuse(self, theta: Paths, dW: Tensor) -> Paths:
        return dW * self._moment(2).sqrt()

    def diffuse_square(self, theta: Paths, dW: Tensor) -> tuple[Paths, Tensor]:
        noise = self.diffuse(theta, dW)
        return noise, dW * (self._moment(3) / self._moment(2).sqrt())

    def second(self, theta: Paths, dW: Tensor) -> Paths:
        sigma, kappa = self._moment(2), self._moment(3)
        return dW * (self._moment(4) - sigma.square() - kappa.square() / sigma).clamp(min=0).sqrt()

    def variance(self, theta: Paths) -> Paths:
        return self._moment(2).expand_as(theta)

    def spread(self, theta: Paths) -> Paths:
        return self.variance(theta) if len(self._moments) >= 2 else torch.ones_like(theta)

    def third(self, theta: Paths) -> Paths:
        return self._moment(3).expand_as(theta)

    def fourth(self, theta: Paths) -> Paths:
        return self._moment(4).expand_as(theta)

    def describe(self) -> dict[str, object]:
        return {"law": "distribution", "cdf": fingerprint(self.cdf), "dim": self.motions}

    def to(self, device: torch.device) -> "DistributionNoise":
        moved = copy.copy(self)
        moved._scale, moved._moments = self._scale.to(device), [each.to(device) for each in self._moments]
        return moved
