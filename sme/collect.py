"""All studies of a results folder: their tables from their points, and one table of slopes."""

from pathlib import Path

import pandas as pd

from sme.errors import SMEError
from sme.files import write_text
from sme.outline import FILE, Outline
from sme.points import read
from sme.study import Study
from sme.tables import SLOPES

COLUMNS = ["study", "optimizer", "regime", "problem", "brownian", *SLOPES]


def studies(results: Path) -> list[Path]:
    """The folders of studies.

    Raises
    ------
    SMEError
        if there is no such folder.
    """
    if not results.is_dir():
        raise SMEError(f"{results} is not a folder: give the folder that holds the studies, such as results/")
    return sorted(path.parent for path in results.glob(f"*/{FILE}"))


def rebuild(results: str | Path) -> pd.DataFrame:
    """Write every study's tables from its points (without points they stay as they are), then join them."""
    for folder in studies(Path(results)):
        outline = Outline.read(folder)
        points = list(read(folder / "points", outline.study))
        if points:
            Study(outline, points, folder).save()
    return join(results)


def join(results: str | Path) -> pd.DataFrame:
    """Write `slopes.csv`, the slopes of all studies, and return it."""
    parts = []
    for folder in studies(Path(results)):
        if (folder / "slopes.csv").exists():
            outline, slopes = Outline.read(folder), pd.read_csv(folder / "slopes.csv", dtype=str, keep_default_na=False)
            names = {name: getattr(outline, name) for name in COLUMNS[:5]}
            parts.append(slopes.assign(**names)[COLUMNS])
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    write_text(Path(results) / "slopes.csv", table.to_csv(index=False))
    return table
