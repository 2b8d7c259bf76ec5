"""One step size, one answer: how far each equation is from a run, and which is good enough."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from sme.common.errors import SMEError, reason
from sme.common.errors import choose as one_of
from sme.common.identity import hashing
from sme.common.inputs import number, seed_of, several, short, whole
from sme.common.process.turns import entry
from sme.common.storage.files import read_table
from sme.convergence.comparison.candidates import Candidate, candidates
from sme.convergence.comparison.choice import choose, limit
from sme.convergence.comparison.predictions import PAIRED, Predictions, predict
from sme.convergence.spec import effort
from sme.convergence.spec.tried import Observables
from sme.equations.models import Given
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.studies.certificate.other import Reading, other
from sme.studies.certificate.report import Certificate

SCALINGS = ("one", "both")
MEASURED = ("error", "stderr", "integrator_bias")


@entry
def certify(problem: Problem, optimizer: Optimizer, *, tau: float | str, horizon: float = 1.0,
            start: Mapping[str, Tensor] | None = None, regime: str = "ballistic", models: Sequence[Given] | None = None,
            observables: Observables = None, scalings: str = "one", seed: int = 0, paths: int = effort.SHARD_PATHS,
            tolerance: float | None = None, over: Sequence[float | str] | None = None, measured: str | Path | None = None,
            results: str | Path | None = None) -> Certificate:
    """Predict, at one step size, the weak error of every equation that may describe a run, with an interval.

    The expectations of the discrete run and of each equation are expanded around their noiseless runs, which are exact in `τ`, to
    second order in the size of the noise; the interval is what the terms that follow can add. The series is trusted where the
    second moment spreads over less than 0.19 of its mean and the second order is below 3/4 of the first. Beyond that the
    moments of polynomials are carried along (a state of four numbers at most), or paired paths are run; of a model of more than
    100 parameters what the noise adds comes from a few paths. `basis` says which. Source: docs/gallery/certify.md.

    Parameters
    ----------
    problem, optimizer, start, regime, horizon
        as for `sme.weak_error`.
    tau
        the step size `τ`, one number.
    models
        some of the names that `model=` takes, or equations of your own; default all that the run has.
    observables
        as for `sme.weak_error`.
    scalings
        `"both"` adds the equations of the other regime for the same physical run, with the observables in the variables of
        this one.
    seed, paths
        of the paths, where they are needed.
    tolerance
        the largest weak error that is allowed: adds the choice of `sme.select`.
    over
        further step sizes, for a picture of the errors over `τ`; the closure alone, and no number beyond the gate.
    measured
        a table `models.csv` that `scripts/models.py` made of this problem, optimizer and start: its errors are drawn beside.
    results
        folder: table, words and picture go to `certify/<name>` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input, or if the run has no equation.
    """
    allowed = None if tolerance is None else limit(tolerance)
    count, seed = whole("paths", paths, 1), seed_of(seed)
    every = [candidates(problem, optimizer, regime, horizon, start, observables, _one(tau), models)]
    if one_of("scalings", scalings, SCALINGS) == "both":
        every.append(_reread(every[0][0], models))
    beside = None if measured is None else _measured(measured, every[0][0])
    further = _over(every[0], over)
    found = [predict(each, seed, count) for each in every]
    return _made(every, found, seed, count, allowed, further, beside, results)


@entry
def select(problem: Problem, optimizer: Optimizer, *, tau: float | str, tolerance: float, horizon: float = 1.0,
           start: Mapping[str, Tensor] | None = None, regime: str = "ballistic", models: Sequence[Given] | None = None,
           observables: Observables = None, scalings: str = "one", seed: int = 0, paths: int = effort.SHARD_PATHS,
           results: str | Path | None = None) -> Certificate:
    """Choose the cheapest equation whose predicted weak error with its interval is below `tolerance` in every observable.

    Parameters
    ----------
    tolerance
        the largest weak error that is allowed.
    problem, optimizer, tau, horizon, start, regime, models, observables, scalings, seed, paths, results
        as for `sme.certify`.

    Returns
    -------
    Certificate
        whose `choice` has the equation's rows, whether it is `good`, and the reason in a sentence; `choice.good` is False where
        none is, and the rows are those of the smallest error.

    Raises
    ------
    SMEError
        for bad input, or if the run has no equation.
    """
    return certify(problem, optimizer, tau=tau, horizon=horizon, start=start, regime=regime, models=models,
                   observables=observables, scalings=scalings, seed=seed, paths=paths, tolerance=limit(tolerance),
                   results=results)


def _reread(one: Candidate, models: Sequence[Given] | None) -> list[Candidate]:
    """The equations of the other regime."""
    spec = one.spec
    there = other(Reading(spec.problem, spec.optimizer, spec.regime, one.setup.tau, spec.horizon, spec.start, spec.observables))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the observables have their names, and are of these variables
        return candidates(there.problem, there.optimizer, there.regime.name, there.horizon, there.start, there.observables,
                          there.horizon / one.setup.steps, models)


def _over(every: list[Candidate], taus: Sequence[Any] | None) -> pd.DataFrame:
    """The same predictions at other step sizes, with the spread of the second moment there."""
    tables = []
    for tau in [] if taus is None else sorted({number("a step size of over", each) for each in several(taus)}, reverse=True):
        there = [replace(each, setup=each.spec.setup(each.order, each.spec.steps(tau))) for each in every]
        found = predict(there, fallback=False)
        spread = math.nan if found.chain is None else found.chain.spread
        tables.append(found.table.assign(tau=tau, spread=spread))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _measured(path: Any, one: Candidate) -> pd.DataFrame:
    """The rows of a table of models that are of this problem, optimizer and regime."""
    try:
        table = read_table(Path(path), comment="#")
        mine = [("problem", one.spec.problem.name), ("optimizer", one.spec.optimizer.name), ("regime", one.spec.regime.name)]
        found = table[pd.concat([table[column] == name for column, name in mine], axis=1).all(axis=1)]
        return found[["model", "order", "tau", "observable", *MEASURED]].astype(dict.fromkeys(["tau", *MEASURED], float))
    except (OSError, KeyError, ValueError, TypeError) as fault:
        raise SMEError(f"measured must be the path of a models.csv that scripts/models.py wrote, got {short(path)}: "
                       f"{reason(fault)}") from None


def _made(every: list[list[Candidate]], found: list[Predictions], seed: int, paths: int, tolerance: float | None,
          further: pd.DataFrame, measured: pd.DataFrame | None, results: Any) -> Certificate:
    table = pd.concat([each.table for each in found], ignore_index=True)
    chain, one = found[0].chain, every[0][0]
    names = {(each.spec.regime.name, each.model, each.order, each.spec.brownian):
             each.name if len(every) == 1 else f"{each.name} ({each.spec.regime.name.replace('_', '-')})"
             for several in every for each in several}
    told = {"of": [each.spec.describe() for several in every for each in several], "tau": one.setup.tau, "tolerance": tolerance,
            **({"seed": seed, "paths": paths} if (table["basis"] == PAIRED).any() else {})}
    name = f"{one.spec.optimizer.name}-{one.spec.problem.name}-{hashing.digest(told, one.spec.parts)}"
    root = effort.place(results, "certify")
    doubt = next((each.doubt for each in found if each.doubt), "")
    made = Certificate(name, one.setup.tau, table, math.nan if chain is None else chain.radius,
                       math.nan if chain is None else chain.spread, doubt, seed, names, None, tolerance, further, measured,
                       folder=root and root / name)
    if tolerance is not None:
        made = replace(made, choice=choose(table, tolerance, names))
    return made.saved()


def _one(given: Any) -> float:
    """A step size alone.

    Raises
    ------
    SMEError
        for several.
    """
    several_of = several(given)
    if len(several_of) != 1:
        raise SMEError(f"tau must be one step size, got {len(several_of)} of them: give such as tau=1/8")
    return number("tau", several_of[0])
