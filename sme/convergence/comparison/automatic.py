"""`model="auto"`, `order="auto"`: the cheapest equation that is good enough is chosen before anything is run."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from sme.common.errors import SMEError, warn
from sme.common.inputs import number, several
from sme.convergence.comparison.candidates import Candidate, candidates
from sme.convergence.comparison.choice import EQUATION, choose, limit
from sme.convergence.comparison.predictions import predict
from sme.convergence.spec.tried import Observables
from sme.equations.models import MODELS, Given
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem

AUTO = "auto"


class Asked(NamedTuple):
    """Which equation is meant, and the tolerance that is left for the run itself."""

    model: Given
    order: Any
    brownian: str | None
    tolerance: Any


def resolved(problem: Problem, optimizer: Optimizer, asked: Asked, *, tau: Any, regime: str, horizon: Any,
             start: Mapping[str, Tensor] | None, observables: Observables) -> Asked:
    """With the equation chosen where it is left open, at the coarsest `τ`; what it is and why is printed, or that none is good.

    Raises
    ------
    SMEError
        without a tolerance, for bad input, or if there is no such equation.
    """
    if not (_auto(asked.model) or _auto(asked.order)):
        return asked
    if asked.tolerance is None:
        raise SMEError("auto chooses the cheapest equation whose weak error is below tolerance: give one, such as tolerance=0.01")
    allowed, steps = limit(asked.tolerance), [number("tau", each) for each in several(tau)]
    if not steps:
        raise SMEError("tau is empty: give a step size")
    models = [*MODELS] if _auto(asked.model) else [asked.model]
    every = candidates(problem, optimizer, regime, horizon, start, observables, max(steps), models)
    there = [each for each in every if _fits(each, asked)]
    if not there:
        raise SMEError(f"none of the equations that this run has is of order {asked.order}"
                       f"{'' if asked.brownian is None else f' with brownian={asked.brownian!r}'}: leave both at auto")
    names = {(each.spec.regime.name, each.model, each.order, each.spec.brownian): each.name for each in there}
    choice = choose(predict(there).table, allowed, names)
    row = choice.row.iloc[0]
    chosen = next(each for each in there if [each.spec.regime.name, each.model, each.order, each.spec.brownian]
                  == list(row[EQUATION]))
    (print if choice.good else warn)(choice.reason)
    given = chosen.model if _auto(asked.model) else asked.model
    return Asked(given, chosen.order, chosen.spec.brownian, None)


def _fits(candidate: Candidate, asked: Asked) -> bool:
    open_ = asked.order is None or _auto(asked.order)
    order = open_ or candidate.order in [int(number("order", each)) for each in several(asked.order)]
    return order and asked.brownian in (None, candidate.spec.brownian)


def _auto(given: Any) -> bool:
    return isinstance(given, str) and given == AUTO
