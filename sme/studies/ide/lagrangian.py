"""The published errors of Adam's memory equations of first and second order in time, again, and what is left without Euler."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sme.common.errors import SMEError
from sme.common.inputs import whole
from sme.common.output.report import Tabled
from sme.common.output.text import grid
from sme.common.process.progress import progress
from sme.problems.polynomial import Polynomial
from sme.simulate.integro import iterated
from sme.simulate.integro.ide import IDE
from sme.studies.ide.run import SKIP

HORIZON = 10.0
EPOCHS = {0.05: 1500, 0.01: 1500, 0.005: 2000, 0.001: 5500, 0.0005: 9000}
PUBLISHED: dict[float, tuple[float, dict[float, float]]] = {  # by learning rate: order 1, then order 2 by initial velocity
    0.0005: (4.861141020828796e-07, {-1: 1.5835571587352604e-07, 0: 1.3815110122550323e-07, 1: 1.1734093141591018e-07,
                                     2: 9.593523531137294e-08}),
    0.001: (1.0311327953371752e-05, {-1: 1.362935716398006e-05, 0: 1.0967318664345527e-05, 1: 8.368431089533779e-06,
                                     2: 5.832938292926748e-06}),
    0.005: (0.00033216122887458344, {-1: 0.0004309834832650905, 0: 0.000355912726840657, 1: 0.0002728398417284339,
                                     2: 0.00018276370549341614}),
    0.01: (0.0049985179568390325, {-1: 0.007910856761389917, 0: 0.005971839673597823, 1: 0.00402920279453689,
                                   2: 0.0021026292724684037}),
    0.05: (0.06382219677631518, {-1: 0.10985220489306435, 0: 0.08094073339003571, 1: 0.04927931951007314,
                                 2: 0.015209718735320843}),
}
ABOUT = """Adam with β = (0.99, 0.999), ε = 1e-8 on (1 − θ)² + 1.5 (θ² − 1)² from θ = −1.5. "published": |θ_K − θ(T)| of the
public tables that go with arXiv 2602.09101 (repository nonlocal-adam, notebooks/errors, commit 0d69b7d), called E_inf there: the
error at the one time T, not the largest over time. "again": with their discretisation, as their stored trajectories show it:
explicit Euler with step lr/5, the bias correction one learning rate ahead of the memory, at second order also m, v and the
correction read one learning rate ahead, a cubic spline under the integrals, a damped fixed point that ends at 1e-5, on which the
errors below 1e-6 depend; K = T/lr rounded, T = min(horizon, end of the grid), where the horizon of the public tables is 10."""
EXACT = """The same errors without that discretisation (at step K and time K lr; in brackets the largest over all steps): the
first-order IDE; the second-order equation θ̈ = −(2/lr)(θ̇ + F), with F of the averages at t, and of those updated by the gradient
at t, as Adam's step takes them; and the modified equations of order 1 and 2 in the step size, started on the run at step {skip},
beside the first-order IDE, started at 0, over the same steps."""


def measure(rates: Sequence[float], velocities: Sequence[float], epochs: Sequence[int], horizon: float = HORIZON) -> pd.DataFrame:
    """A row for each learning rate and equation: the published error, ours by their scheme, and those of the exact solutions.

    Raises
    ------
    SMEError
        if there are not as many epochs as learning rates, or the horizon is of too few steps.
    """
    if not len(rates) or len(rates) != len(epochs):
        raise SMEError(f"the table needs rates, and as many epochs as learning rates, got {len(epochs)} and {len(rates)}")
    todo = [(IDE(Polynomial([2.5, -2.0, -2.0, 0.0, 1.5], noise=0.0), "adam", lr, beta1=0.99, beta2=0.999, clock=1),
             whole("epochs", count, SKIP + 2)) for lr, count in zip(rates, epochs, strict=True)]
    if not (SKIP + 1) * max(rates) <= horizon < np.inf:
        raise SMEError(f"horizon must be finite and at least {SKIP + 1} steps of lr = {max(rates):g}, got {horizon:g}: "
                       f"give {(SKIP + 1) * max(rates):g} or more")
    if not len(velocities) or not all(math.isfinite(each) for each in velocities):
        raise SMEError(f"velocities must be one or more finite numbers, got {list(velocities)}: give such as [0.5,1]")
    rows: list[dict[str, Any]] = []
    for equation, count in progress(todo, desc="learning rates"):
        rows += _again(equation, count, velocities, horizon) + _exact(equation, count, velocities, horizon)
    return pd.DataFrame(rows)


def _again(equation: IDE, epochs: int, velocities: Sequence[float], horizon: float) -> list[dict[str, Any]]:
    lr, h = equation.rule.lr, equation.rule.lr / iterated.SUBSTEPS
    run = equation.discrete([-1.5], epochs - 1)["theta"][:, 0]
    asked = EPOCHS.get(lr) == epochs and horizon == HORIZON  # of any other run nothing is published
    first, second = PUBLISHED[lr] if asked else (np.nan, {})
    cases = [("first order", 1, np.nan, first), *(("second order", 2, v, second.get(v, np.nan)) for v in velocities)]
    rows = []
    for name, order, velocity, known in cases:
        theta = iterated.grid(equation.losses, equation.rule, -1.5, epochs, order, 0.0 if order == 1 else velocity)
        last = min(horizon, (epochs - 1) * lr, (len(theta) - 1) * h)
        found = abs(run[round(last / lr)] - theta[round(last / h)])
        rows.append({"lr": lr, "equation": name, "velocity": velocity, "T": last, "published": known, "again": found,
                     "ratio − 1": found / known - 1})
    return rows


def _exact(equation: IDE, epochs: int, velocities: Sequence[float], horizon: float) -> list[dict[str, Any]]:
    lr = equation.rule.lr
    steps = min(epochs - 1, round(horizon / lr))
    state = equation.discrete([-1.5], steps)
    run, times = state["theta"][:, 0], np.arange(steps + 1) * lr
    memory = equation.solve([-1.5], steps * lr)(times)[:, 0]
    found = {("first order", np.nan): memory}
    for name, updated in (("second order", False), ("second order, updated averages", True)):
        found |= {(name, v): equation.ordinary([-1.5], times, 2, v, updated)[:, 0, 0] for v in velocities}
    begun = {name: values[SKIP] for name, values in state.items()}
    found[f"first order, from step {SKIP}", np.nan] = memory[SKIP:]
    for order in (1, 2):
        theta = equation.modified(begun, SKIP, list(range(steps - SKIP + 1)), order)[:, 0]
        found[f"order {order} in lr, from step {SKIP}", np.nan] = theta
    return [{"lr": lr, "equation": name, "velocity": velocity, "T": steps * lr, "at T": abs(theta[-1] - run[-1]),
             "largest": float(np.abs(theta - run[-len(theta):]).max())} for (name, velocity), theta in found.items()]


def _words(lines: str) -> str:
    return " ".join(lines.split("\n"))


def _plain(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:g}"


def _error(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.6e}"


class Lagrangian(Tabled):
    """Both tables of `measure`."""

    file = name = "lagrangian"
    title = "Errors of Adam's memory equations of first and second order in time"

    def body(self, style: str) -> list[str]:
        table = self.table
        again = table[table["again"].notna()]
        first = pd.DataFrame({"lr": again["lr"].map("{:g}".format), "equation": again["equation"],
                              "velocity": again["velocity"].map(_plain), "T": again["T"].map("{:g}".format),
                              "published": again["published"].map(_error),
                              "again": again["again"].map(_error), "ratio − 1": again["ratio − 1"].map("{:.0e}".format)})
        rest = table[table["again"].isna()]
        names = [name if pd.isna(velocity) else f"{name}, velocity {velocity:g}"
                 for name, velocity in zip(rest["equation"], rest["velocity"], strict=True)]
        cells = [f"{a:.2e} ({b:.2e})" for a, b in rest[["at T", "largest"]].itertuples(index=False)]
        shown = rest.assign(equation=names, cell=cells)
        wide = shown.pivot(index="equation", columns="lr", values="cell").reindex(dict.fromkeys(names)).reset_index()
        wide.columns = [name if isinstance(name, str) else f"lr = {name:g}: at T (largest)" for name in wide.columns]
        return [_words(ABOUT), grid(first, style), _words(EXACT.format(skip=SKIP)), grid(wide, style)]
