"""What the same weak error costs in the usual way.

Discrete run and equation on noises of their own, the equation by torchsde with the Brownian object that it makes by
default, Euler with `dt = τ²`, so that the integrator's bias is of the order of the error.
"""

import dataclasses
import math

import numpy as np
import torch
from rivals.item import STEPS, TAU
from rivals.torch_loops import chain, interval

from sme.common.random.increments import Increments
from sme.simulate.codegen import ensemble, program
from sme.simulate.integrators.schemes import Euler
from sme.simulate.setup import Setup

SUBSTEPS = round(1 / TAU**2)
"""from 0 to 1"""


@dataclasses.dataclass(frozen=True)
class Usual:
    """What it takes, an entry an observable."""

    sde_rate: float
    """million path-substeps a second, by torchsde"""
    chain_rate: float
    """million path-steps a second of the discrete run"""
    variance: np.ndarray
    """of one discrete path and one of the equation together"""
    bias: np.ndarray
    """of Euler with `dt = τ²`, and its standard error"""
    bias_error: np.ndarray

    def paths(self, error: np.ndarray, share: float) -> np.ndarray:
        """How many of each for a standard error of this share of the error."""
        return self.variance / (share * error) ** 2

    def seconds(self, paths: np.ndarray) -> np.ndarray:
        """On one core."""
        return paths * (SUBSTEPS / self.sde_rate + STEPS / self.chain_rate) / 1e6


def variance(setup: Setup, paths: int) -> np.ndarray:
    """`Var φ(X) + Var φ(Y)` over independent paths."""
    ends = (chain(paths, STEPS, 1), interval(paths, SUBSTEPS, 2))
    return sum(setup.observe(setup.fields(torch.from_numpy(end.copy()))).var(0).numpy() for end in ends)


def bias(setup: Setup, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """`E φ(Euler with dt = τ²) − E φ(Y)`, `Y` extrapolated from finer substeps of the same paths, and its standard error."""
    levels, each = 3, SUBSTEPS // STEPS * 4
    setup = dataclasses.replace(setup, weights=None)
    source = program.source(setup, Euler(), levels=levels, discrete=False)
    x = setup.whole(2 * pairs).T.expand(1, levels, -1, -1).contiguous()
    increments = Increments((7,), pairs, each, setup.tau, x.device)
    state, floored = torch.zeros_like(x[0, 0]), torch.zeros(2 * pairs, dtype=torch.uint8)
    ensemble.call(source, increments, 0, setup.steps, setup.optimizer.t0, (x, state, state[:0], floored, state[:0]))
    seen = [setup.observe(setup.fields(level.T)) for level in x[0]]
    moved = seen[-1] - Euler().extrapolate(*seen)[0]
    moved = 0.5 * (moved[:pairs] + moved[pairs:])
    return moved.mean(0).numpy(), moved.std(0).numpy() / math.sqrt(pairs)
