"""Antithetic pairs of the discrete run and of its equations, on the same increments."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sme.controls import Controls
from sme.equations.base import Equation
from sme.optimizers.base import Optimizer, State
from sme.setup import Setup
from sme.simulate.increments import Increments, coarsen, together
from sme.simulate.schemes import scheme
from sme.simulate.torchsde_adapter import integrate

LEVELS = (1, 2, 4)
"""Substeps of the three levels, in units of the finest."""


class Ladder:
    """An equation on three levels of one path, extrapolated pairwise."""

    def __init__(self, equation: Equation, x: Float[Tensor, "paths state"], levels: Sequence[int] = LEVELS) -> None:
        self.equation, self.scheme, self.factors = equation, scheme(equation), levels
        self.levels = [x] * len(levels)

    def step(self, k: int, t: float, dW: Float[Tensor, "substeps paths motions"]) -> None:
        """Advance every level by one optimizer step."""
        self.levels = [integrate(self.equation, self.scheme, x, coarsen(dW, factor), k, t)
                       for x, factor in zip(self.levels, self.factors, strict=True)]

    def values(self, observe: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The extrapolated observables, and how far halving the substep moved them."""
        fine, middle, coarse = (observe(x) for x in self.levels)
        best = self.scheme.extrapolate(fine, middle)
        return best, best - self.scheme.extrapolate(middle, coarse)


class Ensemble(ABC):
    """`pairs` paths and their antithetic partners, at one step number.

    Attributes
    ----------
    state
        the discrete run's named fields, `(paths, d)`.
    ladders
        the equation under test, then the order-1 reference if it has noise of its own.
    controls
        the control variates so far.
    floored
        which paths saw the floor, at the start or the end of a step.
    """

    state: State
    floored: Bool[Tensor, " paths"]

    def __init__(self, setup: Setup, numbers: tuple[int, ...], pairs: int, offset: int = 0) -> None:
        self.setup, self.paths, self.done = setup, 2 * pairs, 0
        self.device = setup.start["theta"].device
        self.ladders = [Ladder(each, setup.whole(self.paths if each.motions else 1)) for each in setup.equations()]
        self.increments = Increments(numbers, pairs, self.ladders[0].scheme.substeps(setup.tau), setup.tau, self.device, offset)
        self.state = setup.fields(setup.whole(self.paths))
        self.controls = Controls(setup.weights, self.paths)
        self.floored = torch.zeros(self.paths, dtype=torch.bool, device=self.device)
        self.see(self.state)

    @abstractmethod
    def advance(self, to: int) -> None:
        """Go on to step number `to`."""

    def see(self, state: State) -> None:
        """Note the paths whose second moment is below the floor in any coordinate."""
        if has_floor(self.setup.optimizer):
            self.floored = self.floored | (state["v"] < self.setup.optimizer.v_floor).any(-1)

    def discrete(self, k: int, dW: Tensor | None) -> None:
        """Step `k` of the discrete run, on the equation's increment if the law pairs them."""
        setup = self.setup
        law, chain = setup.problem.noise, setup.chain
        z = law.draw(dW, setup.tau, self.increments.draws(k), self.paths)
        theta = self.state["theta"]
        self.state, noise = chain.step(self.state, z, k)
        if self.controls.weights is not None:
            self.controls.add(k, chain.centred(theta, noise), law.variance(theta))
        self.see(self.state)


class TorchEnsemble(Ensemble):
    """Step by step through PyTorch and torchsde."""

    def advance(self, to: int) -> None:
        setup, law = self.setup, self.setup.problem.noise
        equations = [ladder.equation for ladder in self.ladders]
        second = max(each.second for each in equations)
        for k in range(self.done, to):
            dW = self.increments.first(k, law.motions) if law.paired or any(each.motions for each in equations) else None
            dW2 = self.increments.second(k, second) if second else None
            self.discrete(k, coarsen(dW, len(dW))[0] if law.paired and dW is not None else None)
            for ladder in self.ladders:
                ladder.step(k, setup.chain.time(k), self._share(ladder.equation, dW, dW2))
            self.see(setup.fields(self.ladders[0].levels[0]))
        self.done = to

    def _share(self, each: Equation, dW: Tensor | None, dW2: Tensor | None) -> Tensor:
        if not each.motions or dW is None:
            return torch.zeros(self.increments.substeps, 1, 0, dtype=torch.float64)
        return together(dW, dW2) if each.second and dW2 is not None else dW


def has_floor(optimizer: Optimizer) -> bool:
    """Whether there is a floor under a second moment."""
    return optimizer.v_floor > 0 and "v" in optimizer.fields
