"""The atlas of limits: what RMSProp and Adam become as the step size tends to 0, for every size of noise and kind of memory."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, seed_of, several, whole
from sme.common.output.report import Report
from sme.common.output.text import grid
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.equations.chain import Chain
from sme.optimizers.base import Optimizer, initial
from sme.optimizers.grid import StepGrid
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.studies.atlas import picture
from sme.studies.atlas.cell import MEMORIES, NOISES, Cell, Limit

KEYS = ["optimizer", "noise", "memory"]
SURE = 3.0  # standard errors beyond which a difference is seen


@dataclass(frozen=True, repr=False)
class Atlas(Report):
    """What `atlas` finds.

    Attributes
    ----------
    cells
        `optimizer noise memory limit`, the limiting equations, the exponents of one step's moments, `rate` (the power of `τ` with
        which the difference falls, between the coarsest and the finest step size at which it is seen; none if it is seen at fewer
        than two), the difference at the finest step size, `extrapolated`, its value at `τ → 0` by a series in `√τ`, and `cut`,
        how far that moves without the coarsest step size.
    differences
        `optimizer noise memory tau difference stderr`: `E θ²` of the discrete run less that of the limit, both on the same
        noise and grid, summed over coordinates.
    """

    file = "atlas"
    name: str
    seed: int
    cells: pd.DataFrame
    differences: pd.DataFrame

    @property
    def title(self) -> str:
        return "Limits of RMSProp and Adam"

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"cells": self.cells, "differences": self.differences}

    def body(self, style: str) -> list[str]:
        finest = self.differences["tau"].min()
        shown = self.cells[[*KEYS, "limit"]].assign(
            rate=[f"{rate:.2f}" if math.isfinite(rate) else "–" for rate in self.cells["rate"]],
            difference=[f"{d:.1e} ± {s:.0e}" for d, s in zip(self.cells["difference"], self.cells["stderr"], strict=True)],
            extrapolated=[f"{d:.1e} ± {s:.0e} ± {c:.0e}" for d, s, c in self.cells[
                ["extrapolated", "extrapolated_stderr", "cut"]].itertuples(index=False)])
        words = ("∇ = ∇f(θ), σ = diag Σ; M and V are the averages of few steps, at their stationary law. rate: the difference in "
                 f"E θ² to the discrete run falls like τ^rate; difference: at τ = {finest:g}; extrapolated: at τ → 0, by a "
                 "series in √τ with as many terms as step sizes, ± its standard error ± how far it moves without the coarsest "
                 "step size and a term. Without a rate the difference is lost in the noise: the limit is not contradicted there, "
                 "and not shown.")
        return [grid(shown, style), words]

    def draw(self, path: Path) -> Path:
        return picture.draw(self.cells, self.differences, self.provenance, path)


@entry
def atlas(problem: Problem, optimizers: Sequence[Optimizer], start: dict[str, Tensor], *, tau: Sequence[float | str] = (
          2.0**-4, 2.0**-6, 2.0**-8, 2.0**-10), horizon: float = 1.0, paths: int = 2048, seed: int = 0,
          results: str | Path | None = None) -> Atlas:
    """Simulate the discrete run in every cell, with ever smaller steps, beside the limit that its update rule has there.

    Parameters
    ----------
    problem
        of one parameter, with constant Gaussian noise.
    optimizers
        `RMSProp` or `Adam`, each once, with rates below 1, as they are `1 − β` where the memory is of a few steps.
    start
        named fields; frozen averages stay there.
    tau, horizon
        step sizes, and the time to which each is run.
    paths
        runs in each cell, in antithetic pairs.
    results
        folder; tables and a picture go to `atlas` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input.
    """
    problems.checked(problem)
    horizon = number("horizon", horizon)
    grids = _grids(problem, optimizers, tau, horizon)
    pairs, seed = math.ceil(whole("paths", paths, 4) / 2), seed_of(seed)
    folder = effort.place(results, "atlas")
    rows, parts = [], []
    cells = [Cell(*where) for where in itertools.product(NOISES, MEMORIES)]
    for field in start:
        choose("field in start", field, dict.fromkeys(name for optimizer in optimizers for name in optimizer.fields))
    with progress(total=len(optimizers) * len(cells), desc="cells", leave=True) as work:
        for optimizer in optimizers:
            given = {name: field for name, field in start.items() if name in optimizer.fields}
            state = initial(optimizer, given, problem.dim)
            limits = {cell: Limit(cell, problem, optimizer, state) for cell in cells}
            for cell in cells:
                found = [_run(limits[cell], each, pairs, seed) for each in grids]
                table = pd.DataFrame([(grid.given, *_mean(each)) for grid, each in zip(grids, found, strict=True)],
                                     columns=["tau", "difference", "stderr"])
                names = {"optimizer": optimizer.name, "noise": cell.noise, "memory": cell.memory}
                parts.append(table.assign(**names))
                rows.append({**names, "limit": limits[cell].text(), **cell.exponents(problem, optimizer, state),
                             "rate": _rate(table), **table.iloc[-1][["difference", "stderr"]].to_dict(), **_extrapolated(table)})
                work.update()
    differences = pd.concat(parts, ignore_index=True)[[*KEYS, "tau", "difference", "stderr"]]
    return Atlas("atlas", seed, pd.DataFrame(rows), differences, folder=folder).saved()


def _grids(problem: Problem, optimizers: Sequence[Optimizer], tau: Sequence[float | str], horizon: float) -> list[StepGrid]:
    """From the coarsest step size to the finest.

    Raises
    ------
    SMEError
        for bad input.
    """
    if problem.dim != 1 or not problem.noise.paired or not problem.noise.constant:
        raise SMEError(f"the atlas is drawn for one parameter with constant Gaussian noise, got dim = {problem.dim} and "
                       f"{type(problem.noise).__name__}: use problem=polynomial")
    names = [optimizer.name for optimizer in optimizers]
    if not names or len(set(names)) < len(names):
        raise SMEError(f"give one or more optimizers, each once, got {names}")
    for optimizer in optimizers:
        if optimizer.memory != 1:
            raise SMEError(f"every cell has its own memory exponent, got {optimizer.name} with memory = {optimizer.memory:g}: "
                           "leave it out")
        for cell in (Cell("ballistic", memory) for memory in MEMORIES):
            cell.optimizer(optimizer)  # a rate of 1 has no fixed decay
    if not 0 < horizon < math.inf:
        raise SMEError(f"horizon must be positive and finite, got {horizon:g}: give one such as 1")
    steps = []
    for each in several(tau):
        value = number("tau", each)
        count = horizon / value if value > 0 else 0.0
        if not 0 < value < 1 or abs(count - round(count)) > 1e-9 * count:
            raise SMEError(f"tau = {value:g} must be in (0, 1) and divide the horizon, {horizon:g}: give tau=[1/16,1/64]")
        steps.append(round(count))
    if len(set(steps)) < 2:
        raise SMEError(f"two or more step sizes are needed to see a limit, got {list(several(tau))}")
    return [StepGrid(horizon, count) for count in sorted(set(steps))]


def _run(limit: Limit, grid: StepGrid, pairs: int, seed: int) -> Tensor:
    """`θ²` of the discrete run less that of the limit at the end, both on the same noise, a mean for each pair."""
    tau, key = grid.tau, np.random.SeedSequence([seed, grid.steps]).generate_state(1)
    generator = torch.Generator().manual_seed(int(key[0]))
    chain = Chain(limit.problem, limit.optimizer, limit.cell.regime, tau)
    runs = 2 * pairs if limit.cell.noisy else 1
    one = {name: field.expand(2 * pairs, -1).contiguous() for name, field in limit.start.items()}
    other = {name: field.expand(runs, -1).contiguous() for name, field in limit.start.items()}
    for k in range(grid.steps):
        half = torch.randn(pairs, 1, generator=generator, dtype=torch.float64)
        z = torch.cat((half, -half))
        one, _ = chain.step(one, z, k)
        other = limit.step(other, tau, tau**0.5 * z[:runs])
    ends = [state["theta"].square().sum(-1) for state in (one, other)]
    return (ends[0] - ends[1]).unflatten(0, (2, pairs)).mean(0)


def _mean(pairs: Tensor) -> tuple[float, float]:
    return float(pairs.mean()), float(pairs.std() / len(pairs) ** 0.5)


def _rate(table: pd.DataFrame) -> float:
    """The slope of `log |difference|` over `log τ` between the first and the last step size at which it is seen."""
    seen = table[table["difference"].abs() > SURE * table["stderr"]]
    if len(seen) < 2:
        return math.nan
    first, last = seen.iloc[0], seen.iloc[-1]
    return float(np.log(abs(first["difference"] / last["difference"])) / np.log(first["tau"] / last["tau"]))


def _extrapolated(table: pd.DataFrame) -> dict[str, float]:
    """The difference at `τ → 0`, by the series in `√τ` with as many terms as there are step sizes."""
    powers = (table["tau"].to_numpy()[:, None] ** 0.5) ** np.arange(len(table))
    weights = np.linalg.inv(powers)[0]
    fewer = np.linalg.inv(powers[1:, :-1])[0]
    whole, part = float(weights @ table["difference"]), float(fewer @ table["difference"].iloc[1:])
    stderr = float(np.sqrt(weights**2 @ table["stderr"] ** 2))
    return {"extrapolated": whole, "extrapolated_stderr": stderr, "cut": abs(whole - part)}
