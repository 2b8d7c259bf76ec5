"""A few pairs of every setup, timed."""

import dataclasses
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from sme.convergence.estimator import paired
from sme.convergence.estimator.block import Block
from sme.convergence.estimator.paired import BLOCKS, chunk, run_block
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

PILOT_S = 0.5
"""of an order, over its step sizes"""
MOST = 8
"""step sizes of an order that are run, from the coarsest to the finest; what others take lies between"""
LONGEST, LEAST_STEPS = 2**11, 2**8
"""steps of an order that are prepared, of all its step sizes, and of one at least: what more take goes with their number"""
PAIRS, STEPS = 64, 64
"""so many pairs at first, so many steps at most"""
LEAST = 0.5
"""the share of a compiled run's time that must go with its pairs, lest one slow moment say that none does"""
Which = tuple[int, int]
Setups = dict[Which, Setup]


@dataclasses.dataclass(frozen=True)
class Sample:
    """What is found of one setup."""

    seconds: float
    """of a shard"""
    memory_mib: float
    """of the process, its peak so far"""
    block: Block
    """of the few pairs that were run"""


def looked(setups: Setups) -> Setups:
    """Of every order the step sizes that a pilot runs, over so many steps as it looks at."""
    found: Setups = {}
    for order in sorted({order for order, _ in setups}):
        own = sorted(which for which in setups if which[0] == order)
        most = max(LEAST_STEPS, LONGEST // min(len(own), MOST))
        found |= {which: _short(setups[which], most) for which in (own[i * (len(own) - 1) // max(1, min(len(own), MOST) - 1)]
                                                     for i in range(min(len(own), MOST)))}
    return found


def nearest(there: Iterable[Which], which: Which) -> Which:
    """Of its order the one of the nearest number of steps."""
    return min((each for each in there if each[0] == which[0]), key=lambda each: abs(each[1] - which[1]))


def filled(samples: dict[Which, Sample], ran: Setups, setups: Setups) -> dict[Which, Sample]:
    """Those of all step sizes, whole: what was not run takes, for each of its substeps, what those beside it do."""

    def work(setup: Setup) -> int:
        return setup.marks[-1] * setup.substeps(scheme(setup.equation()))

    found = {}
    for which, setup in setups.items():
        own = sorted(each for each in samples if each[0] == which[0])
        rate = np.interp(which[1], [steps for _, steps in own], [samples[one].seconds / work(ran[one]) for one in own])
        found[which] = dataclasses.replace(samples[nearest(own, which)], seconds=float(rate) * work(setup))
    return found


def begin(setups: Setups) -> None:
    """Load what a process loads once: its libraries, the compiled code of every setup."""
    for setup in setups.values():
        _timed(_short(setup, 1), 1)


def pilot(setups: Setups) -> dict[Which, Sample]:
    """Time and memory of every setup, the finest step size last.

    One step of the coarsest step size of an order, which has the most substeps, runs with as many pairs at a time as a shard has:
    for the memory.
    """
    orders = [order for order, _ in setups]
    found: dict[Which, Sample] = {}
    for which in sorted(setups):
        setup, order = setups[which], which[0]
        if order not in [each for each, _ in found]:
            _timed(_short(setup, 1), chunk(setup))
        seconds, block = _shard(setup, PILOT_S / orders.count(order))
        found[which] = Sample(seconds, peak(), block)
    return found


def _short(setup: Setup, steps: int) -> Setup:
    """The same run, ended after so many steps."""
    marks = tuple(mark for mark in setup.marks if mark <= steps) or (min(steps, setup.marks[-1]),)
    ordinary = None if setup.ordinary is None else setup.ordinary[: len(marks)]
    return dataclasses.replace(setup, marks=marks, ordinary=ordinary)


def _shard(setup: Setup, at_least: float) -> tuple[float, Block]:
    """The seconds of a shard, from runs that take some `at_least` seconds.

    Step by step, runs of few steps with all pairs, whose time goes with the steps; compiled, of few pairs, whose time is
    `fixed + n·slope` for `n` pairs.
    """
    most, all_steps = chunk(setup), setup.marks[-1]
    if setup.source:
        short, few = _short(setup, STEPS), min(PAIRS, most)
        first = min(_timed(short, few)[0] for _ in range(2))
        many = min(most, max(2 * few, round(few * at_least / first)))
        second, block = _timed(short, many)
        slope = (second - first) / (many - few) if many > few else 0.0
        seconds = second + min(max(slope, LEAST * second / many), second / many) * (most - many)
    else:
        short = _short(setup, 1)
        first, block = _timed(short, most)
        if first < at_least and all_steps > 1:
            short = _short(setup, round(at_least / first) + 1)
            first, block = _timed(short, most)
        seconds = first
    return seconds * all_steps / short.marks[-1] * BLOCKS * -(-paired.BLOCK_PAIRS // most), block


def _timed(setup: Setup, pairs: int) -> tuple[float, Block]:
    began = time.perf_counter()
    with torch.no_grad():
        block = run_block(setup, (0, setup.steps, 0, 0), pairs)
    return time.perf_counter() - began, block


def peak() -> float:
    """The peak resident memory of this process in MiB; not a number where the system does not say."""
    with suppress(OSError):  # not what a process was before it became this one, as in ru_maxrss
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    with suppress(ImportError):
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size / 2 ** (20 if sys.platform == "darwin" else 10)
    return float("nan")
