"""All studies of a results folder: their tables from their points, and one table of slopes."""

import warnings
from pathlib import Path

import pandas as pd

from sme import provenance
from sme.errors import SMEError
from sme.files import write_text
from sme.findings import Findings
from sme.outline import FILE, Outline
from sme.tables import SLOPES

COLUMNS = ["study", "optimizer", "regime", "problem", "brownian", *SLOPES, *provenance.COLUMNS]

ADDED = ["c1_ode", "c0_low", "c0_high", *provenance.COLUMNS]
"""columns that older tables have not"""


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
    """Write every study's tables from its points (without points: its slopes and verdicts from its errors), then join them.

    Points that were asked for and are not there, and tables that cannot be read, are named in a warning.
    """
    for folder in studies(Path(results)):
        if (outline := _outline(folder)) is not None:
            study = Findings(outline, folder=folder)
            try:
                study.reload()
            except SMEError as fault:
                warnings.warn(f"left as it is: {fault}", stacklevel=2)
                continue
            if study.missing:
                warnings.warn(f"{study.name}: {study.remark}", stacklevel=2)
            study.save()
    return join(results)


def join(results: str | Path) -> pd.DataFrame:
    """Write `slopes.csv`, the slopes of all studies, and return it.

    Again, if other jobs have written slopes meanwhile: whoever writes last has seen all of them.
    """
    table = _joined(Path(results))
    while True:
        write_text(Path(results) / "slopes.csv", table.to_csv(index=False))
        now = _joined(Path(results))
        if now.equals(table):
            return table
        table = now


def _joined(results: Path) -> pd.DataFrame:
    parts = []
    for folder in studies(results):
        outline = _outline(folder) if (folder / "slopes.csv").exists() else None
        if outline is not None:
            names = {name: getattr(outline, name) for name in COLUMNS[:5]}
            try:
                slopes = pd.read_csv(folder / "slopes.csv", dtype=str, keep_default_na=False)
                older = {name: "" for name in ADDED if name not in slopes}
                parts.append(slopes.assign(**older, **names)[COLUMNS])
            except (OSError, ValueError, KeyError) as fault:
                warnings.warn(f"{folder / 'slopes.csv'} is not a table of slopes and is left out: {fault}. Delete it, and "
                              "collect the results again to have it made from the points", stacklevel=2)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
