"""What is studied: everything that changes the law of the numbers, checked once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError, choose, warn
from sme.common.identity import hashing, numerics, recipe
from sme.common.inputs import number, several, short
from sme.convergence.estimator.quadrature.method import METHODS, MONTE_CARLO
from sme.convergence.fit import tails
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.spec.remade import BUILT_IN, remade
from sme.convergence.spec.tried import Observables, chosen_observables, is_same
from sme.equations.chain import Chain
from sme.equations.drivers import epochs
from sme.equations.models import OWN, Given, Model, model
from sme.equations.proposed.equation import Proposed, ProposedEquation
from sme.equations.proposed.tried import tried as try_it
from sme.equations.registry import SKEWNESS, known_epochs, obstruction, parts_of
from sme.optimizers.base import Optimizer, State, initial, sound
from sme.optimizers.grid import StepGrid
from sme.optimizers.regimes import BATCH_EQUIVALENT, Regime, regime
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.simulate.integrators.schemes import scheme
from sme.simulate.observables import Capped, available, is_called
from sme.simulate.setup import Setup

LARGE = 100_000
"""numbers of a start beyond which it is not written down"""
MOST_STEPS = 2**53
"""whole numbers that a float tells apart"""
PROBED = 2.0**-6
"""step size at which the caller's own equation is tried"""
COUNTER = 2**33
"""random numbers that a path has: two a call, and calls are counted in 32 bits"""


@dataclass(frozen=True)
class Specification:
    """Problem, law, optimizer, regime, start, horizon, observables, Brownian motions, model."""

    problem: Problem
    optimizer: Optimizer
    regime: Regime
    brownian: str
    horizon: float
    start: State
    times: tuple[float, ...]
    observables: Mapping[str, Callable[[State], Tensor]]
    model: Model
    method: str = MONTE_CARLO

    @classmethod
    def of(cls, problem: Problem, optimizer: Optimizer, regime_name: str, brownian: str | None, horizon: Any,
           start: Mapping[str, Tensor] | None, observables: Observables, times: Sequence[float] | None,
           model_name: Given = OWN, method: str = MONTE_CARLO) -> "Specification":
        """Check every part and fill in defaults.

        Raises
        ------
        SMEError
            naming what was given, what is allowed and what to change.
        """
        problems.checked(problem)
        sound(optimizer)
        horizon = number("horizon", horizon)
        if not 0 < horizon < math.inf:
            raise SMEError(f"horizon must be positive and finite, got {horizon:g}: give one such as 1")
        if not isinstance(start := {} if start is None else start, Mapping):
            raise SMEError(f"start must map field names to tensors, got {short(start)}: give start={{'theta': tensor, …}}")
        own = {name: field for name, field in problem.start.items() if name in optimizer.fields}
        checked = initial(optimizer, {**own, **start}, problem.dim)
        problem.check(checked["theta"])
        place, named = regime(regime_name), model(model_name)
        known = named.name == OWN and known_epochs(problem, optimizer, place, named.motion(brownian))
        if not problem.noise.independent_steps and not known:
            warn("the batches of a reshuffled epoch depend on each other, and the equation takes them as independent "
                 f"ones without replacement: no order is claimed{epochs.instead(problem, place)}")
        kind = named.check(optimizer, place)
        described = named.described(optimizer)
        lacking = "" if described == optimizer.fields else f" alone: model='{named.name}' describes no other field"
        if kind is not None and isinstance(named.proposed, Proposed):
            made = kind(problem, optimizer, PROBED, max(named.orders), named.brownian[0])
            assert isinstance(made, ProposedEquation)
            try_it(made, checked, optimizer.t0)
        tried = chosen_observables(problem, optimizer, observables, {field: checked[field] for field in described}, lacking)
        marks = (horizon,) if times is None else tuple(sorted({number("a time", time) for time in several(times)}))
        if not marks or not all(0 < time <= horizon for time in marks):
            raise SMEError(f"times must lie in (0, horizon] = (0, {horizon:g}], got {short(times)}: leave them out for "
                           "the horizon alone, or choose a longer horizon")
        return cls(problem, optimizer, place, named.motion(brownian), horizon, checked, marks, tried, named,
                   choose("method", method, METHODS))

    def orders(self, given: Any, every: bool = False) -> list[int]:
        """The orders asked for, without repeats; by default the model's highest, or every one.

        Raises
        ------
        SMEError
            for an order that the model has not.
        """
        return self.model.asked(given, self.model.orders if every else (max(self.model.orders),))

    def ordered(self, names: Sequence[str]) -> "Specification":
        """With the observables in this order, if it is these."""
        same = sorted(names) == sorted(self.observables)
        return replace(self, observables={name: self.observables[name] for name in names}) if same else self

    def steps(self, tau: Any) -> int:
        """`horizon/τ`, checked: a whole number that puts every time and `t0` on the grid."""
        tau = number("tau", tau)
        if not 0 < tau < math.inf:
            raise SMEError(f"tau must be positive, got {tau:g}: give a step size such as 1/16")
        if not self.horizon / tau < MOST_STEPS:
            raise SMEError(f"tau = {tau:g} makes {self.horizon / tau:.3g} steps to the horizon {self.horizon:g}, more than can "
                           "be counted: give a larger tau or a shorter horizon")
        steps = _whole(self.horizon / tau)
        if steps is None:
            near = max(1, round(self.horizon / tau))
            raise SMEError(f"horizon = {self.horizon:g} is not a whole number of steps of tau = {tau:g} "
                           f"({self.horizon / tau:.9g} steps): use tau = {self.horizon / near!r}, or 1/n as text")
        for what, time in [("time", time) for time in self.times] + [("t0", self.optimizer.t0)]:
            if _whole(time / tau) is None:
                raise SMEError(f"{what} = {time:g} is not a multiple of tau = {tau:g}: choose one that every tau divides")
        marks = [_whole(time / tau) for time in self.times]
        if 0 in marks or len(set(marks)) < len(marks):
            raise SMEError(f"times {list(self.times)} must be different multiples of tau = {tau:g}, none of them 0")
        self.optimizer.check(self.grid(steps).tau)
        return steps

    def grid(self, steps: int) -> StepGrid:
        """So many steps to the horizon."""
        return StepGrid(self.horizon, steps)

    def setup(self, order: int, steps: int, device: str = "cpu") -> Setup:
        """What a shard of this order and step size needs, on a device."""
        grid = self.grid(steps)
        place = torch.device(device)
        start = {name: field.to(place) for name, field in self.start.items()}
        problem = self.problem.to(place)
        observables = self.observables
        if place.type != "cpu":  # built-in observables hold the problem: they move with it
            named = available(problem, self.optimizer)
            observables = {name: named[name] if self._built_in(name) else observable
                           for name, observable in observables.items()}
            observables = {name: replace(each, inner=named.get(each.of, each.inner)) if isinstance(each, Capped) else each
                           for name, each in observables.items()}
        setup = Setup(problem, self.optimizer, self.regime, order, self.brownian, grid, start,
                      tuple(map(grid.step, self.times)), observables, kind=self.model.check(self.optimizer, self.regime))
        motions = max(problem.noise.motions, problem.noise.second_motions)
        if steps * setup.substeps(scheme(setup.equation())) * motions >= COUNTER:
            raise SMEError(f"tau = {grid.tau:g} makes {steps} steps, and with {motions} Brownian motions these need more than "
                           f"the {COUNTER} random numbers that a path has: use a larger tau or a shorter horizon")
        if order == 2 and self.model.start is not None:
            self.model.start(self.problem, self.optimizer, self.start)
        return setup

    def outline(self) -> StudyMetadata:
        """What the tables need to know."""
        way = obstruction(self.problem, self.optimizer, self.regime, self.brownian)
        lack = self.model.lack(self.problem, self.optimizer, self.regime, self.brownian)
        counts = way == SKEWNESS and self.model.counts(self.problem, self.optimizer, self.regime, self.brownian)
        ours = not lack and (self.model.proposed is None or (way == SKEWNESS and not counts))  # the noise's, of every diffusion
        halves = "√τ" if (lack or counts) and self.problem.noise.skewed and self.regime == BATCH_EQUIVALENT else ""
        return StudyMetadata(self.name, self.optimizer.name, self.regime.name, self.problem.name, self.equation, self.horizon,
                       self.times, tuple(self.observables), way if ours else "", lack, halves, self.parts,
                       tails.doubts(Chain(self.problem, self.optimizer, self.regime, tails.TAU), self.start, self.observables),
                       tails.order(self.problem, self.optimizer, self.regime), self.model.origin,
                       "" if self.method == MONTE_CARLO else self.method)

    def describe(self) -> dict[str, Any]:
        """Everything that identifies the study, in words and numbers."""
        parts = {
            "problem": self.problem, "optimizer": self.optimizer,
            "regime": self.regime.name, "brownian": self.brownian, "start": self.start, "horizon": self.horizon,
            "times": self.times, "observables": {name: self._observable(name) for name in self.observables}, **self._other,
        }
        described: dict[str, Any] = hashing.fingerprint(parts)
        return described

    def recipe(self) -> dict[str, Any]:
        """All that `of` asks for as plain data, from which `remake` makes an equal one; None for what cannot be told."""
        paths = {name: BUILT_IN if self._built_in(name) or is_called(name, each) else recipe.path(each)
                 for name, each in self.observables.items()}
        size = sum(field.numel() for field in self.start.values())
        return {"problem": recipe.of(self.problem), "optimizer": recipe.of(self.optimizer), "regime_name": self.regime.name,
                "brownian": self.brownian, "horizon": self.horizon, "times": list(self.times),
                "start": {name: field.tolist() for name, field in self.start.items()} if size <= LARGE else None,
                "observables": None if None in paths.values() else paths,
                **({"model_name": self.model.path or (self.model.name if self.model.proposed is None else None)}
                   if "model" in self._other else {}), **self._method}

    @classmethod
    def remake(cls, data: dict[str, Any], given: Mapping[str, Any]) -> "Specification":
        """From a `recipe`, with the parts that are given in place of its own; raises `SMEError` as `remade`."""
        return cls.of(**remade(data, given))

    def _built_in(self, name: str) -> bool:
        named, given = available(self.problem, self.optimizer), self.observables[name]
        return name in named and is_same(given, named[name])

    def _observable(self, name: str) -> Any:
        given = self.observables[name]
        if isinstance(given, Capped):
            return given.name
        return name if self._built_in(name) else hashing.fingerprint(given)

    @property
    def parts(self) -> tuple[str, ...]:
        """Of the code, those that its numbers come from, at any order (see `numerics`)."""
        kind, rule = self.model.check(self.optimizer, self.regime), (self.optimizer, self.regime, self.model.orders)
        further = kind.parts(self.problem) if kind else parts_of(self.problem, *rule, self.brownian)
        way = self._method.values() or ["checkpoints"][: len(self.times) - 1]
        return numerics.used(self.problem, self.problem.noise, *further, *way)

    @property
    def _other(self) -> dict[str, object]:
        """What is not as it is by default, so that studies from before there was a choice keep their names: the model's name, or
        the caller's own, if it is not the one that is derived here; and the method.
        """
        own = self.model.proposed
        return {**({} if self.model.name == OWN else {"model": self.model.name if own is None else own}), **self._method}

    @property
    def _method(self) -> dict[str, str]:
        return {} if self.method == MONTE_CARLO else {"method": self.method}

    @property
    def equation(self) -> str:
        """What tables and folders call the equation: its Brownian motions, or the model, with motions other than its default."""
        if self.model.name == OWN:
            return self.brownian
        return self.model.name + ("" if self.brownian == self.model.brownian[0] else f"_{self.brownian}")

    @property
    def name(self) -> str:
        """`<optimizer>-<regime>-<problem>-<brownian or model>-<8 hex>`, the study's folder."""
        digest = hashing.digest(self.describe(), self.parts)
        return "-".join((self.optimizer.name, self.regime.name, self.problem.name, self.equation, digest))


def _whole(ratio: float) -> int | None:
    nearest = round(ratio) if math.isfinite(ratio) else 0
    return nearest if abs(ratio - nearest) <= 1e-9 * max(1.0, abs(ratio)) else None
