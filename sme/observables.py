"""Test functions of the state."""

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from sme.errors import choose
from sme.optimizers.base import Optimizer, State
from sme.problems.base import Problem

Observable = Callable[[State], Float[Tensor, " paths"]]


def available(problem: Problem, optimizer: Optimizer) -> dict[str, Observable]:
    """The observables that have a name: `|field|²` and mean of every field, and the loss."""
    named: dict[str, Observable] = {}
    for field in optimizer.fields:
        named[f"|{field}|^2"] = lambda s, field=field: s[field].square().sum(-1)  # type: ignore[misc]
    for field in optimizer.fields:
        named[f"mean {field}"] = lambda s, field=field: s[field].mean(-1)  # type: ignore[misc]
    named["loss"] = lambda s: problem.loss(s["theta"])
    return named


def default(problem: Problem, optimizer: Optimizer) -> dict[str, Observable]:
    """`|θ|²`, `|m|²`, `|v|²`, mean `θ`, mean `v`, loss, as far as the optimizer has the fields."""
    return {name: function for name, function in available(problem, optimizer).items() if name != "mean m"}


def select(problem: Problem, optimizer: Optimizer, names: list[str]) -> Mapping[str, Observable]:
    """The observables of these names.

    Raises
    ------
    SMEError
        for an unknown name.
    """
    known = available(problem, optimizer)
    return {choose("observable", name, known): known[name] for name in names}
