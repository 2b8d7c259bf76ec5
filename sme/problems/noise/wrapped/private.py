"""DP-SGD: every example's gradient is clipped, and Gaussian noise is added."""

import copy
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short, size
from sme.optimizers.regimes import Regime
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Paths, Stream
from sme.problems.noise.minibatch.clipped import clipped
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.wrapped.base import WrappedNoise
from sme.problems.noise.wrapped.importance import ImportanceNoise


class Private(WrappedNoise):
    r"""Differentially private gradients (DP-SGD, DP-Adam): with `c_i = g_i min(1, C/|g_i|)`

    ```math
    \hat g = \frac1B\sum_{i\in\text{batch}} c_i + \frac{\sigma C}{B}\,\zeta,\qquad \zeta\sim N(0, I)
    ```

    It is affine in the batch, so that no batches are summed over, for networks of any size: `E ĝ = c̄`,
    `Cov ĝ = Cov_n(c)/B + (σC/B)² I`, and the noise of `ĝ∘ĝ` is that of `sme.MinibatchNoise` of the `c_i` with, beside it,
    `√(4v diag Cov + 2v²)∘dW²`, `v = (σC/B)²`. Source: Abadi et al. 2016, arXiv 1607.00133.

    Parameters
    ----------
    noise
        a minibatch law, whose examples are clipped.
    limit
        `C > 0`.
    sigma
        the noise multiplier `σ ≥ 0`.

    Raises
    ------
    SMEError
        for other numbers, for a law that is none of minibatches, or examples whose gradients cannot be taken one by one.
    """

    law: MinibatchNoise
    paired = False
    constant = False
    transforms = True

    def __init__(self, noise: GradientLaw, limit: float, sigma: float) -> None:
        if not isinstance(noise, MinibatchNoise) or isinstance(noise, ImportanceNoise):
            raise SMEError("sme.Private clips the gradient of every example, and takes a law of minibatches, "
                           f"sme.MinibatchNoise, got {short(noise)}: sme.Clipped clips the gradient of a step")
        self.limit, self.sigma = size("limit", limit, "> 0"), size("sigma", sigma)
        self.given, self.law = noise, noise.changed(examples=clipped(noise.examples, self.limit))
        self.added = (self.sigma * self.limit / noise.batch_size * noise.scale) ** 2
        self.skewed, self.independent_steps, self.responds = noise.skewed, noise.independent_steps, noise.responds
        self.numerics = ("transformed", *noise.numerics)
        self.coupled = False
        self.motions = noise.motions

    def check(self, dim: int) -> None:
        self.given.check(dim)
        self.dim = dim
        self.law.sized(dim)
        self.motions = self.law.motions + dim
        self.second_motions = self.law.second_motions + dim

    @property
    def told(self) -> GradientLaw:
        return self.given

    @property
    def bilinear(self) -> bool:  # type: ignore[override]
        return self.law.bilinear

    @property
    def signs(self) -> tuple[range, ...]:  # type: ignore[override]
        return self.law.signs

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        batch = self.law.draw(None, tau, stream, paths)
        return torch.cat((batch.to(torch.float64), stream.normal(paths, self.dim)), 1)

    def _parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The batch and the added noise of a draw."""
        batch, own = z.split((z.shape[1] - self.dim, self.dim), 1)
        return batch.long(), own * self.added**0.5

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        batch, own = self._parts(z)
        return self.law.sample(theta, batch) + own

    def noisy(self, theta: Paths, z: Tensor, mean: Callable[[Paths], Paths], share: float) -> Paths:
        batch, own = self._parts(z)
        return self.law.noisy(theta, batch, mean, share) + own

    def quadrature(self) -> Iterator[rules.Rule]:
        """All batches, each with a rule for the added noise."""
        (indices, chance), = self.law.quadrature()
        if self.added == 0:
            yield torch.cat((indices.to(torch.float64), torch.zeros(len(indices), self.dim)), 1), chance
            return
        for z, weights in rules.gaussian(self.dim):
            if len(z) * len(indices) > rules.MOST_NODES:
                return
            rows = indices.to(torch.float64).repeat_interleave(len(z), 0)
            yield torch.cat((rows, z.repeat(len(indices), 1)), 1), torch.outer(chance, weights).flatten()

    def diffuse(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> Paths:
        n = self.law.motions
        return self.law.diffuse(theta, dW[:, :n]) + self.added**0.5 * dW[:, n:]

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> tuple[Paths, Paths]:
        n = self.law.motions
        noise, square = self.law.diffuse_square(theta, dW[:, :n])
        return noise + self.added**0.5 * dW[:, n:], square

    def second(self, theta: Paths, dW: Float[Tensor, "paths second"]) -> Paths:
        n, v = self.law.second_motions, self.added
        own = (4 * v * self.law.variance(theta) + 2 * v * v).clamp(min=0).sqrt() * dW[:, n:]
        return own + self.law.second(theta, dW[:, :n]) if n else own

    def second_columns(self) -> Float[Tensor, "columns second_motions"]:
        return torch.block_diag(self.law.second_columns(), torch.eye(self.dim, dtype=torch.float64))

    def variance(self, theta: Paths) -> Paths:
        return self.law.variance(theta) + self.added

    def variance_slope(self, theta: Paths, u: Paths) -> Paths:
        return self.law.variance_slope(theta, u)

    def third(self, theta: Paths) -> Paths:
        return self.law.third(theta)

    def fourth(self, theta: Paths) -> Paths:
        v = self.added
        return self.law.fourth(theta) + 6 * v * self.law.variance(theta) + 3 * v * v

    def physical(self, regime: Regime, tau: float) -> dict[str, object]:
        return {**self.law.physical(regime, tau), "clip": self.limit, "noise multiplier": self.sigma}

    def describe(self) -> dict[str, object]:
        return {"law": "private", "limit": self.limit, "sigma": self.sigma, "of": fingerprint(self.given)}

    def to(self, device: torch.device) -> "Private":
        made = copy.copy(self)
        made.given, made.law = self.given.to(device), self.law.to(device)
        return made
