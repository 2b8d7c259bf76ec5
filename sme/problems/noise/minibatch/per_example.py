"""Weighted sums of per-example gradients, which is all that minibatch noise asks of a data set."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import grad, jvp, vmap

from sme.common.derivatives import guard
from sme.common.derivatives.seen import Seen
from sme.common.derivatives.written import Written
from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import short
from sme.common.process.turns import Turns
from sme.problems.untouched import untouched

Paths = Float[Tensor, "paths d"]
Weights = Float[Tensor, "paths n"]
Shares = Float[Tensor, " n"]

Reduce = Callable[[Float[Tensor, "paths n d"], slice, slice], tuple[Tensor, ...]]
CHUNK = 2**22
"""numbers held at once by per-example gradients"""


class Examples(Turns, ABC):
    """The per-example gradients `g_i(θ)`, `i = 1 … n`, of a finite data set."""

    count: int
    """`n`"""
    held = 0
    """numbers of one path that all sums at a θ share, and that are kept"""
    lack = ""
    """what is wrong with torch's second derivatives of them, in words"""

    @abstractmethod
    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        """`ḡ = Σ_i g_i / n` and `Σ_i g_i∘g_i / n`."""

    def gradient(self, theta: Paths) -> Paths:
        """`ḡ`."""
        return self.averages(theta)[0]

    @abstractmethod
    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        """`Σ_i weights_i g_i(θ)` and `Σ_i squares_i g_i(θ)∘g_i(θ)` (0 without `squares`)."""

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]:
        """The derivatives of both averages along `u`."""
        change: tuple[Paths, Paths] = jvp(self.averages, (theta,), (u,))[1]
        return change

    @abstractmethod
    def power(self, theta: Paths, exponent: int, shares: Shares | None = None) -> Paths:
        """`Σ_i shares_i g_i^exponent`, elementwise; without shares they are `1/n`."""

    def outer(self, theta: Paths, one: int = 1, other: int = 1, shares: Shares | None = None) -> Float[Tensor, "paths d d"]:
        """`Σ_i shares_i g_i^one (g_i^other)ᵀ`, the powers elementwise; without shares they are `1/n`."""
        units = torch.eye(self.count).to(theta)
        g = torch.stack([self.weigh(theta, unit.expand(len(theta), -1))[0] for unit in units], -1)
        return (g.pow(one) * (1 / self.count if shares is None else shares)) @ g.pow(other).mT

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
    """Gradients of a per-example loss by automatic differentiation, `CHUNK` numbers of them at a time.

    No sum needs more memory than that and a few times what it returns, however many examples or parameters.

    Parameters
    ----------
    loss
        `(theta, *example)` to a scalar, `theta` of shape `(d,)`.
    data
        tensors whose first axis counts the examples.
    guarded
        whether its derivatives are known to be right.

    Raises
    ------
    SMEError
        if the data tensors are missing, empty or of different lengths.
    """

    def __init__(self, loss: Callable[..., Tensor], data: Sequence[Tensor], guarded: bool = False) -> None:
        if not callable(loss):
            raise SMEError(f"the per-example loss must be a function (theta, *example) -> scalar, got {short(loss)}")
        if isinstance(data, Tensor) or not isinstance(data, Sequence):
            raise SMEError(f"data must be a tuple of tensors such as (X,) or (X, y), got {type(data).__name__}")
        if not len(data) or not all(isinstance(part, Tensor) and part.dim() for part in data):
            raise SMEError("data must be a tuple of tensors whose first axis counts the examples")
        lengths = {len(part) for part in data}
        if len(lengths) != 1 or 0 in lengths:
            raise SMEError(f"the data tensors must have one length ≥ 1, got {[len(part) for part in data]}")
        self._loss, self.count = loss, lengths.pop()
        self.data = tuple(part.to(torch.float64) if part.is_floating_point() else part for part in data)
        self._last: tuple[Seen, Tensor, Tensor] | None = None
        self.guarded = guarded

    def _gradients(self, theta: Paths, data: Sequence[Tensor]) -> Float[Tensor, "paths n d"]:
        each = vmap(grad(self._loss), in_dims=(None, *[0] * len(data)))
        return vmap(each, in_dims=(0, *[None] * len(data)))(theta, *data)

    def _sums(self, theta: Paths, reduce: Reduce) -> list[Tensor]:
        """`reduce(gradients, paths, examples)` summed over the examples, of so few at a time that they fit."""
        d = theta.shape[1]
        many = min(self.count, max(1, CHUNK // d))
        some, rows = max(1, CHUNK // (d * many)), []
        for first in range(0, len(theta), some):
            paths = slice(first, first + some)
            total: list[Tensor] = []
            for begin in range(0, self.count, many):
                examples = slice(begin, begin + many)
                parts = reduce(self._gradients(theta[paths], [part[examples] for part in self.data]), paths, examples)
                total = [a + b for a, b in zip(total, parts, strict=True)] if total else list(parts)
            rows.append(total)
        return [torch.cat(column) for column in zip(*rows, strict=True)]

    def _weighted(self, theta: Paths, weights: Weights, data: Sequence[Tensor], own: bool) -> Paths:
        """The gradient of the reweighted loss: one backward pass, no gradient of a single example."""

        def total(point: Tensor, weight: Tensor, *examples: Tensor) -> Tensor:
            return weight @ vmap(self._loss, in_dims=(None, *[0] * len(examples)))(point, *examples)

        numbers = weights.shape[1] * (theta.shape[1] + data[0][0].numel())
        axes = (0, 0, *[0 if own else None] * len(data))
        gradient: Paths = vmap(grad(total), in_dims=axes, chunk_size=max(1, CHUNK // numbers))(theta, weights, *data)
        return gradient

    def averages(self, theta: Paths) -> tuple[Paths, Paths]:
        if self._last is None or not self._last[0].is_(theta):  # drift and diffusion ask for them several times at a θ
            g, squares = self._sums(theta, lambda g, paths, examples: (g.sum(1), (g * g).sum(1)))
            self._last = (Seen(theta), g / self.count, squares / self.count)
        return self._last[1:]

    def gradient(self, theta: Paths) -> Paths:
        if self._last is not None and self._last[0].is_(theta):
            return self._last[1]
        return self._weighted(theta, theta.new_full((1, self.count), 1 / self.count).expand(len(theta), -1), self.data, own=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}

    def weigh(self, theta: Paths, weights: Weights, squares: Weights | None = None) -> tuple[Paths, Paths]:
        if squares is None:
            linear = self._weighted(theta, weights, self.data, own=False)
            return linear, torch.zeros_like(linear)
        linear, square = self._sums(theta, lambda g, paths, examples: (
            torch.einsum("pn,pnd->pd", weights[paths, examples], g), torch.einsum("pn,pnd->pd", squares[paths, examples], g * g)))
        return linear, square

    def power(self, theta: Paths, exponent: int, shares: Shares | None = None) -> Paths:
        if shares is None:
            return self._sums(theta, lambda g, paths, examples: (g.pow(exponent).sum(1),))[0] / self.count
        return self._sums(theta, lambda g, paths, examples: (torch.einsum("n,pnd->pd", shares[examples], g.pow(exponent)),))[0]

    def outer(self, theta: Paths, one: int = 1, other: int = 1, shares: Shares | None = None) -> Float[Tensor, "paths d d"]:
        equal = theta.new_full((self.count,), 1 / self.count) if shares is None else shares
        return self._sums(theta, lambda g, paths, examples: (
            torch.einsum("n,pna,pnb->pab", equal[examples], g.pow(one), g.pow(other)),))[0]

    def batch(self, theta: Paths, indices: Int[Tensor, "paths batch"]) -> Paths:
        equal = theta.new_full((1, indices.shape[1]), 1 / indices.shape[1]).expand(len(theta), -1)
        return self._weighted(theta, equal, [part[indices] for part in self.data], own=True)

    def check(self, dim: int) -> None:
        theta = torch.zeros(dim, dtype=torch.float64)
        try:
            with untouched("the per-example loss", *(few := [part[:1] for part in self.data])):
                value = self._loss(theta, *[part[0] for part in few])
        except SMEError:
            raise
        except Exception as fault:
            raise SMEError(f"the per-example loss fails on theta ({dim},) and one example: {fault}") from fault
        if not isinstance(value, Tensor) or value.shape != ():
            raise SMEError("the per-example loss must return a scalar tensor for theta (d,) and one example, got "
                           f"{tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}")
        names = {f"tensor {which}": part for which, part in enumerate(self.data)}
        guard.check_finite("data", names, theta, lambda i: lambda point: self._loss(point, *[part[i] for part in self.data]))
        if not self.guarded:
            self._guard(dim)

    def _guard(self, dim: int) -> None:
        """Find out how torch gives right second derivatives, or raise `SMEError` if it has none."""
        near, given = torch.full((dim,), 0.5, dtype=torch.float64), self._loss
        few = LossExamples(given, [part[: guard.FEW] for part in self.data])
        try:
            few.gradient(near[None])
        except Exception as missing:
            raise SMEError(f"the per-example loss cannot be differentiated by torch.func: {missing}; it must not branch on theta "
                           "or on an example") from missing

        def whole(theta: Tensor) -> Tensor:
            return torch.stack([given(theta, *[part[i] for part in few.data]) for i in range(few.count)]).mean()

        def look(way: Callable[..., Tensor]) -> str:
            tried = LossExamples(way, few.data)
            return guard.fault(guard.Mean(tried), guard.gradient(whole), near, tried)

        forms: tuple[Callable[..., Tensor], ...] = (given, Written(given))
        try:
            self._loss, self.lack = guard.settle(forms, look)
        except guard.MissingError as missing:
            raise SMEError(f"torch has no second derivatives of the per-example loss, and the equations need them ({missing}): "
                           "write the operation out with others; an own torch.autograd.Function needs a jvp") from missing
        self.guarded = True

    def to(self, device: torch.device) -> "LossExamples":
        loss = self._loss.to(device) if hasattr(self._loss, "to") else self._loss
        moved = LossExamples(loss, [part.to(device) for part in self.data], self.guarded)
        moved.lack = self.lack
        return moved

    def describe(self) -> dict[str, object]:
        return {"loss": fingerprint(self._loss), "data": fingerprint(self.data)}
