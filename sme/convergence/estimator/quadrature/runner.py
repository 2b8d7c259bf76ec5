"""From setups to points by quadrature: one for each order and step size, with bounds in place of shards."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sme.convergence.cost.offer import seconds
from sme.convergence.estimator.quadrature.computed import Computed
from sme.convergence.estimator.quadrature.settle import settled
from sme.convergence.runner import Runner, made, physical
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store.points import Key
from sme.simulate.setup import Setup


class ByQuadrature(Runner):
    """Computes the points that a study lacks, without random paths."""

    def ready(self, setups: Mapping[tuple[int, int], Setup]) -> dict[tuple[int, int], Setup]:
        """As they are: nothing is sampled, so that nothing is compiled."""
        return dict(setups)

    def expected(self, setups: list[Setup]) -> float:
        """Seconds of all of these, from the first rung of the finest."""
        return len(setups) * seconds(max(setups, key=lambda setup: setup.steps)) if setups else 0.0

    @property
    def work(self) -> Callable[..., Any]:
        """What makes a point."""
        return _computed


def _computed(setup: Setup, key: Key, outline: StudyMetadata, folder: Path | None) -> Computed:
    """The point, kept at once by the process that computed it."""
    began, found = time.perf_counter(), settled(setup)
    point = Computed(key, outline.study, found.values, found.bounds, found.diverged, found.floored, physical(setup),
                     made(setup, began), outline.numerics)
    if folder is not None:
        point.save(folder / "points")
    return point
