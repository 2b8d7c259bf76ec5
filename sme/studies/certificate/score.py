"""How good predictions were: coverage of their intervals, and choices at several tolerances."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.output.report import Report
from sme.common.output.text import grid

TOLERANCES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
SIGMAS = 2.0
"""of what is measured, added to an interval"""
CHOSEN = ("|theta|^2", "loss")
"""observables by which an equation is chosen"""
DEAR = 1.5
"""times the least cost that is enough"""
SAME = ["number", "regime", "model", "order", "driver", "observable"]


@dataclass(frozen=True, repr=False)
class Blind(Report):
    """What the blind protocol finds.

    Attributes
    ----------
    table
        a row for each configuration, equation and observable: prediction, interval, what was measured, and whether it is covered.
    choices
        a row for each configuration, observable and tolerance: the equation that is chosen, whether that is right, its cost over
        the least.
    summary
        the shares that are asked for.
    """

    file = name = "blind"
    title = "Blind predictions"
    table: pd.DataFrame
    choices: pd.DataFrame
    summary: pd.DataFrame
    seed: int

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"blind": self.table, "choices": self.choices, "summary": self.summary}

    def body(self, style: str) -> list[str]:
        missed = self.table[self.table["admitted"] & ~self.table["covered"]]
        lines = [grid(self.summary, style)]
        if len(missed):
            lines += ["Errors inside the gate that their intervals miss:",
                      grid(missed[[*SAME, "predicted", "half", "error", "wide"]], style)]
        return lines


def scored(predictions: pd.DataFrame, truth: pd.DataFrame, count: int, seed: int, folder: Path) -> Blind:
    """Both side by side: an error is covered where it lies in the interval, widened by `SIGMAS` of what is measured."""
    table = predictions.merge(truth, on=SAME, suffixes=("", "_truth"))
    half = (table["high"] - table["low"]) / 2
    wide = np.hypot(table["stderr"], table["integrator_bias"])
    table = table.assign(half=half, wide=wide, admitted=table["predicted"].notna(),
                         covered=(table["predicted"] - table["error"]).abs() <= half + SIGMAS * wide)
    choices = pd.DataFrame([row for (number, observable), rows in table.groupby(["number", "observable"])
                            if observable in CHOSEN and rows["admitted"].all()
                            for row in _choices(number, observable, rows)])
    return Blind(table, choices, _summary(table, choices, count), seed, folder=folder)


def _choices(number: int, observable: str, rows: pd.DataFrame) -> list[dict[str, object]]:
    """At each tolerance the cheapest equation whose interval lies below it, against those whose measured error does."""
    found = []
    bound = rows["predicted"].abs() + rows["half"]
    for tolerance in TOLERANCES:
        good, true = rows[bound < tolerance], rows[rows["error"].abs() < tolerance]
        row: dict[str, object] = {"number": number, "observable": observable, "tolerance": tolerance, "model": "none", "order": 0}
        if len(good):
            best = good.assign(bound=bound).sort_values(["cost", "bound"]).iloc[0]
            right = bool(abs(best["error"]) - SIGMAS * best["wide"] < tolerance)
            least = true["cost"].min() if len(true) else np.nan
            row |= {"model": best["model"], "order": best["order"], "right": right, "wrong": not right,
                    "dear": float(best["cost"] / least)}
        else:
            sure = rows[rows["error"].abs() + SIGMAS * rows["wide"] < tolerance]
            row |= {"right": not len(sure), "wrong": False, "dear": np.nan}
        found.append(row)
    return found


def _summary(table: pd.DataFrame, choices: pd.DataFrame, count: int) -> pd.DataFrame:
    inside, numbers = table[table["admitted"]], table.groupby("number")["admitted"].all()
    resolved = inside[inside["error"].abs() > 5 * inside["wide"]]
    off = ((resolved["predicted"] - resolved["error"]) / resolved["error"]).abs()
    dear = choices["dear"].dropna() if len(choices) else pd.Series(dtype=float)
    cpu = table.drop_duplicates("number")
    rows = {
        "configurations measured": f"{len(numbers)} of {count}",
        "the gate admits, of configurations": f"{numbers.mean():.3f}",
        "coverage inside the gate, of errors": f"{inside['covered'].mean():.4f} of {len(inside)}",
        "median relative difference": f"{off.median():.1e}",
        "choices right": f"{choices['right'].mean():.4f} of {len(choices)}" if len(choices) else "–",
        "wrong 'good enough'": f"{choices['wrong'].mean():.4f}" if len(choices) else "–",
        f"cost at most {DEAR} times the least": f"{(dear <= DEAR).mean():.4f} of {len(dear)}" if len(dear) else "–",
        "CPU seconds of predictions over those of measuring": f"{cpu['cpu'].sum() / cpu['cpu_truth'].sum():.3f}",
    }
    return pd.DataFrame({"": rows.keys(), "found": rows.values()})
