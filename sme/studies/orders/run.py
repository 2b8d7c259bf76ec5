"""The orders of all equations there are, by the one-step test."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.identity import recipe
from sme.common.inputs import short
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.equations.models import MODELS
from sme.equations.order.check import check_order
from sme.optimizers.adabayes import AdaBayes
from sme.optimizers.adabayes_filter import AdaBayesFilter
from sme.optimizers.adagrad import AdaGrad
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer
from sme.optimizers.momentum import Momentum
from sme.optimizers.nesterov import Nesterov
from sme.optimizers.regimes import REGIMES, regime
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.rmspropw import RMSPropW
from sme.optimizers.sgd import SGD
from sme.optimizers.signsgd import SignSGD
from sme.optimizers.signum import Signum
from sme.problems.base import Problem
from sme.problems.noise.diagonal import DiagonalNoise
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.noise.minibatch.law import MinibatchNoise

OPTIMIZERS: tuple[Optimizer, ...] = (
    SGD(), Momentum(), Nesterov(), AdaGrad(), RMSProp(), RMSProp(eps_mode="inside"), RMSProp(eps_mode="average"),
    RMSPropW(), Adam(), AdamW(), AdaBayes(), AdaBayesFilter(), SignSGD(), Signum(),
)
EQUATIONS = {"order 1": (1, "independent"), "independent": (2, "independent"), "step memory": (2, "step_memory")}
KEYS = ["optimizer", "denominator", "regime", "noise"]
MODELLED = ("rmsprop", "adam", "adamw", "signsgd")
"""the optimizers of `modelled`, where none are named"""


def catalogue(optimizers: Sequence[str] | None = None, processes: int = 1) -> pd.DataFrame:
    """`check_order` for optimizers × denominators × regimes × noise laws × equations, one row for the last.

    A problem of two parameters with every derivative alive; Gaussian noise with a constant and with a
    state-dependent, non-commuting factor, and minibatches of 2 of 3 examples. The columns `order 1`,
    `independent` and `step memory` hold the orders by the one-step test (NaN where there is no such equation),
    `in the way` what keeps the equation with independent motions from order 2.

    Raises
    ------
    SMEError
        for an unknown optimizer.
    """
    chosen = list(_variants(optimizers))
    work = [(optimizer, regime, noise) for optimizer in chosen for regime in REGIMES for noise in NOISES]
    rows = progress(spread(_row, work, processes), total=len(work), unit="row")
    return pd.DataFrame(list(rows))


def modelled(optimizers: Sequence[str] | None = None, processes: int = 1) -> pd.DataFrame:
    """`check_order` for models × optimizers × regimes × noise laws, a row for each, at the highest order that the model has.

    On the problem and the noise laws of `catalogue`, and on Gaussian noise that is independent between both parameters. The
    columns `claimed` and `proved` hold orders (NaN where there is no such equation), `in the way` what keeps it from the next.

    Raises
    ------
    SMEError
        for an unknown optimizer.
    """
    chosen = [each for each in _variants(optimizers or MODELLED) if getattr(each, "denominator", "previous") == "previous"]
    work = [(model, optimizer, regime, noise) for model in MODELS if MODELS[model].memory == 1
            for optimizer in chosen for regime in REGIMES for noise in (INDEPENDENT, *NOISES)]
    rows = progress(spread(_modelled, work, processes), total=len(work), unit="row")
    return pd.DataFrame(list(rows))


def _modelled(model: str, optimizer: Optimizer, where: str, noise: str) -> dict[str, object]:
    row: dict[str, object] = {"model": model, "optimizer": optimizer.name, "regime": where, "noise": noise}
    problem = NOISES[noise] if noise in NOISES else Problem(_loss, 2, DiagonalNoise(torch.tensor([0.5, 0.4])))
    try:
        found = check_order(problem, optimizer, where, model=model)
    except SMEError as refusal:
        words = str(refusal).replace(f" of {type(optimizer).__name__} in the {where} regime", " of this rule")
        return {**row, "claimed": math.nan, "proved": math.nan, "in the way": words.replace(optimizer.name, "this rule")}
    claim = MODELS[model].claim(problem, optimizer, regime(where), MODELS[model].motion(None))
    return {**row, "claimed": claim.order, "proved": found.proved, "in the way": found.obstacle or ""}


def _variants(names: Sequence[str] | None) -> Iterator[Optimizer]:
    known = {optimizer.name for optimizer in OPTIMIZERS}
    for name in names or ():
        if "." in name:
            yield own(name)
        else:
            choose("optimizer", name, sorted(known))
    for optimizer in OPTIMIZERS:
        if not names or optimizer.name in names:
            yield optimizer
            if hasattr(optimizer, "denominator"):
                yield dataclasses.replace(optimizer, denominator="updated")  # type: ignore[type-var]


def own(dotted: str) -> Optimizer:
    """A rule of the user's own, by the dotted path of its class, with its defaults.

    Raises
    ------
    SMEError
        if there is none, or it is no optimizer.
    """
    recipe.here()
    kind = recipe.located(dotted)
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
        raise SMEError(f"{dotted} is no sme.Optimizer, got {short(kind)}: give the dotted path of a class of update rules")
    try:
        return kind()
    except TypeError as fault:
        raise SMEError(f"{dotted} cannot be made without arguments ({fault}): give them defaults") from fault


def _row(optimizer: Optimizer, regime: str, noise: str) -> dict[str, object]:
    return row(optimizer, regime, noise, NOISES[noise])


def row(optimizer: Optimizer, regime: str, noise: str, problem: Problem) -> dict[str, object]:
    """The orders by the one-step test of the equations of one optimizer, regime and problem, whose noise goes by this name."""
    names = (optimizer.name, getattr(optimizer, "denominator", "–"), regime, noise)
    found: dict[str, object] = dict(zip(KEYS, names, strict=True))
    reasons = {}
    for name, (order, brownian) in EQUATIONS.items():
        try:
            proof = check_order(problem, optimizer, regime, order, brownian)
            found[name], reasons[name] = proof.proved, proof.obstacle or ""
        except SMEError as refusal:
            found[name] = math.nan
            reasons[name] = str(refusal).replace(f" of {optimizer.name} ", " ").replace(optimizer.name, "the rule")
    found["in the way"] = reasons["order 1"] if found["order 1"] != 1 else reasons["independent"]
    return found


def _loss(theta: Tensor) -> Tensor:
    a, b = theta[0], theta[1]
    return 0.5 * a * a + 0.3 * torch.sin(a * b) + 0.4 * b**2 + 0.2 * torch.exp(0.5 * b - 0.3 * a) + 0.075 * a**4


def _factor(theta: Tensor) -> Tensor:
    a, b = theta[0], theta[1]
    return torch.stack([torch.stack([0.5 + 0.2 * torch.sin(b), 0.2 * a]), torch.stack([0.1 * b, 0.4 + 0.1 * a * b])])


def _example(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (torch.tanh(theta @ x) - y) ** 2 + 0.1 * (theta**3).sum() * x[0]


def _minibatch() -> Problem:
    x = torch.tensor([[0.7, -0.3], [-0.5, 0.9], [0.2, 1.1]], dtype=torch.float64)
    y = torch.tensor([0.4, -0.8, 0.3], dtype=torch.float64)
    return Problem(lambda theta: torch.stack([_example(theta, a, b) for a, b in zip(x, y, strict=True)]).mean(), 2,
                   MinibatchNoise(_example, (x, y), 2))


INDEPENDENT = "Gaussian, independent"
NOISES = {
    "Gaussian, constant": Problem(_loss, 2, GaussianNoise(torch.tensor([[0.5, 0.2], [-0.1, 0.4]], dtype=torch.float64))),
    "Gaussian, state-dependent": Problem(_loss, 2, GaussianNoise(_factor)),
    "minibatch of 2": _minibatch(),
}
