"""Adam, RMSProp and Nesterov's momentum on one autoencoder, each at its best learning rate, beside their equations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from sme.common.errors import SMEError
from sme.common.inputs import LONG, whole
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer, initial
from sme.optimizers.grid import StepGrid
from sme.optimizers.nesterov import Nesterov
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.rmsprop import RMSProp
from sme.problems.networks.presets.autoencoder import Autoencoder
from sme.simulate import noiseless
from sme.simulate.observables import select
from sme.simulate.setup import Setup
from sme.studies.trajectories.report import DISCRETE

BETA2, EPS, SECOND = 0.999, 1e-4, 1e-4
"""of Adam and RMSProp; and where `v` starts"""
HIDDEN, EXAMPLES = 8, 128
STEPS, POINTS, SEEDS = 200, 5, 4
OBSERVABLES = ("loss", "|gradient|", "lowest curvature")
TOLERANCE, EVALUATIONS = 1e-3, 12
"""of the equations' solver, relative; and evaluations a step, after which an equation counts as diverged"""
SEARCH_SEED = 1000
"""of the start on which learning rates are chosen, which is none of the others"""


@dataclass(frozen=True)
class OptimizerCase:
    """A rule in torch's terms; `lrs` are those that are tried."""

    rule: str
    beta: float
    """Adam's `β₁`, or the momentum; 0 for RMSProp"""
    lrs: tuple[float, ...]

    @property
    def name(self) -> str:
        """What tables and pictures call it."""
        return self.rule + (f" {self.beta:g}" if self.beta else "")

    def scaled(self, lr: float) -> tuple[Optimizer, float]:
        """The same in scaled variables, and `τ`: `lr`, but for Nesterov's momentum `lr/(1 − β)`."""
        if self.rule == "nesterov":
            return Nesterov(c=(1 - self.beta) ** 2 / lr), lr / (1 - self.beta)
        common: dict[str, Any] = {"eps": EPS, "denominator": "updated", "v_floor": 0.0}
        if self.rule == "rmsprop":
            return RMSProp(c=(1 - BETA2) / lr, **common), lr
        return Adam(c1=(1 - self.beta) / lr, c2=(1 - BETA2) / lr, **common), lr


RATES, PLAIN = (0.01, 0.03, 0.1, 0.3), (0.1, 0.3, 0.6, 1.2)
BARE = (0.003, 0.01, 0.03, 0.1)
CONTENDERS = (OptimizerCase("adam", 0.9, RATES), OptimizerCase("adam", 0.99, RATES), OptimizerCase("rmsprop", 0.0, BARE),
              OptimizerCase("nesterov", 0.9, PLAIN), OptimizerCase("nesterov", 0.99, PLAIN))


@dataclass(frozen=True)
class AutoencoderComparison:
    """What the runs leave behind.

    Attributes
    ----------
    chosen
        `contender tau lr …`: the chosen learning rate and what it is in scaled variables, and the loss on the start that
        chose it.
    table
        `contender seed step curve observable value`, not a number from where a run is not finite.
    """

    chosen: pd.DataFrame
    table: pd.DataFrame
    seeds: tuple[int, ...]


@entry
def race(settings: Mapping[str, Any] | None = None, steps: int = STEPS, seeds: int = SEEDS, points: int = POINTS,
         processes: int = 1, contenders: Sequence[OptimizerCase] | None = None) -> AutoencoderComparison:
    """Choose each learning rate on one start, then follow run and equations of order 1 and 2 from several others.

    All on the full batch, so without noise: the equations are ordinary ones.

    Parameters
    ----------
    settings
        of `sme.Autoencoder`.
    steps, seeds, points
        of each run; so many starts; so many times after the start at which it is looked at.
    contenders
        default `CONTENDERS`.

    Raises
    ------
    SMEError
        for bad input, or if no learning rate of a contender gives a finite run.
    """
    settings = {"hidden": HIDDEN, "examples": EXAMPLES, **(settings or {})}
    steps, count = whole("steps", steps, 1, LONG), whole("seeds", seeds, 2, SEARCH_SEED)
    marks = sorted({round(i * steps / whole("points", points, 1)) for i in range(points + 1)})
    best = [(each, *_search(settings, each, steps)) for each in contenders or CONTENDERS]
    tasks = [(settings, each, lr, seed, steps, marks) for each, lr, _ in best for seed in range(count)]
    rows = list(progress(spread(_follow, tasks, processes), total=len(tasks), unit="run"))
    described = pd.DataFrame([_described(*each) for each in best])
    return AutoencoderComparison(described, pd.concat(rows, ignore_index=True), tuple(range(count)))


def _setup(settings: Mapping[str, Any], contender: OptimizerCase, lr: float, seed: int, steps: int) -> Setup:
    """A run without noise from the start of this seed."""
    problem = Autoencoder(**{**settings, "seed": seed, "noise": 0.0})
    optimizer, tau = contender.scaled(lr)
    optimizer.check(tau)
    second = {"v": torch.full((problem.dim,), SECOND, dtype=torch.float64)} if "v" in optimizer.fields else {}
    start = initial(optimizer, {**problem.start, **second}, problem.dim)
    return Setup(problem, optimizer, BALLISTIC, 1, "independent", StepGrid.of(tau, steps), start, (steps,),
                 select(problem, optimizer, list(OBSERVABLES)))


def _search(settings: Mapping[str, Any], contender: OptimizerCase, steps: int) -> tuple[float, float]:
    """The learning rate with the least loss at the end, and that loss."""
    found = {}
    for lr in contender.lrs:
        setup = _setup(settings, contender, lr, SEARCH_SEED, steps)
        end = setup.fields(noiseless.discrete(setup, [steps]))
        found[lr] = float(setup.problem.loss(end["theta"]))
    finite = {lr: loss for lr, loss in found.items() if math.isfinite(loss)}
    if not finite:
        raise SMEError(f"{contender.name} diverges with each of the learning rates {contender.lrs}: give smaller ones")
    return min(finite.items(), key=lambda item: item[1])


def _follow(settings: Mapping[str, Any], contender: OptimizerCase, lr: float, seed: int, steps: int,
            marks: Sequence[int]) -> pd.DataFrame:
    """The observables along the run and both equations."""
    setup = _setup(settings, contender, lr, seed, steps)
    with torch.no_grad():
        curves = {DISCRETE: noiseless.discrete(setup, marks)}
        for order in (1, 2):
            curves[f"order {order}"] = noiseless.drift(setup, order, marks, TOLERANCE, EVALUATIONS * steps)
        parts = []
        for curve, states in curves.items():
            values = setup.observe(setup.fields(states)).numpy()
            parts.append(pd.DataFrame({"step": np.repeat(marks, len(OBSERVABLES)), "curve": curve,
                                       "observable": np.tile(OBSERVABLES, len(marks)), "value": values.ravel()}))
    made = pd.concat(parts, ignore_index=True)
    made.insert(0, "contender", contender.name)
    made.insert(1, "seed", seed)
    return made


def _described(contender: OptimizerCase, lr: float, loss: float) -> dict[str, object]:
    """The hyperparameters as torch has them, and scaled."""
    optimizer, tau = contender.scaled(lr)
    physical = optimizer.physical(BALLISTIC, tau)
    rates = {"c1": optimizer.rates().get("c1"), "c2": optimizer.rates().get("c2")}
    if contender.rule == "rmsprop":
        rates["c2"] = optimizer.rates()["c"]
    elif contender.rule == "nesterov":
        rates["c1"] = optimizer.rates()["c"]
    return {"contender": contender.name, "lr": physical["lr"], "beta1 or momentum": contender.beta or None,
            "beta2": None if contender.rule == "nesterov" else BETA2, "eps": physical.get("eps"), "tau": tau, **rates,
            "tried": " ".join(f"{each:g}" for each in contender.lrs), "loss": loss}
