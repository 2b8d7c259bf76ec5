"""What a run is asked for: setups, shards and effort, checked."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sme.common.errors import SMEError
from sme.common.inputs import several, short
from sme.common.storage.records import Records
from sme.convergence.estimator.quadrature.method import QUADRATURE, check, idle
from sme.convergence.spec import effort
from sme.convergence.spec.effort import Execution
from sme.convergence.spec.specification import Specification
from sme.convergence.store.points import Key
from sme.equations.registry import SKEWNESS
from sme.simulate.setup import Setup

MANY, MOST = 150, 1000
"""rows, observables times checkpoints, from which a warning says what they cost; and the most"""
ROW_MIB = 7.6e-4
"""of a point, for each pair of rows: their covariances, block by block"""


@dataclass(frozen=True)
class Job:
    """A specification with its setups and shards, by (order, steps), and how to work on them."""

    spec: Specification
    setups: dict[tuple[int, int], Setup]
    shards: dict[tuple[int, int], list[int]]
    """their numbers; with a tolerance, those to begin with"""
    effort: Execution

    @classmethod
    def of(cls, spec: Specification, *, tau: Any, order: int | Sequence[int], paths: int | None, shards: Any,
           tolerance: float | None, budget_s: float | None, seed: int, device: str, processes: int | str, backend: str) -> "Job":
        """Check what does not belong to the specification.

        Raises
        ------
        SMEError
            naming what was given, what is allowed and what to change.
        """
        if spec.method == QUADRATURE:
            idle({"paths": paths, "shards": shards, "tolerance": tolerance, "seed": seed, "device": device, "backend": backend})
            paths, shards, tolerance, seed, device, backend = None, 0, None, 0, "cpu", "auto"
        wanted = spec.orders(order)
        grid = sorted({spec.steps(each) for each in several(tau)})
        if not grid:
            raise SMEError(f"tau is empty, got {short(tau)}: give at least one step size, such as 1/8")
        _check_rows(len(spec.observables), len(spec.times))
        how = Execution.of(seed, device, processes, backend, paths, tolerance, budget_s)
        numbers = {(each, steps): effort.shards(paths, tolerance, spec.grid(steps).tau, shards)
                   for each in wanted for steps in grid}
        setups = {which: spec.setup(*which, how.device) for which in numbers}
        if spec.method == QUADRATURE:
            check(setups.values())
        return cls(spec, setups, numbers, how)

    @cached_property
    def records(self) -> Records:
        """What is kept of the study for later runs; nothing where it runs on a GPU."""
        names = list(self.spec.observables)  # their order is in no name
        return Records([self.spec.describe(), names] if self.effort.device == "cpu" else None)

    @property
    def orders(self) -> tuple[int, ...]:
        """The orders asked for."""
        return tuple(sorted({order for order, _ in self.setups}))

    @property
    def keys(self) -> list[Key]:
        """The points asked for."""
        return [Key(*which, self.effort.seed, shard) for which, numbers in self.shards.items() for shard in numbers]

    @property
    def obstructed(self) -> Setup | None:
        """A setup whose equation an obstruction keeps from order 2, by a constant to predict; None if there is none."""
        setups = (setup for (order, _), setup in self.setups.items() if order == 2)
        return next(setups, None) if self.spec.outline().obstruction not in ("", SKEWNESS) else None


def _check_rows(observables: int, times: int) -> None:
    """A point holds the covariances of all its rows: say what many of them cost, and refuse too many."""
    rows = observables * times
    words = f"{observables} observables at {times} time{'s' if times > 1 else ''}"
    if rows > MOST:
        raise SMEError(f"{words} make {rows} rows, and a study has at most {MOST}: its points hold their covariances, and would "
                       f"take {ROW_MIB * rows**2:.0f} MiB each. Give fewer, or several studies")
    if rows >= MANY:
        warnings.warn(f"{words}: each shard of each step size takes some {ROW_MIB * rows**2:.0f} MiB on disk and more in memory, "
                      "which grows with the square of their number; plan says how much in all", stacklevel=4)
