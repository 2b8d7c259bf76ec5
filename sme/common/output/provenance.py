"""Where the numbers of a table or picture come from, in one line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from sme.common.identity.numerics import NUMERICS, said, written

DIGITS = "%.6g"
RUN = ("=", "+", "-", "@", "\t", "\r")
"""how text begins that a spreadsheet runs"""
COLUMNS = ["seeds", "version"]
"""the last columns of a table in a file"""


@dataclass(frozen=True)
class Provenance:
    """The study (its name ends in the hash of its specification), and the code and seeds that made its points."""

    study: str
    versions: tuple[str, ...]
    seeds: tuple[int, ...]
    parts: tuple[str, ...] = tuple(NUMERICS)
    """of the code, whose numbers are named"""

    @property
    def title(self) -> str:
        """The study in words, without its hash: `adam on quadratic, ballistic regime`."""
        found = re.fullmatch(r"(.+)-(ballistic|batch_equivalent)-(.+)-(\w+)-[0-9a-f]{8}", self.study)
        if found is None:
            return self.study
        optimizer, regime, problem, brownian = found.groups()
        kind = {"independent": "", "none": ", no noise in the equation", "step_memory": ", step memory",
                "fast_memory": ", fast memory", "poisson": ", Poissonised minibatch"}
        return f"{optimizer} on {problem}, {regime.replace('_', '-')} regime{kind.get(brownian, f', model {brownian}')}"

    @property
    def version(self) -> str:
        """The versions, with a space between."""
        return " ".join(self.versions)

    @property
    def code(self) -> str:
        """`sme 0.2.0+g1a2b3c4, numerics 2, seed 0`; no seed where there are no random numbers."""
        seeds = f", seed{'s' * (len(self.seeds) > 1)} {ranges(self.seeds)}" if self.seeds else ""
        return f"sme {self.version}, numerics {said(written(self.parts))}{seeds}"

    @property
    def columns(self) -> dict[str, str]:
        """The values of `COLUMNS`."""
        return dict(zip(COLUMNS, (ranges(self.seeds), self.version), strict=True))

    def csv(self, table: pd.DataFrame) -> str:
        """A table as it stands in a file, with six digits and these columns at its end."""
        named = {name: table[name].map(harmless) for name in ("observable", "variable") if name in table}
        return table.assign(**named, **self.columns).to_csv(index=False, float_format=DIGITS)

    def __str__(self) -> str:
        return f"{self.code}, {self.study}"


def harmless(name: Any) -> Any:
    """A name with an apostrophe before it where a spreadsheet would run it (older studies have such names)."""
    return f"'{name}" if str(name).startswith(RUN) else name


def plain(name: str) -> str:
    """Without that apostrophe."""
    return name[1:] if name[:1] == "'" and name[1:].startswith(RUN) else name


def ranges(numbers: Sequence[int]) -> str:
    """Ascending whole numbers, three or more in a row as a range: `0-2 7 8`."""
    starts = [0, *(i + 1 for i, (one, next_) in enumerate(pairwise(numbers)) if next_ != one + 1), len(numbers)]
    runs = [numbers[start:end] for start, end in pairwise(starts)] if numbers else []
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else " ".join(map(str, run)) for run in runs)


def numbers(text: str) -> list[int]:
    """The whole numbers that `ranges` wrote."""
    ends = [[int(end) for end in part.split("-")] for part in text.split()]
    return [number for each in ends for number in range(each[0], each[-1] + 1)]
