"""Runs of optimizers without noise beside their memory equations: how far apart they are."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, several, short, whole
from sme.common.output.report import Plot, Report
from sme.common.output.text import grid
from sme.common.process.progress import progress
from sme.problems.base import Problem
from sme.simulate.integro.ide import IDE
from sme.studies.ide import picture
from sme.studies.ide.curve import Curve

POINTS = 400
"""of a curve, at most"""
SKIP = 10
"""steps before the modified equations take over from the run"""
ABOUT = """The equation of an optimizer with memory, θ̇ = −F(t, g, m, v) with integrals m, v over the whole past, solved as it
stands (IDE) and, since its kernels are exponentials, as an ordinary equation of (θ, m, v) (ODE); time is t = k · lr, and there is
no noise. "residual": largest |θ̇ + F| between the collocation points from t = lr on; "IDE − ODE", "run − …": the largest
difference in θ at the steps; order 1 and 2: the modified equations of these orders in the step size, started on the run at step
{skip}, and the IDE over the same steps (there is none for β = 0, with weight decay or a falling learning rate, without a
gradient, nor where v dies away so far that the explicit solver of the modified equation gives up).
"last step": |θₖ − θₖ₋₁| of the run at its end."""


def listed(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of settings, in which each may have several values, one by one; `steps` goes with `lr`.

    Raises
    ------
    SMEError
        for what is no group, or if there are not as many `steps` as learning rates.
    """
    found = []
    for group in runs:
        if not isinstance(group, dict):
            raise SMEError(f"runs are groups of settings such as {{loss: parabola, optimizer: adagrad, …}}, got {short(group)}")
        rates, steps = several(group.get("lr", [])), several(group.get("steps", []))
        if not rates or len(rates) != len(steps):
            raise SMEError(f"a group of runs needs as many steps as learning rates, got lr = {rates}, steps = {steps}")
        names = [name for name in ("start", "beta1", "beta2") if name in group]
        for name in names:
            if not several(group[name]):
                raise SMEError(f"{name} is empty in {short(group)}: give one value or more")
        for (lr, count), values in itertools.product(zip(rates, steps, strict=True),
                                                     itertools.product(*(several(group[name]) for name in names))):
            rest = {name: value for name, value in group.items() if name not in ("lr", "steps")}
            found.append({**rest, "lr": lr, "steps": count, **dict(zip(names, values, strict=True))})
    return found


def measure(losses: Mapping[str, Problem], runs: Sequence[dict[str, Any]]) -> tuple[pd.DataFrame, list[Curve]]:
    """A row and a curve for each run.

    Parameters
    ----------
    losses
        of one parameter, by name.
    runs
        each with `loss`, `optimizer`, `lr`, `steps`, `start` and the β's of the optimizer.

    Raises
    ------
    SMEError
        for bad input.
    """
    made = [_made(losses, dict(given)) for given in listed(runs)]  # finds every fault before the first run
    found = [_one(*each) for each in progress(made, desc="runs")]
    return pd.DataFrame([row for row, _ in found]), [curve for _, curve in found]


def _made(losses: Mapping[str, Problem], given: dict[str, Any]) -> tuple[str, IDE, float, int]:
    try:
        loss, start, steps = given.pop("loss"), number("start", given.pop("start")), whole("steps", given.pop("steps"), 1)
        optimizer = given.pop("optimizer")
    except KeyError as fault:
        raise SMEError(f"a run needs loss (one of {', '.join(losses)}), start, steps, optimizer and lr; {fault} is "
                       "missing") from None
    return loss, IDE(losses[choose("loss", loss, losses)], optimizer, **given), start, steps


def _one(loss: str, equation: IDE, start: float, steps: int) -> tuple[dict[str, Any], Curve]:
    rule = equation.rule
    marks = np.unique(np.linspace(0, steps, POINTS + 1).round().astype(int))
    state = equation.discrete([start], steps)
    run = state["theta"][:, 0]
    solution = equation.solve([start], steps * rule.lr)
    memory = solution(marks * rule.lr)[:, 0]
    ordinary = equation.ordinary([start], marks * rule.lr)[:, 0, 0]
    late = marks[marks >= SKIP]
    found: dict[int, np.ndarray] = {}
    if len(late) > 1 and 0.0 not in (rule.beta1, rule.beta2) and not rule.l2 and not rule.decay:
        begun = {name: values[late[0]] for name, values in state.items()}
        found = {order: equation.modified(begun, int(late[0]), (late - late[0]).tolist(), order)[:, 0] for order in (1, 2)}
    modified = np.full(len(marks), np.nan)
    modified[len(marks) - len(late):] = found.get(2, np.nan)
    apart = np.abs(run[marks] - memory)
    row = {"loss": loss, "optimizer": rule.optimizer, "lr": rule.lr, "β₁": rule.beta1, "β₂": rule.beta2, "start": start,
           "steps": steps, "pieces": len(solution.starts), "residual": solution.residual,
           "IDE − ODE": float(np.abs(memory - ordinary).max()), "run − IDE": float(apart.max()),
           f"run − IDE from step {SKIP}": float(apart[marks >= SKIP].max()) if len(late) else np.nan,
           **{f"run − order {order}": float(np.abs(run[late] - found[order]).max()) if found else np.nan for order in (1, 2)},
           "last step": float(abs(run[-1] - run[-2]))}
    return row, Curve(loss, equation, start, marks.astype(float), run[marks], memory, modified)


@dataclass(frozen=True, repr=False)
class Runs(Report):
    """The rows of `measure`, with what they mean, and the curves, a picture for each loss."""

    file, name = "runs", "ide"
    title = "Memory equations of runs without noise"
    table: pd.DataFrame
    curves: list[Curve]

    @property
    def plots(self) -> dict[str, Plot]:
        return {loss: functools.partial(self._draw, loss) for loss in dict.fromkeys(curve.loss for curve in self.curves)}

    def _draw(self, loss: str, path: Path) -> Path:
        return picture.draw([curve for curve in self.curves if curve.loss == loss], self.provenance, path)

    def body(self, style: str) -> list[str]:
        digits = {"residual": "{:.0e}", "IDE − ODE": "{:.0e}", "last step": "{:.4g}"}
        shown = self.table.copy()
        for name in shown.columns[shown.dtypes.map(pd.api.types.is_numeric_dtype)]:
            form = digits.get(name, "{:.2e}" if name.startswith("run") else "{:g}")
            shown[name] = [("–" if pd.isna(value) else form.format(value)) for value in shown[name]]
        return [" ".join(ABOUT.format(skip=SKIP).split("\n")), grid(shown.fillna("–"), style)]
