"""What a study of scaling rules finds."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sme.common.output.report import Report
from sme.common.output.text import grid
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.scaling_rules import largest
from sme.studies.scaling import picture
from sme.studies.scaling.doubling import LIMIT


@dataclass(frozen=True, repr=False)
class Collapse(Report):
    """What `collapse` finds.

    Attributes
    ----------
    table
        `optimizer rule kappa batch_size steps epoch observable mean stderr low high`: mean, standard error and 10 % and 90 %
        quantiles over runs.
    distances
        `optimizer rule kappa share observable distance stderr`: the root mean square over the epochs of the difference of the
        runs' mean logarithms to those of `κ = 1`, less what their own spread adds to it, with its standard error (jackknife);
        `share = κ (1 − β)` of the shortest memory. No number where runs are not finite. `early` and `late` are the distances
        over each half of the epochs, with their errors.
    leaves
        `optimizer rule observable part kappa low high predicted predicted_low predicted_high`: the `κ` at which the distance
        leaves 0.1, between those that were run, and what the run at `κ = 1` says of it (`sme.studies.scaling.doubling`);
        with 95 % intervals.
    """

    file = "scaling"
    name: str
    seed: int
    runs: int
    noise: float
    """`tr Σ/|∇f|²` at the start, for `κ = 1`"""
    given: tuple[Hyperparameters, ...]
    table: pd.DataFrame
    distances: pd.DataFrame
    leaves: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"scaling": self.table, "distances": self.distances, "leaves": self.leaves}

    def body(self, style: str) -> list[str]:
        part = self.distances.assign(distance=[f"{d:.3f} ± {s:.3f}" if math.isfinite(d) else "not finite" for d, s in zip(
            self.distances["distance"], self.distances["stderr"], strict=True)], kappa=self.distances["kappa"].map("{:g}".format))
        wide = part.pivot_table(index=["observable", "optimizer", "rule"], columns="kappa", values="distance", aggfunc="first",
                                sort=False).fillna("–").reset_index()
        said = [f"At κ = 1, {self.runs} runs, at the start tr Σ/|∇f|² = {self.noise:.3g}:", *map(str, self.given),
                "Distance to κ = 1 of the mean log loss, root mean square over the epochs, by κ (–: κ(1 − β) ≥ 1):",
                grid(wide, style)]
        if not self.leaves.empty:
            said += [f"The κ at which this distance leaves {LIMIT:g}, measured, and predicted from the run at κ = 1, whose "
                     "steps are taken by two and by four beside it; over all epochs and each half of them:",
                     grid(self._left(), style)]
        return said

    def _left(self) -> pd.DataFrame:
        """The table of where the collapse ends, in words."""
        def told(row: pd.Series, names: tuple[str, str, str]) -> str:
            value, low, high = (row[name] for name in names)
            return "–" if math.isnan(value) else f"{value:.3g} ({low:.3g} to {high:.3g})"

        rows = [[row["observable"], row["optimizer"], row["rule"], row["part"], told(row, ("kappa", "low", "high")),
                 told(row, ("predicted", "predicted_low", "predicted_high"))] for _, row in self.leaves.iterrows()]
        return pd.DataFrame(rows, columns=["observable", "optimizer", "rule", "part", "measured", "predicted"])

    def draw(self, path: Path) -> Path:
        limits = {each.optimizer: largest(each) for each in self.given}
        return picture.draw(self.table, self.distances, limits, self.provenance, path)
