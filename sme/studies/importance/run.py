"""What drawing examples by importance gains in loss, and what the equations say that it gains."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate
from torch import Tensor

from sme.common.process.turns import entry
from sme.common.storage.files import write_text
from sme.common.version import version
from sme.convergence.spec import effort
from sme.optimizers.base import Optimizer, initial
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise, minibatches
from sme.problems.noise.wrapped.importance import ImportanceNoise
from sme.problems.renoised import Renoised
from sme.studies.importance.probabilities import importance
from sme.studies.trajectories.run import trajectories


@entry
def gain(problem: Problem, optimizer: Optimizer, *, tau: Any, horizon: float, start: Mapping[str, Tensor], order: Any = (1, 2),
         paths: int = 8192, seed: int = 0, results: Path | None = None, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
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
    The table of `sme.importance` at the start, and a row for the discrete run and each equation: the loss under both laws,
    and the `gain`, uniform less optimal, with its standard error.

    Raises
    ------
    SMEError
        for bad input.
    """
    law = minibatches("importance", problem.noise)
    folder = effort.folder(results) if results is not None else None
    theta = initial(optimizer, start, problem.dim)["theta"]
    found = importance(problem, theta)
    laws = {"uniform": MinibatchNoise(batch_size=law.batch_size, examples=law.examples, scale=law.scale),
            "optimal": ImportanceNoise(found.probabilities, batch_size=law.batch_size, examples=law.examples, scale=law.scale)}
    ends = {}
    for i, (name, each) in enumerate(laws.items()):
        made = trajectories(Renoised(problem, each), optimizer, tau=tau, horizon=horizon, start=start, order=order, paths=paths,
                            seed=seed + i, observables=["loss"], histogram="loss", points=1, **options).table
        ends[name] = made[made["time"] == horizon].set_index("curve")
    rows = [{"curve": curve, "uniform": ends["uniform"]["mean"][curve], "optimal": ends["optimal"]["mean"][curve],
             "gain": ends["uniform"]["mean"][curve] - ends["optimal"]["mean"][curve],
             "stderr": math.hypot(*(ends[name]["stderr"][curve] for name in laws))} for curve in ends["uniform"].index]
    table = pd.DataFrame(rows)
    if folder is not None:
        write_text(folder / "importance.csv", table.assign(version=version(), seeds=f"{seed},{seed + 1}").to_csv(index=False))
        made_by = (f"sme {version()}, seeds {seed} and {seed + 1}, {optimizer.name} on {problem.name}, batches of "
                   f"{law.batch_size} of {law.motions}, τ = {tau:g}, horizon {horizon:g}, {paths} paths")
        write_text(folder / "importance.md", f"{show(found.table, table, 'github')}\n\n{made_by}\n")
    return found.table, table


def show(noise: pd.DataFrame, loss: pd.DataFrame, style: str = "simple") -> str:
    """Both tables as they are printed."""
    grids = [tabulate(each, headers="keys", tablefmt=style, showindex=False, floatfmt=".4g")  # type: ignore[arg-type]
             for each in (noise, loss)]
    return "\n\n".join(["The noise of a minibatch at the start:", grids[0], "Mean loss at the end:", grids[1]])
