"""The tables of a study whose points are not there: read from its files, to be judged again."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.errors import SMEError, reason
from sme.common.output.provenance import COLUMNS, Provenance, numbers, plain
from sme.common.storage import sums
from sme.common.storage.files import read_table, read_text
from sme.convergence.fit.slopes import UNYARDED, Interval
from sme.convergence.fit.tables import ERRORS, YARDSTICK
from sme.convergence.spec.outline import StudyMetadata
from sme.optimizers.regimes import BALLISTIC

FILES = ("errors.csv", "slopes.csv", "slopes.md")
DOUBTS = ("not a number", "infinite")
"""how a note begins that says why nothing can be decided"""


@dataclass(frozen=True)
class Kept:
    """What the files of a study say of it."""

    errors: pd.DataFrame
    """with the columns that a fit needs; those of the yardstick are not in a file"""
    yardsticks: dict[tuple[int, str, str], Interval]
    """the `C₁` that order 2 is held against, by order, observable and time"""
    physical: pd.DataFrame
    """the hyperparameters of torch.optim, as they are printed"""
    provenance: Provenance

    @classmethod
    def read(cls, folder: Path, outline: StudyMetadata) -> "Kept | None":
        """From `errors.csv`, `slopes.csv` and `slopes.md`; None where one of them is missing.

        Raises
        ------
        SMEError
            if one of them is not a table of a study.
        """
        if not all((folder / name).is_file() for name in FILES):
            return None
        try:
            for name in FILES:
                sums.check(folder / name, outline.study)
            errors, slopes = (_named(folder / name) for name in FILES[:2])
            text = read_text(folder / FILES[2])
            _check(errors, outline)
            made = [set(errors[name].astype(str)) if name in errors else set() for name in COLUMNS]
            seeds = tuple(sorted({seed for each in made[0] for seed in numbers(each)}))
            versions = tuple(sorted({version for each in made[1] for version in each.split()}))
            rows = slopes.astype({"note": object}).set_index(["order", "observable", "at"])
            notes = {key: "" if pd.isna(note) else str(note) for key, note in rows["note"].items()}
            doubts = [_doubt(notes.get(key, "")) for key in zip(errors["order"], errors["observable"], errors["at"], strict=True)]
            table = errors[ERRORS].assign(**dict.fromkeys(YARDSTICK, math.nan), sign=_signs(errors), doubt=doubts)
            yardsticks = {key: _yardstick(row, outline) for key, row in rows.iterrows()}
            return cls(table, yardsticks, _table(text), Provenance(outline.study, versions, seeds, outline.parts))  # type: ignore[arg-type]
        except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, StopIteration) as fault:
            raise SMEError(f"{folder} has tables that cannot be read ({reason(fault)}): restore its errors.csv "
                           "and slopes.csv, or run its command again") from fault


def _named(path: Path) -> pd.DataFrame:
    """A table whose observables are text, whatever they are called."""
    read = read_table(path, converters={"observable": str, "at": str})
    return read.assign(observable=read["observable"].map(plain))


def _check(errors: pd.DataFrame, outline: StudyMetadata) -> None:
    """Raise `ValueError` where the table has other observables than the study, or words for numbers."""
    if not set(errors["observable"]) <= set(outline.observables):
        raise ValueError("errors.csv has other observables than spec.json")
    errors[[name for name in ERRORS if name not in ("observable", "at")]].astype(float)


def _signs(errors: pd.DataFrame) -> np.ndarray:
    """What the fits of |error| multiply it with at `max`; a row that is not far from 0 has the sign that it shows."""
    return np.where((errors["at"] == "max") & (errors["error"] < 0), -1.0, 1.0)


def _doubt(note: str) -> str:
    first = note.split("; ")[0]
    return first if first.startswith(DOUBTS) else ""


def _yardstick(row: pd.Series, outline: StudyMetadata) -> Interval:
    """Of order 2 in the ballistic regime the ODE's `C₁`, which older tables have in the column of order 1's."""
    ode = row.name[0] != 1 and outline.regime == BALLISTIC.name and "c1_ode" in row  # type: ignore[index]
    value = float(row["c1_ode" if ode else "c1_order1"])
    return Interval() if UNYARDED in str(row["note"]) or math.isnan(value) else Interval(value, value, value)


def _table(text: str) -> pd.DataFrame:
    """The first table of a text in GitHub's Markdown."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = [[cell.strip().replace("\\|", "|") for cell in line.strip("|").split(" | ")]
            for line in lines[first : lines.index("", first)]]
    return pd.DataFrame(rows[2:], columns=rows[0])
