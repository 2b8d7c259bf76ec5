"""Whether a folder's tables hold what is about to be written."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pandas as pd

from sme.common.output import provenance
from sme.common.storage import sums
from sme.common.storage.files import read_text

BESIDE = ("errors.tex", "slopes.tex", "slopes.md", "errors.png")
PASSED = [*provenance.COLUMNS, "c1_order1"]
"""columns that say where a row comes from, or depend on which orders were run beside"""


def told(folder: Path, tables: Mapping[str, str], study: str) -> bool:
    """Whether the folder's own tables (`.csv` by name) hold what these say, whoever computed it, with all files beside them.

    So a study whose tables are kept without their points loses no row, and changes no file, where some are computed again: they
    stay where they have all these errors and more, or the same errors and slopes.
    """
    if not all((folder / name).exists() for name in BESIDE):
        return False
    try:
        for name in tables:
            sums.check(folder / f"{name}.csv", study)
        kept, made = ({name: _rows(each(name)) for name in tables} for each in (
            lambda name: read_text(folder / f"{name}.csv"), lambda name: tables[name]))
        return kept["errors"] > made["errors"] or all(kept[name] >= made[name] for name in tables)
    except (OSError, ValueError, KeyError):
        return False


def _rows(table: str) -> set[tuple[str, ...]]:
    """As they are written, with the names of their columns, without where they come from."""
    read = pd.read_csv(StringIO(table), dtype=str, keep_default_na=False).drop(columns=PASSED, errors="ignore")
    return {tuple(read.columns), *read.itertuples(index=False, name=None)}
