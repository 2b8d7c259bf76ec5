"""Two equations of one discrete run compared on common noise."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from sme.common.errors import SMEError
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.convergence.comparison.comparison import COLUMNS, FACTORS, Comparison
from sme.convergence.comparison.duel import KINDS, EquationPair, prepared, run_shard
from sme.convergence.estimator.block import Block
from sme.convergence.estimator.estimates import estimates
from sme.convergence.estimator.paired import BLOCKS
from sme.convergence.fit.fieller import factor
from sme.convergence.fit.tables import labels
from sme.convergence.spec import effort
from sme.convergence.spec.effort import Execution
from sme.convergence.spec.specification import Specification
from sme.equations.base import Kind
from sme.optimizers.grid import StepGrid
from sme.simulate.backend import chosen
from sme.simulate.halving import halving

ROUNDING = 1e-12
"""a standard error below this share of the difference is none but rounding"""
Side = tuple[Specification, int]
"""a specification and the order of its equation"""


def compare(one: Side, other: Side, grid: Sequence[int], paths: int | None, how: Execution,
            tables: tuple[pd.DataFrame, pd.DataFrame], kind: Kind | None = None) -> Comparison:
    """Run two equations on common noise at every number of steps in `grid`; the first of this `kind`, if given.

    Raises
    ------
    SMEError
        if they are one and the same, or model different discrete runs, or there is no step size.
    """
    _check(one, other, kind is not None)
    if not grid:
        have = " and ".join(", ".join(f"{tau:g}" for tau in frame["tau"].unique()) or "none" for frame in tables)
        raise SMEError(f"the two studies have no step size in common (tau is {have}): give one or more, "
                       "compare(…, tau=[1/8, 1/16])")
    spec, rival, names = one[0], other[0], tuple(f"order {order}, {each.equation}" for each, order in (one, other))
    mine, theirs = (each.model.check(each.optimizer, each.regime) for each in (spec, rival))
    effort.warn_rounded(paths)
    setups = {steps: replace(spec.setup(one[1], steps, how.device), kind=kind or mine) for steps in grid}
    duels = {(one[1], steps): EquationPair.of(setup, other[1], rival.brownian, theirs) for steps, setup in setups.items()}
    duels = chosen(duels, how.backend)  # type: ignore[arg-type, assignment]
    tasks = [(duel, shard) for duel in duels.values()
             for shard in effort.shards(paths, None, duel.tau)]
    folds: dict[int, list[list[Block]]] = {steps: [[] for _ in range(BLOCKS)] for steps in grid}
    complete, bar = True, progress(total=sum(duel.steps for duel, _ in tasks), unit="step", desc="comparison")
    try:
        with bar:
            for steps, blocks in _compute(tasks, how, forms=kind is None):
                for fold, block in zip(folds[steps], blocks, strict=True):
                    fold.append(block)
                bar.update(steps)
    except KeyboardInterrupt:
        shards = {steps: sum(duel.steps == steps for duel, _ in tasks) for steps in grid}
        grid, complete = [steps for steps in grid if len(folds[steps][0]) == shards[steps]], False
        if not grid:
            raise
    rows = [row for steps in sorted(grid) for row in _rows(spec, duels[one[1], steps], folds[steps])]
    table = pd.DataFrame(rows, columns=[*(name for name in COLUMNS if name not in ("z_tables", "sharper")), "doubt"])
    table["tau"] = [StepGrid.near(spec.horizon, tau).given for tau in table["tau"]]
    doubts = {f"{row.observable} at tau = {row.tau:g} is {row.doubt}" for row in table.itertuples() if row.doubt}
    table = table.drop(columns="doubt")
    errors = [frame[frame["order"] == order] for frame, (_, order) in zip(tables, (one, other), strict=True)]
    factors = _factors(table, errors, spec.horizon)
    for name, values in _by_hand(table, errors, spec.horizon).items():
        table.insert(COLUMNS.index(name), name, values)
    return Comparison(spec.name, names, table, how.seed, complete, remark="; ".join(sorted(doubts)),  # type: ignore[arg-type]
                      parts=spec.parts, factors=factors,
                      origins=tuple(dict.fromkeys(each.model.origin for each in (spec, rival) if each.model.origin)))


def _check(one: Side, other: Side, changed: bool) -> None:
    mine, theirs = ({**each[0].describe(), "brownian": None, "model": None} for each in (one, other))
    if apart := [name for name in mine if mine[name] != theirs[name]]:
        raise SMEError(f"{one[0].name} and {other[0].name} differ in {', '.join(apart)}, so they do not model the same "
                       "discrete run: compare two orders, two choices of brownian or two models of otherwise equal studies")
    if (one[0].name, one[1]) == (other[0].name, other[1]) and not changed:
        raise SMEError(f"both are the same equation, order {one[1]}, {one[0].equation}: give the orders to compare, such as "
                       "orders=(2, 1), or another study")


def _compute(tasks: list[tuple[EquationPair, int]], how: Execution, forms: bool) -> Iterator[tuple[int, list[Block]]]:
    ready = {}
    for duel, _ in tasks:
        if duel.steps not in ready:
            # one term apart, the paths are so near that the noise needs no control variates
            ready[duel.steps] = prepared(duel) if forms else duel
    work = [(ready[duel.steps], how.seed, shard) for duel, shard in sorted(tasks, key=lambda task: -task[0].steps)]
    yield from zip((duel.steps for duel, *_ in work), spread(run_shard, work, how.processes), strict=True)


def _rows(spec: Specification, duel: EquationPair, folds: list[list[Block]]) -> Iterator[tuple[Any, ...]]:
    rows = [(label, time, name) for label, time in labels(spec.times, spec.horizon) for name in spec.observables]
    found = estimates(folds, KINDS, len(rows))
    (mean, bias), stderr = found.mean, found.stderr[0]
    with torch.no_grad():
        mine, other = (halving(duel, each) for each in duel.equations())
    if mine is not None and other is not None:
        bias = mine.less(other).bias(bias)
    for i, (label, time, name) in enumerate(rows):
        sure = stderr[i] > ROUNDING * abs(mean[i]) and not found.undefined[i]
        z = mean[i] / np.hypot(stderr[i], bias[i]) if sure else np.nan
        doubt = found.undefined[i]
        yield duel.tau, name, label, time, mean[i], stderr[i], bias[i], z, found.paths, found.diverged, doubt


def _beside(table: pd.DataFrame, errors: list[pd.DataFrame], horizon: float) -> pd.DataFrame:
    """The rows of a comparison, and beside them those of the two error tables."""
    keys, numbers = ["steps", "observable", "at"], ["error", "stderr", "integrator_bias"]

    def counted(frame: pd.DataFrame) -> pd.DataFrame:  # a table that was read has six digits of tau
        steps = (horizon / frame["tau"].astype(float)).round()
        return frame.assign(steps=steps)[[*keys, *(name for name in numbers if name in frame)]].astype(
            {name: float for name in numbers if name in frame})

    both = counted(table)[[*keys, "stderr"]].merge(counted(errors[0]), on=keys, how="left", suffixes=("_here", ""))
    return both.merge(counted(errors[1]), on=keys, how="left", suffixes=("", "_other"))


def _factors(table: pd.DataFrame, errors: list[pd.DataFrame], horizon: float) -> pd.DataFrame:
    """How many times larger the first error is than the second, with Fieller's interval as if the tables were independent.

    An integrator bias widens it as a standard error of its size would.
    """
    rows = []
    both = _beside(table, errors, horizon)
    wide = [np.hypot(both[f"stderr{which}"], both[f"integrator_bias{which}"]) for which in ("", "_other")]
    for row, e1, e2, s1, s2 in zip(table.itertuples(), both["error"], both["error_other"], *wide, strict=True):
        if np.isfinite([e1, e2, s1, s2]).all():
            rows.append((row.tau, row.observable, row.at, e1, s1, e2, s2, *factor((e1, e2), (s1**2, s2**2, 0.0))))
    return pd.DataFrame(rows, columns=FACTORS)


def _by_hand(table: pd.DataFrame, errors: list[pd.DataFrame], horizon: float) -> dict[str, pd.Series]:
    """What two error tables say of their difference, as if they were independent, and how much larger its standard error is."""
    both = _beside(table, errors, horizon)
    noise = np.hypot(both["stderr"], both["stderr_other"])
    bias = np.hypot(both["integrator_bias"], both["integrator_bias_other"])
    seen = table["z"].notna()
    return {"z_tables": ((both["error_other"] - both["error"]) / np.hypot(noise, bias)).where(seen),
            "sharper": (noise / both["stderr_here"]).where(seen)}
