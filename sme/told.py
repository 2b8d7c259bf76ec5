"""Whether a folder's tables hold what is about to be written."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pandas as pd

from sme import provenance

BESIDE = ("errors.tex", "slopes.tex", "slopes.md", "errors.png")


def told(folder: Path, tables: Mapping[str, str]) -> bool:
    """Whether every row of these tables (`.csv` by name) is in the folder's own, whoever computed it, with all files beside them.

    So a study whose tables are kept without their points loses no row, and changes no file, where some are computed again.
    """
    if not all((folder / name).exists() for name in BESIDE):
        return False
    try:
        return all(_rows(folder / f"{name}.csv") >= _rows(StringIO(text)) for name, text in tables.items())
    except (OSError, ValueError):
        return False


def _rows(table: Path | StringIO) -> set[tuple[str, ...]]:
    """As they are written, with the names of their columns, without where they come from."""
    read = pd.read_csv(table, dtype=str, keep_default_na=False).drop(columns=provenance.COLUMNS, errors="ignore")
    return {tuple(read.columns), *read.itertuples(index=False, name=None)}
