"""The equation that is tested, and the times and states at which."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sme.equations.base import Equation, Kind
from sme.equations.chain import Chain
from sme.equations.order.one_step import Generator
from sme.equations.order.visited import Visited, visited
from sme.equations.registry import equation
from sme.optimizers.base import Optimizer, updated
from sme.optimizers.layout import Layout
from sme.optimizers.regimes import BATCH_EQUIVALENT, Gradient, Regime
from sme.problems.base import Problem

TOP, SHARE = 2.0**-2, 0.5
"""largest step size of the moments, and largest `1 − β` there"""
ALONG, BESIDE = (0.0, 0.2, 0.6, 1.0), (0.4, 0.8)
"""shares of the run at which the noiseless path is looked at, and two noisy ones"""
LATER = (0.37, 1.1)
"""times after `t0` at which a rule or an equation that depends on the time is looked at"""
NEAR = 2.0**-10
"""share of the parameters that is left where their rounding would hide too much"""

Point = tuple[float, Tensor]


@dataclass(frozen=True)
class Tested:
    """An equation of a rule on a problem."""

    problem: Problem
    optimizer: Optimizer
    regime: Regime
    order: int
    brownian: str
    kind: Kind | None

    @property
    def skewed(self) -> bool:
        """Whether half powers of `τ` enter."""
        return self.problem.noise.skewed and self.regime == BATCH_EQUIVALENT

    @property
    def largest(self) -> float:
        """The step size from which moments are taken down."""
        return TOP * min(1.0, SHARE / TOP / max(self.optimizer.rates().values(), default=1.0))

    def make(self, tau: float) -> tuple[Chain, Equation]:
        """The chain and its equation at a step size."""
        return (Chain(self.problem, self.optimizer, self.regime, tau),
                equation(self.problem, self.optimizer, self.regime, tau, self.order, self.brownian, self.kind).explicit())

    def points(self, run: Visited) -> list[Point]:
        """Times and states to look at: a handful of the run, or states that stand for any, later too where that matters."""
        if run.given:
            last = len(run.times) - 1
            places = [*((0, share) for share in ALONG), *((1 + i, share) for i, share in enumerate(BESIDE))]
            rows = [(float(run.times[round(share * last)]), run.paths[path, round(share * last)]) for path, share in places]
            return [(t, x) for t, x in rows if bool(torch.isfinite(x).all())]
        rows = [(self.optimizer.t0, x) for x in run.paths[:, 0]]
        if self._changes(rows[0][1]):
            again = itertools.cycle(run.paths[:, 0])
            rows += [(self.optimizer.t0 + after, x) for after, x in zip(LATER, again, strict=False)]
        return rows

    def quiet(self, points: Sequence[Point]) -> list[Point]:
        """Where less is lost by rounding: what averages the noise after a run of it, the parameters near 0."""
        found, dim = [], self.problem.dim
        for _, x in points:
            run = visited(self.problem, self.optimizer, self.regime, Layout(self.optimizer.fields, dim).named(x))
            last = run.paths[0][torch.isfinite(run.paths[0]).all(-1)][-1]
            found.append((float(run.times[-1]), torch.cat((NEAR * last[:dim], last[dim:]))))
        return found

    def _changes(self, x: Tensor) -> bool:
        """Whether the rule or the equation depends on the time."""
        model = self.make(self.largest)[1]
        generator, layout = Generator(model, lambda z: z), Layout(self.optimizer.fields, self.problem.dim)
        z, one = generator.start(x).unsqueeze(0), torch.ones(self.problem.dim, dtype=torch.float64)
        state = layout.named(x)
        sign = self.largest * one if self.optimizer.signed else None
        gradient = Gradient(0.7 * self.largest * one, 0.6 * one, sign, (0.7 * one, self.largest))

        def at(t: float) -> Tensor:
            new = updated(self.optimizer, state, gradient, self.largest, t)
            noise = [generator.noise(t, z).flatten()] if len(generator.motions) else []
            return torch.cat([generator.drift(t, z).flatten(), *noise, layout.whole(new)])

        here = at(self.optimizer.t0)
        return any(not torch.equal(here, at(self.optimizer.t0 + after)) for after in LATER)
