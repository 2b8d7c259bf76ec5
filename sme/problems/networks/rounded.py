"""Sums over examples in single precision, for what is measured more coarsely than that."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.common.derivatives.seen import Seen
from sme.problems.networks.network import Network
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.layers import LayeredExamples
from sme.problems.noise.minibatch.per_example import Examples, Paths, Shares, Weights


def rounded(network: Network) -> Network | None:
    """The same with its sums over examples in float32; None where it has no minibatches, or no layers with rules."""
    examples, noise = network.examples, network.noise
    if not isinstance(noise, MinibatchNoise) or noise.examples is not examples or not isinstance(examples, LayeredExamples):
        return None
    made = copy.copy(network)
    made.examples = RoundedExamples(examples, examples.low())
    made.noise = noise.changed(examples=made.examples)
    return made


class RoundedExamples(Examples):
    """Other examples whose sums are computed in float32 and handed out in the precision of `θ`.

    A state keeps its precision, and so does the gradient of a drawn batch: only what drift and diffusion sum over all examples
    is rounded, to some 1e-7 of itself.

    Parameters
    ----------
    exact, single
        the examples, and the same with parameters and data in float32.
    """

    def __init__(self, exact: Examples, single: Examples) -> None:
        self.exact, self.single = exact, single
        self.count, self.held, self.lack = exact.count, exact.held, exact.lack
        self._cast: dict[str, tuple[Seen, Tensor]] = {}

    def _low(self, tensor: Tensor, what: str = "state") -> Tensor:
        """In float32: the same tensor for the same one, so that what `single` keeps of a state is found again."""
        if what not in self._cast or not self._cast[what][0].is_(tensor):
            self._cast[what] = Seen(tensor), tensor.float()
        return self._cast[what][1]

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        mean, square = self.single.averages(self._low(theta))
        return mean.to(theta), square.to(theta)

    def gradient(self, theta: Paths) -> Paths:
        return self.single.gradient(self._low(theta)).to(theta)

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        linear, square = self.single.weigh(self._low(theta), weights.float(), None if squares is None else squares.float())
        return linear.to(theta), square.to(theta)

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        mean, square = self.single.slope(self._low(theta), self._low(u, "direction"))
        return mean.to(theta), square.to(theta)

    def power(self, theta: Paths, exponent: int, shares: Shares | None = None) -> Paths:
        return self.single.power(self._low(theta), exponent, None if shares is None else shares.float()).to(theta)

    def outer(self, theta: Paths, one: int = 1, other: int = 1, shares: Shares | None = None) -> Float[Tensor, "paths d d"]:
        return self.single.outer(self._low(theta), one, other, None if shares is None else shares.float()).to(theta)

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        return self.exact.batch(theta, indices)

    def check(self, dim: int) -> None:
        self.exact.check(dim)

    def to(self, device: torch.device) -> "RoundedExamples":
        return RoundedExamples(self.exact.to(device), self.single.to(device))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cast": {}}

    def describe(self) -> dict[str, object]:
        return self.exact.describe()
