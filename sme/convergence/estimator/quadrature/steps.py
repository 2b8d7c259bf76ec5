"""One step of the discrete run, or one substep of an equation's scheme: from many states, under each node of its noise."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sme.convergence.estimator.quadrature.frames import Points
from sme.equations.base import Equation
from sme.equations.chain import Chain
from sme.equations.closed.signs import sign_moments
from sme.equations.order.one_step import Generator
from sme.optimizers.base import updated
from sme.optimizers.regimes import Gradient
from sme.problems.noise import quadrature as rules
from sme.simulate.integrators.schemes import scheme

Outcome = tuple[Float[Tensor, "nodes points state"], Float[Tensor, "nodes #points"]]
"""images and their probabilities, of some nodes of the noise"""
HELD = 2**15
"""images at a time"""
TIMES = 8
"""times at which a step is looked at, whether it is the same at all"""
FINER = 4
"""substeps of an equation of jumps, times the mean number of draws in a step, for one of another's"""
STILL = torch.zeros(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
"""the one node of no noise"""


class Step(ABC):
    """A step that is taken `count` times in one step of the optimizer, each `dt` long."""

    count: int
    dt: float

    @abstractmethod
    def outcomes(self, x: Points, t: float) -> Iterator[Outcome]:
        """Where each state may be after it, some nodes of the noise at a time."""

    def still(self, x: Points, times: list[float]) -> bool:
        """Whether it is the same at all these times, from what it makes of some states at a few of them."""
        few = times[:: max(1, len(times) // TIMES)] + times[-1:]
        first, *others = (next(self.outcomes(x, t))[0] for t in few)
        return all(torch.equal(first, other) for other in others)


class ChainStep(Step):
    """Of the discrete run, under a rule for its draws."""

    count = 1

    def __init__(self, chain: Chain, rule: rules.Rule) -> None:
        self.chain, (self.draws, self.weights), self.dt = chain, rule, chain.tau

    def outcomes(self, x: Points, t: float) -> Iterator[Outcome]:
        chain, size = self.chain, max(1, HELD // len(x))
        k = round((t - chain.optimizer.t0) / chain.tau)
        for z, weights in zip(self.draws.split(size), self.weights.split(size), strict=True):
            state = chain.layout.named(x.repeat(len(z), 1))
            ends = chain.layout.whole(chain.run(state, z.repeat_interleave(len(x), 0), k))
            yield ends.reshape(len(z), *x.shape), weights.unsqueeze(1)


class SignStep(Step):
    """Of a rule of signs: by the probabilities of the signs, since it jumps where a gradient is 0."""

    count = 1

    def __init__(self, chain: Chain) -> None:
        self.chain, self.dt = chain, chain.tau

    def outcomes(self, x: Points, t: float) -> Iterator[Outcome]:
        chain, dim = self.chain, self.chain.problem.dim
        theta, scale = x[:, :dim], chain.tau ** (chain.regime.step_power / 2)
        mean, covariance = sign_moments(chain.problem, theta, chain.tau ** (chain.regime.mean_power / 2))
        signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=dim)), dtype=torch.float64)
        chance = 0.5**dim * (1 + signs @ mean.T)
        if dim == 2:
            chance = chance + 0.25 * signs.prod(-1, keepdim=True) * (covariance[:, 0, 1] + mean.prod(-1))
        zero, state = torch.zeros_like(theta), chain.layout.named(x)
        seen = [Gradient(zero, zero, (scale * sign).expand_as(theta)) for sign in signs]
        yield torch.stack([chain.layout.whole(updated(chain.optimizer, state, each, chain.tau, t)) for each in seen]), chance


class Substep(Step):
    """Of an equation's scheme; `nodes` Gauss–Hermite nodes for each motion, of more than two motions a sparse rule."""

    def __init__(self, equation: Equation, substeps: int, nodes: int) -> None:
        self.count, self.dt, self.scheme, self.equation = substeps, equation.tau / substeps, scheme(equation), equation
        size = equation.problem.dim * len(equation.optimizer.fields)
        self.wide = equation.bilinear or (equation.motions > size and not equation.fades)  # a memory knows the very motions
        motions = size if self.wide else equation.motions
        if motions > 2:
            self.z, self.weights = rules.sparse(motions, nodes - 1)
        else:
            self.z, self.weights = rules.tensor([nodes] * motions) if motions else STILL

    def outcomes(self, x: Points, t: float) -> Iterator[Outcome]:
        size, driven = max(1, HELD // len(x)), Columns(self.equation, len(x)) if self.wide else self.equation
        for z, weights in zip(self.z.split(size), self.weights.split(size), strict=True):
            at, dW = x.repeat(len(z), 1), self.dt**0.5 * z.repeat_interleave(len(x), 0)
            rate, noise = self.scheme.step(driven, t, self.dt, at, dW, torch.zeros_like(dW))  # type: ignore[arg-type]
            yield (at + self.dt * rate + noise).reshape(len(z), *x.shape), weights.unsqueeze(1)


class JumpStep(Step):
    """Of an equation of jumps: Euler's, with one draw in a substep at most, `FINER` times as many substeps for each."""

    def __init__(self, equation: Equation, substeps: int) -> None:
        assert equation.jumps is not None
        self.equation, self.rates = equation, equation.jumps
        self.count = substeps * FINER * math.ceil(float(self.rates.sum()))
        self.dt = equation.tau / self.count

    def outcomes(self, x: Points, t: float) -> Iterator[Outcome]:
        flown, chances = x + self.dt * self.equation.drift(t, x), self.rates / self.count
        yield flown[None], (1 - chances.sum()).reshape(1, 1)
        size, units = max(1, HELD // len(x)), torch.eye(len(chances), dtype=x.dtype)
        for drawn, each in zip(units.split(size), chances.split(size), strict=True):
            jumps = self.equation.diffuse(t, x.repeat(len(drawn), 1), drawn.repeat_interleave(len(x), 0))
            yield flown + jumps.reshape(len(drawn), *x.shape), each.unsqueeze(1)


def substep(equation: Equation, substeps: int, nodes: int) -> Step:
    """One of so many in a step of the optimizer."""
    return Substep(equation, substeps, nodes) if equation.jumps is None else JumpStep(equation, substeps)


class Columns:
    """An equation with the same covariance of its noise, of as many motions as the state has numbers.

    Of the states that it is asked for, `once` are different, and the others their copies.
    """

    remembers = fades = False
    hidden = 0

    def __init__(self, equation: Equation, once: int) -> None:
        self.equation, self.once, self.motions = equation, once, equation.motions
        self._all = Generator(equation, lambda x: x)

    def drift(self, t: float, x: Points) -> Points:
        """The equation's."""
        return self.equation.drift(t, x)

    def diffuse(self, t: float, x: Points, dW: Float[Tensor, "points state"]) -> Points:
        """`L dW` with `L Lᵀ = G Gᵀ`."""
        columns = self._all.noise(t, x[: self.once]).repeat(1, len(x) // self.once, 1)
        return torch.einsum("cps,pc->ps", columns, dW[:, : len(columns)])
