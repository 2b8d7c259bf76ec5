"""The project's own compiled path: C made from the equation and from the update rule."""

import functools

import numpy as np
import torch

from rivals.item import HORIZON, OPTIMIZER, PROBLEM, START, STEPS, TAU, Advance
from sme.common.library import load
from sme.common.random.increments import Increments
from sme.convergence.spec.specification import Specification
from sme.simulate.codegen import ensemble, program
from sme.simulate.integrators.schemes import Euler
from sme.simulate.setup import Setup


@functools.cache
def _setup() -> Setup:
    start = {"theta": torch.tensor(START[:2]), "v": torch.tensor(START[2:])}
    return Specification.of(PROBLEM, OPTIMIZER, "ballistic", "independent", HORIZON, start, None, None).setup(2, STEPS)


@functools.cache
@torch.no_grad()
def _source(discrete: bool) -> str:
    """The equation alone by Euler, or the discrete run alone."""
    source = program.source(_setup(), Euler(), levels=1, discrete=discrete)
    if discrete:
        source = source.replace("#define EQUATIONS 1", "#define EQUATIONS 0").replace("#define SECOND 2", "#define SECOND 0")
    load(source)
    return source


def _advance(discrete: bool, paths: int, substeps: int, seed: int) -> np.ndarray:
    whole = torch.tensor(START, dtype=torch.float64)[:, None].expand(4, paths)
    x, state = whole[None, None][int(discrete) :].contiguous(), whole.contiguous()  # the chain has no equation beside it
    increments = Increments((seed,), paths // 2, substeps // STEPS, TAU, x.device)
    nothing, floored = torch.zeros(0, paths, dtype=torch.float64), torch.zeros(paths, dtype=torch.uint8)
    ensemble.call(_source(discrete), increments, 0, STEPS, 0.0, (x, state, nothing, floored, nothing))
    return (state if discrete else x[0, 0]).T.numpy()


def equation(paths: int, substeps: int, seed: int) -> np.ndarray:
    """Euler from 0 to 1, antithetic."""
    return _advance(False, paths, substeps, seed)


def chain(paths: int, substeps: int, seed: int) -> np.ndarray:
    """The discrete run, antithetic."""
    return _advance(True, paths, substeps, seed)


EQUATION: dict[str, Advance] = {"sme compiled, pairs": equation}
CHAIN: dict[str, Advance] = {"sme compiled, pairs": chain}
