"""Where and how hard a run may work: folder, device, processes, paths, checked."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sme.common.errors import SMEError, choose, warn
from sme.common.inputs import number, seed_of, several, short, whole
from sme.convergence.estimator import trials
from sme.convergence.estimator.paired import SHARD_PAIRS
from sme.simulate.backend import BACKENDS

SHARD_PATHS = 2 * SHARD_PAIRS
LEAST_SHARDS, COARSE = 2, 1 / 32
"""the default: so many shards where `τ ≥ COARSE`, more below, as `1/τ`: the error falls faster with `τ` than its noise"""
FULL = trials.FIRST
"""shards of one step size beyond which a number of paths is a mistake"""


@dataclass(frozen=True)
class Execution:
    """How a run is made: nothing of this changes the law of the numbers."""

    seed: int
    device: str
    processes: int
    backend: str
    tolerance: float | None
    """of the standard errors, where shards are added until it is met"""
    budget_s: float
    auto: bool = False
    """whether there may be fewer processes where that is quicker"""

    @classmethod
    def of(cls, seed: Any, device_name: str, processes_given: int | str, backend: Any, paths: Any, relative: Any,
           budget_s: Any) -> "Execution":
        """Checked.

        Raises
        ------
        SMEError
            naming what was given, what is allowed and what to change.
        """
        limit, place = tolerance(relative), device(device_name)
        if limit is not None and paths is not None:
            raise SMEError(f"tolerance = {relative} adds shards of its own, and paths = {paths} says how many there are: "
                           "give one of them, on the command line with the other as null")
        return cls(seed_of(seed), place, processes(processes_given, place), choose("backend", backend, BACKENDS), limit,
                   budget(budget_s), isinstance(processes_given, str))


def warn_rounded(paths: Any) -> None:
    """Warn, in one line, of paths that are rounded up to whole shards.

    A shard has one size everywhere: a point says which shard it is, and any later run adds to it without computing it again.
    """
    if paths is None or not (more := -(count := whole("paths", paths, 1)) % SHARD_PATHS):
        return
    if count < SHARD_PATHS:
        warn(f"paths = {count} is less than a shard, and {SHARD_PATHS} are run: give paths={SHARD_PATHS}; sme.trajectories "
             "follows as few as you like")
    else:
        warn(f"paths = {count} are rounded up to {count + more}: they come in shards of {SHARD_PATHS}")


def folder(results: Any) -> Path:
    """The results folder, made if it is not there; `SMEError` if it cannot be written to."""
    try:
        path = Path(results)
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError("it cannot be written to")
    except (TypeError, ValueError, OSError) as fault:  # ValueError of a name with a null byte
        raise SMEError(f"results must be a folder that can be written to, got {short(results)}: {fault}. Give another folder, "
                       "such as results") from None
    return path


def place(results: Any, *below: str) -> Path | None:
    """The folder of this name below the results folder, which is made now; None without results, for a report in memory."""
    return None if results is None else folder(results).joinpath(*below)


def tolerance(given: Any) -> float | None:
    """A relative tolerance between 0 and 1, or None."""
    value = None if given is None else number("tolerance", given)
    if value is not None and not 0 < value < 1:
        raise SMEError(f"tolerance must lie between 0 and 1, got {short(given)}: it is a share of each error, such as 0.05")
    return value


def budget(given: Any) -> float:
    """Seconds, infinite if not given."""
    value = math.inf if given is None else number("budget_s", given)
    if not value > 0:
        raise SMEError(f"budget_s must be a positive number of seconds, got {short(given)}: leave it out for no limit")
    return value


def shards(paths: Any, tolerance: Any, tau: float, chosen: Any = None) -> list[int]:
    """The numbers of the shards that a number of paths asks for, or those chosen.

    Without both a function of `τ` alone, so that any ladder gives the same points; for a tolerance one, and one that decides how
    many there are to be.
    """
    if chosen is not None:
        if tolerance is not None:
            raise SMEError(f"shards = {chosen!r} are computed as they are, and a tolerance adds shards of its own: "
                           "leave out one of them")
        numbers = sorted({whole("a shard's number", each, 0) for each in several(chosen)})
        if not numbers:
            raise SMEError("shards is empty: give the numbers of one or more shards, such as 0 or [0,1], or leave it out")
        if numbers[-1] >= FULL:
            raise SMEError(f"shard {numbers[-1]} is none of a study's: give numbers below {FULL}")
        if paths is not None and numbers[-1] >= len(count := shards(paths, None, tau)):
            raise SMEError(f"shard {numbers[-1]} is not among the {len(count)} that paths = {paths} asks for, 0 to "
                           f"{len(count) - 1}: each has {SHARD_PATHS} paths, so give more paths, or leave them out")
        return numbers
    if tolerance is not None:
        return [0, trials.FIRST]
    default = LEAST_SHARDS * max(1, round(COARSE / tau))
    wanted = default if paths is None else -(-whole("paths", paths, 1) // SHARD_PATHS)
    if wanted > FULL:
        what = f"tau = {tau:g} without paths" if paths is None else f"paths = {paths}"
        raise SMEError(f"{what} asks for {wanted} shards of {SHARD_PATHS} paths, and a run has at most {FULL}: give fewer paths")
    return list(range(wanted))


def device(name: str) -> str:
    """The name of a device that is there."""
    if isinstance(name, str) and name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if not isinstance(name, str | torch.device):
            raise TypeError
        (torch.ones(1, device=name, dtype=torch.float64) + 1).item()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError):
        there = ["auto", "cpu"] + (["cuda"] if torch.cuda.is_available() else [])
        raise SMEError(f"device {short(name)} is not available on this machine: use one of {', '.join(there)}") from None
    return str(name)


def processes(given: int | str, device: str) -> int:
    """How many processes: `"auto"` is one a core, and one on a GPU."""
    if isinstance(given, str) and given == "auto":
        return 1 if device != "cpu" else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return whole("processes", given, 1)
    except SMEError:
        raise SMEError(f"processes must be 'auto' or a whole number ≥ 1, got {short(given)}: 'auto' is one a core") from None
