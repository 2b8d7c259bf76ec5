"""The cheapest equation that is good enough."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sme.common.errors import SMEError
from sme.common.inputs import number, short

EQUATION = ["regime", "model", "order", "driver"]
Names = Mapping[tuple[str, str, int, str], str]
"""what the equations are called, by these columns"""


@dataclass(frozen=True)
class Choice:
    """One equation, or none.

    Attributes
    ----------
    row
        a row for each observable of the equation that is chosen; where none is good enough of the one whose largest error is
        the least.
    reason
        in one sentence.
    """

    row: pd.DataFrame
    good: bool
    reason: str


def choose(table: pd.DataFrame, tolerance: float, names: Names | None = None) -> Choice:
    """The cheapest equation of which every error, with its interval, is below `tolerance`; of two as cheap the nearer one.

    Raises
    ------
    SMEError
        where no equation has a prediction.
    """
    rows = table.assign(worst=table[["low", "high"]].abs().max(axis=1))
    worst = rows.groupby(EQUATION, sort=False)["worst"].agg(lambda values: values.max(skipna=False))
    cost = rows.groupby(EQUATION, sort=False)["cost"].first()
    every = pd.DataFrame({"worst": worst, "cost": cost}).dropna()
    if every.empty:
        raise SMEError("none of the equations has a predicted error: each run diverges, or has none")
    good = every[every["worst"] < tolerance]
    chosen = (good.sort_values(["cost", "worst"]) if len(good) else every.sort_values("worst")).index[0]
    mine = table[(table[EQUATION] == list(chosen)).all(axis=1)]
    largest = rows.loc[mine.index].sort_values("worst").iloc[-1]
    said = _named(chosen, names)
    error = f"its error in {largest['observable']} is {largest['predicted']:.3g}, at most {largest['worst']:.3g}"
    if not len(good):
        least = f"None is good enough: the least error is that of {said}, and {error}, not below {tolerance:g}."
        return Choice(mine, False, least)
    cheaper = every[every["cost"] < every.loc[chosen, "cost"]].sort_values("worst")
    beside = f"; of the cheaper ones {_named(cheaper.index[0], names)} errs by up to {cheaper['worst'].iloc[0]:.3g}" if len(
        cheaper) else "; none is cheaper"
    return Choice(mine, True, f"The choice is {said}: {error}, below {tolerance:g}{beside}.")


def _named(equation: tuple[str, str, int, str], names: Names | None) -> str:
    return names[equation] if names and equation in names else f"{equation[1]}, order {equation[2]}"


def limit(given: object) -> float:
    """A tolerance, > 0.

    Raises
    ------
    SMEError
        for anything else.
    """
    value = number("tolerance", given)
    if not 0 < value < np.inf:
        raise SMEError(f"tolerance must be positive and finite, got {short(given)}: it is the largest weak error that is "
                       "allowed, such as 0.01")
    return float(value)
