"""The noise of SVAG: two independent minibatches with weights that enlarge their noise."""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short, whole
from sme.optimizers.regimes import Regime
from sme.optimizers.scaling_rules import amplification, weights
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Paths, Stream, product_columns
from sme.problems.noise.factor import factored
from sme.problems.noise.wrapped.base import WrappedNoise

KINDS = ("adaptive", "sgd")


class SVAGNoise(WrappedNoise):
    """`S z_ℓ = (½ (1 + r) n₁ + ½ (1 − r) n₂)/√a`, with `n₁`, `n₂` two independent draws of a law and `½ (1 + r²) = a`.

    `a = ℓ²` for RMSProp and Adam, `ℓ` for SGD. The covariance is the law's own: that of the physical noise is `a` times as large,
    and in the batch-equivalent regime `τ/a` takes it back (the `τ` of `sme.svag`). The moments are

        κ_ℓ = (3a − 1)/(2a^{3/2}) κ,        μ_ℓ = s μ + 3 (1 − s) σ∘σ,        s = ½ + 1/a − 1/(2a²)

    so that the skewness falls like `1.5/√a`, and half the excess kurtosis stays.

    Parameters
    ----------
    law
        a law that draws, as `sme.MinibatchNoise`.
    ell
        `ℓ ≥ 1`.
    kind
        `"adaptive"` (RMSProp, Adam) or `"sgd"`.

    Raises
    ------
    SMEError
        for what is no law, a law of SVAG itself or one whose steps depend on each other, or an `ℓ` that is not a whole
        number ≥ 1.
    """

    paired = False

    def __init__(self, law: GradientLaw, ell: int, kind: str = "adaptive") -> None:
        if not isinstance(law, GradientLaw) or isinstance(law, SVAGNoise):
            raise SMEError(f"law must be a gradient law such as sme.MinibatchNoise, not itself of SVAG, got {short(law)}")
        if not law.independent_steps:  # both batches of a step would be the same piece of the permutation
            raise SMEError("SVAG takes two independent minibatches in every step: with sampling='reshuffled' there are none, use "
                           "'with_replacement' or 'without_replacement'")
        self.law, self.ell, self.kind = law, whole("ell", ell, 1), choose("kind", kind, KINDS)
        a = amplification(self.ell, kind)
        self._weights = tuple(weight / math.sqrt(a) for weight in weights(a))
        self._third, self._share = (sum(w**p for w in self._weights) for p in (3, 4))
        self.constant, self.skewed, self.coupled = law.constant, law.skewed, law.coupled
        self.motions = getattr(law, "motions", 0)  # which some laws know when they are given to a problem
        self.numerics = tuple(dict.fromkeys((*law.numerics, "minibatch")))  # whatever the law, it is the mean of two draws
        self.moments, self.exact, self.responds = law.moments, law.exact, law.responds

    @property
    def dense(self) -> bool:  # type: ignore[override]
        return self.law.dense

    @property
    def bilinear(self) -> bool:  # type: ignore[override]
        return not self.dense

    @property
    def _before(self) -> int:
        """Second motions of the law; then of its third moments, if it has any."""
        return self.law.second_motions + (self.motions if self.skewed else 0)

    @property
    def second_motions(self) -> int:  # type: ignore[override]
        """These; then of a Gaussian square."""
        return self._before + (self.law.dim if self.dense else 2 * self.motions + 1)

    @property
    def signs(self) -> tuple[range, ...]:  # type: ignore[override]
        own = self.second_motions
        return (*self.law.signs, *([] if self.dense else [range(own - self.motions - 1, own)]))

    def check(self, dim: int) -> None:
        self.law.check(dim)
        self.motions = self.law.motions

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        seen = increment if self.coupled else None  # by the first batch alone: the two are independent
        return torch.stack([self.law.draw(each, tau, stream, paths) for each in (seen, None)], 1)

    def quadrature(self) -> Iterator[rules.Rule]:
        """Of the two draws together."""
        return rules.twice(self.law.quadrature())

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        one, two = (weight * self.law.sample(theta, z[:, i]) for i, weight in enumerate(self._weights))
        return one + two

    def noisy(self, theta: Paths, z: Tensor, mean: Callable[[Paths], Paths], share: float) -> Paths:
        whole = share / sum(self._weights)
        one, two = (weight * self.law.noisy(theta, z[:, i], mean, whole) for i, weight in enumerate(self._weights))
        return one + two

    def diffuse(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> Paths:
        return self.law.diffuse(theta, dW)

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> tuple[Paths, Paths]:
        noise, skew = self.law.diffuse_square(theta, dW)
        return noise, self._third * skew

    def second(self, theta: Paths, dW: Float[Tensor, "paths second"]) -> Paths:
        """What is left of `Cov(ĝ∘ĝ)`.

        `s` times the law's own, `(s − t²)` times what goes with its third moments (`t = κ_ℓ/κ`), and `(1 − s) 2 Σ∘Σ`, the last
        by a triangular factor, or as `(S dV)∘(S ζ)` with random signs `ζ`.
        """
        own, n = self.law.second_motions, self.motions
        if self.dense:
            variance = self.variance(theta)
            square = factored(self.law.covariance(theta) ** 2, variance * variance, dW[:, self._before :])
        else:
            signs = torch.sign(dW[:, -n - 1 : -1]) * torch.sign(dW[:, -1:])  # unchanged on an antithetic path
            square = self.law.diffuse(theta, dW[:, -2 * n - 1 : -n - 1]) * self.law.diffuse(theta, signs)
        total = math.sqrt(max(0.0, 2 * (1 - self._share))) * square
        if own:
            total = total + math.sqrt(self._share) * self.law.second(theta, dW[:, :own])
        if self.skewed:
            skew = self.law.diffuse_square(theta, dW[:, own : own + n])[1]
            total = total + math.sqrt(max(0.0, self._share - self._third**2)) * skew
        return total

    def second_columns(self) -> Float[Tensor, "columns second_motions"]:
        skew, square = (torch.eye(count, dtype=torch.float64) for count in (self._before - self.law.second_motions, self.law.dim))
        return torch.block_diag(self.law.second_columns(), skew, square if self.dense else product_columns(self.motions))

    def variance(self, theta: Paths) -> Paths:
        return self.law.variance(theta)

    def variance_slope(self, theta: Paths, u: Paths) -> Paths:
        return self.law.variance_slope(theta, u)

    def third(self, theta: Paths) -> Paths:
        return self._third * self.law.third(theta)

    def fourth(self, theta: Paths) -> Paths:
        sigma = self.variance(theta)
        return self._share * self.law.fourth(theta) + 3 * (1 - self._share) * sigma * sigma

    def physical(self, regime: Regime, tau: float) -> dict[str, object]:
        return {**self.law.physical(regime, tau), "SVAG ell": self.ell}

    def describe(self) -> dict[str, object]:
        return {"law": "SVAG", "ell": self.ell, "kind": self.kind, "of": fingerprint(self.law)}

    def to(self, device: torch.device) -> "SVAGNoise":
        return SVAGNoise(self.law.to(device), self.ell, self.kind)
