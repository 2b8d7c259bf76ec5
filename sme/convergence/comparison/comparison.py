"""How far the expectations of two equations of one discrete run are apart: table, picture and words."""

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.errors import reason
from sme.common.output.brief import Brief
from sme.common.output.figure import printed
from sme.common.output.provenance import Provenance, harmless, plain
from sme.common.output.text import grid
from sme.common.process.turns import Turns
from sme.common.storage import sums
from sme.common.storage.files import read_table, read_text, write_text
from sme.common.version import version
from sme.convergence.comparison import picture

COLUMNS = ["tau", "observable", "at", "time", "difference", "stderr", "integrator_bias", "z", "z_tables", "sharper",
           "paths", "diverged"]
FACTORS = ["tau", "observable", "at", "error_1", "stderr_1", "error_2", "stderr_2", "factor", "low", "high"]
VERSION = r"^\d\S*(?: \d\S*)*$"
"""of the code that made a row; a row that is cut off has none"""


@dataclass(repr=False)
class Comparison(Brief, Turns):
    """The difference of two equations' expectations, with its standard error.

    Attributes
    ----------
    names
        of both equations, as `order 2, independent`.
    table
        `tau observable at time difference stderr integrator_bias z z_tables sharper paths diverged`, with
        `difference = E[first] − E[second] = error(second) − error(first)`, taken path by path on common noise, with
        quadratic forms of the noise as control variates. `z` is the difference over `√(stderr² + integrator_bias²)`, and
        `z_tables` the same from the two studies' error tables as if they were independent; `sharper` how many times smaller
        the standard error is than that of the two tables. Both are empty where a study has no such row.
    complete
        whether all step sizes are there, or Ctrl-C came first.
    """

    study: str
    names: tuple[str, str]
    table: pd.DataFrame
    seed: int
    complete: bool = True
    versions: tuple[str, ...] = field(default_factory=lambda: (version(),))
    """of the code that made it"""
    remark: str = ""
    """which observables have no value on some paths"""
    parts: tuple[str, ...] = ()
    """of the code that its numbers come from"""
    origins: tuple[str, ...] = ()
    """whose the equations are, in a sentence each, where they are the caller's"""
    factors: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=FACTORS))
    """how many times larger the first weak error is than the second, where both studies have one: `tau observable at error_1
    stderr_1 error_2 stderr_2 factor low high`, the standard errors with the integrator bias in them, the interval of 95 %"""

    @property
    def provenance(self) -> Provenance:
        """The code and the seed that made it."""
        return Provenance(self.study, self.versions, (self.seed,), self.parts)

    def text(self, style: str = "simple") -> str:
        """The table, in one of tabulate's styles."""
        table = self.table
        shown = pd.DataFrame({
            "tau": [f"{tau:g}" for tau in table["tau"]], "observable": table["observable"], "at": table["at"],
            "difference": [f"{d:.4e} ± {s:.0e}" for d, s in zip(table["difference"], table["stderr"], strict=True)],
            "integrator bias": [f"{b:.0e}" for b in table["integrator_bias"]],
            **{name.replace("_", " of the "): [f"{z:.3g}" if np.isfinite(z) else "–" for z in table[name]]
               for name in ("z", "z_tables", "sharper")},
            "paths": table["paths"], "diverged": [f"{x:.2%}" for x in table["diverged"]],
        })
        title = f"{self.study}: {self.names[0]} against {self.names[1]}"
        words = (f"difference = E[{self.names[0]}] − E[{self.names[1]}] ± standard error, both on the same noise. z is the "
                 "difference over its standard error and integrator bias together, z of the tables the same from the two tables "
                 "of weak errors, as if they were independent; sharper is how many times smaller the standard error is than that "
                 "of the tables.")
        words += f" Without z, since it has no value on some paths: {self.remark}." if self.remark else ""
        more = []
        if len(self.factors):
            ends = zip(*(self.factors[name] for name in ("factor", "low", "high")), strict=True)
            said = [f"{value:.3g} [{low:.3g}, {high:.3g}]" for value, low, high in ends]
            beside = self.factors[["observable", "at"]].assign(**{"factor [95 %]": said})
            beside.insert(0, "tau", [f"{tau:g}" for tau in self.factors["tau"]])
            more = [f"How many times larger the weak error of {self.names[0]} is than that of {self.names[1]}, from the two "
                    "tables of errors:", grid(beside, style)]
        elif not self.table.empty:
            more = ["No factor between the two errors: the studies have no errors at these step sizes, run weak_error there."]
        return "\n\n".join([f"# {title}" if style == "github" else title, grid(shown, style), words, *more, *self.origins,
                            str(self.provenance)])

    def __str__(self) -> str:
        return self.text()

    def plot(self, path: str | Path) -> Path:
        """Draw the differences over `τ` to a file, in a format that its ending names."""
        return picture.draw(self.names, self.table, self.provenance, Path(path))

    def save(self, folder: Path) -> None:
        """Write `compare-….csv`, `.md` and `.png`, with the step sizes of an earlier one of the same seed beside these."""
        equations = "-".join(name.replace("order ", "order").replace(", ", "-") for name in self.names)
        path = folder / f"compare-{equations}-seed{self.seed}.csv"
        rows = self.table.assign(**self.provenance.columns)
        earlier, fresh = self._earlier(path), {f"{tau:.6g}" for tau in rows["tau"]}
        if earlier is not None:
            earlier = earlier[~earlier["tau"].map("{:.6g}".format).isin(fresh)]
            parts = [part for part in (earlier, rows) if len(part)]
            rows = pd.concat(parts).sort_values("tau", ascending=False, kind="stable", ignore_index=True)
        versions = {one for each in rows["version"] for one in each.split()}
        whole = replace(self, table=rows[COLUMNS], versions=tuple(sorted(versions)))
        shown = rows.assign(observable=rows["observable"].map(harmless))
        sums.write(path, shown.to_csv(index=False, float_format="%.6g"), self.study)
        write_text(path.with_suffix(".md"), whole.text("github") + "\n")
        with printed():
            whole.plot(path.with_suffix(".png"))

    def _earlier(self, path: Path) -> pd.DataFrame | None:
        """The rows that are there, of the same columns; None without, or where they are damaged, which a warning names."""
        if not path.exists():
            return None
        try:
            sums.check(path, self.study)
            table = read_table(path, dtype={"version": str, "seeds": str}, converters={"observable": str, "at": str})
            table = table[[*COLUMNS, *self.provenance.columns]].astype(
                dict.fromkeys(set(COLUMNS) - {"observable", "at"}, float) | {"paths": int})
            whole = table["version"].str.contains(VERSION) & table["tau"].notna()
            if not (whole.all() and read_text(path).endswith("\n")):
                raise ValueError("it is cut off")
            return table.assign(observable=table["observable"].map(plain))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            warnings.warn(f"{path} is not a whole comparison ({reason(fault)}): its rows are left out, and the file "
                          "is written anew; give its step sizes again to have them computed again", stacklevel=3)
            return None
