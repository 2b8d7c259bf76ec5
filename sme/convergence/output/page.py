"""One page of HTML for one study or many: a table of slopes that sorts and filters, and all that is known of each study.

What stands in it is data: jinja2 escapes it, and the page's policy lets no script run but its own.
"""

import base64
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sme.common.errors import SMEError, warn
from sme.common.inputs import short
from sme.common.output.text import quote
from sme.common.process.progress import progress
from sme.common.storage.files import write_text
from sme.common.version import version
from sme.convergence.fit.tables import MAX
from sme.convergence.output import again, formulas, report, vector, verdicts
from sme.convergence.output.beside import Beside
from sme.optimizers.grid import StepGrid

if TYPE_CHECKING:
    from sme.convergence.findings import Findings

FILTERS = ("optimizer", "regime", "problem", "equation", "order", "verdict")
COLUMNS = {"study": "text", "optimizer": "text", "problem": "text", "regime": "text", "order": "number", "observable": "text",
           "at": "text", "verdict": "text", "slope [95 %]": "number", "note": "text", "C1 [99 %]": "number", "points": "number",
           "equation": "text"}
"""of the table of slopes, and how they sort: what was found stands where one reads first"""
FIRST = ("order", "observable", "at", "verdict", "slope [95 %]", "note")
"""columns of a study's own table, before all others"""
LATE = ("end", MAX)
MOST = 100
"""rows of a study's table"""
Command = Callable[["Findings"], str]


def write(studies: Sequence["Findings"], path: str | Path, title: str, command: Command = lambda study: "",
          others: Sequence[Beside] = ()) -> Path:
    """Write the page of these studies to a file; `command` gives the shell command that makes one again, or nothing.

    `others` are reports of other studies, which stand behind.

    Raises
    ------
    SMEError
        if there is nothing to show, or the file cannot be written.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise SMEError(f"path must name the file of the page, got {short(path)}: give such as 'report.html'")
    shown = [study for study in studies if not study.errors.empty]
    if not shown:
        raise SMEError(f"{title} has no errors to show: run a study first, such as python scripts/weak_error.py optimizer=adam")
    write_text(Path(path), html(shown, title, command, others))
    return Path(path)


def html(studies: Sequence["Findings"], title: str, command: Command, others: Sequence[Beside] = ()) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    style, script = (_part(name) for name in ("page.css", "page.js"))
    told = [(_study(study, command), _slopes(study)) for study in progress(studies, desc="studies", unit="study")]
    rows = [row for _, each in told for row in each]
    filters = {name: sorted({str(row["filters"][name]) for row in rows}) for name in FILTERS}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_part("page.html")).render(
        title=title, studies=[each for each, _ in told], others=others, rows=rows, columns=COLUMNS, filters=filters,
        several=len(studies) > 1, version=version(), symbols=formulas.SYMBOLS, style=_unescaped(style),
        script=_unescaped(script), allowed=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode())


@cache
def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _unescaped(own: str) -> Any:
    """A part of the page that is the package's own, or a picture, which has escaped what is data in it."""
    from markupsafe import Markup

    return Markup(own)


def _image(svg: str) -> str:
    """An SVG by its address: as an image it runs nothing, and its names are its own."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _equation(study: "Findings") -> str:
    """The model, or the Brownian motions of the own one, in words."""
    return study.outline.brownian.replace("_", " ").replace("none", "without noise")


def _slopes(study: "Findings") -> list[dict[str, Any]]:
    """The rows of the large table: cells as text, with what they sort and are filtered by."""
    outline, rows = study.outline, []
    for row in study.slopes.to_dict("records"):
        names = {"optimizer": outline.optimizer, "regime": outline.regime.replace("_", "-"), "problem": outline.problem,
                 "equation": _equation(study), "order": str(row["order"]), "verdict": row["verdict"]}
        cells = {"study": study.name[-8:], **names, "observable": row["observable"], "at": row["at"],
                 "slope [95 %]": quote(row["slope"], row["slope_low"], row["slope_high"]),
                 "C1 [99 %]": quote(row["c1"], row["c1_low"], row["c1_high"]), "points": str(row["points"]), "note": row["note"]}
        keys = {"slope [95 %]": row["slope"], "C1 [99 %]": row["c1"]}
        rows.append({"anchor": study.name, "filters": names, "late": row["at"] in LATE,
                     "cells": [(name, cells[name], _key(keys.get(name, cells[name]))) for name in COLUMNS]})
    return rows


def _key(value: Any) -> str:
    """What a cell sorts by; nothing of a number that is none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return str(value)


def _study(study: "Findings", command: Command) -> dict[str, Any]:
    slopes, errors = _shown(study.slopes), _shown(study.errors)
    points = [verdicts.words(order, rows) for order, rows in study.slopes.groupby("order")]
    left, svg = len(study.errors) - len(errors), vector.draw(study.errors, study.slopes)
    return {"name": study.name, "title": study.provenance.title, "verdicts": points,
            "remarks": report.remarks(study.slopes, bool(study.errors["paths"].any())),
            "picture": _unescaped(svg), "size": _size(svg), "slopes": _cells(_first(report.slope_table(slopes))),
            "errors": _cells(report.error_table(errors)),
            "left": f"{left} more, at other checkpoints, stand in errors.csv." if left else "",
            "remark": study.remark, "provenance": str(study.provenance),
            "terms": report.terms(study.outline.optimizer, study.physical), "physical": _cells(study.physical),
            "formulas": [(each, _image(each.svg) if each.svg else "") for each in _formulas(study)],
            "command": command(study), "lines": again.lines(_recipe(study), study.requested, _place(study)),
            "folder": _place(study) or ""}


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table of a study; of a long one only the rows at the end and the largest."""
    return table if len(table) <= MOST else table[table["at"].isin(LATE)]


def _first(table: pd.DataFrame) -> pd.DataFrame:
    """Verdict and note beside the slope."""
    return table[[*FIRST, *(name for name in table if name not in FIRST)]]


def _size(svg: str) -> tuple[int, int]:
    """Width and height in pixels, so that a page has its place before it is drawn."""
    ends = [re.search(rf'<svg[^>]* {name}="([\d.]+)pt"', svg) for name in ("width", "height")]
    width, height = (float(each[1]) if each else 540.0 for each in ends)
    return round(width * 4 / 3), round(height * 4 / 3)


def _place(study: "Findings") -> str | None:
    return None if study.folder is None else study.folder.as_posix()


def _recipe(study: "Findings") -> Mapping[str, Any]:
    """What the study can be made from; nothing where nobody says."""
    known = getattr(study, "known", None)
    if known is not None:
        return known.recipe()
    return (study.outline.recipe(study.folder) if study.folder is not None else None) or {}


def _formulas(study: "Findings") -> list[formulas.Formula]:
    """Of the highest order; none where the study's parts cannot be made again from what the package has.

    A folder may be anybody's, and to look at it imports nothing of its author's. A large problem is not made for this alone.
    """
    made = _recipe(study)
    named = [again.targets(made.get(name)) for name in ("problem", "optimizer")]
    own = all(targets and all(each.startswith("sme.") for each in targets) for targets in named)
    if not own or not 0 < len((made.get("start") or {}).get("theta", ())) <= formulas.LARGE:
        return []
    try:
        specification = study.specification()  # type: ignore[attr-defined]
    except (SMEError, AttributeError):
        return []
    if specification.model.proposed is not None:  # the caller's equation stands in the caller's functions
        return []
    errors = study.errors
    steps = StepGrid.near(study.outline.horizon, errors["tau"].min()).steps
    try:
        return formulas.formulas(specification, int(errors["order"].max()), steps)
    except Exception as fault:  # of the study's own code: the page has all the rest
        warn(f"{study.name} shows no formulas ({type(fault).__name__}: {fault})")
        return []


def _cells(table: pd.DataFrame) -> dict[str, Any]:
    """A printed table, without columns of which nothing is said."""
    text = table.map(lambda value: f"{value:.6g}" if isinstance(value, float) else str(value))
    text = text.loc[:, [not text[name].isin(["", "–"]).all() for name in text]]
    return {"names": list(map(str, text.columns)), "rows": text.to_numpy().tolist()}
