"""Tables and intervals as text."""

import math

import pandas as pd
from tabulate import tabulate, tabulate_formats

from sme.common.errors import choose


def quote(value: float, low: float, high: float) -> str:
    """`value [low, high]` with two digits of the interval's half-width."""
    if not math.isfinite(value):
        return "–"
    half = (high - low) / 2
    places = 6 if half == 0 else max(0, 1 - math.floor(math.log10(half)))
    exponent = math.floor(math.log10(max(abs(low), abs(high)))) if half else 0
    if places > 4 and exponent:
        shown = max(0, places + exponent)
        parts = [f"{x / 10**exponent:.{shown}f}" for x in (value, low, high)]
        return f"{parts[0]}e{exponent} [{parts[1]}, {parts[2]}]e{exponent}"
    return f"{value:.{places}f} [{low:.{places}f}, {high:.{places}f}]"


def known(style: str) -> str:
    """One of tabulate's styles.

    Raises
    ------
    SMEError
        for a style that it has not.
    """
    return choose("style", style, [*tabulate_formats, "latex"])


def grid(table: pd.DataFrame, style: str) -> str:
    """A table in one of tabulate's styles; `SMEError` for one that it has not."""
    known(style)
    if style == "github":  # a bar would end the cell
        table = table.map(lambda cell: cell.replace("|", "\\|") if isinstance(cell, str) else cell)
    return tabulate(table, headers="keys", tablefmt=style, showindex=False, disable_numparse=True)  # type: ignore[arg-type]
