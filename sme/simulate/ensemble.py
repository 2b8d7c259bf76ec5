"""Antithetic pairs of the discrete run and of its equations, on the same increments."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import zip_longest

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sme.common.random.increments import Increments, coarsen, held, together
from sme.common.random.jumps import counts
from sme.equations.base import Equation, join
from sme.optimizers.base import Optimizer, State
from sme.simulate.control_variates.controls import Controls, Following, Valuing
from sme.simulate.control_variates.values import Watch
from sme.simulate.integrators.recorded import Recorded
from sme.simulate.integrators.schemes import Sampling, scheme
from sme.simulate.integrators.torchsde import integrate
from sme.simulate.setup import Setup

LEVELS = (1, 2, 4)
"""Substeps of the three levels, in units of the finest."""

DIVERGED = 1e50
"""a value beyond this, or infinite, is no value: its square would not be a number"""
FAR = DIVERGED**0.5
"""a pair with a state beyond this, or not finite, is diverged"""


class ExtrapolatedPath:
    """An equation on three levels of one path, extrapolated pairwise; each level is a state and what the equation hides."""

    def __init__(self, equation: Equation, x: Float[Tensor, "paths state"], levels: Sequence[int] = LEVELS) -> None:
        self.equation, self.scheme, self.factors = equation, scheme(equation), levels
        self.recorded = Recorded(equation, self.scheme)
        self.levels = [self.system(x)] * len(levels)

    def step(self, k: int, t: float, dW: Float[Tensor, "substeps paths motions"], watch: Sequence[Watch] = ()) -> None:
        """Advance every level by one optimizer step; the first ones, the finest first, are seen by what `watch` has."""
        each = list(zip_longest(self.levels, self.factors, watch))
        if isinstance(self.scheme, Sampling):
            self.levels = [self.scheme.integrate(self.equation, x, dW, factor, t, see) for x, factor, see in each]
        else:
            self.levels = [integrate(self.equation, self.recorded, x, coarsen(dW, factor), k, t, see) for x, factor, see in each]

    def values(self, observe: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The extrapolated observables, and how far halving the substep moved them before its last stage."""
        return self.scheme.extrapolate(*(observe(x) for x in self.states))

    @property
    def states(self) -> list[Tensor]:
        """The levels without what is hidden."""
        hidden = self.equation.hidden
        return [x[:, : x.shape[1] - hidden] for x in self.levels] if hidden else self.levels

    def system(self, x: Float[Tensor, "paths state"]) -> Tensor:
        """A state with nothing in the past."""
        return torch.nn.functional.pad(x.T, (0, 0, 0, self.equation.hidden)).T if self.equation.hidden else x


class Ensemble(ABC):
    """`pairs` paths and their antithetic partners, at one step number.

    Attributes
    ----------
    state
        the discrete run's named fields, `(paths, d)`.
    ladders
        the equation under test, then the order-1 reference if it has noise of its own.
    controls, carry
        the control variates, if there are any, and what they are so far.
    parts
        of each level, its parts in the sums of those control variates that follow every level.
    floored
        which paths saw the floor, at the start or the end of a step.
    """

    state: State
    floored: Bool[Tensor, " paths"]

    def __init__(self, setup: Setup, numbers: tuple[int, ...], pairs: int, offset: int = 0, levels: Sequence[int] = LEVELS
                 ) -> None:
        self.setup, self.paths, self.done = setup, 2 * pairs, 0
        self.device = setup.start["theta"].device
        self.ladders = [ExtrapolatedPath(each, setup.whole(self.paths if each.motions else 1), levels)
                        for each in setup.equations()]
        self.parts = self.ladders[0].scheme.parts(len(levels))
        self.increments = Increments(numbers, pairs, setup.substeps(self.ladders[0].scheme), setup.tau, self.device, offset)
        self.state = setup.fields(setup.whole(self.paths))
        self.controls = Controls(setup.weights, self.ladders[0].equation) if setup.weights is not None else None
        self.carry = self._zeros(self.controls.carried if self.controls else 0)
        self.floored = torch.zeros(self.paths, dtype=torch.bool, device=self.device)
        self.see(self.state)

    @abstractmethod
    def advance(self, to: int) -> None:
        """Go on to step number `to`."""

    def sound(self) -> Bool[Tensor, " paths"]:
        """Which paths have states within `FAR`, of the discrete run and of the equations, on all levels."""
        states = [*self.state.values(), *(level for ladder in self.ladders for level in ladder.levels)]
        each = [(state.abs() < FAR).all(-1).expand(self.paths) for state in states]  # NaN is not
        return torch.stack(each).all(0)

    def _zeros(self, count: int) -> Float[Tensor, "paths count"]:
        return torch.zeros(self.paths, count, dtype=torch.float64, device=self.device)

    def see(self, state: State) -> None:
        """Note the paths whose second moment is below the floor in any coordinate."""
        if has_floor(self.setup.optimizer):
            self.floored = self.floored | (state["v"] < self.setup.optimizer.v_floor).any(-1)

    def discrete(self, k: int, dW: Tensor | None) -> None:
        """Step `k` of the discrete run, on the equation's increment if the law pairs them."""
        setup = self.setup
        law, chain, before = setup.problem.noise, setup.chain, self.state
        z = law.draw(dW, setup.tau, self.increments.draws(k), self.paths)
        if self.controls is None:
            self.state = chain.run(before, z, k)
        else:
            self.state, noise = chain.step(before, z, k)
            theta, x = before["theta"], join(*(before[name] for name in setup.optimizer.fields))
            centred = chain.centred(theta, noise)
            variance = (law.spread if setup.optimizer.signed else law.variance)(theta)
            self.carry = self.controls.chain(self.carry, self.controls.shared[k], x, centred, variance)
        self.see(self.state)


class DiscreteEnsemble(Ensemble):
    """The discrete run alone, of a law that draws without the equation's increments."""

    def advance(self, to: int) -> None:
        for k in range(self.done, to):
            self.discrete(k, None)
        self.done = to


class TorchEnsemble(Ensemble):
    """Step by step through PyTorch and torchsde."""

    epoch: tuple[int, Tensor] = (-1, torch.zeros(()))
    """the number of the last epoch, and of every motion the mean of its increments over it, or the substep of its arrival"""

    def advance(self, to: int) -> None:
        setup, law = self.setup, self.setup.problem.noise
        equations = [ladder.equation for ladder in self.ladders]
        second = max(each.second for each in equations)
        for k in range(self.done, to):
            shared = law.paired or law.coupled
            dW = self.increments.first(k, law.motions) if shared or any(each.motions for each in equations) else None
            dW2 = held(self.increments.second(k, second), law.signs, self.ladders[0].factors[-1]) if second else None
            self.discrete(k, coarsen(dW, len(dW))[0] if shared and dW is not None else None)
            mine, *others = (self._share(k, each, dW, dW2) for each in equations)
            within = self._within(k, len(mine))
            self.ladders[0].step(k, setup.chain.time(k), mine, within.watch if within else ())
            for ladder, theirs in zip(self.ladders[1:], others, strict=True):
                ladder.step(k, setup.chain.time(k), theirs)
            if within is not None:
                self.carry = within.step(self.carry)
            self.see(setup.fields(self.ladders[0].states[0]))
        self.done = to

    def _within(self, k: int, substeps: int) -> Following | Valuing | None:
        """The control variates of the equation's step `k`, if there are any."""
        controls, ladder = self.controls, self.ladders[0]
        if controls is None:
            return None
        if controls.kicks:
            counts = [substeps // factor for factor in ladder.factors]
            return Valuing(controls, ladder.equation, controls.shared[k], counts, self.parts, self.paths)
        if not controls.followed:
            return None
        return Following(controls, controls.shared[k], self.setup.tau, substeps, ladder.states[0], self._zeros(controls.followed))

    def _share(self, k: int, each: Equation, dW: Tensor | None, dW2: Tensor | None) -> Tensor:
        if not each.motions or dW is None:
            return torch.zeros(self.increments.substeps, 1, 0, dtype=torch.float64, device=self.device)
        if each.epoch and each.jumps is not None:
            return self.arrivals(k, each)
        if each.epoch:
            dW = dW - self.bridge(k, each)
        if each.jumps is not None:
            return counts(dW, each.jumps, self.setup.tau)
        return together(dW, dW2[..., : each.second]) if each.second and dW2 is not None else dW


    def bridge(self, k: int, each: Equation) -> Float[Tensor, "paths motions"]:
        """The mean of the first motions' increments over the epoch of step `k`, past the horizon too."""
        number, steps = k // each.epoch, range(each.epoch)
        if self.epoch[0] != number:
            motions = each.law.motions
            total = sum(self.increments.first(number * each.epoch + i, motions).sum(0) for i in steps)
            self.epoch = number, torch.as_tensor(total) / (each.epoch * self.increments.substeps)
        return self.epoch[1]


    def arrivals(self, k: int, each: Equation) -> Float[Tensor, "substeps paths motions"]:
        """Which examples come in which substep of step `k`, each once in its epoch: at `Φ` of its first normal there."""
        number, r = k // each.epoch, self.increments.substeps
        if self.epoch[0] != number:
            first = self.increments.first(number * each.epoch, each.law.motions)[0]
            share = torch.special.ndtr(first / math.sqrt(self.setup.tau / r))
            self.epoch = number, (share * each.epoch * r).floor().clamp(max=each.epoch * r - 1)
        places = torch.arange(r, device=self.device) + (k - number * each.epoch) * r
        return (self.epoch[1] == places[:, None, None]).to(torch.float64)


def has_floor(optimizer: Optimizer) -> bool:
    """Whether there is a floor under a second moment."""
    return optimizer.v_floor > 0 and "v" in optimizer.fields
