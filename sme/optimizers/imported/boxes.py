"""One step of a library's own optimizer from any state, for rows of states at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, reason
from sme.optimizers.imported.doubled import Double

Rows = Float[Tensor, "rows d"]
Shapes = tuple[tuple[int, ...], ...]
Make = Callable[[list[Any], float], Any]
"""from the parameters and `τ` to an optimizer"""
COUNTERS = ("step", "steps", "count", "t")
"""what libraries call the number of a step"""


def made(make: Make, parameters: list[Any], tau: float) -> Any:
    """The library's optimizer.

    Raises
    ------
    SMEError
        if there is none.
    """
    try:
        return make(parameters, tau)
    except Exception as fault:
        raise SMEError(f"make(parameters, tau) fails at tau = {tau:g}: {reason(fault)}. It takes a list of parameters and a step "
                       "size, as lambda parameters, tau: torch.optim.Adam(parameters, lr=tau, betas=(1 - tau, 1 - tau / 2))"
                       ) from fault


class Box(ABC):
    """An optimizer whose whole state is `θ`, fields of its shape, and the number of the step.

    Attributes
    ----------
    fields
        what the library calls those beside `θ`, in its order.
    name
        of the library's class.
    counts
        whether it numbers its steps; `whole`, whether by integers alone.
    """

    fields: tuple[str, ...]
    name: str
    counts: bool
    whole = False

    def __init__(self, make: Make, shapes: Shapes) -> None:
        self.make, self.shapes = make, shapes
        self.sizes = [prod(shape) for shape in shapes]

    @abstractmethod
    def step(self, state: Sequence[Rows], gradient: Rows, tau: float, k: float) -> list[Rows]:
        """`θ` and the fields after step number `k`, counted from 0, of each row."""

    @abstractmethod
    def run(self, start: Float[Tensor, " d"], gradients: Sequence[Float[Tensor, " d"]], tau: float) -> Iterator[list[Tensor]]:
        """`θ` and the fields after every step of a fresh optimizer, without anything set by hand."""

    def parts(self, row: Float[Tensor, "*rows d"]) -> list[Tensor]:
        """The parameters of each row."""
        lead = row.shape[:-1]
        return [part.reshape((*lead, *shape)) for part, shape in zip(row.split(self.sizes, -1), self.shapes, strict=True)]

    def joined(self, parts: Sequence[Tensor], rows: int) -> Tensor:
        """Their numbers side by side."""
        return torch.cat([part.reshape(*([rows] if rows else []), -1) for part in parts], -1)


class TorchBox(Box):
    """Any object with `step()` that keeps its state in `state[parameter]` and `param_groups`, as torch's do."""

    def __init__(self, make: Make, shapes: Shapes, tau: float) -> None:
        super().__init__(make, shapes)
        self.together = False
        self._kept: tuple[tuple[float, int], list[Tensor], Any] | None = None
        first, optimizer = self._fresh([torch.ones(shape, dtype=torch.float64) for shape in shapes], tau)
        self._take(optimizer, first, [torch.full_like(p, 0.3) for p in first])
        self.name = type(optimizer).__name__
        held = [optimizer.state[p] for p in first]
        self.fields = tuple(key for key, part in held[0].items() if torch.is_tensor(part) and part.shape == first[0].shape
                            and key not in COUNTERS)
        if lacking := [name for name in self.fields if not all(name in each for each in held)]:
            raise SMEError(f"{self.name} keeps {lacking[0]} of some parameters and not of others: make must give it all of them")
        self.counts = any(key in COUNTERS for key in held[0]) or any(key in COUNTERS for group in optimizer.param_groups
                                                                     for key in group)
        generator = torch.Generator().manual_seed(1)
        state = [torch.rand(2, sum(self.sizes), generator=generator, dtype=torch.float64) + 0.1 for _ in ("θ", *self.fields)]
        seen = torch.randn(2, sum(self.sizes), generator=generator, dtype=torch.float64)
        alone = self.step(state, seen, tau, 3.0)
        self.together = True
        try:
            same = all(torch.allclose(one, other, rtol=1e-14, atol=1e-15) for one, other in
                       zip(alone, self.step(state, seen, tau, 3.0), strict=True))
        except (SMEError, KeyError):  # a step that takes no more dimensions, or keeps others of them
            same = False
        self.together, self._kept = same, None

    def _fresh(self, values: Sequence[Tensor], tau: float) -> tuple[list[Tensor], Any]:
        parameters: list[Tensor] = [torch.nn.Parameter(value.detach().clone()) for value in values]
        return parameters, made(self.make, parameters, tau)

    def _take(self, optimizer: Any, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.detach().clone()
        try:
            with Double(), torch.no_grad():
                optimizer.step()
        except Exception as fault:
            raise SMEError(f"step() of {type(optimizer).__name__} fails on parameters of shapes "
                           f"{', '.join(str(tuple(each.shape)) for each in parameters)} with their gradients: {reason(fault)}"
                           ) from fault

    def _held(self, optimizer: Any, parameters: Sequence[Tensor], rows: int) -> list[Tensor]:
        each = [self.joined([optimizer.state[p][name] for p in parameters], rows) for name in self.fields]
        return [self.joined([p.detach() for p in parameters], rows).clone(), *(part.clone() for part in each)]

    def run(self, start: Tensor, gradients: Sequence[Tensor], tau: float) -> Iterator[list[Tensor]]:
        parameters, optimizer = self._fresh(self.parts(start), tau)
        for gradient in gradients:
            self._take(optimizer, parameters, self.parts(gradient))
            yield self._held(optimizer, parameters, 0)

    def step(self, state: Sequence[Rows], gradient: Rows, tau: float, k: float) -> list[Rows]:
        if self.together:
            return self._step([part.detach() for part in state], gradient.detach(), tau, k, len(gradient))
        rows = [self._step([part.detach() for part in each[:-1]], each[-1].detach(), tau, k, 0)
                for each in zip(*state, gradient, strict=True)]
        return [torch.stack(column) for column in zip(*rows, strict=True)]

    def _step(self, state: Sequence[Tensor], gradient: Tensor, tau: float, k: float, rows: int) -> list[Tensor]:
        values = self.parts(state[0])
        if self._kept is None or self._kept[0] != (tau, rows):
            parameters, optimizer = self._fresh(values, tau)
            self._take(optimizer, parameters, [torch.full_like(p, 0.3) for p in parameters])  # it lays out its state
            self._kept = (tau, rows), parameters, optimizer
        _, parameters, optimizer = self._kept
        fields = [self.parts(part) for part in state[1:]]
        for i, (parameter, value) in enumerate(zip(parameters, values, strict=True)):
            parameter.data.copy_(value)
            held = optimizer.state[parameter]
            for name, part in zip(self.fields, fields, strict=True):
                held[name].copy_(part[i])
            _count(held, k)
        for group in optimizer.param_groups:
            _count(group, k)
        self._take(optimizer, parameters, self.parts(gradient))
        return self._held(optimizer, parameters, rows)


def _count(held: Any, k: float) -> None:
    """Set the number of steps taken."""
    for name in COUNTERS:
        if name in held:
            held[name] = torch.tensor(k, dtype=torch.float64) if torch.is_tensor(held[name]) else k


@contextmanager
def sixty_four(jax: Any) -> Iterator[None]:
    """jax in double precision, whatever it is set to."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
