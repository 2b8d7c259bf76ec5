"""What trajectories leave behind: curves and histograms, as tables and as pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.output.figure import target
from sme.common.output.provenance import Provenance
from sme.common.output.report import Plot, Report
from sme.common.output.text import grid
from sme.common.storage import sums
from sme.common.version import version
from sme.studies.trajectories import closer, picture
from sme.studies.trajectories.sample import Edges, Summary
from sme.studies.trajectories.setups import compared

DISCRETE = "discrete"


@dataclass(frozen=True, repr=False)
class Trajectories(Report):
    """Means, spreads and histograms of the discrete run and of its equations at one step size.

    Attributes
    ----------
    table
        `observable tau time curve mean stderr sd low high difference difference_stderr integrator_bias paths diverged
        floored`: `mean ± stderr` over antithetic pairs (for an equation extrapolated in the substep); standard deviation
        and 5 % and 95 % quantiles over paths (of the finest level); `difference = E[discrete] − E[equation]` with the
        standard error of the paired difference or, where the discrete run has further runs, of two independent means. Paths
        that diverged anywhere are in no number but `paths` and in the share `diverged`; `floored` is the share where the
        discrete run or the equation saw the floor under `v`.
    histograms
        `variable tau time curve low high count density`: paths in `[low, high)`, the first and last row of each being what
        lies outside; with the paths that diverged they are all paths.
    closer
        of orders 1 and 2 together: `observable tau time error_1 stderr_1 error_2 stderr_2 factor low high`, `factor = |error_1| /
        |error_2|` with Fieller's interval of 95 % from the pairs in which nothing diverged; None for one order.
    epochs
        the same of the equation of independent steps and of that which knows the epochs of a reshuffled run; else None.
    """

    study: str
    tau: float
    seed: int
    table: pd.DataFrame
    histograms: pd.DataFrame
    band: str = "sd"
    closer: pd.DataFrame | None = None
    epochs: pd.DataFrame | None = None
    doubts: dict[str, str] = field(default_factory=dict)
    """by observable, `infinite mean` or `infinite variance` where the discrete run has none"""
    parts: tuple[str, ...] = ()
    """of the code that its numbers come from"""
    origin: str = ""
    """whose the equation is, in a sentence, where it is the caller's"""
    notes: tuple[str, ...] = ()
    """how a network's equations were computed at less cost, in sentences"""

    def withhold(self, doubts: Mapping[str, str]) -> None:
        """Leave out the standard errors, deviations and intervals of observables without a variance, and say why."""
        self.doubts.update(doubts)
        heavy, own = self.table["observable"].isin(list(doubts)), self.table["curve"] == DISCRETE
        self.table.loc[heavy & own, ["stderr", "sd"]] = np.nan
        self.table.loc[heavy & (self.table["time"] > 0), "difference_stderr"] = np.nan
        for each in (self.closer, self.epochs):
            if each is not None:
                each.loc[each["observable"].isin(list(doubts)), ["stderr_1", "stderr_2", "low", "high"]] = np.nan

    @property
    def provenance(self) -> Provenance:
        """The code and the seed that made the numbers."""
        return Provenance(self.study, (version(),), (self.seed,), self.parts)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.study

    @property
    def title(self) -> str:
        return f"{self.study}, tau = {self.tau:g}, at the end:"

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        further = {name: table for name, table in (("closer", self.closer), ("epochs", self.epochs)) if table is not None}
        return {"trajectories": self.table, "histograms": self.histograms, **further}

    @property
    def plots(self) -> dict[str, Plot]:
        return {"trajectories": lambda path: picture.curves(self.table, self.band, self.tau, self.provenance, path),
                "histograms": self.plot_histograms}

    @property
    def document(self) -> str:
        return ""

    def plot_histograms(self, path: str | Path) -> Path:
        """Draw the histograms to a file, in a format that its ending names."""
        return picture.histograms(self.histograms, self.tau, self.provenance, target(path))

    def keep(self, path: Path, content: str) -> None:
        sums.write(path, content, path.parent.name)

    def body(self, style: str) -> list[str]:
        last = self.table[self.table["time"] == self.table["time"].max()]
        shown = pd.DataFrame({
            "observable": last["observable"], "curve": last["curve"],
            "mean": [f"{m:.6g} ± {s:.0e}" for m, s in zip(last["mean"], last["stderr"], strict=True)],
            "sd": last["sd"].map("{:.4g}".format), "5 %": last["low"].map("{:.4g}".format),
            "95 %": last["high"].map("{:.4g}".format),
            "discrete − equation": ["–" if curve == DISCRETE else f"{d:.3e} ± {s:.0e}" for curve, d, s in
                                    zip(last["curve"], last["difference"], last["difference_stderr"], strict=True)],
            "paths": last["paths"], "diverged": last["diverged"].map("{:.2%}".format),
            "floored": last["floored"].map("{:.2%}".format),
        })
        both = [] if self.closer is None else [grid(closer.last(self.closer), style)]
        if self.epochs is not None:
            both.append(grid(closer.last(self.epochs, *(compared(last["curve"].unique()) or ())), style))
        said = [f"{name}: {word}, so no standard error." for name, word in self.doubts.items()]
        said += [each if each[-1] == "." else f"{each[0].upper()}{each[1:]}." for each in (self.origin, *self.notes) if each]
        return [each.replace("± nan", "± –") for each in (grid(shown, style), *both, *said)]


def tabled(found: Mapping[str, Summary], names: Sequence[str], times: np.ndarray, apart: bool = False) -> pd.DataFrame:
    """The curves, a row for each observable, curve and time; `apart` if the discrete run is independent of the equations."""
    parts, discrete = [], found[DISCRETE].pairs
    for i, observable in enumerate(names):
        for curve, each in found.items():
            low, high = each.quantiles.centre[:, :, i]
            none = np.full(len(times), np.nan)
            difference = each.difference.centre[:, i], each.difference.stderr[:, i]
            if apart:
                stderr = np.hypot(discrete.stderr, each.pairs.stderr)
                difference = (discrete.centre - each.pairs.centre)[:, i], stderr[:, i]
            of_equation = [none, none, none] if curve == DISCRETE else [*difference, each.bias.centre[:, i]]
            parts.append(pd.DataFrame({
                "observable": observable, "time": times, "curve": curve, "mean": each.pairs.centre[:, i],
                "stderr": each.pairs.stderr[:, i], "sd": each.paths.sd[:, i], "low": low, "high": high,
                **dict(zip(("difference", "difference_stderr", "integrator_bias"), of_equation, strict=True)),
                "paths": each.total, "diverged": each.diverged / each.total, "floored": each.floored / each.total}))
    return pd.concat(parts, ignore_index=True)


def counted(found: Mapping[str, Summary], bins: Edges, names: Sequence[str], times: np.ndarray) -> pd.DataFrame:
    """The histograms, a row for each variable, time, curve and bin."""
    parts = []
    for b, variable in enumerate(names):
        for a, time in enumerate(times):
            limits = np.concatenate(([-np.inf], bins[a, b], [np.inf]))
            for curve, each in found.items():
                count = each.counts[a, b]
                density = count / max(each.paths.size, 1) / np.diff(limits)
                density[[0, -1]] = np.nan
                parts.append(pd.DataFrame({"variable": variable, "time": time, "curve": curve, "low": limits[:-1],
                                           "high": limits[1:], "count": count, "density": density}))
    return pd.concat(parts, ignore_index=True)
