"""The weak errors of several equations at one step size, each with an interval, and how it was had."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sme.common.errors import SMEError
from sme.common.process.progress import progress
from sme.convergence.comparison.candidates import Candidate
from sme.convergence.estimator.closure import closure, coupled
from sme.convergence.estimator.closure.closure import Expectations, Predicted
from sme.convergence.estimator.quadrature.method import lack
from sme.convergence.estimator.quadrature.settle import settled
from sme.convergence.spec.effort import SHARD_PATHS
from sme.convergence.study import Study

CLOSURE, MOMENTS, PAIRED = BASES = ("closure", "moments", "paired")
COLUMNS = ["regime", "model", "order", "driver", "observable", "predicted", "low", "high", "basis", "cost"]
SIGMAS = 2.0
"""standard errors, with the integrator bias, on either side of what paths measure"""


@dataclass(frozen=True)
class Predictions:
    """What is known of the equations of one run.

    Attributes
    ----------
    table
        a row for each equation and observable: `regime model order driver observable predicted low high basis cost`.
    chain
        what the closure found of the discrete run; None where it has none.
    doubt
        why the closure is not used, of the equation where it fails first; empty if it is used of all.
    """

    table: pd.DataFrame
    chain: Expectations | None
    doubt: str


def predict(candidates: Sequence[Candidate], seed: int = 0, paths: int = SHARD_PATHS, fallback: bool = True) -> Predictions:
    """By the closure where its series can be trusted, else by moments, else by paths that share their noise.

    Without `fallback` an equation beyond the gate has no numbers.
    """
    chain, doubt = _chain(candidates[0])
    rows, large = [], coupled.large(candidates[0].setup)
    several = coupled.errors([each.setup for each in candidates], seed) if large and fallback else []
    for i, each in enumerate(progress(candidates, desc="predictions")):
        found, basis = None, CLOSURE
        if large:
            found, basis = (several[i] if several else None), PAIRED
        else:
            found, why = _closed(each, chain)
            doubt = doubt or why
            if found is None and fallback:
                found, basis = _beyond(each, seed, paths)
        rows += _rows(each, found, basis)
    return Predictions(pd.DataFrame(rows, columns=COLUMNS), chain, doubt)


def _rows(candidate: Candidate, found: Predicted | None, basis: str) -> list[dict[str, Any]]:
    names = list(candidate.spec.observables)
    value, half = (np.full(len(names), math.nan),) * 2 if found is None else (found.error, found.half)
    return [{"regime": candidate.spec.regime.name, "model": candidate.model, "order": candidate.order,
             "driver": candidate.spec.brownian, "observable": name, "predicted": float(v), "low": float(v - h),
             "high": float(v + h), "basis": basis, "cost": candidate.cost} for name, v, h in zip(names, value, half, strict=True)]


def _chain(candidate: Candidate) -> tuple[Expectations | None, str]:
    """Of the discrete run, which all have in common, and why there is nothing or nothing to be trusted."""
    if candidate.setup.optimizer.memory != 1:
        return None, "a memory that does not grow as 1/τ has no closure"
    try:
        found = closure.of_chain(candidate.setup)
    except SMEError as fault:
        return None, str(fault)
    return found, found.doubt


def _closed(candidate: Candidate, chain: Expectations | None) -> tuple[Predicted | None, str]:
    if chain is None or chain.doubt:
        return None, ""
    try:
        found = closure.error(chain, closure.of_equation(candidate.setup))
    except SMEError as fault:
        return None, str(fault)
    return (None, found.doubt) if found.doubt else (found, "")


def _beyond(candidate: Candidate, seed: int, paths: int) -> tuple[Predicted | None, str]:
    """By moments of a state of few numbers; where these do not settle, or of a larger one, from paths."""
    if not lack(candidate.setup):
        found = settled(candidate.setup)
        value, bias, bound = found.values[0], found.values[1], found.bounds[0]
        if np.isfinite(value).all():
            return Predicted(value, bound + np.abs(bias), ""), MOMENTS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of step sizes that no series trusts, which is why it is measured
        study = Study.begin(candidate.spec, None).extend(tau=candidate.setup.tau, order=candidate.order, paths=paths, seed=seed)
    errors = study.errors
    half = SIGMAS * np.hypot(errors["stderr"], errors["integrator_bias"])
    return Predicted(errors["error"].to_numpy(float), half.to_numpy(float), ""), PAIRED

