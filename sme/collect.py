"""All studies of a results folder: their tables from their points, and one table of slopes."""

import warnings
from pathlib import Path

import pandas as pd

from sme import predicted, provenance
from sme.errors import SMEError
from sme.files import write_text
from sme.outline import FILE, Outline
from sme.points import read
from sme.study import Study
from sme.tables import SLOPES

COLUMNS = ["study", "optimizer", "regime", "problem", "brownian", *SLOPES, *provenance.COLUMNS]


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


def _outline(folder: Path) -> Outline | None:
    """The outline of a study, or a warning that names the study which is left out."""
    try:
        return Outline.read(folder)
    except SMEError as fault:
        warnings.warn(f"left out: {fault}", stacklevel=3)
        return None


def rebuild(results: str | Path) -> pd.DataFrame:
    """Write every study's tables from its points (without points they stay as they are), then join them."""
    for folder in studies(Path(results)):
        outline = _outline(folder)
        points = list(read(folder / "points", outline.study)) if outline else []
        if outline and points:
            Study(outline, points, folder, Study.read_remark(folder), predicted.read(folder)).save()
    return join(results)


def join(results: str | Path) -> pd.DataFrame:
    """Write `slopes.csv`, the slopes of all studies, and return it."""
    parts = []
    for folder in studies(Path(results)):
        outline = _outline(folder) if (folder / "slopes.csv").exists() else None
        if outline is not None:
            names = {name: getattr(outline, name) for name in COLUMNS[:5]}
            try:
                slopes = pd.read_csv(folder / "slopes.csv", dtype=str, keep_default_na=False)
                older = {name: "" for name in provenance.COLUMNS if name not in slopes}
                parts.append(slopes.assign(**older, **names)[COLUMNS])
            except (ValueError, KeyError) as fault:
                warnings.warn(f"{folder / 'slopes.csv'} is not a table of slopes and is left out: {fault}", stacklevel=2)
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    write_text(Path(results) / "slopes.csv", table.to_csv(index=False))
    return table
