"""A case for several models: a problem, an optimizer and a regime, with the effort that it is worth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from sme.common.errors import SMEError
from sme.convergence.api import weak_error
from sme.convergence.spec.specification import Specification
from sme.equations.models import OWN, model
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup
from sme.studies.trajectories.report import DISCRETE
from sme.studies.trajectories.run import trajectories

MANY, SOME = 1024, 32
"""paths at a time where a price is measured; of what is followed by few runs"""


@dataclass(frozen=True)
class Case:
    """One problem, optimizer and regime, at these step sizes.

    Attributes
    ----------
    models
        the orders of each model, by the names that `sme.weak_error` takes.
    few
        whether the problem is too large for a shard of `sme.weak_error`: it is followed by `sme.trajectories`, on so many
        `paths`.
    substeps
        of the integrator where runs are few; None for the scheme's own.
    """

    name: str
    problem: Problem
    optimizer: Optimizer
    regime: str
    start: Mapping[str, Tensor]
    models: Mapping[str, Sequence[int]]
    tau: tuple[float, ...]
    horizon: float = 1.0
    observables: tuple[str, ...] | None = None
    paths: int | None = None
    few: bool = False
    substeps: int | None = None

    @property
    def names(self) -> dict[str, str]:
        """The columns of a table that tell this case from others."""
        memory = self.optimizer.memory
        decay = {0.0: ", fixed β", 1.0: ""}.get(memory, f", 1 − β ~ τ^{memory:g}")
        return {"problem": self.name, "optimizer": self.optimizer.name, "regime": self.regime + decay}

    @property
    def at_a_time(self) -> int:
        """Paths with which a price is measured."""
        return SOME if self.few else MANY

    def check(self) -> None:
        """Find bad input, which is no lack of an equation, before anything is run.

        Raises
        ------
        SMEError
            for bad input.
        """
        if not self.tau:
            raise SMEError(f"tau of {self.name} is empty: give one step size at least")
        for name, orders in self.models.items():
            model(name).asked(orders, ())
        spec = self._specification(OWN)
        for tau in self.tau:
            spec.steps(tau)

    def _specification(self, model: str) -> Specification:
        return Specification.of(self.problem, self.optimizer, self.regime, None, self.horizon, self.start,
                                list(self.observables) if self.observables else None, None, model)

    def setup(self, model: str, order: int, tau: float | None = None) -> Setup:
        """What a run of a model needs, at the coarsest `τ` unless one is given.

        Raises
        ------
        SMEError
            if the model has no such equation.
        """
        spec = self._specification(model)
        (order,) = spec.orders(order)
        return spec.setup(order, spec.steps(max(self.tau) if tau is None else tau))

    def evaluations(self, model: str, order: int, tau: float) -> int:
        """Evaluations of drift and diffusion on the finest grid of one path over the horizon."""
        setup = self.setup(model, order, tau)
        return setup.steps * ((self.substeps if self.few else None) or setup.substeps(scheme(setup.equation())))

    def measure(self, model: str, orders: Sequence[int], seed: int, processes: int | str,
                results: str | Path | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Errors at the horizon, a row for each order, `τ` and observable; and slopes, for each order and observable.

        Raises
        ------
        SMEError
            for bad input.
        """
        shared: dict[str, Any] = {
            "start": self.start, "regime": self.regime, "order": list(orders), "model": model, "horizon": self.horizon,
            "observables": list(self.observables) if self.observables else None, "seed": seed, "processes": processes,
            "results": results}
        if not self.few:
            study = weak_error(self.problem, self.optimizer, tau=list(self.tau), paths=self.paths, **shared)
            return study.errors[study.errors["at"] == "end"], study.slopes[study.slopes["at"] == "end"]
        parts = []
        for tau in self.tau:
            made = trajectories(self.problem, self.optimizer, tau=tau, paths=self.paths or SOME, substeps=self.substeps, points=1,
                                histogram=[(self.observables or ("loss",))[0]], checkpoints=[self.horizon], backend="torchsde",
                                band="none", precision="double", multilevel=False, response=True,
                                **shared)
            last = made.table[(made.table["time"] == made.table["time"].max()) & (made.table["curve"] != DISCRETE)]
            order = last["curve"].str.extract(r"order (\d)", expand=False)
            parts.append(last.assign(order=order.astype(int), error=last["difference"], stderr=last["difference_stderr"]))
        errors = pd.concat(parts, ignore_index=True)
        fits = errors[["order", "observable"]].drop_duplicates().assign(
            slope=math.nan, slope_low=math.nan, slope_high=math.nan, verdict="")
        return errors, fits
