"""Gradient noise made of independent components of any law."""

import math
from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Paths, Stream
from sme.problems.noise.independent.unit import Unit


class ComponentNoise(GradientLaw):
    """`S z`, the `m` components `z_j` independent, all of the law `unit`, with `E z² = s`, `E z³ = κ`, `E z⁴ = μ`.

        S dW¹ = √s S dW¹      noise of ĝ∘ĝ beside 2 ∇f∘S dW¹: (κ/√s) (S∘S) dW¹ + √(μ − s² − κ²/s) (S∘S) dW² + …

    and, where components share a parameter, `2s (S_j∘S_l) dW²_jl` of each pair. The discrete run draws `z` on its own.
    """

    paired = False

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.skewed, self.moments = unit.third != 0, unit.moments

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self.unit.exact

    @property
    def cumulants(self) -> tuple[float, float]:
        return self.unit.cumulants

    def quadrature(self) -> Iterator[rules.Rule]:
        """The product of the unit's rules; of a Gaussian law those of all."""
        if self.paired:
            return super().quadrature()

        def columns(level: int) -> rules.Marginals:
            points, weights = self.unit.rule(level)
            return points.unsqueeze(-1).expand(-1, self.motions), weights.unsqueeze(-1).expand(-1, self.motions)

        return rules.independent(columns, 1 if self.unit.exact else rules.LEVELS)

    @abstractmethod
    def powers(self, theta: Paths, power: int, w: Tensor) -> Paths:
        """`S^∘p w`, every entry of `S(θ)` to the power `p`."""

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        return self.unit.draw(stream, paths, self.motions)

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.powers(theta, 1, z)

    def diffuse(self, theta: Paths, dW: Tensor) -> Paths:
        return math.sqrt(self.unit.second) * self.powers(theta, 1, dW)

    def diffuse_square(self, theta: Paths, dW: Tensor) -> tuple[Paths, Paths]:
        noise = self.diffuse(theta, dW)
        if not self.skewed:
            return noise, torch.zeros_like(noise)
        return noise, self.unit.third / math.sqrt(self.unit.second) * self.powers(theta, 2, dW)

    def second(self, theta: Paths, dW: Tensor) -> Paths:
        s, kappa, mu = self.unit.second, self.unit.third, self.unit.fourth
        return math.sqrt(max(0.0, mu - s * s - kappa * kappa / s)) * self.powers(theta, 2, dW)

    def _sum(self, theta: Paths, power: int) -> Paths:
        return self.powers(theta, power, theta.new_ones(len(theta), self.motions))

    def variance(self, theta: Paths) -> Paths:
        return self.unit.second * self._sum(theta, 2)

    def third(self, theta: Paths) -> Paths:
        return self.unit.third * self._sum(theta, 3)

    def fourth(self, theta: Paths) -> Paths:
        s = self.unit.second
        return (self.unit.fourth - 3 * s * s) * self._sum(theta, 4) + 3 * self.variance(theta).square()


class ScaledNoise(ComponentNoise):
    """`scale(θ)∘z`: independent between parameters, on `d` motions of either kind."""

    @property
    def apart(self) -> bool:  # type: ignore[override]
        """Unless the equation's own increments are drawn."""
        return not self.paired

    @abstractmethod
    def scale(self, theta: Paths) -> Paths:
        """Of the noise of every coordinate."""

    def check(self, dim: int) -> None:
        self.motions = self.second_motions = dim

    def powers(self, theta: Paths, power: int, w: Tensor) -> Paths:
        return self.scale(theta) ** power * w

    def spread(self, theta: Paths) -> Paths:
        return self.variance(theta) if self.moments > 2 else self._sum(theta, 2)

    def sign_mean(self, theta: Paths, g: Paths) -> Paths:
        return self.unit.sign_mean(g / self.scale(theta))
