"""What is said of a study in a few sentences: on a screen, and beside its tables."""

from typing import TYPE_CHECKING

from sme.convergence.estimator.quadrature.method import QUADRATURE
from sme.convergence.fit import tables
from sme.convergence.store import asked as requests

if TYPE_CHECKING:
    from sme.convergence.findings import Findings

FIRST = "0.2.0"
"""version whose points have no `Halving`"""
LETTERS = 160
"""of a list on a screen"""


def remark(study: "Findings") -> str:
    """What a reader of the tables must know: points that are missing, a tolerance that is not met; empty if there is nothing."""
    parts = [study.outline.origin] if study.outline.origin else []
    if exact := study.outline.method == QUADRATURE:
        parts.append("By quadrature, without random paths: stderr is a numerical bound in place of a standard error; "
                     "diverged and floored are shares of a few runs that say where the state is.")
    if study.missing:
        names = requests.named(study.missing, study.outline.horizon)
        parts.append(f"{len(study.missing)} of the {len(study.asked.keys)} points asked for are missing ({names}): "
                     "run the same command again to have them computed.")
    if any(point.halving is None and point.version.startswith(FIRST) for point in study.reported):
        parts.append(f"Points of sme {FIRST} state the integrator bias of that version, which is no upper estimate: their "
                     "intervals may be too narrow.")
    limit = study.asked.tolerance
    if limit is not None and not tables.loose(study._table, limit).empty:
        parts.append(f"Not every standard error is within the tolerance {limit:g}: a smaller one adds paths.")
    odd_and_even = {point.key.shard % 2 for point in study.reported}
    if not exact and study.kept is None and len(study.outline.times) > 1 and len(odd_and_even) < 2:
        parts.append("No largest error over the checkpoints: it takes shards of odd and of even number, so more paths.")
    return " ".join(parts)


def screen(study: "Findings") -> str:
    """The name, what there is, and the verdicts by how many rows have each."""
    outline, errors = study.outline, study.errors
    taus = ", ".join(f"{tau:g}" for tau in errors["tau"].unique())
    seen = f"τ = {_shortened(taus)}; {len(errors)} errors" if len(errors) else "no errors"
    observed = _shortened(", ".join(outline.observables))
    lines = [f"{type(study).__name__} {study.name}", f"horizon {outline.horizon:g}; {observed}", seen]
    for order, rows in study.slopes.groupby("order"):
        verdicts = ", ".join(f"{count} {word}" for word, count in rows["verdict"].value_counts().items())
        lines.append(f"order {order}: slopes {rows['slope'].min():.3g} to {rows['slope'].max():.3g}, {verdicts}")
    where = f"in {_shortened(str(study.folder))}; " if study.folder is not None else ""
    return "\n".join([*lines, f"{where}print(study) for the tables, study.slopes and study.errors for them as frames"])


def _shortened(text: str) -> str:
    """Its beginning, where it is long."""
    return text if len(text) <= LETTERS else f"{text[:LETTERS]}…"
