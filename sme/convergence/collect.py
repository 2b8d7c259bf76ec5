"""All studies of a results folder: their tables from their points, and one table of slopes."""

import re
import warnings
from pathlib import Path

import pandas as pd

from sme.common.errors import SMEError, reason
from sme.common.output import provenance
from sme.common.output.provenance import harmless, plain
from sme.common.storage import sums
from sme.common.storage.files import listed, read_table, write_text
from sme.convergence.findings import Findings
from sme.convergence.fit.tables import SLOPES
from sme.convergence.spec.outline import FILE, StudyMetadata
from sme.convergence.study import Study

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
    return [path.parent for path in listed(results, f"*/{FILE}")]


def _outlines(results: Path) -> list[tuple[Path, StudyMetadata]]:
    """The folders of studies with what they hold; a warning names what cannot be read, or is a copy, and is left out."""
    found: dict[str, tuple[Path, StudyMetadata]] = {}
    for folder in sorted(studies(results), key=lambda folder: not re.search("-[0-9a-f]{8}$", folder.name)):
        try:
            outline = StudyMetadata.read(folder)
        except SMEError as fault:
            warnings.warn(f"left out: {fault}", stacklevel=3)
            continue
        first, _ = found.setdefault(outline.study, (folder, outline))
        if first != folder:
            warnings.warn(f"left out: {folder} is a copy of {first.name}, whose rows would stand twice in the table of slopes: "
                          "move it to another folder of results, or delete it", stacklevel=3)
    return sorted(found.values(), key=lambda each: each[0])


def rebuild(results: str | Path) -> pd.DataFrame:
    """Write every study's tables from its points (without points: its slopes and verdicts from its errors), then join them.

    Points that were asked for and are not there, tables that cannot be read, and a study that fails are named in a warning.
    """
    outlines = _outlines(Path(results))
    for folder, outline in outlines:
        study = Findings(outline, folder=folder)
        try:
            study.reload()
            if study.missing:
                warnings.warn(f"{study.name}: {study.remark}", stacklevel=2)
            study.save()
        except Exception as fault:  # whatever is wrong with one study, the others are collected
            told = str(fault) if isinstance(fault, SMEError) else f"{folder} fails ({reason(fault)})"
            warnings.warn(f"left as it is: {told}", stacklevel=2)
    return _join(Path(results), outlines)


def found(results: str | Path) -> list[Study]:
    """The studies of a folder with what they hold; a warning names one that cannot be read."""
    studies = []
    for folder, outline in _outlines(Path(results)):
        study = Study(outline, folder=folder)
        try:
            study.reload()
            studies.append(study)
        except SMEError as fault:
            warnings.warn(f"left out: {fault}", stacklevel=2)
    return studies


def join(results: str | Path) -> pd.DataFrame:
    """Write `slopes.csv`, the slopes of all studies, and return it.

    Again, if other jobs have written slopes meanwhile: whoever writes last has seen all of them.
    """
    return _join(Path(results), _outlines(Path(results)))


def _join(results: Path, outlines: list[tuple[Path, StudyMetadata]]) -> pd.DataFrame:
    table = _joined(outlines)
    while True:
        write_text(results / "slopes.csv", table.assign(observable=table["observable"].map(harmless)).to_csv(index=False))
        now = _joined(_outlines(results))
        if now.equals(table):
            return table
        table = now


def _joined(outlines: list[tuple[Path, StudyMetadata]]) -> pd.DataFrame:
    parts = []
    for folder, outline in outlines:
        path = folder / "slopes.csv"
        if not path.exists():
            continue
        names = {name: getattr(outline, name) for name in COLUMNS[:5]}
        try:
            sums.check(path, outline.study)
            slopes = read_table(path, dtype=str, keep_default_na=False)
            older = {name: "" for name in ADDED if name not in slopes}
            parts.append(slopes.assign(**older, **names)[COLUMNS].assign(observable=slopes["observable"].map(plain)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            warnings.warn(f"{path} is not a table of slopes and is left out: {reason(fault)}. Delete it, and "
                          "collect the results again to have it made from the points", stacklevel=2)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
