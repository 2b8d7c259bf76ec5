"""What is known of the equations of one run at one step size: the table, the picture and a paragraph."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sme.common.output.provenance import Provenance
from sme.common.output.report import Plot, Report
from sme.common.output.text import grid
from sme.common.version import version
from sme.convergence.comparison.choice import EQUATION, Choice, Names
from sme.convergence.comparison.predictions import BASES, CLOSURE, MOMENTS
from sme.studies.certificate import ladder, picture

HOW = {CLOSURE: "cumulants around the noiseless run, without paths", MOMENTS: "moments of polynomials, without paths",
       "paired": "paths that share their noise"}


@dataclass(frozen=True, repr=False)
class Certificate(Report):
    """What `certify` finds.

    Attributes
    ----------
    table
        `regime model order driver observable predicted low high basis cost`: the weak error at the horizon, its interval, how it
        was had, and what a path costs in evaluations of the mean gradient.
    radius, spread
        of a step the spectral radius of `τ∇f̄`, and the largest deviation of a second moment as a share of its mean, along the
        run; not a number where there is no closure.
    doubt
        why the closure is not used, of the equation where it fails first.
    choice
        of `sme.select`; None without a tolerance.
    ladder
        `table` at further step sizes, with `tau` and `spread`; empty if none were asked for.
    """

    file = "certificate"
    name: str
    tau: float
    table: pd.DataFrame
    radius: float
    spread: float
    doubt: str
    seed: int
    names: Names = field(default_factory=dict)
    choice: Choice | None = None
    tolerance: float | None = None
    ladder: pd.DataFrame = field(default_factory=pd.DataFrame)
    measured: pd.DataFrame | None = None

    @property
    def title(self) -> str:
        return f"Predicted weak errors at τ = {self.tau:g}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """That of the paths, if there are any."""
        return (self.seed,) if (self.table["basis"] == BASES[2]).any() else ()

    @property
    def provenance(self) -> Provenance:
        return Provenance(self.name, (version(),), self.seeds)

    @property
    def shown(self) -> str:
        """The observable that is shown first: the loss, or the first one."""
        there = list(self.table["observable"])
        return "loss" if "loss" in there else str(there[0])

    @property
    def words(self) -> str:
        """One paragraph."""
        rows = self.table[self.table["observable"] == self.shown].sort_values("predicted", key=abs)
        said = [f"{self.names[tuple(row[EQUATION])]} errs by {_quoted(row)}" for _, row in rows.iterrows()]
        bases = [f"by {HOW[basis]}" for basis in BASES if (self.table["basis"] == basis).any()]
        parts = [f"At τ = {self.tau:g}, in the {self.shown} at the horizon, " + "; ".join(said) + ".",
                 f"This is predicted {', and '.join(bases)}."]
        if self.doubt:
            parts.append(f"Not by the closure where {self.doubt}.")
        elif self.radius == self.radius:
            limit = "where any series in τ converges" if self.radius < 1 else "and no series in τ converges beyond 1"
            parts.append(f"Step size × curvature (the spectral radius of a step) is {self.radius:.2g}, {limit}.")
        if self.choice is not None:
            parts.append(self.choice.reason)
        return " ".join(parts)

    def body(self, style: str) -> list[str]:
        errors = [_quoted(row) for _, row in self.table.iterrows()]
        named = [self.names[tuple(row)] for row in self.table[EQUATION].itertuples(index=False)]
        wide = pd.DataFrame({"equation": named, "observable": self.table["observable"], "error": errors})
        wide = wide.pivot(index="equation", columns="observable", values="error")
        wide = wide.loc[list(dict.fromkeys(named)), list(dict.fromkeys(self.table["observable"]))]
        own = self.table.assign(equation=named).drop_duplicates("equation").set_index("equation")
        wide = wide.assign(basis=own["basis"], cost=own["cost"].map("{:.3g}".format)).reset_index()
        return [grid(wide, style), "Error: E[discrete] − E[equation] at the horizon, with the half-width of its interval; cost: "
                "evaluations of the mean gradient by one path.", self.words]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {self.file: self.table} | ({"ladder": self.ladder} if len(self.ladder) else {})

    @property
    def plots(self) -> Mapping[str, Plot]:
        """`certificate`, and over `τ` the `ladder` if there is one."""
        plots: dict[str, Plot] = {self.file: self.draw}
        return plots | ({"ladder": self.draw_ladder} if len(self.ladder) else {})

    def draw_ladder(self, path: Path) -> Path:
        """Draw the errors over `τ`."""
        return ladder.draw(self, path)

    def draw(self, path: Path) -> Path:
        return picture.draw(self.table, self.names, self.shown, self.tolerance, self.choice, self.provenance, path)


def _quoted(row: pd.Series) -> str:
    if row["predicted"] != row["predicted"]:
        return "–"
    return f"{row['predicted']:.3e} ± {(row['high'] - row['low']) / 2:.0e}"
