"""The noise of a minibatch drawn from a finite data set."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import number, short, whole
from sme.optimizers.regimes import Regime
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Matrix, Paths, Stream
from sme.problems.noise.factor import SMALL
from sme.problems.noise.minibatch import pairs
from sme.problems.noise.minibatch.per_example import Examples, LossExamples
from sme.problems.noise.minibatch.sampling import COUPLINGS, centred, order
from sme.problems.noise.minibatch.sampling import sampling as _sampling

AGREED, ROUNDED = 1e-6, 1e-10
"""how far two gradients of one loss may lie apart, of the size of an example's gradient, and by rounding"""


class MinibatchNoise(GradientLaw):
    """`S z = scale ((mean of g_i over the batch) − ḡ)`, a batch of `B` of the `n` examples drawn in every step.

    With `X_i = g_i − ḡ`, one-example moments `Σ¹`, `μ`, batch factors `s₂`, `s₃` (see `sampling`: `1/B`, `1/B²` with
    replacement), and one motion for each example, `S dW¹ = √(s₂/n) Σ_i X_i dW¹_i`. The noise of `ĝ∘ĝ` has
    its exact covariance with it and with itself, third and fourth moments included (docs/theory/equations.md, section 3, (3.6)):

        √(s₂/n) Σ_i (2 ∇f∘X_i + (s₃/s₂)(X_i∘X_i − diag Σ¹)) dW¹_i + √(2(1 − 1/B)) (Σ∘Σ)^{1/2} dW²

    (with replacement; without, its place takes the part of `X̄∘X̄` that is degenerate in pairs of examples). Of at most
    `SMALL` parameters `(Σ∘Σ)^{1/2}` is a triangular factor. Of more, it is handed out as `(S dV)∘(S ζ)` with `n` further motions
    `V` and independent random signs `ζ`, the same over one substep of the coarsest level: increments with just this covariance,
    of which no matrix is formed. They are not Gaussian; what this changes is of higher order, and shrinks with the substep.

    Parameters
    ----------
    loss, data
        the per-example loss `(theta, *example) -> scalar` and the tensors of the data set; or
        `examples`, an `sme.problems.noise.minibatch.per_example.Examples`, in their place.
    batch_size
        `B`.
    sampling
        `"with_replacement"`; `"without_replacement"`, steps independent; `"reshuffled"`: epochs through a new
        permutation each, whose steps depend on each other, while the equation takes them as independent.
    scale
        multiplies the noise. `√τ` makes of a batch of a physical run, of learning rate `√τ`, the scaled noise of
        the batch-equivalent regime.
    coupling
        `"independent"`, or `"ranked"`: each step's batch prefers the examples whose Brownian increments are large. Only the law
        of discrete run and equation together changes.

    Raises
    ------
    SMEError
        for a batch size below 1 or, without replacement, above `n`; an unknown name; data that do not fit.
    """

    paired = False
    constant = False
    exact = True
    responds = True
    uniform = True
    """whether every example is as likely as every other"""
    numerics = ("minibatch",)
    counted = property(lambda self: self.batch_size)  # type: ignore[assignment]
    dense = property(lambda self: 0 < self.dim <= SMALL)  # type: ignore[assignment]
    bilinear = property(lambda self: not self.dense)  # type: ignore[assignment]

    def __init__(self, loss: Callable[..., Tensor] | None = None, data: Sequence[Tensor] = (),
                 batch_size: int = 1, examples: Examples | None = None, sampling: str = "with_replacement",
                 scale: float = 1.0, coupling: str = "independent") -> None:
        batch_size = whole("batch_size", batch_size, 1)
        if (loss is None) == (examples is None):
            raise SMEError("give either a per-example loss with its data, or examples")
        self.scale = number("scale", scale)
        if not 0 < self.scale < math.inf:
            raise SMEError(f"scale must be positive and finite, got {short(scale)}")
        self.examples: Examples = LossExamples(loss, data) if loss is not None else examples  # type: ignore[assignment]
        self.batch_size = batch_size
        self.motions = self.examples.count
        self.sampling = _sampling(sampling, self.motions, batch_size)
        self.coupled = choose("coupling", coupling, COUPLINGS) == "ranked"
        if self.coupled and self.sampling.name == "reshuffled":
            raise SMEError("coupling='ranked' needs batches that are drawn afresh in every step: with sampling='reshuffled' "
                           "leave it at 'independent'")
        self.independent_steps = self.sampling.name != "reshuffled"
        self.skewed = self.motions > 2  # of two, X̄ is symmetric

    @property
    def footprint(self) -> int:
        return self.examples.held

    @property
    def second_motions(self) -> int:  # type: ignore[override]
        if not self.sampling.products()[0]:
            return 0
        return self.dim if self.dense else 2 * self.motions + 1

    @property
    def signs(self) -> tuple[range, ...]:  # type: ignore[override]
        return () if self.dense or not self.second_motions else (range(self.motions, 2 * self.motions + 1),)

    def check(self, dim: int) -> None:
        self.examples.check(dim)
        self.dim = dim

    @property
    def lack(self) -> str:  # type: ignore[override]
        return self.examples.lack

    def check_mean(self, theta: Paths, gradient: Paths) -> None:
        mean = self.examples.gradient(theta)
        apart = (mean - gradient).norm(dim=1)
        if bool((apart <= AGREED * mean.norm(dim=1) + ROUNDED).all()):  # examples have larger gradients than their mean
            return
        size = self.examples.averages(theta)[1].sum(1).sqrt()
        for i in (apart > AGREED * size + ROUNDED).nonzero().flatten().tolist():
            raise SMEError("the mean of the per-example gradients is not the gradient of the loss: "
                           f"{short(mean[i])} and {short(gradient[i])} at θ = {short(theta[i])}. The loss must be the mean of "
                           "the per-example losses: a penalty in it must stand in each of them too")

    def mean(self, theta: Paths, gradient: Callable[[Paths], Paths]) -> Paths:
        return self.examples.gradient(theta)

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        if self.coupled and increment is not None:
            return self.sampling.ranked(order(increment), stream)
        return self.sampling.draw(stream, paths)

    def quadrature(self) -> Iterator[rules.Rule]:
        """The sum over all batches."""
        yield rules.batches(self.motions, self.batch_size, self.sampling.name == "with_replacement")

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.scale * (self.examples.batch(theta, z) - self.examples.gradient(theta))

    def tallied(self, theta: Paths, counts: Float[Tensor, "paths n"]) -> Paths:
        return self.scale * (self.examples.weigh(theta, counts / self.batch_size)[0] - self.examples.gradient(theta))

    def noisy(self, theta: Paths, z: Tensor, mean: Callable[[Paths], Paths], share: float) -> Paths:
        batch = self.scale * self.examples.batch(theta, z)
        return batch if share == self.scale else batch + (share - self.scale) * mean(theta)

    def _root(self, weights: Tensor) -> Tensor:
        """Centred weights, for which `Σ_i w_i g_i = Σ_i w_i X_i`, times `scale √(s₂/n)`."""
        return centred(weights) * (self.scale * math.sqrt(self.sampling.shares.second / self.motions))

    def diffuse(self, theta: Paths, dW: Float[Tensor, "paths n"]) -> Paths:
        return self.examples.weigh(theta, self._root(dW))[0]

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths n"]) -> tuple[Paths, Paths]:
        weights, moments = self._root(dW), self.sampling.shares
        ratio = moments.third / moments.second if moments.second else 0.0
        if ratio == 0:
            noise = self.diffuse(theta, dW)
            return noise, torch.zeros_like(noise)
        noise, squares = self.examples.weigh(theta, weights, weights)
        return noise, (squares - 2 * self.examples.gradient(theta) * noise) * (self.scale * ratio)

    def second(self, theta: Paths, dW: Float[Tensor, "paths second"]) -> Paths:
        if not self.second_motions:
            return torch.zeros_like(theta)
        made = pairs.root if self.dense else pairs.product
        return self.scale**2 * made(self.examples, self.sampling, theta, dW)

    def covariance(self, theta: Paths) -> Matrix:
        return pairs.moments(self.examples, theta)[0] * (self.scale**2 * self.sampling.shares.second)

    def deviation(self, theta: Paths, weights: Float[Tensor, "paths n"]) -> Paths:
        """`scale Σ_i weights_i X_i`."""
        total = weights.sum(1, keepdim=True) * self.examples.gradient(theta)
        return self.scale * (self.examples.weigh(theta, weights)[0] - total)

    def draws(self) -> tuple[float, float]:
        """`Λ = s₂³/s₃²` and `ρ = s₃/s₂`: so many draws in a step, in the mean, of `ρ X_i` have its second and third moments.

        `(0, 0)` where none have; `(B, 1/B)` with replacement.
        """
        second, third = self.sampling.shares[:2]
        return (second**3 / third**2, third / second) if third else (0.0, 0.0)

    def drawn(self, theta: Paths, counts: Float[Tensor, "paths n"], share: float) -> tuple[Paths, Paths]:
        """`Σ_i N_i j_i` and `Σ_i N_i j_i∘j_i` of single draws `j_i = scale share X_i`."""
        size, mean = self.scale * share, self.examples.gradient(theta)
        linear, squares = self.examples.weigh(theta, counts, counts)
        total = counts.sum(1, keepdim=True) * mean
        return size * (linear - total), size * size * (squares - mean * (2 * linear - total))

    def variance(self, theta: Paths) -> Paths:
        mean, square = self.examples.averages(theta)
        return (square - mean * mean) * (self.scale**2 * self.sampling.shares.second)

    def variance_slope(self, theta: Paths, u: Paths) -> Paths:
        mean_slope, square_slope = self.examples.slope(theta, u)
        return (square_slope - 2 * self.examples.gradient(theta) * mean_slope) * (self.scale**2 * self.sampling.shares.second)

    def third(self, theta: Paths) -> Paths:
        mean, square = self.examples.averages(theta)
        return (self.examples.power(theta, 3) - 3 * mean * square + 2 * mean**3) * (self.scale**3 * self.sampling.shares.third)

    def fourth(self, theta: Paths) -> Paths:
        mean, square = self.examples.averages(theta)
        cube, fourth = self.examples.power(theta, 3), self.examples.power(theta, 4)
        central = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4
        variance = square - mean * mean
        return (self.sampling.shares.fourth * central + 3 * self.sampling.shares.pairs * variance * variance) * self.scale**4

    def physical(self, regime: Regime, tau: float) -> dict[str, object]:
        return {"batch size": self.batch_size}

    def describe(self) -> dict[str, object]:
        further = {**({"scale": self.scale} if self.scale != 1 else {}), **({"coupling": "ranked"} if self.coupled else {})}
        return {"law": f"minibatch {self.sampling.name.replace('_', ' ')}", "batch_size": self.batch_size, **further,
                **fingerprint(self.examples)}

    def changed(self, **changes: Any) -> "MinibatchNoise":
        """The same with other arguments."""
        given = {"batch_size": self.batch_size, "examples": self.examples, "sampling": self.sampling.name, "scale": self.scale,
                 "coupling": "ranked" if self.coupled else "independent"}
        return MinibatchNoise(**{**given, **changes}).sized(self.dim)

    def sized(self, dim: int) -> Self:
        """It, for so many parameters."""
        self.dim = dim
        return self

    def to(self, device: torch.device) -> "MinibatchNoise":
        return self.changed(examples=self.examples.to(device))


def minibatches(what: str, law: GradientLaw) -> "MinibatchNoise":
    """The law, if it is one of minibatches.

    Raises
    ------
    SMEError
        saying that `what` needs them.
    """
    if not isinstance(law, MinibatchNoise):
        raise SMEError(f"{what} needs minibatches, and the noise of this problem is another: give one with sme.MinibatchNoise")
    return law
