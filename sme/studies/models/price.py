"""What an evaluation of an equation costs, beside a gradient."""

import statistics
import time
from collections.abc import Callable

import torch

from sme.equations.base import join
from sme.simulate.setup import Setup

AWAY = 1e-3
"""how far from the start the parameters are spread, so that no two evaluations see the same state"""


def price(setup: Setup, paths: int, repeats: int = 7, seed: int = 0) -> float:
    """Time of drift and diffusion at one state over that of one gradient `∇f`, both of so many paths through torch.

    The medians of evaluations in turn, on one thread: a ratio, as the times of a busy machine are worth nothing alone.
    """
    equation, generator = setup.equation(), torch.Generator().manual_seed(seed)
    fields = [setup.start[name].expand(paths, -1) for name in setup.optimizer.fields]
    spread = torch.randn(paths, setup.problem.dim, generator=generator, dtype=torch.float64)
    x = join(fields[0] + AWAY * spread, *fields[1:])
    dW = torch.randn(paths, equation.motions, generator=generator, dtype=torch.float64)

    def evaluate() -> None:
        state = x.clone()  # what was computed at a state is kept: another one each time
        equation.drift(setup.optimizer.t0, state)
        if equation.motions:
            equation.diffuse(setup.optimizer.t0, state, dW)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pairs = [(_seconds(evaluate), _seconds(lambda: setup.problem.gradient(x[:, : setup.problem.dim].clone())))
                 for _ in range(repeats + 1)][1:]
    finally:
        torch.set_num_threads(threads)
    return statistics.median(one for one, _ in pairs) / statistics.median(other for _, other in pairs)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
