"""Gradient noise by its distribution function."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import quad_vec
from torch import Tensor

from sme.errors import SMEError
from sme.identity import fingerprint
from sme.inputs import whole
from sme.laws.base import GradientLaw, Paths, Stream

LARGEST, HALVINGS = 1e12, 48
"""no quantile is sought beyond, and how often the interval is halved: to 2e-13 of the noise, or of 1"""
ACCURACY, PIECES = 1e-8, 60
"""of a moment, and into how many intervals its integral is cut at most"""
MOST = 4
"""moments that rules may ask for"""
Distribution = Callable[[Float[Tensor, "*paths d"]], Float[Tensor, "*paths d"]]


class DistributionNoise(GradientLaw):
    """Noise that is independent between parameters, given by `F(z) = P(noise ≤ z)`: so `P(ĝ < 0) = F(−∇f)`.

    What signSGD needs is `F` alone, `E sign(ĝ) = 1 − 2 F(−∇f)`: its equation is known for every smooth `F`. The
    discrete run draws `F⁻¹(Φ(x))` with normal `x`. Moments, for rules that ask for them, are integrals of the
    tails, `E zᵏ = k ∫₀^∞ z^{k−1} (1 − F(z) + (−1)ᵏ F(−z)) dz`.

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

    def __init__(self, cdf: Distribution, dim: int = 1) -> None:
        if not callable(cdf):
            raise SMEError(f"cdf must be a function from z (d,) to P(noise ≤ z), got {cdf!r}")
        self.cdf, self.motions = cdf, whole("dim", dim, 1)
        self.second_motions = self.motions
        far = torch.tensor([-LARGEST, -1.0, 0.0, 1.0, LARGEST], dtype=torch.float64).unsqueeze(1).expand(-1, self.motions)
        try:
            values = cdf(far)
        except Exception as fault:
            raise SMEError(f"cdf fails at a float64 tensor (5, {self.motions}): {fault}") from fault
        if not isinstance(values, Tensor) or values.shape != far.shape:
            raise SMEError(f"cdf must return a tensor of the shape that it is given, {tuple(far.shape)}")
        ends = values[[0, -1]] - torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        if not bool((ends.abs() < ACCURACY).all()) or not bool((values.diff(dim=0) >= 0).all()):
            raise SMEError(f"cdf must rise from 0 to 1, got {values[:, 0].tolist()} at z = {far[:, 0].tolist()}")
        self._moments: list[Tensor] = []
        while len(self._moments) < MOST and (found := self._integral(len(self._moments) + 1)) is not None:
            self._moments.append(found)
        self.moments = math.inf if len(self._moments) == MOST else len(self._moments) + 1.0
        if self._moments and bool((self._moments[0].abs() > ACCURACY).any()):
            raise SMEError(f"the noise must have mean 0, got {self._moments[0].tolist()}: shift cdf by its mean")
        self.skewed = bool(((cdf(far[3:]) + cdf(-far[3:]) - 1).abs() > ACCURACY).any())

    def _integral(self, power: int) -> Tensor | None:
        """`E zᵏ`, one a parameter; None where the integral does not converge."""

        def tail(z: float) -> np.ndarray:
            at = torch.full((self.motions,), z, dtype=torch.float64)
            return (power * z ** (power - 1) * (1 - self.cdf(at) + (-1) ** power * self.cdf(-at))).numpy()

        value, error = quad_vec(tail, 0, math.inf, epsabs=ACCURACY / 10, epsrel=ACCURACY / 10, limit=PIECES)
        found = np.isfinite(value).all() and error < ACCURACY * (1 + np.abs(value).max())
        return torch.from_numpy(np.asarray(value, dtype=np.float64)) if found else None

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
        """`F⁻¹(Φ(z))`, by bisection of `arsinh`."""
        chance, width = torch.special.ndtr(z), math.asinh(LARGEST)
        y = torch.zeros_like(z)
        for _ in range(HALVINGS):
            width = 0.5 * width
            y = y + torch.where(self.cdf(torch.sinh(y)) < chance, width, -width)
        return torch.sinh(y)

    def sign_mean(self, theta: Paths, g: Paths) -> Paths:
        """`1 − 2 F(−g)`."""
        return 1 - 2 * self.cdf(-g)

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
