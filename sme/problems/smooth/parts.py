"""The parts of a problem and a rule whose graphs are searched, and the mean step that they make."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vmap

from sme.common.errors import SMEError
from sme.optimizers.base import Optimizer, updated
from sme.optimizers.layout import Layout
from sme.optimizers.regimes import BATCH_EQUIVALENT, Gradient, Regime
from sme.problems.base import Problem
from sme.problems.noise.base import GradientLaw
from sme.problems.noise.minibatch.law import MinibatchNoise
from sme.problems.noise.minibatch.per_example import LossExamples
from sme.problems.noise.wrapped.driven import Driven
from sme.problems.noise.wrapped.transformed import TransformedNoise
from sme.problems.renoised import Renoised
from sme.problems.smooth.graph import Graph, TracingError
from sme.problems.smooth.switches import Switch

Times = Float[Tensor, " points"]
States = Float[Tensor, "points state"]

RULE = "update rule"
NEAR = 1e-5
"""share of the mean gradient with which a mean sign is differentiated"""


class Part(NamedTuple):
    """One function whose graph is searched."""

    name: str
    graph: Graph
    inputs: Callable[[Times, States], tuple[Tensor, ...]]

    def at(self, t: Times, x: States) -> list[Switch]:
        """What its operations decide."""
        return self.graph.switches(*self.inputs(t, x))


class Searched(Protocol):
    """What has operations that are searched: a `Part`, or what stands for one."""

    @property
    def name(self) -> str: ...

    @property
    def graph(self) -> Graph: ...

    def at(self, t: Times, x: States) -> list[Switch]:
        """What its operations decide."""


class Seen(NamedTuple):
    """`∇f`, `E ĝ∘ĝ`, `E sign ĝ` (over `h` batch-equivalent) and the standard deviation of the noise."""

    mean: Tensor
    square: Tensor
    sign: Tensor
    deviation: Tensor

    def again(self, times: int) -> "Seen":
        """The same for so many copies of the points."""
        return Seen(*[each.repeat(times, 1) for each in self])


class MeanStep:
    """The mean step `b(t, x)` of a rule on a problem, straight from `update`: `∂_τ E[x']` at `τ = 0`.

    Attributes
    ----------
    parts
        of the loss, of the noise where it depends on θ, and of the update rule.
    untraced
        what cannot be searched: the name of the part, and why.
    """

    def __init__(self, problem: Problem, optimizer: Optimizer, regime: Regime, point: Float[Tensor, " state"]) -> None:
        problem = Driven.of(problem)
        self.problem, self.optimizer, self.regime, self.dim = problem, optimizer, regime, problem.dim
        self.law: GradientLaw = problem.noise
        self.layout = Layout(optimizer.fields, problem.dim)
        self.parts, self.untraced = list[Searched](), dict[str, str]()
        theta = point[: self.dim].clone()
        for name, function in losses(problem).items():
            self._add(name, lambda _, x: (x[:, : self.dim],), function, theta)
        zero, one = torch.zeros((), dtype=torch.float64), torch.ones(self.dim, dtype=torch.float64)
        self._add(RULE, self._rule_inputs, self._update, zero + optimizer.t0, point, one, one, one, zero)

    def _add(self, name: str, inputs: Callable[[Times, States], tuple[Tensor, ...]], function: Callable[..., Tensor],
             *example: Tensor) -> None:
        try:
            self.parts.append(Part(name, Graph(function, *example), inputs))
        except TracingError as fault:
            self.untraced[name] = str(fault)

    def _update(self, t: Tensor, x: Tensor, s: Tensor, q: Tensor, sign: Tensor, tau: Tensor) -> Tensor:
        """The state after one step of one path."""
        new = updated(self.optimizer, self.layout.named(x), Gradient(s, q, sign if self.optimizer.signed else None), tau, t)  # type: ignore[arg-type]
        return self.layout.whole(new)

    def _rule_inputs(self, t: Times, x: States) -> tuple[Tensor, ...]:
        theta = x[:, : self.dim]  # no change of the state is left at τ = 0, whatever the gradient
        return t, x, 0 * theta, torch.ones_like(theta), 0 * theta, torch.zeros_like(t)

    def seen(self, x: States) -> Seen:
        """What the rule sees of the gradient at these states, in the limit `τ → 0`."""
        theta = x[:, : self.dim]
        g = self.problem.gradient(theta)
        squared = 0 * g if self.regime == BATCH_EQUIVALENT else g * g
        if self.optimizer.signed:
            share = NEAR if self.regime == BATCH_EQUIVALENT else 1.0
            return Seen(g, squared, self.law.sign_mean(theta, share * g) / share, torch.zeros_like(g))
        try:
            variance = self.law.variance(theta)
        except SMEError:  # a heavy tail, under a rule that does not read the square
            variance = torch.zeros_like(theta)
        return Seen(g, squared + variance, torch.zeros_like(g), variance.sqrt())

    def moves(self, t: Times, x: States, seen: Seen | None = None) -> Float[Tensor, "points twice_state"]:
        """`b`, and beside it the squared size of the noise that comes with the gradient, for every entry."""
        zero, one = torch.zeros((), dtype=x.dtype), torch.ones((), dtype=x.dtype)
        g, q, sign, deviation = self.seen(x) if seen is None else seen

        def slope(t: Tensor, x: Tensor, g: Tensor, q: Tensor, sign: Tensor) -> Tensor:
            change: Tensor = jvp(lambda tau: self._update(t, x, tau * g, q, tau * sign, tau), (zero,), (one,))[1]
            return change

        drift = vmap(slope)(t, x, g, q, sign)
        noise = self.kick(t, x, deviation)
        return torch.cat((drift, noise.square()), -1)

    def after(self, t: Times, x: States, s: Tensor, q: Tensor, tau: float) -> States:
        """The states after one step of this size."""
        step = torch.tensor(tau, dtype=x.dtype)
        moved: Tensor = vmap(lambda t, x, s, q: self._update(t, x, s, q, 0 * s, step))(t, x, s, q)
        return moved

    def kick(self, t: Times, x: States, n: Tensor) -> States:
        """What noise `n` of the gradient adds to the state, over `h` batch-equivalent and over `τ` ballistic."""
        zero, one = torch.zeros((), dtype=x.dtype), torch.ones((), dtype=x.dtype)

        def slope(t: Tensor, x: Tensor, n: Tensor) -> Tensor:
            change: Tensor = jvp(lambda e: self._update(t, x, e * n, 0 * n, e * n, 0 * e), (zero,), (one,))[1]
            return change

        moved: Tensor = vmap(slope)(t, x, n)
        return moved


def losses(problem: Problem) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """The functions of θ, of one path, that a problem consists of: its loss, and where they may differ its gradient and noise."""
    found: dict[str, Callable[[Tensor], Tensor]] = {"loss": lambda theta: problem.loss(theta.unsqueeze(0))[0]}
    law = problem.noise
    if isinstance(law, TransformedNoise) and law.law.paired:  # smooth, as the density of the noise is
        return losses(Renoised(problem.problem, law.law)) if isinstance(problem, Driven) else found
    if type(problem).gradient is not Problem.gradient:
        found["gradient"] = lambda theta: problem.gradient(theta.unsqueeze(0))[0]
    if law.constant:
        return found
    examples = law.examples if isinstance(law, MinibatchNoise) else None
    if isinstance(examples, LossExamples):
        axes = (None, *[0] * len(examples.data))
        found["loss of an example"] = lambda theta: vmap(examples._loss, in_dims=axes)(theta, *examples.data)
    else:
        found["noise"] = lambda theta: law.spread(theta.unsqueeze(0))[0]
    return found
