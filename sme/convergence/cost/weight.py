"""How large a point is in its folder, and how long an equation of moments takes, known before either is computed."""

import time
from collections.abc import Iterable

import torch

from sme.common import errors
from sme.convergence.estimator import paired
from sme.convergence.estimator.paired import BLOCKS
from sme.simulate.control_variates.controls import Controls
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

DIGITS = 21
"""bytes of a number in a file"""
HEAVY = 32
"""MiB of a point from which on a run says so"""

TRIED, ENOUGH_S = (64, 512), 0.5
"""paths of a substep that is timed, the second where the first is quick"""
LEVELS = 1.75
"""substeps of the three levels for one of the finest"""
WORKERS_S = 4.0
"""seconds in which worker processes load their libraries"""
LONG_S = 120
"""seconds of a study from which on a run says so"""
DEAR = {"shifted", "transformed"}
"""numerics whose moments are taken at every path and substep"""


def point_mib(setup: Setup) -> float:
    """At most, of a prepared setup: the moments of all its variables, of which there are as many as pairs of them."""
    equations = setup.equations()
    kinds = 2 + (len(equations) > 1 or setup.ordinary is not None)
    carried = Controls(setup.weights, equations[0]).carried if setup.weights is not None else 0
    variables = kinds * len(setup.marks) * len(setup.observables) + carried
    return BLOCKS * DIGITS * variables * (variables + 3) / 2 / 2**20


def warn(setups: Iterable[Setup]) -> None:
    """Say, in one line, what is paid for many observables and times."""
    largest = max(setups, key=point_mib, default=None)
    if largest is not None and (size := point_mib(largest)) > HEAVY:
        errors.warn(f"{len(largest.observables)} observables at {len(largest.marks)} times: a point takes up to {size:.0f} MiB, "
                    "which grows with the square of their number: name fewer of either, or spread them over several studies")


def seconds(setup: Setup) -> float:
    """At most, of one shard, from one substep of few paths."""
    equation = setup.equation()
    plan, took, paths = scheme(equation), 0.0, 1
    dt = setup.tau / setup.substeps(plan)
    for paths in TRIED:
        spread = 1 + 1e-3 * torch.linspace(0, 1, paths, dtype=torch.float64, device=setup.device).unsqueeze(1)
        x = torch.nn.functional.pad(setup.whole(paths) * spread, (0, equation.hidden))
        dW = x.new_full((paths, equation.motions), dt**0.5)
        began = time.perf_counter()
        with torch.no_grad():
            plan.step(equation, setup.optimizer.t0, dt, x, dW, torch.zeros_like(dW[:, : equation.first]))
        took = time.perf_counter() - began
        if took > ENOUGH_S:
            break
    return took * max(1, 2 * BLOCKS * paired.BLOCK_PAIRS / paths) * setup.marks[-1] * setup.substeps(plan) * LEVELS


def expected(setups: Iterable[Setup]) -> float:
    """Seconds at most of one shard of each of these, one after the other through PyTorch, from one substep of the dearest."""
    made = list(setups)
    dearest = max(made, key=lambda setup: (setup.order, setup.steps), default=None)
    if dearest is None:
        return 0.0
    steps = sum(setup.marks[-1] * setup.substeps(scheme(setup.equation())) for setup in made)
    own = dearest.marks[-1] * dearest.substeps(scheme(dearest.equation()))
    return seconds(dearest) * steps / own


def long(setups: Iterable[Setup]) -> None:
    """Say, in one line, how long the shards of these setups take where the moments of the gradient cost the most."""
    made = [setup for setup in setups if not setup.source and DEAR & {*setup.equation().numerics, *setup.problem.noise.numerics}]
    if not made:
        return
    if (total := expected(made)) > LONG_S:
        errors.warn(f"the moments of {made[0].optimizer.name}'s gradient are computed at every path and substep, and these "
                    f"{len(made)} shards take up to some {total / 60:.0f} min: larger step sizes or a shorter horizon cost less, "
                    "and sme.trajectories follows fewer paths")
