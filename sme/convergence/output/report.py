"""Printed tables of a study."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from sme.common.output import latex as tex
from sme.common.output.provenance import Provenance
from sme.common.output.text import grid, quote
from sme.convergence.estimator.quadrature.computed import Computed
from sme.convergence.fit import tails
from sme.convergence.fit.tables import MAX
from sme.convergence.store.points import Point
from sme.equations.models import UNCLAIMED
from sme.equations.registry import SKEWNESS

ADAPTIVE = " (whose denominator is the updated one, and whose Adam always corrects its bias)"
TORCH = {
    "sgd": "", "rmsprop": ADAPTIVE, "adam": ADAPTIVE, "adamw": ADAPTIVE, "adagrad": " (whose denominator is the updated one)",
    "momentum": " (whose first buffer is the first gradient, undamped; to repeat the run, set "
                "optimizer.state[p]['momentum_buffer'] to the start of m, 0 if none is given, before the first step)",
    "nesterov": " (whose buffer starts at m/(cτ); that of a new optimizer is m = 0)",
}
"""rules that torch.optim has, and what to know to repeat a run with it"""


def terms(optimizer: str, physical: pd.DataFrame) -> str:
    """What the table of hyperparameters is, for an optimizer of this name."""
    if "lr" not in physical:
        return "Step sizes, and the noise in physical units:"
    if optimizer not in TORCH:
        return "In physical units, for a rule that torch.optim does not have:"
    return f"In the terms of torch.optim{TORCH[optimizer]}:"


def hyperparameters(points: Iterable[Point | Computed]) -> pd.DataFrame:
    """The hyperparameters with which torch.optim takes the same steps, a row for each τ."""
    rows = {point.key.steps: point.physical for point in points}
    return pd.DataFrame([row for _, row in sorted(rows.items())])


def slope_table(table: pd.DataFrame) -> pd.DataFrame:
    """The slopes as they are printed."""
    shown = pd.DataFrame({
        "order": table["order"], "observable": table["observable"], "at": table["at"],
        "slope [95 %]": [quote(*row) for row in table[["slope", "slope_low", "slope_high"]].to_numpy(float)],
        "C1 [99 %]": [quote(*row) for row in table[["c1", "c1_low", "c1_high"]].to_numpy(float)],
        **{f"C1 of {what}": [f"{c:.3g}" if math.isfinite(c) else "–" for c in table[name]]
           for what, name in (("order 1", "c1_order1"), ("the ODE", "c1_ode")) if name in table},
        "points": table["points"], "verdict": table["verdict"], "note": table["note"],
    })
    unknown = [name for name, column in shown.items() if str(name).startswith("C1 of") and (column == "–").all()]
    return shown.drop(columns=unknown)


def error_table(table: pd.DataFrame) -> pd.DataFrame:
    """The errors as they are printed, with the local slope to the next coarser τ."""
    local = []
    for _, group in table.groupby(["order", "at", "observable"], sort=False):
        tau, error = group["tau"].to_numpy(), group["error"].to_numpy()
        pairs = zip(tau, error, np.roll(tau, 1), np.roll(error, 1), strict=True)
        local += [(i, "–" if not n or not e * e0 > 0 else f"{math.log(e / e0) / math.log(t / t0):.2f}")
                  for n, (i, (t, e, t0, e0)) in enumerate(zip(group.index, pairs, strict=True))]
    return pd.DataFrame({
        "order": table["order"], "tau": [f"{tau:g}" for tau in table["tau"]], "observable": table["observable"],
        "at": [f"{at}, t={time:g}" if at == MAX else at for at, time in zip(table["at"], table["time"], strict=True)],
        "error": [f"{e:.3e} ± {f'{s:.0e}' if math.isfinite(s) else '–'}"
                  for e, s in zip(table["error"], table["stderr"], strict=True)],
        "integrator bias": [f"{b:.0e}" for b in table["integrator_bias"]], "local slope": pd.Series(dict(local)),
        "paths": table["paths"], "diverged": [f"{x:.2%}" for x in table["diverged"]],
        "floored": [f"{x:.2%}" for x in table["floored"]],
    })


def text(optimizer: str, physical: pd.DataFrame, errors: pd.DataFrame, slopes: pd.DataFrame, remark: str,
         provenance: Provenance, style: str) -> str:
    """Header, slopes, errors and provenance of a study, in one of tabulate's styles."""
    name = provenance.study

    title = f"# {name}" if style == "github" else name
    shown = physical.map(lambda x: f"{x:.6g}" if isinstance(x, float) else x)
    parts = [title, terms(optimizer, physical), grid(shown, style), grid(slope_table(slopes), style),
             *remarks(slopes, bool(errors["paths"].any())), grid(error_table(errors), style)]
    return "\n\n".join([*parts, *([remark] if remark else []), str(provenance)])


def latex(errors: pd.DataFrame, slopes: pd.DataFrame, provenance: Provenance) -> dict[str, str]:
    """The tables of slopes and of errors for a LaTeX document, by name; they need booktabs."""
    tables = {"slopes": slope_table(slopes), "errors": error_table(errors)}
    return {name: tex.tabular(table, str(provenance)) for name, table in tables.items()}


def remarks(slopes: pd.DataFrame, drawn: bool = True) -> list[str]:
    """What the tables mean, in words; `drawn` says whether there are random paths."""
    error = "standard error" if drawn else "numerical bound"
    lines = [f"error = E[discrete] − E[equation] ± {error}. err = C0 + C1 τ + C2 τ² + …; how large the terms left out of "
             "slope and constants are, is learned from all τ of a row. Consistent: C1 as the order has it, C0 = 0, and the "
             "slope's interval of 99.9 % is not below the order."]
    if "c1_ode" in slopes and slopes["c1_ode"].notna().any():
        lines.append("Order 2 is held against the C1 of the ODE, which is order 1 without noise: its own must be below a tenth.")
    if slopes["at"].eq(MAX).any():
        chosen = " The odd-numbered shards choose its time, the even-numbered ones measure the error there, so that the choice "
        chosen = f"{chosen}does not bias it; its" if drawn else " Its"
        lines.append(f"max: the largest |error| over the checkpoints.{chosen} slope and C1 are those of |error|.")
    if slopes["note"].str.contains(SKEWNESS).any():
        lines.append("Obstructed: the noise of a minibatch is skewed, and one step's third moment is of order τ^(3/2), which no "
                     "Itô equation has: every equation is of order 1/2 in general, though not for every observable.")
    elif slopes["note"].str.contains("obstructed").any():
        lines.append("Obstructed: the noise that moves the parameters (or the momentum) moves the second moment too, and no "
                     "Itô equation with independent motions matches their joint third moment (T₃). Order 2 is lost in "
                     "general, though not for every observable: the predicted C1 = ∫ E[T₃ u] dt (± standard error) stands in the "
                     "note, the measured one in its column. driver=step_memory and fast_memory are of order 2.")
    if slopes["note"].str.contains(UNCLAIMED).any():
        lines.append("No order claimed: in this regime the model lacks a leading term, which the note names, so its errors tend "
                     "to a limit that is not 0 in general, though it is for some observables. The limit [99 %] stands in the "
                     "note; where it is not 0, the verdict is inconsistent.")
    if slopes["note"].str.contains(f"{tails.VARIANCE}|{tails.MEAN}").any():
        lines.append("Infinite variance, infinite mean: the tail of the noise leaves the observable of the discrete run without "
                     "one, so that no standard error and no interval is true. A capped observable has both, such as "
                     "'|v|^2 capped at 100'.")
    if slopes["note"].str.contains(tails.LEFT, regex=False).any():
        lines.append("The noise has no moments from the ν-th on, and one step leaves a power of τ that no equation matches: the "
                     "order that the note names holds in general, a higher one for observables that do not see the tail.")
    if slopes["verdict"].eq("undecided").any():
        floor = "more paths help against the noise floor, " if drawn else ""
        lines.append(f"Undecided: see the note; {floor}more or finer τ where they are too few.")
    return lines
