"""The table of errors at corners."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sme.common.output.report import Tabled
from sme.common.output.text import grid
from sme.common.process.progress import fraction
from sme.studies.kinks import picture

WORDS = """Discrete run less equation at the end, exact to rounding, at the finest step size {tau}, with noise of size {size:g}.
"Slope" is that between the two finest step sizes; "expected" is what the theory gives, and "derived" the limit of error/τ^p, `p`
what is expected, where a formula is known (docs/theory/kinks.md)."""


@dataclass(frozen=True, repr=False)
class Kinks(Tabled):
    """What `kinks` finds.

    Attributes
    ----------
    table
        `case title meets observable order tau error slope expected constant derived`: `error = E[discrete] − E[equation of this
        order]`, `slope` to the next coarser step size; for order 2 the slope that is `expected`, the `constant`, which is the
        error over `τ` to this power, and its limit as `derived`, NaN where that has not been done.
    """

    file = name = "kinks"
    title = "Corners"
    seeds = ()
    size: float = 0.5

    def body(self, style: str) -> list[str]:
        finest = self.table["tau"].min()
        rows = []
        for (title, meets), part in self.table[self.table["tau"] == finest].groupby(["title", "meets"], sort=False):
            first, second = (part[part["order"] == order].iloc[0] for order in (1, 2))
            rows.append((title, meets, second["observable"], _digits(first["slope"]), f"{second['expected']:g}",
                         _digits(second["slope"]), f"{second['error']:.2e}", _digits(second["constant"], 4),
                         _digits(second["derived"], 4)))
        shown = pd.DataFrame(rows, columns=["loss or rule", "meets", "E of", "slope, order 1", "expected, order 2",
                                            "slope, order 2", "error", "error/τ^p", "derived"])
        return [WORDS.format(tau=fraction(finest), size=self.size), grid(shown, style)]

    def draw(self, path: Path) -> Path:
        """The picture."""
        return picture.draw(self.table, self.provenance, path)


def _digits(value: float, count: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{count}f}"
