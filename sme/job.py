"""What a run is asked for: setups, shards and effort, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sme import effort
from sme.effort import Effort
from sme.errors import SMEError
from sme.inputs import several
from sme.points import Key
from sme.setup import Setup
from sme.specification import Specification


@dataclass(frozen=True)
class Job:
    """A specification with its setups and shards, by (order, steps), and how to work on them."""

    spec: Specification
    setups: dict[tuple[int, int], Setup]
    shards: dict[tuple[int, int], list[int]]
    """their numbers; with a tolerance, those to begin with"""
    effort: Effort

    @classmethod
    def of(cls, spec: Specification, *, tau: Any, order: int | Sequence[int], paths: int | None, shards: Any,
           tolerance: float | None, budget_s: float | None, seed: int, device: str, processes: int | str, backend: str) -> "Job":
        """Check what does not belong to the specification.

        Raises
        ------
        SMEError
            naming what was given, what is allowed and what to change.
        """
        wanted = spec.orders(order)
        grid = sorted({spec.steps(each) for each in several(tau)})
        if not grid:
            raise SMEError(f"tau is empty, got {tau!r}: give at least one step size, such as 1/8")
        how = Effort.of(seed, device, processes, backend, paths, tolerance, budget_s)
        numbers = {(each, steps): effort.shards(paths, tolerance, spec.horizon / steps, shards)
                   for each in wanted for steps in grid}
        return cls(spec, {which: spec.setup(*which, how.device) for which in numbers}, numbers, how)

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
        return next(setups, None) if self.spec.outline().obstruction else None
