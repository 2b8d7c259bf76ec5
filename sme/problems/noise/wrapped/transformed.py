"""Laws of a transformed gradient: what a step takes is a function of the noisy gradient."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.derivatives.seen import Seen
from sme.common.derivatives.tracing import traced
from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short
from sme.optimizers.regimes import Regime
from sme.problems.noise import quadrature as rules
from sme.problems.noise.base import GradientLaw, Paths, Stream
from sme.problems.noise.wrapped.base import WrappedNoise
from sme.problems.noise.wrapped.moments import Moments, moments
from sme.problems.noise.wrapped.polar import LEVELS, polar

HELD, LARGEST = 2**20, 2**6
"""nodes of all paths at a time, and about so many for each parameter"""
MOST = 4096
"""batches that an equation sums over in every step"""


class TransformedNoise(WrappedNoise):
    """`γ = φ(ĝ)` of the noisy gradient `ĝ = ∇f + S z` of a law: the gradient that every rule sees.

    A transform before a rule that is smooth in step and square is a change of the law: the equations hold with `E γ` in place of
    `∇f` and the moments of `γ − E γ` for those of the noise. Of a minibatch they are sums over all batches, of Gaussian noise
    closed forms or integrals. Source: docs/theory/rules.md, section 11.

    Raises
    ------
    SMEError
        for what is no law, or one that transforms the gradient itself.
    """

    paired = False
    constant = False
    transforms = True
    numerics: tuple[str, ...] = ("transformed",)
    cuts: tuple[float, ...] = ()
    """radii at which `φ` has a kink"""

    def __init__(self, law: GradientLaw) -> None:
        if not isinstance(law, GradientLaw) or law.transforms:
            raise SMEError(f"noise must be a gradient law such as sme.GaussianNoise, not itself of a transformed gradient, got "
                           f"{short(law)}")
        self.law = law
        self.raw: Callable[[Paths], Paths] | None = None
        """`∇f` of the problem that the law is given to"""
        self.coupled = law.paired or law.coupled
        self.independent_steps, self.skewed, self.exact = law.independent_steps, True, law.exact
        self.numerics = (*self.numerics, *law.numerics)
        self.motions, self.second_motions = getattr(law, "motions", 0), 0
        self._last: tuple[Seen, Moments] | None = None
        self._rule: rules.Rule | None = None

    @abstractmethod
    def transform(self, scaled: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """`φ(ĝ)`."""

    def check(self, dim: int) -> None:
        self.law.check(dim)
        if self.law.exact:
            self._rule = self._batches()
            self.motions, self.second_motions = len(self._rule[1]), 0
        else:
            self.motions, self.second_motions = self.law.motions + dim, dim

    def bound(self, gradient: Callable[[Paths], Paths]) -> Self:
        made = super().bound(gradient)
        made.raw, made._last = gradient, None
        return made

    def gradient(self, theta: Paths) -> Paths:
        """`∇f`, as the discrete run has it."""
        if self.raw is None:
            raise SMEError(f"{type(self).__name__} takes the gradient of the problem that it is the noise of: give it to "
                           "sme.Problem")
        return self.law.mean(theta, self.raw)

    def mean(self, theta: Paths, gradient: Callable[[Paths], Paths]) -> Paths:
        return self.found(theta).mean

    def draw(self, increment: Tensor | None, tau: float, stream: Stream, paths: int) -> Tensor:
        seen = increment[:, : self.law.motions] if increment is not None and self.coupled else None
        return self.law.draw(seen, tau, stream, paths)

    def seen(self, theta: Paths, z: Tensor) -> Paths:
        """`φ(ĝ)` of draws."""
        return self.transform(self.law.noisy(theta, z, self.gradient, 1.0))

    def sample(self, theta: Paths, z: Tensor) -> Paths:
        return self.seen(theta, z) - self.found(theta).mean

    def noisy(self, theta: Paths, z: Tensor, mean: Callable[[Paths], Paths], share: float) -> Paths:
        if share == 1:
            return self.seen(theta, z)
        return super().noisy(theta, z, mean, share)

    @property
    def elsewhere(self) -> str:
        """That there is no equation outside the ballistic regime, in words."""
        return (f"sme.{type(self).__name__} is a law of the ballistic regime: in the batch-equivalent one the transformed "
                "gradient depends on τ, its equation is of order 1 at most (T₃ and T₄ of one step stand in the way), and it is "
                "not offered: use regime='ballistic'")

    def _batches(self) -> rules.Rule:
        """Of a minibatch all batches.

        Raises
        ------
        SMEError
            if there are too many to sum over.
        """
        indices, weights = next(iter(self.law.quadrature()))
        if len(weights) > MOST:
            raise SMEError(f"{type(self).__name__} of a batch's mean sums over all batches in every step, and there are "
                           f"{len(weights)}, more than {MOST}: give fewer examples or a smaller batch_size; sme.Private "
                           "transforms every example's gradient, and takes any number")
        return indices, weights

    def nodes(self, theta: Paths, level: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """`ĝ` at nodes, their weights, and the draws."""
        if self.law.exact:
            indices, weights = self._rule or self._batches()
            count, wide = len(weights), theta.repeat_interleave(len(weights), 0)
            seen = self.law.noisy(wide, indices.repeat(len(theta), *[1] * (indices.dim() - 1)), self.gradient, 1.0)
            return seen.reshape(len(theta), count, -1), weights.to(theta).expand(len(theta), -1), indices
        factor, g = self._square(theta), self.gradient(theta)
        y, weights = polar(g, factor, theta.new_tensor(self.cuts), level)
        return y, weights, (y - g.unsqueeze(1)) @ torch.linalg.inv(factor).mT

    def _square(self, theta: Paths) -> Float[Tensor, "paths d d"]:
        """`S`, with as many motions as there are parameters.

        Raises
        ------
        SMEError
            if the noise is none for which the moments are known.
        """
        if not self.law.paired:
            raise SMEError(f"sme.{type(self).__name__} has its moments for Gaussian noise and minibatches: the noise is "
                           f"{type(self.law).__name__}, give another")
        if theta.shape[1] > 2 or self.law.motions != theta.shape[1]:
            raise SMEError(f"sme.{type(self).__name__} of Gaussian noise is summed at nodes, for any covariance and for "
                           "sme.check_order, in one or two parameters with as many motions, and here are "
                           f"{theta.shape[1]} with {self.law.motions}: the equation of sme.Clipped and sme.Normalised takes more "
                           "with a constant factor S, S Sᵀ = s² I, that of sme.Signed with any, and both take a minibatch")
        factor = columns(self.law, theta)
        seen = not (torch._C._functorch.is_functorch_wrapped_tensor(factor) or traced())
        if seen and not bool((torch.linalg.matrix_rank(factor.detach()) == theta.shape[1]).all()):
            raise SMEError(f"sme.{type(self).__name__} of Gaussian noise needs noise in every direction, and its covariance "
                           "is singular here: give a factor S of full rank")
        return factor

    @property
    def at_once(self) -> int | None:
        """Paths whose moments are taken at a time, where that does not follow from the nodes."""
        return None

    def found(self, theta: Paths) -> Moments:
        """The moments of `γ` at every path."""
        if self._last is None or not self._last[0].is_(theta):
            self._last = (Seen(theta), self._once(theta))
        return self._last[1]

    def _once(self, theta: Paths) -> Moments:
        """The moments, of paths at the same place once, of many paths some at a time."""
        if torch._C._functorch.is_functorch_wrapped_tensor(theta) or theta.requires_grad or traced():
            return self._moments(theta)
        places, which = torch.unique(theta, dim=0, return_inverse=True)
        many = self.at_once or max(1, HELD // (len(self._rule[1]) if self._rule else LARGEST ** len(theta[0])))
        rows = [self._moments(some) for some in places.split(many)]
        return Moments(*(torch.cat(column)[which] for column in zip(*rows, strict=True)))

    def _moments(self, theta: Paths) -> Moments:
        y, weights, z = self.nodes(theta)
        return moments(self.transform(y), weights, None if self.law.exact else z)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}

    def quadrature(self) -> Iterator[rules.Rule]:
        return self.law.quadrature()

    def quadrature_at(self, theta: Float[Tensor, " d"], g: Float[Tensor, " d"]) -> Iterator[rules.Rule]:
        if self.law.exact:
            yield self._rule or self._batches()
            return
        for level in range(len(LEVELS)):
            _, weights, z = self.nodes(theta.unsqueeze(0), level)
            yield z[0], weights[0]

    def diffuse(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> Paths:
        return self._image(theta, dW)[:, : theta.shape[1]]

    def _image(self, theta: Paths, dW: Tensor) -> Float[Tensor, "paths two_d"]:
        factor = self.found(theta).factor
        return (factor[..., : dW.shape[1]] @ dW.unsqueeze(-1)).squeeze(-1)

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> tuple[Paths, Paths]:
        noise, square = self._image(theta, dW).split(theta.shape[1], -1)
        return noise, square - 2 * self.found(theta).mean * noise

    def second(self, theta: Paths, dW: Float[Tensor, "paths second"]) -> Paths:
        if not self.second_motions:
            return torch.zeros_like(theta)
        own = self.found(theta).factor[:, theta.shape[1]:, self.motions:]
        return (own @ dW.unsqueeze(-1)).squeeze(-1)

    def variance(self, theta: Paths) -> Paths:
        return self.found(theta).variance

    def third(self, theta: Paths) -> Paths:
        return self.found(theta).third

    def fourth(self, theta: Paths) -> Paths:
        return self.found(theta).fourth

    def physical(self, regime: Regime, tau: float) -> dict[str, object]:
        return self.law.physical(regime, tau)

    def describe(self) -> dict[str, object]:
        return {"law": type(self).__name__.lower(), "of": fingerprint(self.law)}

    def to(self, device: torch.device) -> "TransformedNoise":
        made = copy.copy(self)
        made.law, made._last = self.law.to(device), None
        return made


def columns(law: GradientLaw, theta: Paths) -> Float[Tensor, "paths d m"]:
    """`S(θ)` of a law, column by column."""
    units = torch.eye(law.motions, dtype=theta.dtype, device=theta.device)
    return torch.stack([law.diffuse(theta, unit.expand(len(theta), -1)) for unit in units], -1)
