"""The gradients of a finite data set, each clipped to a norm."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.problems.noise.minibatch import parts
from sme.problems.noise.minibatch.layers import LayeredExamples
from sme.problems.noise.minibatch.linear import LinearExamples
from sme.problems.noise.minibatch.per_example import Examples, LossExamples, Paths
from sme.problems.noise.minibatch.rules import Part

E = TypeVar("E", bound=Examples)


def _share(square: Tensor, limit: float) -> Tensor:
    """`min(1, C/|g|)` from `|g|²`."""
    inside = square <= limit**2
    return torch.where(inside, 1.0, limit / torch.where(inside, 1.0, square).sqrt())


class _Clip(Examples):
    """What the clipped examples of every kind share."""

    limit: float

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        """The mean over each path's batch, as a weighted sum over all examples."""
        counts = theta.new_zeros(len(theta), self.count).scatter_add_(1, indices, torch.ones_like(indices, dtype=theta.dtype))
        return self.weigh(theta, counts / indices.shape[1])[0]

    def to(self, device: torch.device) -> Any:
        return clipped(super().to(device), self.limit)

    def describe(self) -> dict[str, object]:
        kind: Any = super()
        return {**kind.describe(), "limit": self.limit}


class ClippedExamples(_Clip, LossExamples):
    """`g_i min(1, C/|g_i|)` of a per-example loss, differentiated one by one, some at a time."""

    def _gradients(self, theta: Paths, data: Sequence[Tensor]) -> Float[Tensor, "paths n d"]:
        g = super()._gradients(theta, data)
        return g * _share(g.square().sum(-1, keepdim=True), self.limit)

    def _weighted(self, theta: Paths, weights: Tensor, data: Sequence[Tensor], own: bool) -> Paths:
        if own:  # a batch of its own for every path
            each = [torch.einsum("n,nd->d", weight, self._gradients(point[None], [part[i] for part in data])[0])
                    for i, (point, weight) in enumerate(zip(theta, weights, strict=True))]
            return torch.stack(each)
        return self._sums(theta, lambda g, paths, examples: (torch.einsum("pn,pnd->pd", weights[paths, examples], g),))[0]

    def gradient(self, theta: Paths) -> Paths:
        return self.averages(theta)[0]


class ClippedLinear(_Clip, LinearExamples):
    """The same of a generalised linear model: `|g_i| = |r_i| |x_i|`."""

    def _at(self, theta: Paths) -> tuple[object, ...]:
        if not self._last or not self._last[0].is_(theta):
            seen, r, *_ = super()._at(theta)
            r = r * _share(r.square() * self._squares.sum(1, keepdim=True), self.limit)
            mean, square = (self.features.T @ r).T / self.count, (self._squares.T @ (r * r)).T / self.count
            self._last = (seen, r, mean, square)
        return self._last

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        return Examples.slope(self, theta, u)


class ClippedLayered(_Clip, LayeredExamples):
    """The same of a network: `|g_i|²` is a sum over its layers, and a clip scales what each of them has of `g_i`."""

    def _pass(self, theta: Paths) -> list[Part]:
        passed = super()._pass(theta)
        share = _share(torch.stack(torch.broadcast_tensors(*map(parts.norms, passed))).sum(0), self.limit)
        return [parts.times(part, share) for part in passed]


_KINDS: dict[type[Examples], type[Examples]] = {LossExamples: ClippedExamples, LinearExamples: ClippedLinear,
                                                LayeredExamples: ClippedLayered}


def clipped(examples: E, limit: float) -> E:
    """The same examples, every gradient clipped to the norm `limit`.

    Raises
    ------
    SMEError
        for examples whose gradients it cannot take one by one.
    """
    kind = next((made for given, made in _KINDS.items() if isinstance(examples, given)), None)
    if kind is None:
        raise SMEError(f"a clip of every example's gradient takes a per-example loss, a linear model or a network, got "
                       f"{short(examples)}")
    made: Any = object.__new__(kind)
    vars(made).update({**vars(examples), "limit": limit, "_last": None if kind is ClippedExamples else ()})
    if kind is ClippedLayered:
        vars(made)["_slope"] = ()
    return cast(E, made)
