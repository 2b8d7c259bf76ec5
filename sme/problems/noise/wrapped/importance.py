"""The noise of a minibatch whose examples are drawn with unequal probabilities."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import Matrix, Paths, Stream
from sme.problems.noise.factor import factored
from sme.problems.noise.independent.unit import BITS
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.per_example import Examples, Shares


class ImportanceNoise(MinibatchNoise):
    """`S z = scale ((mean of g_i/(n p_i) over the batch) − ḡ)`, `B` examples drawn with probabilities `p_i` and with replacement.

    The mean is the loss's gradient whatever `p`. All is as for `sme.MinibatchNoise` with replacement, with
    `X_i = g_i/(n p_i) − ḡ` and averages over `p` in place of `1/n`:

        Σ¹ = Σ_i p_i X_i X_iᵀ = (1/n²) Σ_i g_i g_iᵀ/p_i − ḡ ḡᵀ        S dW¹ = √(1/B) Σ_i √p_i X_i dW¹_i

    A step sums over all examples, with weights that are 0 for those that were not drawn.

    Parameters
    ----------
    probabilities
        `p`, of shape `(n,)`, scaled to sum to 1.
    loss, data, batch_size, examples, scale
        as of `sme.MinibatchNoise`.

    Raises
    ------
    SMEError
        for probabilities that are not positive or not as many as the examples, and as `sme.MinibatchNoise` does.
    """

    uniform = False

    def __init__(self, probabilities: Shares, loss: Callable[..., Tensor] | None = None, data: Sequence[Tensor] = (),
                 batch_size: int = 1, examples: Examples | None = None, scale: float = 1.0) -> None:
        super().__init__(loss, data, batch_size, examples, scale=scale)
        try:
            given = torch.as_tensor(probabilities).detach().to(torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise SMEError(f"probabilities must be a tensor (n,), got {short(probabilities)}") from None
        if tuple(given.shape) != (self.motions,) or not bool((torch.isfinite(given) & (given > 0)).all()):
            raise SMEError(f"probabilities must be {self.motions} finite numbers > 0, one for each example, got shape "
                           f"{tuple(given.shape)}, {short(given)}: an example that is never drawn makes the gradient biased, mix "
                           "it with the uniform law as 0.9 p + 0.1/n")
        self.probabilities = given / given.sum()
        self._above = self.probabilities.cumsum(0)
        self._each = 1 / (self.motions * self.probabilities)
        self.skewed = self.skewed or bool((self.probabilities != self.probabilities[0]).any())

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        uniform = (stream.integers(BITS, paths, self.batch_size).to(torch.float64) + 0.5) / BITS
        return torch.searchsorted(self._above, uniform.contiguous()).clamp(max=self.motions - 1)

    def quadrature(self) -> Iterator[rules.Rule]:
        for points, weights in super().quadrature():
            drawn = weights * self.probabilities[points].prod(1)
            yield points, drawn / drawn.sum()

    def _mean(self, theta: Paths, z: Tensor) -> Paths:
        """The mean of `g_i/(n p_i)` over each path's batch."""
        counts = theta.new_zeros(len(theta), self.motions).scatter_add_(1, z, torch.ones_like(z, dtype=theta.dtype))
        return self._tallied(theta, counts)

    def _tallied(self, theta: Paths, counts: Tensor) -> Paths:
        return self.examples.weigh(theta, counts * self._each / self.batch_size)[0]

    def tallied(self, theta: Paths, counts: Float[Tensor, "paths n"]) -> Paths:
        return self.scale * (self._tallied(theta, counts) - self.examples.gradient(theta))

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.scale * (self._mean(theta, z) - self.examples.gradient(theta))

    def noisy(self, theta: Paths, z: Tensor, mean: Callable[[Paths], Paths], share: float) -> Paths:
        return self.scale * self._mean(theta, z) + (share - self.scale) * mean(theta)

    def _root(self, weights: Tensor) -> Tensor:
        """`w` with `Σ_i w_i g_i = √(1/B) scale Σ_i √p_i X_i weights_i`."""
        return self._centred(weights) * self._each * (self.scale / math.sqrt(self.batch_size))

    def _centred(self, weights: Tensor) -> Tensor:
        rooted = weights * self.probabilities.sqrt()
        return rooted - self.probabilities * rooted.sum(-1, keepdim=True)

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths n"]) -> tuple[Paths, Paths]:
        weights = self._root(dW)
        noise, squares = self.examples.weigh(theta, weights, weights * self._each)
        return noise, (squares - 2 * self.examples.gradient(theta) * noise) * (self.scale / self.batch_size)

    def second(self, theta: Paths, dW: Float[Tensor, "paths second"]) -> Paths:
        if not self.second_motions:
            return torch.zeros_like(theta)
        n, share = self.motions, math.sqrt(2 * (1 - 1 / self.batch_size))
        if self.dense:
            variance = self.variance(theta)
            return share * factored(self.covariance(theta) ** 2, variance * variance, dW)
        signs = torch.sign(dW[:, n : 2 * n]) * torch.sign(dW[:, 2 * n :])
        return share * self.diffuse(theta, dW[:, :n]) * self.diffuse(theta, signs)

    def covariance(self, theta: Paths) -> Matrix:
        mean = self.examples.gradient(theta)
        square = self.examples.outer(theta, shares=self.probabilities * self._each**2)
        return (square - mean.unsqueeze(-1) * mean.unsqueeze(-2)) * (self.scale**2 / self.batch_size)

    def _average(self, theta: Paths, power: int) -> Paths:
        """`Σ_i p_i (g_i/(n p_i))^power`, elementwise."""
        return self.examples.power(theta, power, self.probabilities * self._each**power)

    def variance(self, theta: Paths) -> Paths:
        mean = self.examples.gradient(theta)
        return (self._average(theta, 2) - mean * mean) * (self.scale**2 / self.batch_size)

    def variance_slope(self, theta: Paths, u: Paths) -> Paths:
        change: Paths = torch.func.jvp(self.variance, (theta,), (u,))[1]
        return change

    def third(self, theta: Paths) -> Paths:
        mean = self.examples.gradient(theta)
        central = self._average(theta, 3) - 3 * mean * self._average(theta, 2) + 2 * mean**3
        return central * (self.scale**3 * self.sampling.shares.third)

    def fourth(self, theta: Paths) -> Paths:
        mean, square = self.examples.gradient(theta), self._average(theta, 2)
        central = self._average(theta, 4) - 4 * mean * self._average(theta, 3) + 6 * mean**2 * square - 3 * mean**4
        variance = square - mean * mean
        return (self.sampling.shares.fourth * central + 3 * self.sampling.shares.pairs * variance * variance) * self.scale**4

    def describe(self) -> dict[str, object]:
        return {**super().describe(), "law": "minibatch by importance", "probabilities": fingerprint(self.probabilities)}

    def changed(self, **changes: Any) -> "ImportanceNoise":
        given = {"probabilities": self.probabilities, "batch_size": self.batch_size, "examples": self.examples,
                 "scale": self.scale}
        return ImportanceNoise(**{**given, **changes}).sized(self.dim)

    def to(self, device: torch.device) -> "ImportanceNoise":
        return self.changed(examples=self.examples.to(device), probabilities=self.probabilities.to(device))
