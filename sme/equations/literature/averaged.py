"""Fixed decays: the memory is slaved to θ, which follows an averaged field."""

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import ndtri
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import Equation, X, join
from sme.equations.literature import ode
from sme.equations.literature.model import Kind, Model
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer
from sme.optimizers.decay import DecoupledDecay
from sme.optimizers.preconditioner import above, floor, places
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.rmspropw import RMSPropW
from sme.problems.base import Problem
from sme.problems.noise.base import Paths
from sme.problems.noise.gaussian import GaussianNoise

POINTS = 14
"""2 to this are the points of the quadrature, each with its antithetic partner: the field to a few 1e-5"""
RULES = (RMSProp, RMSPropW, Adam, AdamW)
CUT = 1e-9
"""of the variance of the average of squares, in units of `Σ²`, at which its memory is cut off"""
LONGEST = 8192
"""remembered steps beyond which a memory is too long to average over"""
CHUNK = 2**22
"""normals drawn at once"""


class SlavedMemory(Equation):
    """An ODE of `θ` alone, for `RMSProp`, `Adam` and their W with fixed `β` (`memory = 0`), ballistic.

    After some `1/(1 − β)` steps, which are no time as `τ → 0`, `m` and `v` are functions of `θ` and of the last few
    gradients, so that no observable may read them. Their fields stay at the start.
    """

    small_noise = True
    exponent = 0.0
    optimizer: RMSProp | Adam

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        if type(optimizer) not in RULES:
            raise SMEError(f"{type(self).__name__.lower()} models RMSProp, Adam and their W, not {optimizer.name}")
        super().__init__(problem, optimizer, tau, order, "none")

    @abstractmethod
    def velocity(self, theta: Paths) -> Paths:
        """`θ̇`."""

    def drift(self, t: float, x: X) -> X:
        theta, *slaved = self.split(x)
        return join(self.velocity(theta), *map(torch.zeros_like, slaved))

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return torch.zeros_like(x)

    @property
    def betas(self) -> tuple[float, float]:
        """`β₁`, 0 for RMSProp, and `β₂`."""
        decays = [1 - c for c in self.optimizer.rates().values()]
        return (0.0, decays[0]) if isinstance(self.optimizer, RMSProp) else (decays[0], decays[1])

    @property
    def late(self) -> int:
        """How many steps `v` lags behind `m` in the update: 1 for the previous denominator."""
        return int(self.optimizer.denominator == "previous")

    @property
    def decay(self) -> float:
        """`λ` of the weight decay."""
        return self.optimizer.decay if isinstance(self.optimizer, DecoupledDecay) else 0.0

    @property
    def places(self) -> tuple[float, float, float]:
        """What is added to the average of squares, under the root and to the root."""
        outside, inside = places(self.optimizer.eps, self.optimizer.eps_mode)
        return self.optimizer.eps if self.optimizer.eps_mode == "average" else 0.0, float(inside or 0.0), float(outside)


class Averaged(SlavedMemory):
    """The averaged field. With `G_k = ∇f(θ) + S z_k`, `z_k` independent standard normals:

        θ̇ = −E[(1 − β₁) Σ_k β₁ᵏ G_k ∘ P((1 − β₂) Σ_k β₂ᵏ G_k∘G_k)] − λ θ

    where the previous denominator has `G_{k+1}∘G_{k+1}` under the root. Of order 1, from any start of `m` and `v`, with
    or without bias correction, which is gone after a few steps. With `A = (1 − β₁) Σ β₁ᵏ z_k`, `B = (1 − β₂) Σ β₂ᵏ z_k` and
    `C = (1 − β₂) Σ β₂ᵏ z_k²` it is, coordinate by coordinate, `E[(g + √σ A) P(g² + 2 g √σ B + σ C)]`, `σ = diag Σ`: a sum over
    a pool of `(A, B, C)` that is made once. Without noise it is `∇f∘P(∇f∘∇f)`, exactly.

    Raises
    ------
    SMEError
        unless the noise is Gaussian, the order 1, and no memory is beyond `LONGEST` steps.
    """

    shared = True

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        if order != 1:
            raise SMEError("the averaged field is a model of order 1: use order=1, or without noise 'backward'")
        if not isinstance(problem.noise, GaussianNoise):
            raise SMEError("the averaged field is known for Gaussian noise alone, whose variances say all: use sme.GaussianNoise")
        self.pool = _pool(*self.betas, self.late)

    def velocity(self, theta: Paths) -> Paths:
        a, b, c = self.pool.to(theta.device)
        g, sigma = self.problem.gradient(theta).unsqueeze(-1), self.law.variance(theta).unsqueeze(-1)
        deviation = sigma.sqrt()
        averaged, inside, outside = self.places
        v = (g * g + averaged + 2 * g * deviation * b + sigma * c).clamp(min=0)  # below by rounding alone
        level = self.optimizer.v_floor
        root = ((v if above(v, level) else floor(v, level)) + inside).sqrt() + outside
        return -((g + deviation * a) / root).mean(-1) - self.decay * theta


@functools.lru_cache(maxsize=8)
def _pool(beta1: float, beta2: float, late: int) -> Float[Tensor, "3 points"]:
    """Scrambled Sobol points of `(A, B, C)`, and `(−A, −B, C)`; what is older than the cut has its mean, 0 or 1.

    Raises
    ------
    SMEError
        for memories too long.
    """
    from scipy.stats import qmc  # takes a second, and few ask for it

    longest = max(beta1, beta2)
    steps = late + max(1, math.ceil(0.5 * math.log(CUT / (1 - longest)) / math.log(longest))) if longest > 0 else late + 1
    if steps > LONGEST:
        raise SMEError(f"β = {longest:g} remembers {steps} steps, more than the {LONGEST} that are averaged over: it is "
                       "a variable of its own, use memory=1 and its equation")
    ages = np.arange(steps)
    first = (1 - beta1) * beta1**ages
    second = np.where(ages < late, 0.0, (1 - beta2) * beta2 ** (ages - late + 0.0))
    sobol, parts, left = qmc.Sobol(steps, seed=0), [], 2**POINTS
    while left:
        count = min(left, 2 ** int(math.log2(max(1, CHUNK // steps))))
        z = ndtri(sobol.random(count) + 2.0**-31)  # a point may lie on the edge, at 0 of 30 bits
        parts.append(np.stack((z @ first, z @ second, (z * z) @ second + 1 - second.sum())))
        left -= count
    a, b, c = torch.from_numpy(np.concatenate(parts, 1))
    return torch.stack([torch.cat((a, -a)), torch.cat((b, -b)), torch.cat((c, c))])


def fixed(equation: type[Equation]) -> Callable[[Optimizer, Regime], Kind]:
    """Of the rules whose memory is slaved when their decays are fixed, in the ballistic regime."""
    return partial(_slaved, equation)


def _slaved(equation: type[Equation], optimizer: Optimizer, regime: Regime) -> Kind:
    return equation if type(optimizer) in RULES and regime == BALLISTIC else None


MODEL = Model("averaged", fixed(Averaged), "RMSProp, Adam and their W, ballistic with memory=0", ode.claim, brownian=("none",),
              fields=("theta",), memory=0.0)
