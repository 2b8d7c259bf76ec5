"""One loss or rule for each way in which a run meets a corner, with the order that the theory gives it, and its constant."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.func import grad

from sme.equations.base import Equation
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.sgd import SGD
from sme.optimizers.signum import Signum
from sme.problems.base import Problem
from sme.problems.noise.gaussian import GaussianNoise
from sme.studies.kinks import constants, exact, signs

SIZE = 0.5
"""of the gradient noise, if none is given"""
FINE = 1e-9
"""how close to a corner its sides are looked at"""


@dataclass(frozen=True)
class Case(ABC):
    """What is run, what it meets there, and the order `p` that its equation of order 2 has left there."""

    title: str
    meets: str
    order: float
    start: float
    horizon: float = 1.0

    @abstractmethod
    def errors(self, tau: float, size: float) -> tuple[float, float]:
        """Discrete run less equation of order 1 and of order 2, at the horizon, with noise of this size."""

    def constant(self, size: float) -> float:
        """The limit of the latter over `τ^p`, derived; NaN where that has not been done."""
        return math.nan

    @property
    def seen(self) -> str:
        """The observable."""
        return "θ"


@dataclass(frozen=True)
class Line(Case):
    """SGD on a loss of one parameter."""

    loss: Callable[[Tensor], Tensor] = field(kw_only=True)
    corners: tuple[float, ...] = field(kw_only=True)
    ends: tuple[float, float] = field(kw_only=True)
    """beyond which the run does not come"""

    def problem(self, size: float) -> Problem:
        """The loss with Gaussian noise of this size."""
        return Problem(lambda theta: self.loss(theta[0]), 1, GaussianNoise(torch.tensor([[size]], dtype=torch.float64)))

    def mean(self, found: exact.Law) -> float:
        """`E θ`."""
        return float(found[0] @ found[1])

    def errors(self, tau: float, size: float) -> tuple[float, float]:
        problem = self.problem(size)
        run = self.mean(exact.chain(problem, size, tau, self.horizon, self.start, self.corners, self.ends))
        first, second = (run - self.mean(exact.law(_equation(problem, SGD(), tau, order), self.horizon, self.start, self.corners,
                                                   self.ends)) for order in (1, 2))
        return first, second

    def velocity(self, theta: float) -> float:
        """`−f'(θ)`."""
        at = torch.tensor([theta], dtype=torch.float64)
        return -float(grad(lambda x: self.loss(x[0]))(at))


@dataclass(frozen=True)
class Jump(Line):
    """A run that crosses jumps of its drift, one after the other."""

    def constant(self, size: float) -> float:
        """`b(x_T) Σ C/b₊` over the corners on its way, as who is ahead by `C` behind one is by `C b(x_T)/b₊` in the end."""
        way = np.sign(self.velocity(self.start))
        last = solve_ivp(lambda t, x: [self.velocity(float(x[0]))], (0, self.horizon), [self.start], rtol=1e-7,
                         max_step=self.horizon / 32).y[0, -1]
        ahead = 0.0
        for corner in self.corners:
            if way * self.start < way * corner < way * last:
                before, after = (way * self.velocity(corner + side * way * FINE) for side in (-1, 1))
                ahead += constants.crossed(before, after, size) / after
        return float(self.velocity(last) * ahead)


@dataclass(frozen=True)
class Slide(Line):
    """A run that rests on a jump of its drift."""

    def mean(self, found: exact.Law) -> float:
        return float(np.abs(found[0]) @ found[1])

    def constant(self, size: float) -> float:
        return constants.rest(abs(self.velocity(self.corners[0] + FINE)))

    @property
    def seen(self) -> str:
        return "|θ|"


@dataclass(frozen=True)
class Rest(Line):
    """A run that begins and rests in a kink of its drift at 0."""

    def constant(self, size: float) -> float:
        below, above = (self.velocity(side * 1.0) * side for side in (-1, 1))
        return constants.kink(below, above, size, self.horizon)


@dataclass(frozen=True)
class Signs(Case):
    """Signum on a linear loss: `m` crosses 0, or rests there."""

    slope: float = field(kw_only=True)
    c: float = field(kw_only=True)

    def errors(self, tau: float, size: float) -> tuple[float, float]:
        problem = Problem(lambda theta: self.slope * theta[0], 1, GaussianNoise(torch.tensor([[size]], dtype=torch.float64)))
        run = signs.chain(self.c, self.slope, size, self.start, tau, self.horizon)
        first, second = (run - signs.equation(_equation(problem, Signum(c=self.c), tau, order), self.start, self.horizon)
                         for order in (1, 2))
        return first, second

    def constant(self, size: float) -> float:
        """1 where `m` comes from above and is long at rest: half from the sum over ends of steps, half from the variance."""
        return 1.0 if self.slope == 0 else math.nan


def _equation(problem: Problem, optimizer: SGD | Signum, tau: float, order: int) -> Equation:
    return equation(problem, optimizer, BALLISTIC, tau, order)


INPUTS, LEVELS, BIASES = (1.0, 2.0, -1.0), (1.5, 1.0, 0.5), (-0.6, 0.9)
"""data of the network, and the biases of its two units"""


def network(theta: Tensor) -> Tensor:
    """Half the mean squared error of `Σ_j relu(θ x + β_j)`: two units that share their weight."""
    (one, other), total = BIASES, torch.zeros_like(theta)
    for x, y in zip(INPUTS, LEVELS, strict=True):
        total = total + 0.5 * (torch.relu(theta * x + one) + torch.relu(theta * x + other) - y) ** 2
    return total / len(INPUTS)


CASES: dict[str, Case] = {
    "smooth": Line("log cosh", "no corner", 2, 0.8, loss=lambda x: torch.log(torch.cosh(2 * x)) / 4 + 0.5 * x**2, corners=(),
                   ends=(-1, 2)),
    "passed_abs": Jump("|θ| + 3θ/2", "a jump, crossed", 1, 1.0, loss=lambda x: x.abs() + 1.5 * x, corners=(0.0,), ends=(-2, 2)),
    "hinge": Jump("two hinges", "a jump, crossed", 1, 0.0, corners=(0.5, 2.0), ends=(-1, 3),
                  loss=lambda x: 0.5 * (torch.relu(1 - 2 * x) + torch.relu(1 - 0.5 * x))),
    "relu_network": Jump("ReLU network", "three jumps, crossed", 1, -1.2, loss=network, corners=(-0.9, -0.6, -0.45, 0.3, 0.6),
                         ends=(-1.8, 0.8)),
    "resting_abs": Slide("|θ|", "a jump, at rest", 1, 0.6, 2.0, loss=torch.abs, corners=(0.0,), ends=(-1, 2)),
    "huber": Line("Huber's loss", "a kink, crossed", 2, 1.2, 2.0, corners=(-0.5, 0.5), ends=(-1.5, 2.5),
                  loss=lambda x: torch.where(x.abs() < 0.5, 0.5 * x**2, 0.5 * x.abs() - 0.125)),
    "leaky_square": Rest("leaky relu²", "a kink, at rest", 1.5, 0.0, 2.0, corners=(0.0,), ends=(-1.5, 1.5),
                         loss=lambda x: 0.5 * torch.relu(x) ** 2 + 0.15 * torch.relu(-x) ** 2),
    "signum": Signs("Signum, linear loss", "a jump, crossed; shifted", 2, 0.5, slope=-1.0, c=1.0),
    "resting_signum": Signs("Signum, flat loss", "a jump, at rest", 1, 0.2, 4.0, slope=0.0, c=3.0),
}
"""by name"""
