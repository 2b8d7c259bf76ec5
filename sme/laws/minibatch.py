"""The noise of a minibatch drawn with replacement from a finite data set."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sme.errors import SMEError
from sme.laws.base import GradientLaw, Paths, Stream
from sme.laws.examples import Examples, LossExamples
from sme.regimes import Regime


class MinibatchNoise(GradientLaw):
    """`S z = (mean of g_i over the batch) − ḡ`, `B` indices drawn afresh in every step, with replacement.

    With `X_i = g_i − ḡ` and one motion for each of the `n` examples, `S dW¹ = (nB)^{-1/2} Σ_i X_i dW¹_i`.
    The noise of `ĝ∘ĝ` has its exact covariance with it and with itself, third and fourth moments
    included (docs/derivation.md, section 3):

        (nB)^{-1/2} Σ_i (2 ∇f∘X_i + (X_i∘X_i − diag Σ¹)/B) dW¹_i + √(2(1 − 1/B)) (Σ∘Σ)^{1/2} dW²

    `(Σ∘Σ)^{1/2} dW²` is handed out as `(S dV)∘(S ζ)` with `n` further motions `V` and independent
    random signs `ζ`: increments with just this covariance, of which no matrix is formed. They are
    not Gaussian over one substep; what this changes is of higher order, and shrinks with the substep.

    Parameters
    ----------
    loss, data
        the per-example loss `(theta, *example) -> scalar` and the tensors of the data set; or
        `examples`, an `sme.laws.examples.Examples`, in their place.
    batch_size
        `B`.

    Raises
    ------
    SMEError
        for a batch size below 1, or data that do not fit.
    """

    paired = False
    constant = False
    skewed = True

    def __init__(self, loss: Callable[..., Tensor] | None = None, data: Sequence[Tensor] = (),
                 batch_size: int = 1, examples: Examples | None = None) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise SMEError(f"batch_size must be a whole number ≥ 1, got {batch_size!r}")
        if (loss is None) == (examples is None):
            raise SMEError("give either a per-example loss with its data, or examples")
        self.examples: Examples = LossExamples(loss, data) if loss is not None else examples  # type: ignore[assignment]
        self.batch_size = batch_size
        self.motions = self.examples.count
        self.second_motions = 2 * self.motions + 1 if batch_size > 1 else 0

    def check(self, dim: int) -> None:
        self.examples.check(dim)

    def check_mean(self, theta: Paths, gradient: Paths) -> None:
        mean = self._mean(theta)
        if not torch.allclose(mean, gradient, rtol=1e-5, atol=1e-7):
            raise SMEError(f"the mean of the per-example gradients, {mean[0].tolist()}, is not the gradient of the loss, "
                           f"{gradient[0].tolist()}: the problem's loss must be the mean of the per-example losses")

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        return stream.integers(self.motions, paths, self.batch_size)

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.examples.batch(theta, z) - self._mean(theta)

    def _mean(self, theta: Paths) -> Paths:
        return self.examples.averages(theta)[0]

    def _root(self, weights: Tensor) -> Tensor:
        """Centred weights, for which `Σ_i w_i g_i = Σ_i w_i X_i`, times `(nB)^{-1/2}`."""
        return (weights - weights.mean(-1, keepdim=True)) / math.sqrt(self.motions * self.batch_size)

    def diffuse(self, theta: Paths, dW: Float[Tensor, "paths n"]) -> Paths:
        return self.examples.weigh(theta, self._root(dW))[0]

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths n"]) -> tuple[Paths, Paths]:
        weights = self._root(dW)
        noise, squares = self.examples.weigh(theta, weights, weights)
        return noise, (squares - 2 * self._mean(theta) * noise) / self.batch_size

    def second(self, theta: Paths, dW: Float[Tensor, "paths second"]) -> Paths:
        if not self.second_motions:
            return torch.zeros_like(theta)
        n = self.motions
        # products of two signs: unchanged when an antithetic path turns every increment's sign
        signs = torch.sign(dW[:, n : 2 * n]) * torch.sign(dW[:, 2 * n :])
        scale = math.sqrt(2 * (1 - 1 / self.batch_size))
        return scale * self.diffuse(theta, dW[:, :n]) * self.diffuse(theta, signs)

    def variance(self, theta: Paths) -> Paths:
        mean, square = self.examples.averages(theta)
        return (square - mean * mean) / self.batch_size

    def variance_slope(self, theta: Paths, u: Paths) -> Paths:
        mean_slope, square_slope = self.examples.slope(theta, u)
        return (square_slope - 2 * self._mean(theta) * mean_slope) / self.batch_size

    def third(self, theta: Paths) -> Paths:
        mean, square = self.examples.averages(theta)
        return (self.examples.power(theta, 3) - 3 * mean * square + 2 * mean**3) / self.batch_size**2

    def fourth(self, theta: Paths) -> Paths:
        mean, square = self.examples.averages(theta)
        cube, fourth = self.examples.power(theta, 3), self.examples.power(theta, 4)
        central = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4
        variance = square - mean * mean
        return (central + 3 * (self.batch_size - 1) * variance * variance) / self.batch_size**3

    def physical(self, regime: Regime, tau: float) -> dict[str, object]:
        return {"batch size": self.batch_size}

    def describe(self) -> dict[str, object]:
        return {"law": "minibatch with replacement", "batch_size": self.batch_size, **self.examples.describe()}

    def to(self, device: torch.device) -> "MinibatchNoise":
        return MinibatchNoise(batch_size=self.batch_size, examples=self.examples.to(device))
