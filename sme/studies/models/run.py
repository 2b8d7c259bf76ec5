"""Several continuous models of the same optimizers: how good each is, where, and at what price."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.errors import SMEError
from sme.common.output.figure import target
from sme.common.output.report import Plot, Report
from sme.common.output.text import grid, quote
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.equations.models import MODELS
from sme.studies.models import picture
from sme.studies.models.cases import Case
from sme.studies.models.price import price

SETTING = ["problem", "optimizer", "regime"]
LOSS = "loss"


@dataclass(frozen=True, repr=False)
class Survey(Report):
    """What `survey` finds.

    Attributes
    ----------
    errors
        `problem optimizer regime model order tau observable error stderr integrator_bias paths diverged cost`: the weak error
        at the horizon, and what a path of the equation costs there in gradients `∇f` of the loss that it sees.
    slopes
        `problem optimizer regime model order observable slope slope_low slope_high verdict price`, `price` that of one
        evaluation in gradients; no slope where there are only two step sizes.
    refused
        `problem optimizer regime model order reason`: what has no such equation.
    """

    file = "models"
    name: str
    seed: int
    errors: pd.DataFrame
    slopes: pd.DataFrame
    refused: pd.DataFrame

    @property
    def title(self) -> str:
        return "Continuous models compared"

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"models": self.errors, "slopes": self.slopes}

    @property
    def observable(self) -> str:
        """The one that is shown: the loss, or if it was not asked for, the first."""
        there = list(self.errors["observable"])
        return LOSS if LOSS in there else there[0]

    def shown(self, observable: str | None = None) -> pd.DataFrame:
        """One row for each model: its slope, its error at the finest τ that all have, how that compares, and its price."""
        observable = observable or self.observable
        errors = self.errors[self.errors["observable"] == observable]
        rows = []
        for where, group in errors.groupby(SETTING, sort=False):
            tau = max(group.groupby(["model", "order"])["tau"].min())
            here = group[np.isclose(group["tau"], tau)]
            least = here["error"].abs().min()
            for _, row in here.iterrows():
                mine = (self.slopes[[*SETTING, "model", "order", "observable"]]
                        == [*where, row["model"], row["order"], observable]).all(axis=1)
                slope = self.slopes[mine].iloc[0]
                rows.append({**dict(zip(SETTING, where, strict=True)), "model": label(row["model"], row["order"]),
                             "slope [95 %]": quote(slope["slope"], slope["slope_low"], slope["slope_high"]), "τ": f"{tau:g}",
                             "error": f"{row['error']:.2e} ± {row['stderr']:.0e}",
                             "times the least": f"{abs(row['error']) / least:.3g}",
                             "price": f"{slope['price']:.1f}"})
        return pd.DataFrame(rows)

    def body(self, style: str) -> list[str]:
        shown = "the loss" if self.observable == LOSS else self.observable
        lines = [f"error = E[discrete] − E[equation] in {shown} at the horizon, ± standard error; price: the time of one "
                 "evaluation of drift and diffusion over that of one gradient (through torch, measured); an equation without "
                 "noise needs one path alone."]
        if len(self.refused):
            lines += ["Without an equation:", grid(self.refused, style)]
        return [grid(self.shown(), style), *lines]

    @property
    def plots(self) -> dict[str, Plot]:
        """`models`: errors over τ where several models are compared; `models_other`: elsewhere; `models_cost`: over the cost."""
        named = self._named(self.observable)
        many = picture.several(named)
        parts = {"models": (named[many], "tau"), "models_other": (named[~many], "tau"), "models_cost": (named, "cost")}
        if not many.any():
            parts = {"models": (named, "tau"), "models_cost": (named, "cost")}
        return {name: partial(picture.draw, rows, self.observable, over, self.provenance)
                for name, (rows, over) in parts.items() if len(rows)}

    def plot(self, path: str | Path, observable: str | None = None) -> Path:
        """Draw the errors of all problems over τ to a file, in a format that its ending names."""
        observable = observable or self.observable
        return picture.draw(self._named(observable), observable, "tau", self.provenance, target(path))

    def _named(self, observable: str) -> pd.DataFrame:
        """The errors of an observable, with the name of their curve."""
        errors = self.errors[self.errors["observable"] == observable]
        return errors.assign(curve=[label(*each) for each in zip(errors["model"], errors["order"], strict=True)])


def label(model: str, order: int) -> str:
    """What a model is called in tables: `sme, order 2`; without the order where it has one alone."""
    return f"{model}, order {order}" if len(MODELS[model].orders) > 1 else model


@entry
def survey(cases: Sequence[Case], *, seed: int = 0, processes: int | str = 1,
           results: str | Path | None = None) -> Survey:
    """Measure the weak errors of all models in all cases, and their prices.

    Parameters
    ----------
    cases
        what is run; see `sme.studies.models.cases.Case`.
    seed, processes
        as for `sme.weak_error`.
    results
        folder: studies and trajectories go there, as those of `sme.weak_error` and `sme.trajectories` do, and the table and
        picture to `models` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input, or if no model has an equation in any case.
    """
    if not any(case.models for case in cases):
        raise SMEError(f"there is nothing to compare in {len(cases)} cases: give one problem, optimizer and model at least")
    for case in cases:
        case.check()
    folder = effort.place(results, "models")
    errors, slopes, refused = [], [], []
    work = [(case, model, list(orders)) for case in cases for model, orders in case.models.items()]
    for case, model, orders in progress(work, desc="models", leave=True):
        there = []
        for order in orders:
            try:
                setup = case.setup(model, order)
            except SMEError as fault:
                refused.append({**case.names, "model": model, "order": order, "reason": str(fault).partition(":")[0]})
            else:
                there.append((order, price(setup, case.at_a_time)))
        if not there:
            continue
        found, fitted = case.measure(model, [order for order, _ in there], seed, processes, results)
        prices = dict(there)
        cost = [prices[order] * case.evaluations(model, order, tau)
                for order, tau in zip(found["order"], found["tau"], strict=True)]
        errors.append(found.assign(**case.names, model=model, cost=cost))
        slopes.append(fitted.assign(**case.names, model=model, price=fitted["order"].map(prices)))
    if not errors:
        raise SMEError(f"none of the models has an equation in any case: {refused[0]['reason']}")
    front = [*SETTING, "model"]
    columns = ["order", "tau", "observable", "error", "stderr", "integrator_bias", "paths", "diverged", "cost"]
    table = pd.concat(errors, ignore_index=True)[[*front, *columns]]
    fits = pd.concat(slopes, ignore_index=True)[[*front, "order", "observable", "slope", "slope_low", "slope_high", "verdict",
                                                 "price"]]
    return Survey("models", seed, table, fits, pd.DataFrame(refused, columns=[*front, "order", "reason"]), folder=folder).saved()
