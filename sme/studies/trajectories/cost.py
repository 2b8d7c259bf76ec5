"""What the runs of a network take, said before they begin."""

import time
from collections.abc import Mapping

import torch

from sme.common.process.progress import say
from sme.convergence.estimator import paired
from sme.problems.networks.network import Network
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

FEW = 4
"""paths that are timed"""
LEVELS = 1.75
"""substeps of the three levels for one of the finest"""
KEPT = 6
"""times what a pass keeps, its memory at most"""


def seconds(setup: Setup, paths: int) -> float:
    """Of one path of so many at a time, from one substep of its equation."""
    equation = setup.equation()
    plan = scheme(equation)
    dt, x = setup.tau / setup.substeps(plan), setup.whole(paths).clone()
    dW, took = x.new_full((paths, equation.motions), 0.0), 0.0
    for _ in range(2):  # the first loads what torch needs
        began = time.perf_counter()
        with torch.no_grad():
            plan.rates(equation, setup.optimizer.t0, dt, x + 0, dW, torch.zeros_like(dW))
        took = time.perf_counter() - began
    return took * setup.marks[-1] * setup.substeps(plan) * LEVELS / paths


def tell(setups: Mapping[str, Setup], paths: int, times: float = 1) -> None:
    """Say how long one path of a network takes on each curve, how long all of them, or so many times that, and the memory."""
    network = next(iter(setups.values())).problem
    if not isinstance(network, Network):
        return
    few = min(FEW, paths)
    each = {curve: seconds(setup, few) for curve, setup in setups.items() if not setup.source}
    if not each:
        return
    at_once = min(paths, 2 * min(map(paired.chunk, setups.values())))
    memory = KEPT * 8 * max(network.noise.footprint, network.dim) * at_once / 2**30
    one = ", ".join(f"{took:.2g} s at {curve}" for curve, took in each.items())
    longer = f", up to {times:.2g} times that where further paths on the coarsest substeps pay" if times > 1 else ""
    say(f"{network.dim} parameters, {len(network.inputs)} examples: a path takes some {one}, {paths} paths at most "
        f"{paths * sum(each.values()):.2g} s of one core{longer}, and {memory:.1g} GiB beside torch's own")
