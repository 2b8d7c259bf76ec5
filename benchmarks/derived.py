"""What a derived equation costs beside the closed form, compiled and through PyTorch: processor time for one path and one
substep.

    python benchmarks/derived.py [--write]
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from page import Section, machine, options

import sme
from sme.common.random.increments import Increments
from sme.convergence.spec.specification import Specification
from sme.equations.base import Equation, join
from sme.equations.registry import equation
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import REGIMES, regime
from sme.simulate.codegen import ensemble, program
from sme.simulate.ensemble import LEVELS
from sme.simulate.integrators.recorded import AFTER, Recorded
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

TAU, STEPS, CALLS = 1 / 16, 16, 5
OPTIMIZERS = [sme.SGD(), *(kind(denominator=each) for kind in (sme.RMSProp, sme.Adam) for each in ("previous", "updated"))]
COLUMNS = ("optimizer", "denominator", "regime", "brownian", "closed ns, compiled", "derived ns, compiled", "ratio",
           "closed ns, PyTorch", "derived ns, PyTorch", "ratio, PyTorch")


def through_torch(eq: Equation, paths: int) -> Callable[[], float]:
    """What takes the time of substeps, past those before a record is made."""
    generator = torch.Generator().manual_seed(0)
    x = join(*(0.5 + torch.rand(paths, eq.problem.dim, generator=generator, dtype=torch.float64) for _ in eq.optimizer.fields))
    method = scheme(eq)
    dt = TAU / method.substeps(TAU)
    dW = dt**0.5 * torch.randn(eq.motions, paths, generator=generator, dtype=torch.float64).T
    y = torch.zeros_like(dW[:, : eq.first])
    run = Recorded(eq, method)

    @torch.no_grad()
    def seconds(calls: int = CALLS) -> float:
        start = time.process_time()
        for _ in range(calls):
            run.step(eq, eq.optimizer.t0, dt, x, dW, y)
        return (time.process_time() - start) / calls

    seconds(AFTER + 1)
    return seconds


@torch.no_grad()
def compiled(optimizer: Optimizer, scaling: str, brownian: str, kind: type[Equation]) -> tuple[Setup, int]:
    """A run of the equation, and where there is one of its reference, of this kind, and its path-substeps for one path."""
    start = {"theta": torch.tensor([1.0, 0.5])}
    setup = Specification.of(sme.Quadratic(2), optimizer, scaling, brownian, STEPS * TAU, start, None, None).setup(2, STEPS)
    setup = dataclasses.replace(setup, kind=kind)
    equations = setup.equations()
    substeps = sum(setup.substeps(scheme(equations[0])) // factor for factor in LEVELS)
    return dataclasses.replace(setup, source=program.source(setup, discrete=False)), STEPS * substeps * len(equations)


@torch.no_grad()
def run(setup: Setup, paths: int) -> float:
    """Time of a compiled run without the discrete one."""
    equations = setup.equations()
    system = setup.whole(1).shape[1] + max(each.hidden for each in equations)
    x = torch.zeros(len(equations), len(LEVELS), system, paths, dtype=torch.float64)
    state = setup.whole(paths).T.contiguous()
    x[:, :, : len(state)] = state
    increments = Increments((7,), paths // 2, setup.substeps(scheme(equations[0])), TAU, x.device)
    nothing, floored = torch.zeros(0, paths, dtype=torch.float64), torch.zeros(paths, dtype=torch.uint8)
    start = time.process_time()
    ensemble.call(setup.source, increments, 0, STEPS, setup.optimizer.t0, (x, state, nothing, floored, nothing))
    return time.process_time() - start


def compare(times: Sequence[Callable[[], float]], count: int, repeats: int) -> tuple[float, float, float]:
    """Nanoseconds of each over `count`, taken in turns, and the median of the ratios of turns."""
    for each in times:
        each()  # warms up
    turns = [(times[0](), times[1]()) for _ in range(repeats)]
    one, two = (1e9 / count * statistics.median(each) for each in zip(*turns, strict=True))
    return one, two, statistics.median(second / first for first, second in turns)


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--paths", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=15, help=f"turns of {CALLS} calls each")
    given = parser.parse_args()
    torch.set_num_threads(1)
    section = Section("derived", given.write)
    section.say(f"{machine()}. Quadratic, d = 2, {given.paths} paths, order 2.")
    rows = []
    for optimizer, scaling, brownian in itertools.product(OPTIMIZERS, REGIMES, ("independent", "step_memory")):
        closed = equation(sme.Quadratic(2), optimizer, regime(scaling), TAU, 2, brownian)
        derived = sme.derive(sme.Quadratic(2), optimizer, scaling, 2, brownian)(TAU)
        runs, substeps = zip(*(compiled(optimizer, scaling, brownian, type(each)) for each in (closed, derived)), strict=True)
        quick = compare([partial(run, each, given.paths) for each in runs], given.paths * substeps[0], given.repeats)
        eager = compare([through_torch(each, given.paths) for each in (closed, derived)], given.paths, given.repeats)
        rows.append((optimizer.name, getattr(optimizer, "denominator", "–"), scaling, brownian, *quick, *eager))
    section.table(rows, COLUMNS, (*[""] * 4, ".1f", ".1f", ".2f", ".0f", ".0f", ".2f"))
    for name, first in (("SGD", True), ("RMSProp and Adam", False)):
        mine = [row for row in rows if (row[0] == "sgd") == first]
        section.say(f"Largest ratio for {name}: {max(row[6] for row in mine):.2f} compiled, "
                    f"{max(row[-1] for row in mine):.2f} through PyTorch.")
    section.close()
