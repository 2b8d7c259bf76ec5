"""Runs with `κ` times the batch size, by a scaling rule, against the epochs: whether their losses fall on one curve."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.identity.hashing import digest, fingerprint
from sme.common.identity.numerics import used
from sme.common.inputs import number, seed_of, several, whole
from sme.common.process.turns import entry
from sme.common.storage.records import Records
from sme.convergence.spec import effort
from sme.optimizers.base import initial
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.scaling_rules import POWERS, ROUNDING, largest, scale
from sme.optimizers.sgd import SGD
from sme.problems import base as problems
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise, minibatches
from sme.simulate.discrete import runs as _runs
from sme.studies.scaling.distances import Key, distances, ends
from sme.studies.scaling.doubling import BESIDE, beside, rounded
from sme.studies.scaling.legs import leg
from sme.studies.scaling.report import Collapse

TEST = "test loss"
BAND = (0.1, 0.9)
"""quantiles over runs"""


@entry
def collapse(problem: Problem, hyperparameters: Sequence[Hyperparameters], theta: Float[Tensor, " d"], *,
             kappa: Sequence[float] = (1, 2, 4, 8), rules: Sequence[str] = tuple(POWERS), points: int = 32, runs: int = 32,
             seed: int = 0, results: str | Path | None = None) -> Collapse:
    """Run optimizers at `κ` times the batch size for as many epochs, with the hyperparameters of the scaling rules.

    What was run before, by a command that was broken off, is not run again.

    The runs are those of torch: its denominator, and for Adam its bias correction from averages of 0. RMSProp's average starts at
    `E[gradient∘gradient]`. A `κ` with `κ (1 − β) ≥ 1` is left out.

    Parameters
    ----------
    problem
        with minibatch noise; its `test loss`, if it has one, is followed too.
    hyperparameters
        physical ones for `κ = 1`, with their steps; the batch size is the problem's.
    theta
        where the runs start.
    kappa
        factors of the batch size, 1 among them; each must divide the steps.
    rules
        of `"square_root"` and `"linear"`; of SGD only the latter is run.
    points
        so many evenly spaced times, at most the steps of the largest `κ`.
    runs
        for each curve, at least 4, rounded up to an even number.
    results
        folder; tables and a picture go to `scaling/<name>` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input.
    """
    law = minibatches("a scaling rule", problems.checked(problem).noise)
    factors, rules = sorted({number("kappa", each) for each in several(kappa)}), several(rules)
    if 1.0 not in factors or not all(0 < each < math.inf for each in factors):
        raise SMEError(f"kappa must be positive and have 1 among its values, got {factors}: the other curves are "
                       "measured against it")
    for rule in rules:
        choose("rule", rule, POWERS)
    handed: Any = hyperparameters
    single = isinstance(handed, Hyperparameters | Tensor) or not isinstance(handed, Iterable)
    listed: list[Any] = [handed] if single else list(handed)
    if not all(isinstance(each, Hyperparameters) and each.steps for each in listed):
        raise SMEError("hyperparameters must be one or more sme.Hyperparameters with their steps: give steps=…")
    given = [replace(each, batch_size=law.batch_size) for each in listed]
    if not given or len({each.optimizer for each in given}) < len(given):
        raise SMEError("hyperparameters must be those of one or more optimizers, each once, got "
                       f"{[each.optimizer for each in given]}")
    if not rules or (rules == ["square_root"] and all(each.optimizer == "sgd" for each in given)):
        raise SMEError(f"there is nothing to run by the rules {rules}: of SGD linear is run, of the others square_root too")
    seed = seed_of(seed)
    points, runs = whole("points", points, 1), 2 * math.ceil(whole("runs", runs, 4) / 2)
    for each in given:
        _check_steps(each, [factor for factor in factors if _allowed(each, factor)], points)
    root = effort.place(results, "scaling")
    theta = initial(SGD(), {"theta": theta}, problem.dim)["theta"]
    problem.check(theta)
    asked = [each.settings() for each in given]
    name = f"{problem.name}-" + digest({"of": fingerprint([problem, asked, theta, factors,
                                                            list(rules), points, runs, seed])}, used(problem, law))
    records = Records([name])
    curves: dict[Key, tuple[pd.DataFrame, np.ndarray]] = {}
    predicted: dict[Key, np.ndarray] = {}

    def follow(given: Hyperparameters, kind: str) -> tuple[pd.DataFrame, np.ndarray]:
        values = records.get(kind, lambda: {"values": _values(problem, law, given, theta, points, runs, seed)})["values"]
        records.save()
        return _curves(problem, law, given, points, values), values

    for each in given:
        alone = follow(each, each.optimizer)
        own = [rule for rule in rules if (each.optimizer, rule) != ("sgd", "square_root")]
        aside = records.get(f"{each.optimizer} beside", lambda each=each, own=own: {  # type: ignore[misc]
            " ".join(map(str, key)): found for key, found in _beside(problem, law, each, own, theta, points, runs, seed).items()})
        predicted |= {(optimizer, rule, float(kappa)): found for (optimizer, rule, kappa), found in (
            (key.split(), found) for key, found in aside.items())}
        for rule in own:
            for factor in factors:
                if _allowed(each, factor):
                    curves[each.optimizer, rule, factor] = alone if factor == 1 else follow(
                        scale(each, factor, rule), f"{each.optimizer} {rule} {factor:g}")
    table = pd.concat([part.assign(optimizer=key[0], rule=key[1], kappa=key[2]) for key, (part, _) in curves.items()],
                      ignore_index=True)
    front = ["optimizer", "rule", "kappa"]
    table = table[[*front, *(name for name in table.columns if name not in front)]]
    at = theta[None]
    noise = float(law.variance(at).sum() / problem.gradient(at).square().sum())
    limits = {each.optimizer: largest(each) for each in given}
    values = {key: found for key, (_, found) in curves.items()}
    observables = list(table["observable"].unique())
    apart = distances(values, observables, limits)
    made = Collapse(name, seed, runs, noise, tuple(given), table, apart, ends(apart, predicted, observables),
                    folder=root and root / name)
    return made.saved()


def _allowed(given: Hyperparameters, kappa: float) -> bool:
    return kappa < largest(given) * (1 - ROUNDING)


def _check_steps(given: Hyperparameters, factors: Sequence[float], points: int) -> None:
    """Raise `SMEError` unless every `κ` divides the steps into at least as many as there are points."""
    for kappa in factors:
        steps = given.steps / kappa  # type: ignore[operator]
        if abs(steps - round(steps)) > ROUNDING * steps:
            raise SMEError(f"kappa = {kappa:g} does not divide the {given.steps} steps of {given.optimizer}: change either")
        if round(steps) < points:
            raise SMEError(f"with kappa = {kappa:g} {given.optimizer} takes {steps:g} steps, fewer than points = {points}: give "
                           "more steps or fewer points")


def _observe(problem: Problem) -> dict[str, Callable[[Tensor], Tensor]]:
    return {"train loss": problem.loss, **{name: f for name, f in problem.functions().items() if name == TEST}}


def _marks(given: Hyperparameters, points: int) -> list[int]:
    return sorted({round(i * given.steps / points) for i in range(points + 1)})  # type: ignore[operator]


def _values(problem: Problem, law: MinibatchNoise, given: Hyperparameters, theta: Tensor, points: int, runs: int,
            seed: int) -> Float[np.ndarray, "marks runs observables"]:
    """The losses of the runs with these hyperparameters."""
    mine, measured = leg(problem, law, given, theta), _observe(problem)
    return _runs(mine.chain, mine.start, _marks(given, points),
                 lambda state: torch.stack([f(state["theta"]) for f in measured.values()], -1), runs, seed, str(given)).numpy()


def _curves(problem: Problem, law: MinibatchNoise, given: Hyperparameters, points: int, values: np.ndarray) -> pd.DataFrame:
    """Their statistics at every time."""
    assert given.batch_size is not None
    epochs, parts = np.array(_marks(given, points)) * given.batch_size / law.motions, []
    for i, name in enumerate(_observe(problem)):
        some = values[..., i]
        low, high = np.quantile(some, BAND, axis=1)
        parts.append(pd.DataFrame({"batch_size": given.batch_size, "steps": given.steps, "epoch": epochs, "observable": name,
                                   "mean": some.mean(1), "stderr": some.std(1, ddof=1) / some.shape[1] ** 0.5, "low": low,
                                   "high": high}))
    return pd.concat(parts)


def _beside(problem: Problem, law: MinibatchNoise, given: Hyperparameters, rules: Sequence[str], theta: Tensor, points: int,
            runs: int, seed: int) -> dict[Key, Float[np.ndarray, "marks runs observables"]]:
    """For each rule and small `κ` that makes a step and a batch, `log f(κ) − log f(1)` of runs at `κ = 1` and beside them."""
    assert given.steps is not None
    assert given.batch_size is not None
    steps, batch, measured = given.steps, given.batch_size, _observe(problem)
    most = math.inf if law.sampling.name == "with_replacement" else law.motions / batch
    factors = [each for each in BESIDE if each <= min(most, steps) and _allowed(given, each)]
    if not factors:
        return {}
    keys = [(given.optimizer, rule, float(factor)) for rule in rules for factor in factors]
    legs = [leg(problem, law, given, theta), *(
        replace(leg(problem, law, scale(replace(given, steps=None), factor, rule), theta), kappa=int(factor))
        for _, rule, factor in keys)]
    window = max(factors)
    found = np.log(beside(law.examples, (law.sampling.name, batch), legs, rounded(steps, min(points, steps // window), window),
                          lambda state: torch.stack([f(state["theta"]) for f in measured.values()], -1), max(4, runs // 2), seed,
                          f"{given.optimizer} beside itself"))
    return {key: mine - found[0] for key, mine in zip(keys, found[1:], strict=True)}
