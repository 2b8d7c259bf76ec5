"""torch and torchsde on the project's own equation object, one call for each substep."""

import math

import numpy as np
import torch
from torch import Tensor
from torchsde import BrownianInterval, sdeint

from rivals.item import HORIZON, OPTIMIZER, PROBLEM, START, STEPS, TAU, Advance, model
from sme.common.random.increments import Increments, together
from sme.convergence.estimator.paired import BLOCK_PAIRS
from sme.equations.base import Equation, join
from sme.equations.chain import Chain
from sme.optimizers.regimes import BALLISTIC
from sme.simulate.integrators.schemes import Euler
from sme.simulate.integrators.torchsde import integrate

START_ROW = torch.tensor(START, dtype=torch.float64)


def _start(paths: int) -> Tensor:
    return join(*START_ROW.expand(paths, 4).split(2, 1))


class _Plain:
    noise_type, sde_type = "general", "ito"

    def __init__(self, equation: Equation) -> None:
        self.equation = equation

    def f_and_g_prod(self, t: Tensor, x: Tensor, dW: Tensor) -> tuple[Tensor, Tensor]:
        return self.equation.drift(float(t), x), self.equation.diffuse(float(t), x, dW)


@torch.no_grad()
def interval(paths: int, substeps: int, seed: int) -> np.ndarray:
    """torchsde with the Brownian object that it makes when none is given; its seed alone is set."""
    sde, ends = _Plain(model()), torch.tensor([0.0, HORIZON], dtype=torch.float64)
    motion = BrownianInterval(0.0, HORIZON, size=(paths, sde.equation.motions), dtype=torch.float64, entropy=seed)
    return sdeint(sde, _start(paths), ends, bm=motion, dt=HORIZON / substeps, method="euler")[-1].numpy()


@torch.no_grad()
def given(paths: int, substeps: int, seed: int) -> np.ndarray:
    """torchsde on the project's increments, antithetic, one call for each step of the optimizer."""
    equation, x = model(), _start(paths)
    increments = Increments((seed,), paths // 2, substeps // STEPS, TAU, x.device)
    for k in range(STEPS):
        dW = together(increments.first(k, equation.first), increments.second(k, equation.second))
        x = integrate(equation, Euler(), x, dW, k, k * TAU)
    return x.numpy()


@torch.no_grad()
def eager(paths: int, substeps: int, seed: int) -> np.ndarray:
    """A bare loop on fresh normals of torch's own generator."""
    equation, x, dt = model(), _start(paths), HORIZON / substeps
    generator = torch.Generator().manual_seed(seed)
    for k in range(substeps):
        dW = math.sqrt(dt) * torch.randn(equation.motions, paths, generator=generator, dtype=torch.float64).T
        x = x + dt * equation.drift(k * dt, x) + equation.diffuse(k * dt, x, dW)
    return x.numpy()


@torch.no_grad()
def chain(paths: int, substeps: int, seed: int) -> np.ndarray:
    """The project's discrete run on fresh normals of torch's own generator, in blocks of the project's size."""
    run, generator, ends = Chain(PROBLEM, OPTIMIZER, BALLISTIC, TAU), torch.Generator().manual_seed(seed), []
    for begin in range(0, paths, 2 * BLOCK_PAIRS):
        block = min(2 * BLOCK_PAIRS, paths - begin)
        state = dict(zip(OPTIMIZER.fields, _start(block).split(2, 1), strict=True))
        for k in range(substeps):
            z = torch.randn(PROBLEM.noise.motions, block, generator=generator, dtype=torch.float64).T
            state, _ = run.step(state, z, k)
        ends.append(join(*state.values()))
    return torch.cat(ends).numpy()


EQUATION: dict[str, Advance] = {"torch eager loop": eager, "torchsde, own increments, pairs": given,
                                "torchsde, BrownianInterval": interval}
CHAIN: dict[str, Advance] = {"torch eager chain": chain}
