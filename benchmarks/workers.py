"""One worker process against two, one thread each: what both do together in the same time of the clock."""

import time
from collections.abc import Callable

import torch
from joblib import Parallel, delayed, parallel_config
from page import Section
from rivals.item import HORIZON, OPTIMIZER, PROBLEM, START, STEPS

from sme.convergence.estimator.paired import SHARD_PAIRS, prepared, run_shard
from sme.convergence.spec.specification import Specification
from sme.simulate.backend import compiled_setups
from sme.simulate.setup import Setup

WANTED = 1.8
PATHS, SUBSTEPS = 8192, 128
LEAD = 1.0
"""seconds from the call to the start, in which both warm up"""


def setup(*observables: str) -> Setup:
    """The work item at order 2, prepared but not compiled."""
    start = {"theta": torch.tensor(START[:2]), "v": torch.tensor(START[2:])}
    names = list(observables) or None
    return prepared(Specification.of(PROBLEM, OPTIMIZER, "ballistic", "independent", HORIZON, start, names, None).setup(2, STEPS))


def _equation() -> float:
    from rivals.compiled import equation  # the worker makes the source anew and finds it compiled

    equation(PATHS, SUBSTEPS, 0)
    return PATHS * SUBSTEPS / 1e6


def _shard(ready: Setup) -> Callable[[], float]:
    def work() -> float:
        run_shard(ready, 0, 0)
        return 2 * SHARD_PAIRS * ready.steps / 1e6

    return work


def _rate(work: Callable[[], float], start: float, seconds: float) -> tuple[float, float]:
    """What one process does in a second of the clock, from `start` on, and the share of a core that it had."""
    torch.set_num_threads(1)
    work()
    time.sleep(max(0.0, start - time.time()))
    done, began, busy = 0.0, time.perf_counter(), time.process_time()
    while (spent := time.perf_counter() - began) < seconds:
        done += work()
    return done / spent, (time.process_time() - busy) / spent


def together(work: Callable[[], float], processes: int, seconds: float) -> tuple[float, float]:
    """The sums over so many processes at once; it is up to the caller to have them started before."""
    with parallel_config("loky", n_jobs=processes, inner_max_num_threads=1):
        start = time.time() + LEAD
        rates = Parallel(batch_size=1, pre_dispatch="all")(delayed(_rate)(work, start, seconds) for _ in range(processes))
    done, cores = zip(*rates, strict=True)
    return sum(done), sum(cores)


def compare(section: Section, seconds: float, repeats: int) -> None:
    """A table of the best turns of one and of two processes, in turns."""
    with torch.no_grad():
        ready = compiled_setups({(2, STEPS): setup()}, must=True)[2, STEPS]
    rows = []
    for name, work in (("equation, M path-substeps/s", _equation), ("whole shards, M path-steps/s", _shard(ready))):
        for processes in (2, 1):
            together(work, processes, 0.1)  # starts the workers, imports, compiles
        turns = [(together(work, 1, seconds), together(work, 2, seconds)) for _ in range(repeats)]
        (one, _), (two, cores) = (max(rates) for rates in zip(*turns, strict=True))
        rows.append((name, one, two, two / one, cores))
    section.table(rows, ("", "one process", "two processes", "ratio", "cores that two had"), ("", ".2f", ".2f", ".2f", ".2f"))
    worst = min(row[3] for row in rows)
    section.say(f"Two processes do at least {worst:.2f} times what one does ({WANTED} wanted).")
