"""Time and memory of a run against dimension, step size and number of paths; beside it the time of matrix products alone.

    python benchmarks/scaling.py [--write]

RMSProp on the quadratic, ballistic, order 2, as in `rivals/item.py`. Each run has a process of its own, with one thread.
A substep is one of the finest level; the coarser levels, the discrete run and the control variates are in its time.
"""

import argparse
import dataclasses
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import seaborn as sns
import torch
from page import Section, figure, machine, options
from rivals.item import HORIZON, OPTIMIZER
from tqdm import tqdm

import sme
from sme.common.library import load
from sme.convergence.estimator.paired import BLOCK_PAIRS, SHARD_PAIRS, prepared, run_block
from sme.convergence.spec.specification import Specification
from sme.simulate.codegen import program
from sme.simulate.codegen.interpreter import NotLoweredError, trace
from sme.simulate.ensemble import LEVELS
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

KINDS = ("compiled", "bare", "torchsde")
"""the estimator; without control variates; through torchsde"""
DIMENSIONS, STEPS, PAIRS = (2, 5, 10, 20, 50, 100), (4, 8, 16, 32, 64), (64, 256, 1024, 4096, SHARD_PAIRS)
FEW, LONG = 1024, 10
"""pairs of each dimension; a first call that takes so many times what is to be filled is the only one"""
PRODUCTS = ("aten.mm.default", "aten.mv.default", "aten.addmm.default")
MARK = "*"
"""of what was to be compiled and could not"""


class Case(NamedTuple):
    """What is run."""

    dim: int
    steps: int
    pairs: int


SWEEPS = ([Case(d, 16, FEW) for d in DIMENSIONS], [Case(2, n, SHARD_PAIRS) for n in STEPS],
          [Case(2, 16, pairs) for pairs in PAIRS])


@torch.no_grad()
def setup(case: Case) -> Setup:
    """The setup, prepared."""
    theta = torch.tensor([1.0, 0.5] if case.dim == 2 else [1.0] * case.dim)
    spec = Specification.of(sme.Quadratic(case.dim), OPTIMIZER, "ballistic", "independent", HORIZON, {"theta": theta},
                            ["|theta|^2", "|v|^2"], None)
    return prepared(spec.setup(2, case.steps))


def best(work: Callable[[], Any], at_least: float) -> float:
    """Seconds of one call, the best of several that fill `at_least` seconds in all, of the processor."""
    times = []
    while len(times) < 2 or sum(times[1:]) < at_least:  # the first call warms up
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
        if times[0] > LONG * at_least:
            break
    return min(times)


def products(ready: Setup) -> tuple[int, int]:
    """How many products of a `d × d` matrix a path takes: in one substep, and in one step of the discrete run."""
    equation, chain = ready.equation(), ready.chain
    sizes = (2 * chain.problem.dim, equation.first, equation.motions)
    x, first, whole = (torch.full((1, size), 0.5, dtype=torch.float64) for size in sizes)
    t, dt, tau = (torch.tensor(each, dtype=torch.float64) for each in (0.5, 0.01, 0.06))
    substep = trace(program.substep(equation, scheme(equation)), (t, dt, tau, x, whole, first))
    step = trace(lambda x, z: chain.step_at(ready.fields(x), z, 0.5)[0], (x, first))
    one, other = (sum(str(node.target) in PRODUCTS for node in graph.graph.nodes) for graph in (substep, step))
    return one, other


@torch.no_grad()
def alone(ready: Setup, paths: int, at_least: float) -> float:
    """Seconds for one path and substep in `torch.mm` alone: of all levels, and of the discrete run."""
    equation, dim = ready.equation(), ready.problem.dim
    substep, step = products(ready)
    count = substep * sum(1 / level for level in LEVELS) + step / scheme(equation).substeps(ready.tau)
    a, x, out = (torch.rand(dim, width, dtype=torch.float64) for width in (dim, paths, paths))
    return count * best(lambda: torch.mm(a, x, out=out), at_least) / paths


def blocks(ready: Setup, pairs: int) -> None:
    """So many pairs, block by block as in a shard, nothing kept."""
    for block, begin in enumerate(range(0, pairs, BLOCK_PAIRS)):
        run_block(ready, (0, ready.steps, 0, block), min(BLOCK_PAIRS, pairs - begin))


@torch.no_grad()
def measure(case: Case, kind: str, at_least: float) -> dict[str, Any]:
    """Seconds before the run and of it; microseconds a path-substep, its own and of products alone; MB; why not compiled."""
    torch.set_num_threads(1)
    empty, start, why = peak(), time.perf_counter(), ""
    ready = setup(case)
    if kind == "bare":
        ready = dataclasses.replace(ready, weights=None)
    if kind != "torchsde":
        try:
            ready = dataclasses.replace(ready, source=program.source(ready))
            load(ready.source)
        except NotLoweredError as fault:
            why = str(fault)
    before = time.perf_counter() - start
    seconds = best(partial(blocks, ready, case.pairs), at_least)
    memory = peak()
    substeps = 2 * case.pairs * ready.steps * scheme(ready.equation()).substeps(ready.tau)
    apart = alone(ready, 2 * min(case.pairs, BLOCK_PAIRS), at_least) if kind == "bare" else 0.0
    return {"before": before, "seconds": seconds, "micro": 1e6 * seconds / substeps, "alone": 1e6 * apart, "memory": memory,
            "empty": empty, "products": products(ready), "why": why}


def peak() -> float:
    """MB that this process had at most; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(case: Case, kind: str, at_least: float) -> dict[str, Any]:
    """`measure` in a new process."""
    command = [sys.executable, __file__, "--case", json.dumps([*case, kind]), "--seconds", str(at_least)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case}, {kind}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


Results = dict[Case, dict[str, dict[str, Any]]]


def show(section: Section, results: Results) -> None:
    """A row for each case."""
    rows, reasons = [], []
    for case, kinds in results.items():
        full, bare, slow = (kinds[kind] for kind in KINDS)
        marked = [f"{each['micro']:.3f}{MARK if each['why'] else ''}" for each in (full, bare)]
        rows.append((case.dim, f"1/{case.steps}", 2 * case.pairs, full["seconds"], *marked, slow["micro"], bare["alone"],
                     bare["micro"] / bare["alone"], full["before"], full["memory"], slow["memory"]))
        reasons += [f"d = {case.dim}: {each['why']}" for each in (bare, full) if each["why"]][:1]
    headers = ("d", "τ", "paths", "s", "µs compiled", "µs without controls", "µs torchsde", "µs products", "ratio", "s before",
               "MB compiled", "MB torchsde")
    section.table(rows, headers, ("", "", "", ".3f", "", "", ".3f", ".4f", ".1f", ".1f", ".0f", ".0f"))
    counts = bare["products"]
    section.say("`µs` is for one path and one substep of the finest level, `s` for the whole compiled run, `s before` for "
                f"preparing, tracing and compiling; {bare['empty']:.0f} MB are there before anything runs. `µs products` is the "
                "time of `torch.mm` alone for the products of a d × d matrix, counted in the traces: "
                f"{counts[0]} in a substep of each level (gradients, Hessian products, S dW, second root), "
                f"{counts[1]} in a step of the discrete run. `ratio` is that of the run without control variates to it.")
    if reasons:
        section.say(f"{MARK} through torchsde: {'; '.join(dict.fromkeys(reasons))}.")


def draw(section: Section, results: Results) -> None:
    """Against dimension, step size and paths; and memory."""
    drawn, axes = figure(4)
    panels = (("dimension d", "µs a path-substep", 0, "micro", lambda case: case.dim),
              ("1/τ", "seconds a shard", 1, "seconds", lambda case: case.steps),
              ("paths", "seconds", 2, "seconds", lambda case: 2 * case.pairs),
              ("dimension d", "MB at most", 0, "memory", lambda case: case.dim))
    words = {"compiled": "compiled", "bare": "compiled, no control variates", "torchsde": "torchsde"}
    colours = dict(zip(words, sns.color_palette("colorblind"), strict=False))
    for axis, (label, unit, sweep, what, at) in zip(axes, panels, strict=True):
        cases = [case for case in SWEEPS[sweep] if case in results]
        for kind, word in words.items():
            values = [results[case][kind][what] for case in cases]
            axis.plot([at(case) for case in cases], values, "-", lw=1, color=colours[kind], label=word)
            for case, value in zip(cases, values, strict=True):
                face = "white" if results[case][kind]["why"] else colours[kind]
                axis.plot(at(case), value, "o", ms=4, mec=colours[kind], mfc=face)
        if what == "micro":
            axis.plot([at(case) for case in cases], [results[case]["bare"]["alone"] for case in cases], "--", lw=1, color="0.5",
                      label="matrix products alone")
            drawn.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="x-small")
        axis.set(xlabel=label, ylabel=unit, xscale="log")
        axis.set_xticks([at(case) for case in cases], [str(at(case)) for case in cases])
        axis.minorticks_off()
        if what == "memory":
            axis.set_ylim(0)
        else:
            axis.set_yscale("log")
    section.picture(drawn, "time against dimension, step size and paths, and memory; hollow: not compiled")


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="to fill with calls, for each number")
    parser.add_argument("--largest", type=int, default=max(DIMENSIONS), help="dimension")
    parser.add_argument("--finest", type=int, default=max(STEPS), help="1/τ")
    parser.add_argument("--most", type=int, default=max(PAIRS), help="pairs")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        *numbers, kind = json.loads(given.case)
        print(json.dumps(measure(Case(*numbers), kind, given.seconds)))
    else:
        section = Section("scaling", given.write)
        section.say(f"{machine()}.")
        results: Results = {}
        limits = (given.largest, given.finest, given.most)
        cases = [case for case in dict.fromkeys(itertools.chain(*SWEEPS))
                 if all(number <= limit for number, limit in zip(case, limits, strict=True))]
        for case in tqdm(cases, unit="case", disable=None, leave=False):
            results[case] = {kind: apart(case, kind, given.seconds) for kind in KINDS}
        show(section, results)
        draw(section, results)
        section.close()
