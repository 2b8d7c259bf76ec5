"""The equations that may describe a run at one step size, and what a path of each costs."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import several, short
from sme.convergence.spec.specification import Specification
from sme.convergence.spec.tried import Observables
from sme.equations.models import MODELS, OWN, Given, Model, model
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BATCH_EQUIVALENT
from sme.problems.base import Problem
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

WEIGHTS = {"gradient": 1, "both": 1, "hessian": 2, "third": 4}
"""what a method of a problem costs, in gradients: a derivative along a vector is as dear as what it is of, once more"""


@dataclass(frozen=True)
class Candidate:
    """One equation of one run.

    Attributes
    ----------
    cost
        what one path of it takes to the horizon, on the finest grid of its scheme, in evaluations of the mean gradient.
    """

    spec: Specification
    order: int
    setup: Setup
    cost: int

    @property
    def model(self) -> str:
        """The model's name."""
        return self.spec.model.name

    @property
    def name(self) -> str:
        """What tables and sentences call it: `sme, order 2`, with its motions where it has other ones than is usual."""
        order = f", order {self.order}" if len(self.spec.model.orders) > 1 else ""
        motions = "" if self.spec.brownian == self.spec.model.brownian[0] else f", {self.spec.brownian.replace('_', ' ')}"
        return self.model + order + motions


def candidates(problem: Problem, optimizer: Optimizer, regime: str, horizon: Any, start: Mapping[str, Tensor] | None,
               observables: Observables, tau: Any, models: Sequence[Given] | None) -> list[Candidate]:
    """Every equation that there is of this run, of these models, by default of all.

    Raises
    ------
    SMEError
        for bad input, and if there is none, with what stands in the way of the first.
    """
    asked = _asked(models)
    found, lacks = [], list[str]()
    for given, each in asked:
        for brownian in _motions(problem, each.name, each.brownian, regime):
            try:
                spec = Specification.of(problem, optimizer, regime, brownian, horizon, start, observables, None, given)
            except SMEError as fault:
                if given == OWN or (models is not None and len(asked) == 1):
                    raise
                lacks.append(str(fault))
                continue
            steps = spec.steps(tau)
            for order in each.orders:
                if brownian == "step_memory" and order == 1:
                    continue
                try:
                    setup = spec.setup(order, steps)
                    found.append(Candidate(spec, order, setup, cost(setup)))
                except SMEError as fault:
                    lacks.append(str(fault))
    if not found:
        raise SMEError(f"no equation is known of this run: {lacks[0] if lacks else short(models)}")
    return found


def _asked(models: Sequence[Given] | None) -> list[tuple[Given, Model]]:
    """The models that are named, each of them once."""
    given = list[Any](MODELS) if models is None else several(models)
    if not given:
        raise SMEError(f"models is empty: give some of {', '.join(MODELS)}, equations of your own, or leave it out for all")
    found: dict[str, tuple[Given, Model]] = {}
    for each in given:
        made = model(each)
        if found.setdefault(made.name, (each, made))[0] != each:
            raise SMEError(f"two equations among models are named {made.name!r}: give one of them another name")
    return list(found.values())


def _motions(problem: Problem, name: str, there: Iterable[str], regime: str) -> list[str]:
    """Those by default, and step memory where independent motions are not of order 2."""
    usual = next(iter(there))
    more = name == OWN and regime == BATCH_EQUIVALENT.name and problem.noise.paired
    return [usual, *(["step_memory"] if more else [])]


def cost(setup: Setup) -> int:
    """Evaluations of the mean gradient by one path to the horizon: those of a substep, counted, times the substeps."""
    counted, total = _counted(setup.problem)
    equation = copy.copy(setup)
    object.__setattr__(equation, "problem", counted)
    made = equation.equation()
    method = scheme(made)
    substeps = setup.substeps(method)
    dt, x = setup.tau / substeps, setup.whole(1)
    dW = torch.zeros(1, made.motions, dtype=x.dtype)
    total.clear()
    with torch.no_grad():
        method.rates(made, setup.chain.time(0), dt, x, dW, torch.zeros_like(dW))
    return sum(total) * substeps * setup.marks[-1]


def _counted(problem: Problem) -> tuple[Problem, list[int]]:
    """A copy that writes down what each evaluation costs."""
    made, total = copy.copy(problem), list[int]()

    def counting(method: Callable[..., Any], weight: int) -> Callable[..., Any]:
        def counted(*given: Any) -> Any:
            total.append(weight)
            return method(*given)

        return counted

    for name, weight in WEIGHTS.items():
        setattr(made, name, counting(getattr(problem, name), weight))
    return made, total
