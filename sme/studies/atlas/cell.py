"""A cell of the atlas: how noise and memory scale with the step size, and the limit that follows from the update rule."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.chain import Chain
from sme.equations.literature.averaged import Averaged
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer, State
from sme.optimizers.preconditioner import Preconditioner, preconditioner
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.optimizers.rmsprop import RMSProp
from sme.problems.base import Problem

NOISES = {"ballistic": BALLISTIC, "averaged noise": Regime("averaged_noise", 0.5, 1.5),
          "batch-equivalent": BATCH_EQUIVALENT, "pure diffusion": Regime("pure_diffusion", 2.0, 1.0)}
"""a regime for each size of the noise: below, between and at the two that have a balance of drift and noise, and beyond"""
MEMORIES = {"a few steps": 0.0, "slaved": 0.5, "dynamic": 1.0, "frozen": 2.0}
"""a memory exponent `q` of `1 − β = c τ^q` for each kind of memory"""
PROBED = (2.0**-10, 2.0**-12)
"""step sizes between which exponents are read off one step"""
NODES, WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(64))
TAIL, HELD, LENGTH, SEED = 1e-4, 2**22, 256, 0
"""of the long-run variance of what few steps remember: the share of a memory that is cut off, numbers of all runs, the fewest
steps of a run, and the seed"""


@dataclass(frozen=True)
class Cell:
    """One size of the noise and one kind of memory, for RMSProp or Adam with the previous denominator.

    Attributes
    ----------
    noise, memory
        keys of `NOISES` and `MEMORIES`.
    """

    noise: str
    memory: str

    @property
    def regime(self) -> Regime:
        """The scaling of gradient and step."""
        return NOISES[self.noise]

    @property
    def noisy(self) -> bool:
        """Whether the limit has noise."""
        return self.noise in ("batch-equivalent", "pure diffusion")

    @property
    def driven(self) -> bool:
        """Whether the limit sees the gradient."""
        return self.noise != "pure diffusion"

    def optimizer(self, optimizer: Optimizer) -> RMSProp | Adam:
        """The optimizer with this memory.

        Raises
        ------
        SMEError
            for another rule, or one whose denominator is updated or corrected.
        """
        if type(optimizer) not in (RMSProp, Adam):
            raise SMEError(f"the atlas is of RMSProp and Adam, got {optimizer.name}")
        assert isinstance(optimizer, RMSProp | Adam)
        if optimizer.denominator != "previous" or optimizer.eps_mode != "outside" or getattr(optimizer, "bias_correction", False):
            raise SMEError("the atlas is of the previous denominator, ε outside the root and no bias correction: give "
                           "denominator=previous, eps_mode=outside, bias_correction=false")
        return replace(optimizer, memory=MEMORIES[self.memory])

    def exponents(self, problem: Problem, optimizer: Optimizer, start: State) -> dict[str, float]:
        """The powers of `τ` in one step from `start`: `E Δx` and `Var Δx` of every field, by quadrature over the noise.

        A field with `E Δx ~ τ` is a variable of the limit; one with a smaller power is at its own equilibrium at every time,
        one with a larger power stays where it is. Noise of variance `~ τ` stays, of a larger power it vanishes.
        """
        moments = [self._moments(problem, self.optimizer(optimizer), start, tau) for tau in PROBED]
        ratio = math.log(PROBED[0] / PROBED[1])
        return {name: math.log(abs(value / moments[1][name])) / ratio if value and moments[1][name] else math.inf
                for name, value in moments[0].items()}

    def _moments(self, problem: Problem, optimizer: Optimizer, start: State, tau: float) -> dict[str, float]:
        chain, weights = Chain(problem, optimizer, self.regime, tau), WEIGHTS / WEIGHTS.sum()
        state = {name: field.expand(len(NODES), -1) for name, field in start.items()}
        new, _ = chain.step_at(state, NODES[:, None], 0.0)
        found = {}
        for name, field in new.items():
            change = (field - state[name])[:, 0]
            mean = float(weights @ change)
            found[f"E Δ{name}"], found[f"Var Δ{name}"] = mean, float(weights @ (change - mean).square())
        return found


class Limit:
    """The limiting dynamics of a cell, one coordinate at a time: `θ` alone, or with `m` and `v` where they are variables."""

    def __init__(self, cell: Cell, problem: Problem, optimizer: Optimizer, start: State) -> None:
        self.cell, self.problem = cell, problem
        self.optimizer = cell.optimizer(optimizer)
        self.start = start
        self.sigma = problem.noise.variance(start["theta"].unsqueeze(0))[0]
        if cell.memory == "a few steps":
            self._average()

    @property
    def momentum(self) -> bool:
        """Whether there is an `m`."""
        return isinstance(self.optimizer, Adam)

    def precondition(self, v: Tensor) -> Preconditioner:
        """`P(v)` and `P'(v)`."""
        return preconditioner(v, self.optimizer.eps, self.optimizer.v_floor)

    def _average(self) -> None:
        """What few steps remember, averaged: the slope of the mean step in `∇f` where the noise is all, its long-run spread."""
        self.averaged = Averaged(self.problem, self.optimizer, 1.0, 1, "none")
        a, b, c = self.averaged.pool
        at = self.precondition(self.sigma * c)
        self.slope = (at.value + 2 * self.sigma * a * b * at.slope).mean()
        self.spread = (self.sigma * self._long_run(*self.averaged.betas)).sqrt() if self.cell.noisy else None

    def _long_run(self, beta1: float, beta2: float) -> Tensor:
        """`Σ_l Cov(Y_0, Y_l)` of `Y = A P(σ C)`; without momentum `E P²`, as the steps are uncorrelated."""
        if beta1 == 0:
            return self.precondition(self.sigma * self.averaged.pool[2]).value.square().mean()
        lags, burn = (math.ceil(math.log(TAIL) / math.log(beta)) for beta in (beta1, max(beta1, beta2)))  # more are noise alone
        length = max(LENGTH, 4 * lags)
        generator, runs = torch.Generator().manual_seed(SEED), HELD // length
        a, c = torch.zeros(runs, dtype=torch.float64), torch.ones(runs, dtype=torch.float64)
        steps: tuple[list[Tensor], list[Tensor]] = ([], [])
        for k in range(burn + length):
            z = torch.randn(runs, generator=generator, dtype=torch.float64)
            a = beta1 * a + (1 - beta1) * z
            if k >= burn:
                for kept, each in zip(steps, (a * self.precondition(self.sigma * c).value, a), strict=True):
                    kept.append(each)
            c = beta2 * c + (1 - beta2) * z.square()
        y, one = ([(x[: length - lag] * x[lag:]).mean() for lag in range(lags + 1)] for x in map(torch.stack, steps))
        return (2 * torch.stack(y).sum() - y[0]) / (2 * torch.stack(one).sum() - one[0])  # that of A is known, 1, and goes along

    def step(self, state: State, dt: float, dW: Tensor) -> State:
        """A step of Euler's scheme."""
        theta, memory = state["theta"], self.cell.memory
        g = self.problem.gradient(theta)
        mean, noise = g if self.cell.driven else torch.zeros_like(g), self.sigma.sqrt() * dW if self.cell.noisy else 0.0 * dW
        if memory == "a few steps":
            mean = self.slope * mean if self.cell.noise != "ballistic" else -self.averaged.velocity(theta)
            return {**state, "theta": theta - mean * dt + (0.0 if self.spread is None else self.spread * dW)}
        square = self.sigma + (g * g if self.cell.noise == "ballistic" else 0.0)
        v = square if memory == "slaved" else state["v"]
        new, p = dict(state), self.precondition(v).value
        if memory == "dynamic":
            new["v"] = v + self._rate("v") * (square - v) * dt
        if not self.momentum or memory == "slaved":
            new["theta"] = theta - p * (mean * dt + noise)
            return new
        new["theta"] = theta - p * state["m"] * dt
        if memory == "dynamic":
            new["m"] = state["m"] + self._rate("m") * ((mean - state["m"]) * dt + noise)
        return new

    def _rate(self, field: str) -> float:
        rates = list(self.optimizer.rates().values())
        return rates[0] if field == "m" or not self.momentum else rates[1]

    def text(self) -> str:
        """The equations, as they are printed."""
        return equations(self.cell, self.momentum)


def equations(cell: Cell, momentum: bool) -> str:
    """The limiting equations of a cell as they are printed; `∇ = ∇f(θ)`, `σ = diag Σ`, `M` and `V` what few steps remember."""
    square, c = "∇f∘∇f + σ" if cell.noise == "ballistic" else "σ", "c₂" if momentum else "c"
    inner = " + ".join([*(["∇ dt"] if cell.driven else []), *(["S dW"] if cell.noisy else [])])
    if cell.memory == "a few steps":
        if cell.noise == "ballistic":
            return "θ̇ = −E[M P(V)]" if momentum else "θ̇ = −E[P(V)] ∇"
        slope = "(d/d∇) E[M P(V)]" if momentum else "E[P(V)]"
        drift = [f"−{slope} ∇ dt"] if cell.driven else []
        spread = "√(Σₗ Cov(M P, Mₗ Pₗ)) dW" if momentum else "√(σ E[P(V)²]) dW"
        return f"dθ = {' + '.join(drift + ([spread] if cell.noisy else []))}" if cell.noisy else f"θ̇ = −{slope} ∇"
    if momentum and cell.memory == "frozen":
        return "θ̇ = −P(v₀) m₀"
    p = {"slaved": f"P({square})", "dynamic": "P(v)", "frozen": "P(v₀)"}[cell.memory]
    follow = [f"v̇ = {c} ({square} − v)"] if cell.memory == "dynamic" else []
    if momentum and cell.memory == "dynamic":
        average = f"dm = c₁ ({inner} − m dt)" if cell.noisy else "ṁ = c₁ (∇ − m)"
        return "; ".join([f"θ̇ = −{p} m", average, *follow])
    bracket = f"({inner})" if " + " in inner else inner
    return "; ".join([f"dθ = −{p} {bracket}" if cell.noisy else f"θ̇ = −{p} ∇", *follow])
