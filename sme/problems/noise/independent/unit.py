"""Laws of one number, from which the noise of a gradient is made component by component."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import number
from sme.problems.noise.base import Stream

BITS = 2**31
SUMMED = 40
"""degrees of freedom up to which a whole number of them is summed, not integrated"""
RAISED = 12.0
"""power of the cosine from which on a quadrature of it is exact to rounding"""
NODES, WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(48))
REACH = 40.0
"""`−log` of the probability that a rule for a heavy tail leaves out"""


class Unit(ABC):
    """The law of one number `z` with `E z = 0`."""

    name: str
    exact = False
    """whether one rule carries the whole law"""
    moments = math.inf
    """`E |z|^p` is finite for `p` below this"""

    @property
    @abstractmethod
    def second(self) -> float:
        """`E z²`."""

    @property
    @abstractmethod
    def third(self) -> float:
        """`E z³`."""

    @property
    @abstractmethod
    def fourth(self) -> float:
        """`E z⁴`."""

    @abstractmethod
    def draw(self, stream: Stream, *shape: int) -> Tensor:
        """Independent draws."""

    @abstractmethod
    def rule(self, level: int) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
        """Nodes and weights, finer with each level."""

    def sign_mean(self, a: Tensor) -> Tensor:
        """`E sign(a + z)`, smooth in `a`.

        Raises
        ------
        SMEError
            where it is not.
        """
        raise SMEError(f"the mean sign of a gradient with {self.name} noise jumps, so it has no derivative: use "
                       "sme.GaussianNoise or sme.StudentNoise")

    @property
    def cumulants(self) -> tuple[float, float]:
        """Skewness `E z³/σ³` and excess kurtosis `E z⁴/σ⁴ − 3`, which is NaN where there is none."""
        return self.third / self.second**1.5, self.fourth / self.second**2 - 3 if self.moments > 4 else math.nan


class Normal(Unit):
    """The standard normal law."""

    name = "Gaussian"
    second, third, fourth = 1.0, 0.0, 3.0

    def draw(self, stream: Stream, *shape: int) -> Tensor:
        return stream.normal(*shape)

    def rule(self, level: int) -> tuple[Tensor, Tensor]:
        points, weights = np.polynomial.hermite_e.hermegauss(8 * 2**level)
        return torch.from_numpy(points), torch.from_numpy(weights / weights.sum())

    def sign_mean(self, a: Tensor) -> Tensor:
        return torch.erf(a / math.sqrt(2))


@dataclass(frozen=True)
class TwoPoint(Unit):
    """`√((1 − p)/p)` with probability `p`, else `−√(p/(1 − p))`; for `p = ½` random signs (Rademacher).

    `E z² = 1`, `E z³ = (1 − 2p)/√(p (1 − p))`, `E z⁴ = 1 + (E z³)²`, the least that there is at this skewness.

    Raises
    ------
    SMEError
        unless `0 < p < 1`.
    """

    p: float = 0.5

    name = "two-point"
    exact = True
    second = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", number("p", self.p))
        if not 0 < self.p < 1:
            raise SMEError(f"p must lie strictly between 0 and 1, got {self.p:g}: 0.5 are random signs")

    @property
    def third(self) -> float:
        return (1 - 2 * self.p) / math.sqrt(self.p * (1 - self.p))

    @property
    def fourth(self) -> float:
        return 1 + self.third**2

    @property
    def values(self) -> tuple[float, float]:
        """The one of probability `p`, and the other."""
        return math.sqrt((1 - self.p) / self.p), -math.sqrt(self.p / (1 - self.p))

    def draw(self, stream: Stream, *shape: int) -> Tensor:
        high, low = self.values
        return low + (high - low) * (stream.integers(BITS, *shape) < self.p * BITS).to(torch.float64)

    def rule(self, level: int) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.values, dtype=torch.float64), torch.tensor((self.p, 1 - self.p), dtype=torch.float64)


@dataclass(frozen=True)
class Student(Unit):
    """Student's t with `ν` degrees of freedom: `E z² = ν/(ν − 2)`, `E z⁴ = 3 ν²/((ν − 2)(ν − 4))`.

    Raises
    ------
    SMEError
        unless `ν > 0` is finite; for a moment that does not exist.
    """

    nu: float = 5.0

    name = "Student"
    third = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "nu", number("nu", self.nu))
        if not 0 < self.nu < math.inf:
            raise SMEError(f"nu must be positive and finite, got {self.nu:g}: the degrees of freedom of the t law, such as 5")

    @property
    def moments(self) -> float:  # type: ignore[override]
        return self.nu

    @property
    def second(self) -> float:
        if self.nu <= 2:
            raise SMEError(f"Student noise with nu = {self.nu:g} has no variance, and it is needed here: use nu > 2, or "
                           "sme.SignSGD, whose equation needs no moment")
        return self.nu / (self.nu - 2)

    @property
    def fourth(self) -> float:
        if self.nu <= 4:
            raise SMEError(f"Student noise with nu = {self.nu:g} has no fourth moment, and the noise of the squared gradient "
                           "in this equation needs it: use nu > 4, or order=1 with brownian='none'")
        return 3 * self.nu**2 / ((self.nu - 2) * (self.nu - 4))

    def draw(self, stream: Stream, *shape: int) -> Tensor:
        """`√(ν (U^{−2/ν} − 1)) cos 2πV` of two uniform numbers (Bailey 1994), `U` of 62 bits for the sake of the tail."""
        first, last, angle = stream.integers(BITS, *shape, 3).to(torch.float64).unbind(-1)
        u = (first + (last + 0.5) / BITS) / BITS
        return (self.nu * torch.expm1(-2 / self.nu * u.log())).sqrt() * torch.cos(2 * math.pi / BITS * (angle + 0.5))

    def rule(self, level: int) -> tuple[Tensor, Tensor]:
        """The trapezoidal rule in `u`, `z = √ν sinh u`: exponentially accurate for a smooth function that does not grow."""
        far = REACH / self.nu + 4
        count = round(far * 2 ** (level + 2))
        u = torch.linspace(-far, far, 2 * count + 1, dtype=torch.float64)
        density = math.exp(math.lgamma((self.nu + 1) / 2) - math.lgamma(self.nu / 2)) / math.sqrt(math.pi)
        return math.sqrt(self.nu) * torch.sinh(u), far / count * density * torch.cosh(u).pow(-self.nu)

    def sign_mean(self, a: Tensor) -> Tensor:
        """`2F_ν(a) − 1 = C ∫₀^φ cos^{ν−1}`, `tan φ = a/√ν`, `C = 2Γ((ν+1)/2)/(√π Γ(ν/2))`.

        For whole `ν` by the recurrence for powers of the cosine down to `∫ 1` or `∫ cos`; else by it up to a power at
        which Gauss and Legendre's rule is exact to rounding.
        """
        angle = torch.atan(a / math.sqrt(self.nu))
        sine, cosine = a / (self.nu + a * a).sqrt(), math.sqrt(self.nu) / (self.nu + a * a).sqrt()
        power = self.nu - 1
        if self.nu == round(self.nu) <= SUMMED:
            total, reached = (angle, 0) if power % 2 == 0 else (sine, 1)
            while reached < power:
                reached += 2
                total = (sine * cosine ** (reached - 1) + (reached - 1) * total) / reached
        else:
            high = power
            while high < RAISED:
                high += 2
            half = 0.5 * angle
            total = half * (torch.cos(half.unsqueeze(-1) * (1 + NODES.to(a.device))) ** high @ WEIGHTS.to(a.device))
            while high > power + 1:
                total = (high * total - sine * cosine ** (high - 1)) / (high - 1)
                high -= 2
        return 2 * math.exp(math.lgamma((self.nu + 1) / 2) - math.lgamma(self.nu / 2)) / math.sqrt(math.pi) * total
