"""Test functions of the state."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, short
from sme.optimizers.base import Optimizer, State
from sme.optimizers.preconditioner import Preconditioned
from sme.problems.base import Problem

Observable = Callable[[State], Float[Tensor, " paths"]]
CAPPED = " capped at "
"""between an observable's name and the number beyond which it is cut off, as in `|v|^2 capped at 100`"""
STEP = "effective step"
WORDS = {"gradient norm": "|gradient|", "smallest curvature": "lowest curvature"}
"""for observables that have a shorter name too"""


@dataclass(frozen=True)
class Capped:
    """`max(−limit, min(φ, limit))` of a named observable: bounded, so that it has a variance under any noise."""

    of: str
    inner: Observable
    limit: float

    def __call__(self, state: State) -> Float[Tensor, " paths"]:
        return self.inner(state).clamp(-self.limit, self.limit)

    @property
    def name(self) -> str:
        """`|v|^2 capped at 100.0`."""
        return f"{self.of}{CAPPED}{self.limit!r}"


def seen(observable: Observable, state: State) -> Float[Tensor, " paths"]:
    """Its value at a state, of which it gets a copy: what it does to the fields is done to nobody else's.

    A function of θ that says so (`reads`) does not write, and gets the state itself: by its memory it knows a θ again.
    """
    if isinstance(observable, partial) and observable.func is _of_theta and getattr(observable.args[0], "reads", False):
        return observable(state)
    return observable({name: field.clone() for name, field in state.items()})


def observe(observables: Mapping[str, Observable], state: State) -> Float[Tensor, "paths observables"]:
    """The values of all observables at a state.

    Raises
    ------
    SMEError
        if one does not give a real number for each path.
    """
    columns = []
    sloped = any(field.requires_grad for field in state.values())  # of an observable's own tensors no slopes are asked for
    for name, observable in observables.items():
        value = real(name, observable, state)
        columns.append((value if sloped else value.detach()).to(torch.float64))
    return torch.stack(columns, -1)


def real(name: str, observable: Observable, state: State) -> Float[Tensor, " paths"]:
    """Its value, which is a real number for each path.

    Raises
    ------
    SMEError
        if it is not.
    """
    value, paths = seen(observable, state), next(iter(state.values())).shape[:1]
    if not isinstance(value, Tensor) or value.shape != paths or value.is_complex():
        got = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise SMEError(f"observable '{name}' must map fields (paths, d) to real numbers (paths,), got {got} for "
                       f"{paths[0]} paths: reduce the last axis, as in s['theta'].square().sum(-1)")
    return value


def available(problem: Problem, optimizer: Optimizer) -> dict[str, Observable]:
    """The observables that have a name.

    `|field|²` and mean of every field, the loss, the norm of its gradient, the `effective step` of a rule with a preconditioner
    (`1/(√v + ε)` in the mean over the parameters, in units of `τ`), and the problem's own.
    """
    named: dict[str, Observable] = {}
    for field in optimizer.fields:
        named[f"|{field}|^2"] = partial(_square, field)
    for field in optimizer.fields:
        named[f"mean {field}"] = partial(_mean, field)
    named["loss"] = partial(_of_theta, problem.loss)
    for name, function in beside(problem).items():
        named[name] = partial(_of_theta, function)
    if isinstance(optimizer, Preconditioned):
        named[STEP] = partial(_effective, optimizer)
    return named


def beside(problem: Problem) -> dict[str, Callable[[Tensor], Tensor]]:
    """Functions of `θ` beside the loss: the norm of its gradient, and the problem's own."""
    return {"|gradient|": partial(_norm, problem), **problem.functions()}


def _norm(problem: Problem, theta: Tensor) -> Float[Tensor, " paths"]:
    return problem.gradient(theta).norm(dim=-1)


def _effective(optimizer: Preconditioned, state: State) -> Float[Tensor, " paths"]:
    return optimizer.precondition(state["v"]).mean(-1)


def _square(field: str, state: State) -> Float[Tensor, " paths"]:
    return state[field].square().sum(-1)


def _mean(field: str, state: State) -> Float[Tensor, " paths"]:
    return state[field].mean(-1)


def _of_theta(function: Callable[[Tensor], Tensor], state: State) -> Float[Tensor, " paths"]:
    return function(state["theta"])


def default(problem: Problem, optimizer: Optimizer, described: tuple[str, ...]) -> dict[str, Observable]:
    """`|θ|²`, `|m|²`, `|v|²`, mean `θ`, mean `v`, loss, as far as the optimizer has the fields and the model describes them."""
    hidden = [field for field in optimizer.fields if field not in described]
    left_out = {"mean m", STEP, *beside(problem), *(name for field in hidden for name in (f"|{field}|^2", f"mean {field}"))}
    return {name: function for name, function in available(problem, optimizer).items() if name not in left_out}


def select(problem: Problem, optimizer: Optimizer, names: list[str]) -> Mapping[str, Observable]:
    """The observables of these names; `theta[0]` is a coordinate of a field, `|v|^2 capped at 100` is cut off there.

    Raises
    ------
    SMEError
        for an unknown name, a coordinate that is not there, or a cap that is no positive number.
    """
    known = available(problem, optimizer)
    allowed = [*known, *(other for other, name in WORDS.items() if name in known), *(f"{field}[0]" for field in optimizer.fields)]

    def one(name: Any) -> Observable:
        if not isinstance(name, str):
            raise SMEError(f"an observable is named by a text such as {allowed[0]!r}, got {short(name)}: give names, or "
                           "functions by their names, {'name': function}")
        of, capped, limit = name.partition(CAPPED)
        if not capped:
            return _coordinate(name, problem, optimizer) or known[choose("observable", WORDS.get(name, name), allowed)]
        value = number(f"the cap of observable '{name}'", limit)
        if not 0 < value < math.inf:
            raise SMEError(f"the cap of observable '{name}' must be positive and finite, got {limit}: give such as "
                           f"{of}{CAPPED}100")
        return Capped(of.strip(), one(of.strip()), value)

    return {name: one(name) for name in names}


def _coordinate(name: str, problem: Problem, optimizer: Optimizer) -> Observable | None:
    """The observable `field[i]`, or None if the name is not of this form."""
    match = re.fullmatch(r"(\w+)\[(\d+)\]", str(name))
    if match is None or match[1] not in optimizer.fields:
        return None
    field, index = match.groups()
    if int(index) >= problem.dim:
        raise SMEError(f"there is no {name}: the problem has dim = {problem.dim}, so {field}[0] to {field}[{problem.dim - 1}]")
    return partial(_entry, field, int(index))


def _entry(field: str, index: int, state: State) -> Float[Tensor, " paths"]:
    return state[field][..., index]


def is_called(name: str, observable: Observable) -> bool:
    """Whether `select` makes it from this name, that of a coordinate or a capped one."""
    if isinstance(observable, Capped):
        return CAPPED in name
    return isinstance(observable, partial) and observable.func is _entry
