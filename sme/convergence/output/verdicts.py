"""The verdicts of a study in words."""

import math
from typing import Any

import pandas as pd

from sme.common.output.text import quote
from sme.convergence.fit.slopes import TIGHT

CONSISTENT = "consistent"
FEW = 6
"""rows that are named one by one"""


def words(order: object, rows: pd.DataFrame) -> str:
    """`Order 2: 5 of 6 slopes are consistent with it, from 1.98 to 2.02. Undecided: |v|² (1.4 [0.2, 2.6], few points).`"""
    held, rest = rows[rows["verdict"] == CONSISTENT], rows[rows["verdict"] != CONSISTENT]
    count = f"{len(held)} of {len(rows)} slopes are" if len(rows) > 1 else "its slope is" if len(held) else "its slope is not"
    known = held[held["slope_high"] - held["slope_low"] <= 2 * TIGHT]
    low, high = known["slope"].min(), known["slope"].max()
    span = "" if known.empty or math.isnan(low) else f", from {low:.2f} to {high:.2f}" if f"{low:.2f}" < f"{high:.2f}" else \
        f", at {low:.2f}"
    parts = [f"Order {order}: {count} consistent with it{span}."]
    for verdict, group in rest.groupby("verdict", sort=False):
        named = "; ".join(map(_row, group.head(FEW).to_dict("records")))
        more = f"; and {len(group) - FEW} more" if len(group) > FEW else ""
        parts.append(f"{str(verdict).capitalize()}: {named}{more}.")
    return " ".join(parts)


def _row(row: dict[Any, Any]) -> str:
    """An observable with its slope and what is noted of it."""
    note = f", {row['note']}" if row["note"] else ""
    where = "" if row["at"] == "end" else f" at {row['at']}"
    slope = f"slope {quote(row['slope'], row['slope_low'], row['slope_high'])}" if math.isfinite(row["slope"]) else "no slope"
    return f"{row['observable']}{where} ({slope}{note})"
