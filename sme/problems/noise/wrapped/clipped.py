"""Clip, direction and sign of the noisy gradient, as laws."""

import itertools
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.inputs import size
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Paths
from sme.problems.noise.wrapped.moments import Moments, joint
from sme.problems.noise.wrapped.orthants import covariance
from sme.problems.noise.wrapped.radial import deviation, mean, radial
from sme.problems.noise.wrapped.transformed import TransformedNoise, columns

HELD_RADIAL = 2**14
"""paths whose moments are taken at a time where they are closed forms"""


class Shortened(TransformedNoise):
    """`γ = w(|ĝ|) ĝ`, whose moments are known for Gaussian noise with a constant `Σ = s² I` in any number of parameters."""

    longest: float | None = None
    """of a clip"""
    _same: tuple[Tensor, float] | None = None

    def check(self, dim: int) -> None:
        super().check(dim)
        self._same = None
        if self.law.paired and self.law.constant and not self.law.exact:
            factor = columns(self.law, torch.ones(1, dim, dtype=torch.float64))[0]
            if (size_ := deviation(factor)) is not None:
                self._same = factor, size_

    @property
    def at_once(self) -> int | None:
        return None if self._same is None else HELD_RADIAL

    def mean(self, theta: Paths, gradient: Callable[[Paths], Paths]) -> Paths:
        if self._same is None:
            return super().mean(theta, gradient)
        return mean(self.gradient(theta), self._same[1], self.longest)

    def _moments(self, theta: Paths) -> Moments:
        if self._same is None:
            return super()._moments(theta)
        return radial(self.gradient(theta), self._same[0].to(theta.device), self._same[1], self.longest)


class Clipped(Shortened):
    r"""The gradient clipped to a norm, as `torch.nn.utils.clip_grad_norm_` does in every step.

    ```math
    \gamma = \hat g\,\min(1, C/|\hat g|)
    ```

    Every rule then sees `γ`: `sme.Problem(loss, d, sme.Clipped(sme.GaussianNoise(S), 1.0))` with `sme.Adam()` is Adam of the
    clipped gradient. Of a minibatch it is the batch's mean that is clipped; `sme.Private` clips every example's.

    Parameters
    ----------
    noise
        the law of the gradient before the clip: Gaussian of one or two parameters, or of any number with the same constant
        variance in every direction; or a minibatch all of whose batches can be summed over.
    limit
        `C > 0`.

    Raises
    ------
    SMEError
        for another limit, or a law that it does not know the moments of.
    """

    def __init__(self, noise: GradientLaw, limit: float) -> None:
        super().__init__(noise)
        self.limit = size("limit", limit, "> 0")
        self.cuts, self.longest = (self.limit,), self.limit

    def transform(self, scaled: Tensor) -> Tensor:
        norm = scaled.square().sum(-1, keepdim=True)
        inside = norm <= self.limit**2
        return scaled * torch.where(inside, 1.0, self.limit / torch.where(inside, 1.0, norm).sqrt())

    def describe(self) -> dict[str, object]:
        return {**super().describe(), "limit": self.limit}


class Normalised(Shortened):
    """The direction of the gradient, `γ = ĝ/|ĝ|` (0 where `ĝ = 0`).

    `noise` is the law of the gradient before, as of `sme.Clipped`; a law that it does not know the moments of raises `SMEError`.
    """

    def transform(self, scaled: Tensor) -> Tensor:
        norm = scaled.square().sum(-1, keepdim=True)
        return scaled * torch.where(norm > 0, 1 / torch.where(norm > 0, norm, 1.0).sqrt(), 0.0)


class Signed(TransformedNoise):
    """The signs of the gradient's entries, `γ = sign(ĝ)`.

    With Gaussian noise of any number of parameters, `u = ∇f/√(2σ)`: `E γ = erf(u)`, and `Cov γ` by Plackett's identity. With a
    minibatch `E γ` jumps where the gradient of a batch crosses 0, and an equation is of order 1 where a run does.

    `noise` is the law of the gradient before, as of `sme.Clipped`; a law that it does not know the moments of raises `SMEError`.
    """

    def transform(self, scaled: Tensor) -> Tensor:
        return scaled.sign()

    def quadrature_at(self, theta: Float[Tensor, " d"], g: Float[Tensor, " d"]) -> Iterator[rules.Rule]:
        """Of Gaussian noise the quadrants of at most two signs, each by one draw."""
        dim, point = len(theta), theta.unsqueeze(0)
        if self.law.exact or dim > 2:
            yield from super().quadrature_at(theta, g)
            return
        signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=dim)), dtype=theta.dtype)
        found = self.found(point)
        chance = 0.5**dim * (1 + signs @ found.mean[0])
        if dim == 2:
            both = (found.factor[0, 0] * found.factor[0, 1]).sum() + found.mean[0].prod()
            chance = chance + 0.25 * signs.prod(-1) * both
        for _ in range(2):  # the same again: it is settled
            yield torch.linalg.solve(self._square(point)[0], (signs - self.gradient(point)).mT).mT, chance

    def _moments(self, theta: Paths) -> Moments:
        if not self.law.paired:
            return super()._moments(theta)
        deviation, s = self.law.variance(theta).sqrt(), columns(self.law, theta)
        a, s = self.gradient(theta) / deviation, s / deviation.unsqueeze(-1)
        mean = torch.erf(a / 2**0.5)
        square = 1 - mean * mean
        along = (2 / torch.pi) ** 0.5 * torch.exp(-0.5 * a * a).unsqueeze(-1) * s
        factor = joint(covariance(a, s), along)
        factor = torch.cat((factor, torch.zeros_like(factor)), 1)  # the square of a sign is 1
        return Moments(mean, square, -2 * mean * square, square * (1 + 3 * mean * mean),
                       torch.cat((factor, torch.zeros_like(factor[..., -theta.shape[1]:])), -1))
