"""Weighted sums of per-example gradients, which is all that minibatch noise asks of a data set."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import grad, jvp, vmap

from sme.errors import SMEError
from sme.identity import fingerprint

Paths = Float[Tensor, "paths d"]
Weights = Float[Tensor, "paths n"]

CHUNK = 2**22
"""numbers held at once by per-example gradients"""


class Examples(ABC):
    """The per-example gradients `g_i(θ)`, `i = 1 … n`, of a finite data set."""

    count: int
    """`n`"""

    @abstractmethod
    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        """`ḡ = Σ_i g_i / n` and `Σ_i g_i∘g_i / n`."""

    @abstractmethod
    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        """`Σ_i weights_i g_i(θ)` and `Σ_i squares_i g_i(θ)∘g_i(θ)` (0 without `squares`)."""

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        """The derivatives of both averages along `u`."""
        change: tuple[Paths, Paths] = jvp(self.averages, (theta,), (u,))[1]
        return change

    @abstractmethod
    def power(self, theta: Paths, exponent: int) -> Paths:
        """`Σ_i g_i^exponent / n`, elementwise."""

    @abstractmethod
    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        """The mean of `g_i(θ)` over each path's own batch."""

    def check(self, dim: int) -> None:
        """Raise `SMEError` if the data do not fit `dim` parameters."""

    def to(self, device: torch.device) -> "Examples":
        """The same on `device`."""
        return self

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """What identifies them, in words."""


class LossExamples(Examples):
    """Gradients of a per-example loss by automatic differentiation, in chunks of paths.

    Parameters
    ----------
    loss
        `(theta, *example)` to a scalar, `theta` of shape `(d,)`.
    data
        tensors whose first axis counts the examples.

    Raises
    ------
    SMEError
        if the data tensors are missing, empty or of different lengths.
    """

    def __init__(self, loss: Callable[..., Tensor], data: Sequence[Tensor]) -> None:
        if not callable(loss):
            raise SMEError(f"the per-example loss must be a function (theta, *example) -> scalar, got {loss!r}")
        if isinstance(data, Tensor) or not isinstance(data, Sequence):
            raise SMEError(f"data must be a tuple of tensors such as (X,) or (X, y), got {type(data).__name__}")
        if not len(data) or not all(isinstance(part, Tensor) and part.dim() for part in data):
            raise SMEError("data must be a tuple of tensors whose first axis counts the examples")
        lengths = {len(part) for part in data}
        if len(lengths) != 1 or 0 in lengths:
            raise SMEError(f"the data tensors must have one length ≥ 1, got {[len(part) for part in data]}")
        self._loss, self.count = loss, lengths.pop()
        self.data = tuple(part.to(torch.float64) if part.is_floating_point() else part for part in data)

    def _gradients(self, theta: Paths, data: Sequence[Tensor], own: bool) -> Float[Tensor, "paths n d"]:
        axes = (None, *[0] * len(data))
        each = vmap(grad(self._loss), in_dims=axes)
        chunk = max(1, CHUNK // (data[0].shape[1 if own else 0] * theta.shape[1]))
        whole = vmap(each, in_dims=(0, *[0 if own else None] * len(data)), chunk_size=chunk)
        return whole(theta, *data)

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        g = self._gradients(theta, self.data, own=False)
        return g.mean(1), (g * g).mean(1)

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        g = self._gradients(theta, self.data, own=False)
        linear = torch.einsum("pn,pnd->pd", weights, g)
        if squares is None:
            return linear, torch.zeros_like(linear)
        return linear, torch.einsum("pn,pnd->pd", squares, g * g)

    def power(self, theta: Paths, exponent: int) -> Paths:
        return self._gradients(theta, self.data, own=False).pow(exponent).mean(1)

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        return self._gradients(theta, [part[indices] for part in self.data], own=True).mean(1)

    def check(self, dim: int) -> None:
        theta = torch.zeros(dim, dtype=torch.float64)
        try:
            value = self._loss(theta, *[part[0] for part in self.data])
        except Exception as fault:
            raise SMEError(f"the per-example loss fails on theta ({dim},) and one example: {fault}") from fault
        if not isinstance(value, Tensor) or value.shape != ():
            raise SMEError("the per-example loss must return a scalar tensor for theta (d,) and one example, got "
                           f"{tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}")

    def to(self, device: torch.device) -> "LossExamples":
        return LossExamples(self._loss, [part.to(device) for part in self.data])

    def describe(self) -> dict[str, object]:
        return {"loss": fingerprint(self._loss), "data": fingerprint(self.data)}


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
        self._last: tuple[Tensor, ...] = ()

    def _at(self, theta: Paths) -> tuple[Tensor, ...]:
        """θ, the residuals `(n, paths)`, and both averages."""
        # one evaluation of an equation at a θ asks for these several times: keep the last ones
        if not self._last or self._last[0] is not theta:
            r = self.residual(self.features @ theta.T, self.targets.unsqueeze(1))
            mean, square = (self.features.T @ r).T / self.count, (self._squares.T @ (r * r)).T / self.count
            self._last = (theta, r, mean, square)
        return self._last

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        return self._at(theta)[2], self._at(theta)[3]

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        r = self._at(theta)[1]
        change = self.curvature(r, self.targets.unsqueeze(1)) * (self.features @ u.T)
        linear = (self.features.T @ change).T / self.count
        return linear, (self._squares.T @ (r * change)).T * (2 / self.count)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": ()}

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        r = self._at(theta)[1]
        weighted = weights.T * r
        linear = (self.features.T @ weighted).T
        if squares is None:
            return linear, torch.zeros_like(linear)
        return linear, (self._squares.T @ (weighted * r if squares is weights else squares.T * r * r)).T

    def power(self, theta: Paths, exponent: int) -> Paths:
        r = self._at(theta)[1]
        return (self.features.pow(exponent).T @ r.pow(exponent)).T / self.count

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        x = self.features[indices]
        r = self.residual((x @ theta.unsqueeze(-1)).squeeze(-1), self.targets[indices])
        return (r.unsqueeze(-1) * x).mean(1)

    def to(self, device: torch.device) -> "LinearExamples":
        return LinearExamples(self.features.to(device), self.targets.to(device), self.residual, self.curvature)

    def describe(self) -> dict[str, object]:
        return {"features": fingerprint(self.features), "targets": fingerprint(self.targets),
                "residual": fingerprint(self.residual)}
