"""The table of what drives an equation under every structure of the noise."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sme.common.output.report import Report
from sme.common.output.text import grid
from sme.studies.drivers import picture


@dataclass(frozen=True, repr=False)
class Drivers(Report):
    """What `drivers` finds.

    Attributes
    ----------
    table
        `regime noise driver order observable tau error stderr integrator_bias slope slope_low slope_high paths`,
        `error = E[discrete] − E[equation]` at the end.
    """

    file = "drivers"
    name: str
    table: pd.DataFrame
    seed: int = 0

    def body(self, style: str) -> list[str]:
        rows = []
        for (regime, noise, driver, order, observable), part in self.table.groupby(
                ["regime", "noise", "driver", "order", "observable"], sort=False):
            last = part.loc[part["tau"].idxmin()]
            slope = "–" if pd.isna(last["slope"]) else f"{last['slope']:.2f} [{last['slope_low']:.2f}, {last['slope_high']:.2f}]"
            rows.append((regime, noise, driver, order, observable, f"{last['tau']:g}", f"{last['error']:.2e}",
                         f"{last['stderr']:.0e}", f"{last['integrator_bias']:.0e}", slope))
        shown = pd.DataFrame(rows, columns=["regime", "noise", "driver", "order", "observable", "tau", "error", "stderr", "bias",
                                            "slope over τ [95 %]"])
        bounds = [] if self.table["paths"].any() else [
            "By quadrature, without random paths: stderr is a numerical bound; step_memory is not had."]
        return ["Discrete run less equation at the end, at the finest τ, of one loss with noise of one covariance and six "
                "structures. A driver that is not in the table has no equation for that noise.", grid(shown, style), *bounds]

    def draw(self, path: Path) -> Path:
        """The picture."""
        return picture.draw(self.table, self.name, self.provenance, path)
