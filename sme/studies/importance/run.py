"""What drawing examples by importance gains in loss, and what the equations say that it gains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from sme.common.output.report import Tabled
from sme.common.output.text import grid
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.optimizers.base import Optimizer, initial
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise, minibatches
from sme.problems.noise.wrapped.importance import ImportanceNoise
from sme.problems.renoised import Renoised
from sme.studies.importance.probabilities import importance
from sme.studies.trajectories.run import trajectories


@entry
def gain(problem: Problem, optimizer: Optimizer, *, tau: Any, horizon: float, start: Mapping[str, Tensor], order: Any = (1, 2),
         paths: int = 8192, seed: int = 0, results: Path | None = None, **options: Any) -> "Gain":
    """The mean loss at the horizon with uniform probabilities and with those that are optimal at the start.

    The runs of the two laws are independent, on seeds `seed` and `seed + 1`.

    Parameters
    ----------
    problem
        with minibatches drawn with replacement.
    optimizer, tau, horizon, start, order, paths, options
        as of `sme.trajectories`.
    results
        a folder for `importance.csv` and `importance.md`; None: none.

    Returns
    -------
    The report, with the table of `sme.importance` at the start, and a row for the discrete run and each equation: the loss
    under both laws, and the `gain`, uniform less optimal, with its standard error.

    Raises
    ------
    SMEError
        for bad input.
    """
    law = minibatches("importance", problems.checked(problem).noise)
    folder = effort.place(results)
    theta = initial(optimizer, start, problem.dim)["theta"]
    found = importance(problem, theta)
    laws = {"uniform": MinibatchNoise(batch_size=law.batch_size, examples=law.examples, scale=law.scale),
            "optimal": ImportanceNoise(found.probabilities, batch_size=law.batch_size, examples=law.examples, scale=law.scale)}
    ends = {}
    for i, (name, each) in enumerate(laws.items()):
        made = trajectories(Renoised(problem, each), optimizer, tau=tau, horizon=horizon, start=start, order=order, paths=paths,
                            seed=seed + i, observables=["loss"], histogram="loss", points=1,
                            **{"response": True, **options}).table
        ends[name] = made[made["time"] == horizon].set_index("curve")
    rows = [{"curve": curve, "uniform": ends["uniform"]["mean"][curve], "optimal": ends["optimal"]["mean"][curve],
             "gain": ends["uniform"]["mean"][curve] - ends["optimal"]["mean"][curve],
             "stderr": math.hypot(*(ends[name]["stderr"][curve] for name in laws))} for curve in ends["uniform"].index]
    made = Gain(pd.DataFrame(rows), found.table, seed,
                f"{optimizer.name} on {problem.name}, batches of {law.batch_size} of {law.motions}, τ = {tau:g}, horizon "
                f"{horizon:g}, {paths} paths", folder=folder)
    return made.saved()


@dataclass(frozen=True, repr=False)
class Gain(Tabled):
    """What examples drawn by importance gain: the noise at the start, and the mean losses at the end."""

    file = name = "importance"
    title = "Examples drawn by the size of their gradients"
    noise: pd.DataFrame = field(default_factory=pd.DataFrame)
    seed: int = 0
    setting: str = ""

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.seed, self.seed + 1

    def csv(self, table: pd.DataFrame) -> str:
        return table.assign(version=self.provenance.version, seeds=",".join(map(str, self.seeds))).to_csv(index=False)

    def body(self, style: str) -> list[str]:
        noise, loss = (grid(each.map(_shown), style) for each in (self.noise, self.table))
        return ["The noise of a minibatch at the start:", noise, "Mean loss at the end:", loss, self.setting]


def _shown(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
