"""Gradient noise whose variance grows with the gradient."""

import copy
import math
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import number
from sme.problems.noise.base import Named, Paths, Stream
from sme.problems.noise.components import ScaledNoise
from sme.problems.noise.independent.unit import Normal, Student, TwoPoint, Unit

LAWS = ("gaussian", "rademacher", "skewed", "student")


class AffineNoise(ScaledNoise):
    """`√(d0 + d1 (∂_i f)²) ξ_i`, `ξ_i` independent of mean 0 and variance 1: `Σ_ii = d0 + d1 (∂_i f)²`.

    Noise of affine variance, as arXiv 2404.01436 assumes it for RMSProp and Adam; that it holds with equality, for one law of
    `ξ` at every θ, is our own choice. The gradient is that of the problem that the law is given to. If `ξ` is Gaussian, the
    discrete run is paired with the equation.

    Parameters
    ----------
    d0, d1
        `d0 > 0`, so that the root is smooth where the gradient vanishes, and `d1 ≥ 0`.
    law
        of `ξ`: `"gaussian"`, `"rademacher"`, `"skewed"` (two values, the upper one of probability `p`), `"student"`
        (`ν` degrees of freedom, over their standard deviation).
    nu, p
        of these.

    Raises
    ------
    SMEError
        for `d0 ≤ 0`, `d1 < 0`, an unknown law, `ν ≤ 2`; if it has not been given to a problem.
    """

    constant = False
    names: ClassVar = {"affine": Named(lambda factor, noise, growth: AffineNoise(noise**2, growth), "growth", 1.0)}

    def __init__(self, d0: float, d1: float, law: str = "gaussian", nu: float = 5.0, p: float = 0.2) -> None:
        self.d0, self.d1, self.law = number("d0", d0), number("d1", d1), choose("law", law, LAWS)
        if not (0 < self.d0 < math.inf and 0 <= self.d1 < math.inf):
            raise SMEError(f"d0 must be finite and > 0, d1 finite and ≥ 0, got d0 = {self.d0:g}, d1 = {self.d1:g}")
        units: dict[str, Callable[[], Unit]] = {"gaussian": Normal, "rademacher": TwoPoint, "skewed": lambda: TwoPoint(p),
                                                "student": lambda: Student(nu)}
        super().__init__(units[law]())
        self.paired = law == "gaussian"
        self._share = self.unit.second**-0.5
        self.gradient: Callable[[Paths], Paths] | None = None

    def variance(self, theta: Paths) -> Paths:
        return self.scale(theta).square() * self.unit.second

    def bound(self, gradient: Callable[[Paths], Paths]) -> "AffineNoise":
        made = copy.copy(self)
        made.gradient = gradient
        return made

    def scale(self, theta: Paths) -> Paths:
        if self.gradient is None:
            raise SMEError("AffineNoise takes the gradient of the problem that it is the noise of: give it to sme.Problem")
        return self._share * (self.d0 + self.d1 * self.gradient(theta).square()).sqrt()

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        if self.paired and increment is not None:
            return increment / tau**0.5
        return super().draw(increment, tau, stream, paths)

    def describe(self) -> dict[str, object]:
        own = {name: getattr(self.unit, name) for name in ("nu", "p") if hasattr(self.unit, name)}
        return {"law": f"affine {self.law}", "d0": self.d0, "d1": self.d1, **own}
