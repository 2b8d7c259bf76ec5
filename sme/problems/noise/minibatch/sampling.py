"""How the batches of a discrete run are drawn, and what of a batch mean's moments depends on it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.problems.noise.base import Stream

Indices = Int[Tensor, "paths batch"]


class Shares(NamedTuple):
    """What a batch mean's moments have of those of one example."""

    second: float
    """of the covariance"""
    third: float
    """of the third moments"""
    fourth: float
    """of the fourth moments, with one example four times"""
    pairs: float
    """of the fourth moments, with two examples twice"""


@dataclass(frozen=True)
class Sampling(ABC):
    """Batches of `B = batch` of `n = count` examples; `X̄` the mean of `X_i = g_i − ḡ` over a batch.

    With the one-example moments `σ`, `κ`, `μ` (population, `1/n`), elementwise:

        E X̄² = second σ      E X̄³ = third κ      E X̄⁴ = fourth μ + 3 pairs σ²

    Source: docs/theory/equations.md, section 3.
    """

    count: int
    batch: int

    name = ""

    def __post_init__(self) -> None:
        """Raise `SMEError` for batches that cannot be drawn."""

    @property
    @abstractmethod
    def shares(self) -> Shares:
        """Of the one-example moments in those of a batch."""

    @abstractmethod
    def products(self) -> tuple[float, float]:
        """`(γ/√2, r)`: what is left of `X̄∘X̄` without its part that is a sum over the batch has the covariance of

        `γ Σ_{i<j} ξ_ij (X_i∘X_j + r (X_i∘X_i + X_j∘X_j) − const)`, `ξ_ij` uncorrelated, of variance 1.
        """

    def pairs(self, second: Float[Tensor, "paths d d"], fourth: Float[Tensor, "paths d d"] | None) -> Float[Tensor, "paths d d"]:
        """The covariance of that part, from the one-example moments `E X Xᵀ` and `E (X∘X)(X∘X)ᵀ`, the latter read if `r ≠ 0`.

        A sum of `p_ij p_ijᵀ`, `p_ij = X_i∘X_j + y_i + y_j − c`, `y = r X∘X`: over all `i, j`, in which `Σ X = 0`, less `i = j`.
        """
        n, (factor, r) = self.count, self.products()
        if fourth is None or r == 0:
            return (factor * n) ** 2 * second * second
        own, squares = n * second, n * fourth
        total = r * own.diagonal(dim1=-2, dim2=-1)
        c = total / (n - 1)
        linear = _outer(total, c)
        every = own * own + 2 * n * (r * r * squares - linear - linear.mT) + 2 * _outer(total, total) + n * n * _outer(c, c)
        more = (1 + 2 * r) / r * (linear + linear.mT)
        alone = (1 + 2 * r) ** 2 * squares - more + n * _outer(c, c)
        return factor**2 * (every - alone)

    @abstractmethod
    def draw(self, stream: Stream, paths: int) -> Indices:
        """The batches of one step."""

    def ranked(self, order: Int[Tensor, "paths n"], stream: Stream) -> Indices:
        """Batches of the same law that prefer examples early in `order`, a uniformly random one.

        Raises
        ------
        SMEError
            where there are none.
        """
        raise SMEError(f"coupling='ranked' does not go with sampling='{self.name}': leave it at 'independent'")


class WithReplacement(Sampling):
    """`B` independent indices in every step."""

    name = "with_replacement"
    shares = property(lambda self: Shares(1 / self.batch, 1 / self.batch**2, 1 / self.batch**3, (self.batch - 1) / self.batch**3))

    def products(self) -> tuple[float, float]:
        return math.sqrt(2 * (1 - 1 / self.batch)) / (self.count * self.batch), 0.0

    def draw(self, stream: Stream, paths: int) -> Indices:
        return stream.integers(self.count, paths, self.batch)

    def ranked(self, order: Int[Tensor, "paths n"], stream: Stream) -> Indices:
        """How often the examples occur is drawn without regard to which they are, and dealt out in the given order."""
        drawn = self.draw(stream, len(order))
        counts = torch.zeros_like(order).scatter_add_(1, drawn, torch.ones_like(drawn))
        last = counts.sort(1, descending=True).values.cumsum(1)
        places = torch.arange(self.batch, device=order.device).expand(len(order), -1).contiguous()
        return order.gather(1, torch.searchsorted(last, places, right=True))


class WithoutReplacement(Sampling):
    """`B` different indices in every step, all sets equally likely, steps independent."""

    name = "without_replacement"

    def __post_init__(self) -> None:
        if self.batch > self.count:
            raise SMEError(f"batch_size = {self.batch} is more than the {self.count} examples: without replacement give at most "
                           f"{self.count}")

    def _few(self, power: int) -> float | None:
        """Where `X̄` is 0, or `X_i`, or `−X_i/B` of the one left out: `E X̄^power` for a one-example moment of 1."""
        if self.batch == self.count:
            return 0.0
        if self.batch == 1:
            return 1.0
        return (-1 / self.batch) ** power if self.batch == self.count - 1 else None

    @property
    def shares(self) -> Shares:
        n, b = self.count, self.batch
        second = (n - b) / (b * (n - 1)) if n > 1 else 0.0
        if (third := self._few(3)) is not None and (fourth := self._few(4)) is not None:
            return Shares(second, third, fourth, 0.0)
        return Shares(second, (n - b) * (n - 2 * b) / (b**2 * (n - 1) * (n - 2)),
                      (n - b) * (n * n - 6 * n * b + 6 * b * b + n) / (b**3 * (n - 1) * (n - 2) * (n - 3)),
                      (n - b) * n * (b - 1) * (n - b - 1) / (b**3 * (n - 1) * (n - 2) * (n - 3)))

    def products(self) -> tuple[float, float]:
        n, b = self.count, self.batch
        if self._few(4) is not None:
            return 0.0, 0.0
        share = b * (b - 1) * (n - b) * (n - b - 1) / (n * (n - 1) * (n - 2) * (n - 3))
        return math.sqrt(2 * share) / b**2, 1 / (n - 2)

    def draw(self, stream: Stream, paths: int) -> Indices:
        return stream.normal(paths, self.count).topk(self.batch, 1).indices

    def ranked(self, order: Int[Tensor, "paths n"], stream: Stream) -> Indices:
        return order[:, : self.batch]


class Reshuffled(WithoutReplacement):
    """The batches of an epoch are the pieces of one permutation; what is left over at its end is not used.

    The batches of an epoch depend on each other. The moments are those of one step alone, and so is the
    equation: it takes the steps as independent.
    """

    name = "reshuffled"

    def draw(self, stream: Stream, paths: int) -> Indices:
        place = stream.number % (self.count // self.batch)
        order = stream.before(place).normal(paths, self.count).argsort(1)
        return order[:, place * self.batch : (place + 1) * self.batch]

    def ranked(self, order: Int[Tensor, "paths n"], stream: Stream) -> Indices:
        return Sampling.ranked(self, order, stream)


SAMPLINGS = {each.name: each for each in (WithReplacement, WithoutReplacement, Reshuffled)}
COUPLINGS = ("independent", "ranked")


def sampling(name: str, count: int, batch: int) -> Sampling:
    """The sampling of that name."""
    return SAMPLINGS[choose("sampling", name, SAMPLINGS)](count, batch)


def order(increment: Float[Tensor, "paths n"]) -> Int[Tensor, "paths n"]:
    """The examples by their Brownian increments, largest first: a uniformly random order."""
    return increment.argsort(1, descending=True)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a.unsqueeze(-1) * b.unsqueeze(-2)


def centred(weights: Float[Tensor, "paths n"]) -> Float[Tensor, "paths n"]:
    """Weights without their mean, for which `Σ_i w_i g_i = Σ_i w_i X_i`."""
    return weights - weights.mean(-1, keepdim=True)
