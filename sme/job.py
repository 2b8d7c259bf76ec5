"""What the arguments of `weak_error` ask for, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sme import effort
from sme.backend import BACKENDS
from sme.errors import SMEError, choose
from sme.inputs import several, whole
from sme.optimizers.base import Optimizer
from sme.points import Key
from sme.problems.base import Problem
from sme.setup import Setup
from sme.specification import Observables, Specification, orders


@dataclass(frozen=True)
class Job:
    """A specification with its setups, and how hard to work on them."""

    spec: Specification
    setups: dict[tuple[int, int], Setup]
    """by (order, steps)"""
    counts: dict[tuple[int, int], int]
    """so many shards of each; with a tolerance, to begin with"""
    tolerance: float | None
    budget_s: float
    seed: int
    processes: int
    backend: str
    results: str | Path | None

    @classmethod
    def of(cls, problem: Problem, optimizer: Optimizer, *, tau: float | str | Sequence[float | str], start: Mapping[str, Tensor],
           regime: str, order: int | Sequence[int], brownian: str, horizon: float, observables: Observables,
           times: Sequence[float] | None, paths: int | None, tolerance: float | None, budget_s: float | None, seed: int,
           device: str, processes: int | str, backend: str, results: str | Path | None) -> "Job":
        """Check every argument of `weak_error`.

        Raises
        ------
        SMEError
            naming what was given, what is allowed and what to change.
        """
        spec = Specification.of(problem, optimizer, regime, brownian, horizon, start, observables, times)
        wanted = orders(order)
        grid = sorted({spec.steps(each) for each in several(tau)})
        if not grid:
            raise SMEError("tau is empty: give at least one step size")
        limit = effort.tolerance(tolerance)
        counts = {(each, steps): effort.shards(paths, tolerance, spec.horizon / steps) for each in wanted for steps in grid}
        place = effort.device(device)
        setups = {(each, steps): spec.setup(each, steps, place) for each in wanted for steps in grid}
        return cls(spec, setups, counts, limit if paths is None else None, effort.budget(budget_s), whole("seed", seed, 0),
                   effort.processes(processes, place), choose("backend", backend, BACKENDS), results)

    @property
    def keys(self) -> list[Key]:
        """The points asked for."""
        return [Key(*which, self.seed, shard) for which, count in self.counts.items() for shard in range(count)]

    @property
    def predicts(self) -> bool:
        """Whether an obstruction leaves constants to predict."""
        return bool(self.spec.outline().obstruction) and any(order == 2 for order, _ in self.setups)
