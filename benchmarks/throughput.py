"""How many path-substeps one core does in a second, beside programs written for this one equation or for any.

    python benchmarks/throughput.py [--write] [--check]

The work item is that of `rivals/item.py`. The rivals take turns and the best of several turns counts. Time is that of the
processor over all threads, which is what one core does however many are busy. `--check` compares means in place of times.
Then two processes against one (`workers.py`), where time is that of the clock.
"""

import importlib
import time

import numpy as np
import torch
import workers
from page import Section, machine, options
from rivals.item import START, STEPS, Advance, model
from rivals.torch_loops import chain, eager
from tabulate import tabulate

from sme.equations.base import join

MODULES = ("compiled", "numba_kernels", "xla_scan", "diffrax_euler", "torch_loops")
RATIOS = ("diffrax, float64", "numba double, pairs")
OWN = "sme compiled, pairs"
INSTALL = "pip install -c constraints.txt -e '.[rivals]'"


def load() -> tuple[dict[str, Advance], dict[str, Advance], list[str]]:
    """The rivals that are installed, for the equation and for the chain; and the packages that others lack."""
    equations: dict[str, Advance] = {}
    chains: dict[str, Advance] = {}
    lacking: list[str] = []
    for name in MODULES:
        try:
            module = importlib.import_module(f"rivals.{name}")
        except ModuleNotFoundError as fault:
            lacking.append(str(fault.name).split(".")[0])
            print(f"{name} is left out, for want of {lacking[-1]}: {INSTALL}")
            continue
        equations |= module.EQUATION
        chains |= module.CHAIN
    return equations, chains, lacking


def turn(advance: Advance, paths: int, substeps: int, at_least: float = 0.1) -> float:
    """Million path-substeps a second, over calls that fill `at_least` seconds."""
    calls, start = 0, time.process_time()
    while (spent := time.process_time() - start) < at_least:
        advance(paths, substeps, calls)
        calls += 1
    return calls * paths * substeps / spent / 1e6


def throughput(advance: Advance, paths: int, substeps: int, repeats: int) -> float:
    """The best of several turns, after one call that compiles."""
    advance(paths, substeps, 0)
    return max(turn(advance, paths, substeps) for _ in range(repeats))


def race(rivals: dict[str, Advance], paths: int, substeps: int, repeats: int) -> dict[str, float]:
    """The best turn of each, the turns interleaved."""
    for advance in rivals.values():
        advance(paths, substeps, 0)
    best = dict.fromkeys(rivals, 0.0)
    for _ in range(repeats):
        for name, advance in rivals.items():
            best[name] = max(best[name], turn(advance, paths, substeps))
    return best


def show(section: Section, best: dict[str, float], unit: str) -> None:
    """A table, the fastest first, each with its ratio to the fastest and to the last; then the project's own ratios."""
    top, last = max(best.values()), min(best.values())
    rows = [(name, rate, rate / top, rate / last) for name, rate in sorted(best.items(), key=lambda each: -each[1])]
    section.table(rows, ("", f"M {unit}/s", "of the fastest", "of the slowest"), ("", ".2f", ".4f", ".1f"))
    others = [name for name in RATIOS if name in best]
    if kernels := [name for name in best if name.startswith("numba")]:
        others.append(max(kernels, key=best.__getitem__))
    if OWN in best and others:
        parts = [f"{best[OWN] / best[name]:.2f} of {name}" for name in dict.fromkeys(others)]
        section.say(f"{OWN}: {', '.join(parts)}{' (the fastest kernel)' if kernels else ''}.")


def mean(advance: Advance, paths: int, substeps: int, calls: int) -> tuple[float, float]:
    """`E|θ|²` at the end and its standard error, from the means of pairs."""
    squares = [(advance(paths, substeps, seed)[:, :2].astype(np.float64) ** 2).sum(1) for seed in range(1, calls + 1)]
    pairs = np.concatenate([0.5 * (each[: paths // 2] + each[paths // 2 :]) for each in squares])
    return float(pairs.mean()), float(pairs.std() / len(pairs) ** 0.5)


def check(rivals: dict[str, Advance], own: Advance, paths: int, substeps: int, calls: int) -> None:
    """Each mean beside the project's, and their distance in standard errors."""
    middle, spread = mean(own, paths, substeps, 2 * calls)
    rows = [("the project's", middle, spread, 0.0)]
    for name, advance in rivals.items():
        if advance is not own:
            value, error = mean(advance, paths, substeps, calls)
            rows.append((name, value, error, (value - middle) / float(np.hypot(error, spread))))
    print(tabulate(rows, headers=("", "E|θ|²", "standard error", "distance"), floatfmt=("", ".6f", ".1e", ".2f")), "\n")


def difference() -> float:
    """Largest difference of the fused substep in double precision from the project's equation, over random states and normals."""
    from rivals.numba_kernels import substep

    step, equation, dt = substep(np.float64), model(), 1 / 128
    draw = np.random.default_rng(0)
    x, z = START * (1 + 0.2 * draw.standard_normal((100, 4))), draw.standard_normal((100, 4)).astype(np.float32)
    whole = join(*torch.from_numpy(x).split(2, 1))
    dW = dt**0.5 * torch.from_numpy(z.astype(np.float64))
    wanted = whole + dt * equation.drift(0.0, whole) + equation.diffuse(0.0, whole, dW)
    return float(np.abs(wanted.numpy() - [step(*row, *normals, dt) for row, normals in zip(x, z, strict=True)]).max())


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--paths", type=int, default=8192, help="in one call, a multiple of 512")
    parser.add_argument("--substeps", type=int, default=128, help="of Euler from 0 to 1, a multiple of 16")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn of one or two processes")
    parser.add_argument("--check", action="store_true", help="means in place of times")
    given = parser.parse_args()
    torch.set_num_threads(1)
    equations, chains, lacking = load()
    if given.write and lacking:
        parser.error(f"--write would take rows from the page, for want of {', '.join(dict.fromkeys(lacking))}: {INSTALL}")
    longer = given.paths * given.substeps // STEPS  # the chain has fewer steps: as much work in one call
    if given.check:
        if "numba double, fresh" in equations:
            print(f"one substep differs from the project's equation by at most {difference():.1e}\n")
        check(equations, eager, given.paths, given.substeps, given.repeats)
        check(chains, chain, longer, STEPS, given.repeats)
    else:
        section = Section("throughput", given.write)
        section.say(f"{machine()}. {given.paths} paths in one call, {given.substeps} substeps from 0 to 1.")
        show(section, race(equations, given.paths, given.substeps, given.repeats), "path-substeps")
        show(section, race(chains, longer, STEPS, given.repeats), "path-steps of the discrete run")
        workers.compare(section, given.seconds, max(1, given.repeats // 3))
        section.close()
