"""What a derived equation costs beside the closed form: time for one path and one substep, and their ratio.

    python benchmarks/derived.py [--write]
"""

import itertools
import statistics
import time

import torch
from page import Section, machine, options

import sme
from sme.equations.base import Equation, join
from sme.equations.registry import equation
from sme.optimizers.regimes import REGIMES, regime
from sme.simulate.integrators.schemes import scheme

TAU, CALLS = 1 / 16, 5
OPTIMIZERS = [sme.SGD(), *(kind(denominator=each) for kind in (sme.RMSProp, sme.Adam) for each in ("previous", "updated"))]
COLUMNS = ("optimizer", "denominator", "regime", "brownian", "closed ns", "derived ns", "ratio")


def seconds(eq: Equation, paths: int) -> float:
    """Time of one substep."""
    generator = torch.Generator().manual_seed(0)
    x = join(*(0.5 + torch.rand(paths, eq.problem.dim, generator=generator, dtype=torch.float64) for _ in eq.optimizer.fields))
    method = scheme(eq)
    dt = TAU / method.substeps(TAU)
    dW = dt**0.5 * torch.randn(eq.motions, paths, generator=generator, dtype=torch.float64).T
    y = torch.zeros_like(dW[:, : eq.first])
    start = time.perf_counter()
    for _ in range(CALLS):
        method.rates(eq, eq.optimizer.t0, dt, x, dW, y)
    return (time.perf_counter() - start) / CALLS


def compare(closed: Equation, derived: Equation, paths: int, repeats: int) -> tuple[float, float, float]:
    """Nanoseconds for one path of each, taken in turns, and the median of the ratios of turns."""
    for eq in (closed, derived):
        seconds(eq, paths)  # warms up
    turns = [(seconds(closed, paths), seconds(derived, paths)) for _ in range(repeats)]
    one, two = (1e9 / paths * statistics.median(times) for times in zip(*turns, strict=True))
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
        times = compare(closed, derived, given.paths, given.repeats)
        rows.append((optimizer.name, getattr(optimizer, "denominator", "–"), scaling, brownian, *times))
    section.table(rows, COLUMNS, (*[""] * 4, ".0f", ".0f", ".2f"))
    section.say(f"Largest ratio for RMSProp and Adam: {max(row[-1] for row in rows if row[0] != 'sgd'):.2f}.")
    section.close()
