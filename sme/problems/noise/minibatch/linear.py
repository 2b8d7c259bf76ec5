"""Per-example gradients of generalised linear models."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.common.derivatives.seen import Seen
from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.problems.noise.minibatch.per_example import Examples, Paths, Shares, Weights


class LinearExamples(Examples):
    """`g_i(θ) = r(x_i·θ, y_i) x_i`, the gradients of a generalised linear model.

    Parameters
    ----------
    features, targets
        `x` of shape `(n, d)`, `y` of shape `(n,)`.
    residual
        `r(prediction, target)`, elementwise: the derivative of the example's loss by `x·θ`.
    curvature
        the derivative of `r` by `x·θ` as a function of `r` and the target, elementwise.
    """

    def __init__(self, features: Float[Tensor, "n d"], targets: Float[Tensor, " n"],
                 residual: Callable[[Tensor, Tensor], Tensor],
                 curvature: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.features, self.targets = features, targets
        self.residual, self.curvature = residual, curvature
        self.count = len(features)
        self._squares = features * features
        self._last: tuple[Any, ...] = ()

    def _at(self, theta: Paths) -> tuple[Any, ...]:
        """Which θ, the residuals `(n, paths)`, and both averages."""
        # one evaluation of an equation at a θ asks for these several times: keep the last ones
        if not self._last or not self._last[0].is_(theta):
            r = self.residual(self.features @ theta.T, self.targets.unsqueeze(1))
            mean, square = (self.features.T @ r).T / self.count, (self._squares.T @ (r * r)).T / self.count
            self._last = (Seen(theta), r, mean, square)
        return self._last

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        return self._at(theta)[2], self._at(theta)[3]

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        r = self._at(theta)[1]
        change = self.curvature(r, self.targets.unsqueeze(1)) * (self.features @ u.T)
        linear = (self.features.T @ change).T / self.count
        return linear, (self._squares.T @ (r * change)).T * (2 / self.count)

    def check(self, dim: int) -> None:
        if self.features.shape != (self.count, dim):
            raise SMEError(f"the features must have shape (n, d) with d = {dim}, got {tuple(self.features.shape)}")
        for name, part in (("features", self.features), ("targets", self.targets)):
            bad = ~torch.isfinite(part.reshape(self.count, -1)).all(1)
            if bool(bad.any()):
                raise SMEError(f"data: example {int(bad.nonzero()[0])} of the {name} is not finite")

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": ()}

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        r = self._at(theta)[1]
        weighted = weights.T * r
        linear = (self.features.T @ weighted).T
        if squares is None:
            return linear, torch.zeros_like(linear)
        return linear, (self._squares.T @ (weighted * r if squares is weights else squares.T * r * r)).T

    def power(self, theta: Paths, exponent: int, shares: Shares | None = None) -> Paths:
        raised = self._at(theta)[1].pow(exponent)
        return (self.features.pow(exponent).T @ (raised / self.count if shares is None else raised * shares.unsqueeze(1))).T

    def outer(self, theta: Paths, one: int = 1, other: int = 1, shares: Shares | None = None) -> Float[Tensor, "paths d d"]:
        rows, columns, places = _pairs(self.features.shape[1], one == other)
        raised = self._at(theta)[1].pow(one + other)
        pairs = self.features[:, rows].pow(one) * self.features[:, columns].pow(other)
        return (pairs.T @ (raised / self.count if shares is None else raised * shares.unsqueeze(1))).T[:, places]

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        x = self.features[indices]
        r = self.residual((x @ theta.unsqueeze(-1)).squeeze(-1), self.targets[indices])
        return (r.unsqueeze(-1) * x).mean(1)

    def to(self, device: torch.device) -> "LinearExamples":
        return LinearExamples(self.features.to(device), self.targets.to(device), self.residual, self.curvature)

    def describe(self) -> dict[str, object]:
        return {"features": fingerprint(self.features), "targets": fingerprint(self.targets),
                "residual": fingerprint(self.residual)}


@functools.lru_cache(maxsize=64)
def _pairs(d: int, alike: bool) -> tuple[list[int], list[int], list[list[int]]]:
    """Pairs of coordinates, only one of `(a, b)` and `(b, a)` where they are `alike`; and where each stands in a matrix."""
    kept = [(a, b) for a in range(d) for b in range(d) if a >= b or not alike]
    places = [[kept.index((max(a, b), min(a, b)) if alike else (a, b)) for b in range(d)] for a in range(d)]
    return [a for a, _ in kept], [b for _, b in kept], places
