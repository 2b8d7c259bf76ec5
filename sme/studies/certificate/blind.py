"""The blind protocol: configurations first, then predictions, then what is measured, each on disk before the next."""

import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from sme.common.errors import SMEError, reason
from sme.common.inputs import seed_of, whole
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.common.storage.files import read_json, write_text
from sme.convergence.api import weak_error
from sme.convergence.comparison.candidates import candidates
from sme.convergence.comparison.predictions import predict
from sme.convergence.spec import effort
from sme.optimizers.base import Optimizer
from sme.studies.certificate import points
from sme.studies.certificate.configurations import SEED, drawn, made
from sme.studies.certificate.score import Blind, scored

COUNT = 100
MODELS = ("sme", "malladi", "compagnoni", "ode")
KEY = ["number", "regime", "model", "order", "driver"]
CONFIGURATIONS = "configurations.json"


@entry
def blind(*, count: int = COUNT, paths: int = effort.SHARD_PATHS, seed: int = SEED, processes: int | str = 1,
          results: str | Path = "results") -> Blind:
    """Predict the errors of random configurations, then measure them, then compare; what is on disk is not done again.

    Parameters
    ----------
    count
        configurations: the first so many of the seed's.
    paths
        of what is measured, in whole shards.
    seed
        of the configurations.
    processes
        over configurations.
    results
        folder: `blind/` in it gets `configurations.json`, `predictions.csv`, `truth.csv` and the score.

    Raises
    ------
    SMEError
        for bad input, or if the folder holds configurations of another seed.
    """
    place, workers = effort.folder(results) / "blind", effort.processes(processes, "cpu")
    measured = whole("paths", paths, 1)
    every = _fixed(place, whole("count", count, 1), seed_of(seed))
    predictions = _kept(place, "predictions", every, _predicted, 0, workers)
    truth = _kept(place, "truth", every, _measured, measured, workers)
    return scored(predictions, truth, len(every), seed, place).saved()


def _fixed(place: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """The configurations, written down before anything else; more of them are added to those that are there."""
    path, every = place / CONFIGURATIONS, drawn(count, seed)
    if path.exists():
        try:
            before = read_json(path)
            other = before[: len(every)] != every[: len(before)]
        except (OSError, ValueError, TypeError) as fault:
            raise SMEError(f"{path} is no list of configurations ({reason(fault)}): give another results folder") from None
        if other:
            raise SMEError(f"{path} holds other configurations than seed = {seed} draws: give another results folder")
        if len(before) >= count:
            return every
    write_text(path, json.dumps(every, indent=1) + "\n")
    return every


def _kept(place: Path, what: str, every: list[dict[str, Any]], work: Any, paths: int, workers: int) -> pd.DataFrame:
    """The rows of every configuration, those that lack computed and kept one configuration at a time."""
    path, given = place / f"{what}.csv", (paths,) if paths else ()
    older = points.table(path) if paths <= effort.SHARD_PATHS else {}  # such a table does not say of how many paths it is
    found = {}
    for each in every:
        rows = points.read(place, what, each, paths)
        found[each["number"]] = rows if points.of(place, what, each).exists() else older.get(each["number"])
    lacking = [each for each in every if found[each["number"]] is None]
    done = spread(work, [(each, *given) for each in lacking], workers, ordered=False)
    for rows in progress(done, total=len(lacking), unit="configuration", desc=what, leave=True):
        number = int(rows["number"].iloc[0])
        points.write(place, what, every[number], paths, rows)
        found[number] = rows
    table = pd.concat([each for each in found.values() if each is not None], ignore_index=True)
    more = [rows for number, rows in older.items() if number >= len(every)]
    if lacking or not path.exists():
        write_text(path, pd.concat([table, *more]).to_csv(index=False))
    return table


def _models(optimizer: Optimizer) -> list[str]:
    """Those that are compared; the literature's are of adaptive rules."""
    return [name for name in MODELS if "v" in optimizer.fields or name in ("sme", "ode")]


def _predicted(given: dict[str, Any]) -> pd.DataFrame:
    """By the closure alone: beyond the gate there is no number."""
    problem, optimizer, how = made(given)
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = candidates(problem, optimizer, how["regime"], how["horizon"], how["start"], how["observables"], how["tau"],
                           _models(optimizer))
        found = predict(every, fallback=False)
    spread = math.nan if found.chain is None else found.chain.spread
    return found.table.assign(number=given["number"], spread=spread, doubt=found.doubt, cpu=time.process_time() - began)


def _measured(given: dict[str, Any], paths: int) -> pd.DataFrame:
    """By paths, every equation that there is a prediction for or might be."""
    problem, optimizer, how = made(given)
    began, tables = time.process_time(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = candidates(problem, optimizer, how["regime"], how["horizon"], how["start"], how["observables"], how["tau"],
                           _models(optimizer))
        groups: dict[tuple[str, str], list[int]] = {}
        for each in every:
            groups.setdefault((each.model, each.spec.brownian), []).append(each.order)
        for (model, driver), orders in groups.items():
            study = weak_error(problem, optimizer, model=model, brownian=driver, order=orders, paths=paths, **how)
            errors = study.errors[["order", "observable", "error", "stderr", "integrator_bias", "diverged"]]
            tables.append(errors.assign(regime=given["regime"], model=model, driver=driver))
    return pd.concat(tables).assign(number=given["number"], cpu=time.process_time() - began)
