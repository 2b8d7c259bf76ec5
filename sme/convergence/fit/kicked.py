"""Chains of the leading diffusion that carry the kicks of an obstruction, on two levels of one path."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.library import NoCompilerError, load
from sme.common.random.increments import Increments, coarsen
from sme.common.storage.records import Records, text, words
from sme.equations.base import Equation, Maker, X
from sme.equations.registry import equation
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import Regime
from sme.problems.base import Problem
from sme.simulate.codegen.ensemble import PROBED, call, same_numbers
from sme.simulate.codegen.interpreter import NotLoweredError
from sme.simulate.codegen.program import source
from sme.simulate.integrators.schemes import Scheme
from sme.simulate.setup import Setup

POWERS = 4
"""of time, that weigh the kicks in the sums"""
LEVELS = (1, 2)
"""substeps of the two levels, in units of the finer"""
System = Float[Tensor, "levels paths system"]


class Kicked(Equation):
    """The leading diffusion `b dt + G₀ dW`, which hides of each path the sign of its kicks, and sums of them."""

    small_noise = False

    def __init__(self, problem: Problem, optimizer: Optimizer, regime: Regime, tau: float, end: float) -> None:
        super().__init__(problem, optimizer, tau, 1, "independent")
        self.lead = equation(problem, optimizer, regime, tau, 1, "independent")
        self.past = equation(problem, optimizer, regime, tau, 2, "step_memory")
        self.size, self.end = problem.dim * len(optimizer.fields), end
        self.first, self.second = self.lead.first, 0

    @property
    def hidden(self) -> int:
        return 1 + POWERS * self.size

    def drift(self, t: float, x: X) -> X:
        return self.lead.drift(t, x)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return self.lead.diffuse(t, x, dW)

    def kick(self, t: float, x: X, dW: Tensor, dt: float) -> X:
        """`½ (R[dW, dW] − dt tr R)`, of mean 0."""
        return 0.5 * (self.past.memory(t, x, dW, dW) - dt * self.past.memory_trace(t, x))


@dataclasses.dataclass(frozen=True)
class Kicks(Maker):
    """What makes `Kicked` up to the time `end` after the start."""

    regime: Regime
    end: float
    exponent = 1.0

    def parts(self, problem: Problem) -> tuple[str, ...]:
        return ()

    def __call__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> Kicked:
        return Kicked(problem, optimizer, self.regime, tau, self.end)


class KickedEuler(Scheme):
    """`x + dt b + G₀ dW ± kick`; the kick, times powers of the share of the time that is gone, is added to the sums."""

    powers = (1, 2)
    fewest = 2
    finest = 1.0

    def step(self, equation: Equation, t: float, dt: float, z: Tensor, dW: Tensor, since: Tensor) -> tuple[Tensor, Tensor]:
        x, sign, sums = z.T.split((equation.size, 1, POWERS * equation.size))  # type: ignore[attr-defined]
        rate, noise = self.rates(equation, t, dt, x.T, dW, since)
        kick, share = equation.kick(t, x.T, dW, dt).T, (t - equation.optimizer.t0) / equation.end  # type: ignore[attr-defined]
        weighed = [kick]
        for _ in range(POWERS - 1):
            weighed.append(share * weighed[-1])
        none = torch.zeros_like(sign)
        return torch.cat((rate.T, none, torch.zeros_like(sums))).T, torch.cat((noise.T + sign * kick, none, *weighed)).T

    def rates(self, equation: Equation, t: float, dt: float, x: Tensor, dW: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return equation.drift(t, x), equation.diffuse(t, x, dW)


def kicked(setup: Setup, end: float) -> Setup:
    """The setup of these chains."""
    return dataclasses.replace(setup, order=1, brownian="independent", weights=None, source="", kind=Kicks(setup.regime, end))


def compiled(setup: Setup, records: Records) -> Setup:
    """With the source of its run, if it has one that takes the first steps as PyTorch does."""
    def made() -> dict[str, np.ndarray]:
        try:
            found = source(setup, KickedEuler(), levels=len(LEVELS), discrete=False)
            load(found)
            return {"source": text(found if _agrees(setup, found) else "")}
        except (NotLoweredError, NoCompilerError):
            return {"source": text("")}

    with torch.no_grad():
        return dataclasses.replace(setup, source=words(records.get("source of the kicks", made)["source"]))


def _agrees(setup: Setup, found: str) -> bool:
    pairs = Increments((0, 0), PROBED, LEVELS[-1], 2.0**-5, setup.start["theta"].device)
    x = begin(setup, 2 * PROBED, 1.0)
    return all(map(same_numbers, *(run(dataclasses.replace(setup, source=each), pairs, 0, 2, x) for each in (found, ""))))


def begin(setup: Setup, paths: int, sign: float) -> System:
    """All levels at the start, with kicks of this sign."""
    start = torch.cat((setup.whole(1)[0], torch.zeros(setup.equation().hidden, dtype=torch.float64, device=setup.device)))
    start[-setup.equation().hidden] = sign
    return start.expand(len(LEVELS), paths, -1)


def run(setup: Setup, increments: Increments, first: int, last: int, x: System) -> System:
    """The levels after the steps from number `first` to `last`, by compiled code where the setup has a source."""
    if not setup.source:
        return _by_torch(setup.equation(), increments, range(first, last), x)
    rows, paths = x.mT.clone(memory_format=torch.contiguous_format).unsqueeze(0), x.shape[1]
    state = torch.zeros(setup.whole(1).shape[1], paths, dtype=torch.float64)
    none, floored = state[:0], torch.zeros(paths, dtype=torch.uint8)
    call(setup.source, increments, first, last, setup.optimizer.t0, (rows, state, none, floored, none[:, :0]))
    return rows[0].mT


def _by_torch(equation: Equation, increments: Increments, steps: Sequence[int], x: System) -> System:
    levels = list(x)
    step = functools.partial(KickedEuler().step, equation)
    for k in steps:
        dW, t = increments.first(k, equation.first), equation.optimizer.t0 + k * increments.tau
        for number, factor in enumerate(LEVELS):
            parts = coarsen(dW, factor)
            dt = increments.tau / len(parts)
            for i, part in enumerate(parts):
                rate, noise = step(t + i * dt, dt, levels[number], part, part)
                levels[number] = levels[number] + dt * rate + noise
    return torch.stack(levels)
