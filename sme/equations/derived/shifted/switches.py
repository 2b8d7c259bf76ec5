"""Where the mean step of a rule that takes the raw gradient apart may jump, for the search of `sme.problems.smooth`."""

from collections.abc import Callable

import torch
from torch import Tensor

from sme.equations.chain import Chain
from sme.equations.derived.shifted.nodes import OneStep
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import Regime
from sme.problems.base import Problem
from sme.problems.smooth.graph import Graph, TracingError
from sme.problems.smooth.parts import RULE, MeanStep, Seen, States, Times
from sme.problems.smooth.switches import Switch

TAU = 2.0**-12
"""step size at which the mean step is computed"""
MOST = 64
"""noisy gradients for which the operations of the rule are watched"""


class RawPart:
    """The update rule, on the gradients of all batches, or with Gaussian noise on their mean alone.

    With Gaussian noise a switch that the gradient decides is smooth in the mean: what is left are those of the state.
    """

    name = RULE

    def __init__(self, graph: Graph, step: OneStep) -> None:
        self.graph, self.step = graph, step

    def at(self, t: Times, x: States) -> list[Switch]:
        y = self.seen(x)
        count = y.shape[1]
        found = self.graph.switches(x.repeat_interleave(count, 0), y.flatten(0, 1), t.repeat_interleave(count))
        return [Switch(*(part.reshape(len(x), -1) for part in each)) for each in found]

    def seen(self, x: States) -> Tensor:
        """The gradients."""
        if self.step.law.exact:
            return self.step.nodes(0.0, x)[0][:, :MOST]
        return self.step.chain.scale * self.step.chain.mean(x[:, : self.step.dim]).unsqueeze(1)


class RawMeanStep(MeanStep):
    """The mean step `m_τ` at a small step size, from all noisy gradients."""

    def __init__(self, problem: Problem, optimizer: Optimizer, regime: Regime, point: Tensor) -> None:
        self.one = OneStep(Chain(problem, optimizer, regime, TAU))
        super().__init__(problem, optimizer, regime, point)

    def _add(self, name: str, inputs: Callable[[Times, States], tuple[Tensor, ...]], function: Callable[..., Tensor],
             *example: Tensor) -> None:
        if name != RULE:
            super()._add(name, inputs, function, *example)
            return
        if self.optimizer.opaque:
            self.untraced[name] = "a black box"
            return
        zero = torch.full((), self.optimizer.t0 + 0.37, dtype=torch.float64)
        try:
            graph = Graph(self.one._single, example[1], torch.full((self.dim,), 0.7, dtype=torch.float64), zero)
        except TracingError as fault:
            self.untraced[name] = str(fault)
            return
        self.parts.append(RawPart(graph, self.one))

    def moves(self, t: Times, x: States, seen: Seen | None = None) -> Tensor:
        found = torch.empty_like(x)
        for at in t.unique():  # a time for all paths
            found[t == at] = self.one.moments(float(at), x[t == at])[0]
        return torch.cat((found, torch.zeros_like(found)), -1)

    def kick(self, t: Times, x: States, n: Tensor) -> States:
        """None: the noise of the equation is as smooth as its mean, from the same integrals."""
        return torch.zeros_like(x)

    def after(self, t: Times, x: States, s: Tensor, q: Tensor, tau: float) -> States:
        unit = tau ** (self.regime.step_power / 2)
        return torch.cat([self.one.moved(x[i : i + 1], s[i : i + 1] / unit, float(at)) for i, at in enumerate(t)])
