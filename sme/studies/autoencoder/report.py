"""The tables of a race: hyperparameters, ends, comparisons between optimizers and with their equations."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sme.common.output.report import Report
from sme.common.output.text import grid, quote
from sme.studies.autoencoder import picture
from sme.studies.autoencoder.run import OBSERVABLES, SEARCH_SEED, AutoencoderComparison
from sme.studies.trajectories.report import DISCRETE

LOSS, GRADIENT, CURVATURE = OBSERVABLES
SETTING = """Full batch, without noise; torch's denominator (the updated one), no bias correction. lr is that of those tried with
the least loss at the end from one start (seed {seed}), which is none of the {count} starts below; tau, c1 and c2 are the same in
scaled variables. All intervals are 95 % of Student's t over the {count} starts, which differ in the initial parameters."""
ENDS = """At the end, step {steps}: means over the starts; "rise" is what the lowest curvature, the smallest eigenvalue of the
Hessian, has risen by since the first and since the middle one of the steps looked at."""
RATIOS = """Against {base}, the better one of Nesterov's momentum in the search, from the same starts: geometric means of the
ratios at the end, and the difference of the lowest curvatures."""
CLOSE = """Root mean square over the steps looked at and the starts of discrete − equation, of the logarithms of loss and gradient
and of the lowest curvature; order 2 is closer than order 1 by the geometric mean over the starts of the ratio of a start's own.
No number: the equation diverges, or its steps become too small, as where step size × curvature is above 1."""


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval of Student's t."""
    mean, half = float(values.mean()), 0.0
    if len(values) > 1:
        half = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _quoted(values: np.ndarray, geometric: bool = False) -> str:
    if not values.any() and not geometric:
        return "0"
    found = interval(values)
    return quote(*(np.exp(found) if geometric else found))


def wide(made: AutoencoderComparison) -> pd.DataFrame:
    """One column for each observable, indexed by `contender curve seed step`."""
    return made.table.pivot(index=["contender", "curve", "seed", "step"], columns="observable", values="value")


def base(made: AutoencoderComparison) -> str:
    """The better one of Nesterov's momentum in the search."""
    momentum = made.chosen[made.chosen["contender"].str.startswith("nesterov")]
    return str(momentum.loc[momentum["loss"].idxmin(), "contender"])


def ends(made: AutoencoderComparison) -> pd.DataFrame:
    """Means at the end, and how the lowest curvature rises, as they are printed."""
    steps, rows = sorted(made.table["step"].unique()), []
    for name in made.chosen["contender"]:
        runs = wide(made).loc[name, DISCRETE]
        last = runs.xs(steps[-1], level="step")
        rises = [last[CURVATURE] - runs.xs(steps[i], level="step")[CURVATURE] for i in (0, len(steps) // 2)]
        rows.append({"contender": name, **{each: _quoted(last[each].to_numpy()) for each in OBSERVABLES},
                     "rise": _quoted(rises[0].to_numpy()), "rise since the middle": _quoted(rises[1].to_numpy())})
    return pd.DataFrame(rows)


def ratios(made: AutoencoderComparison) -> pd.DataFrame:
    """Every other contender against the better momentum at the end, as they are printed."""
    last, rows = wide(made).xs(made.table["step"].max(), level="step"), []
    other = last.loc[base(made), DISCRETE]
    for name in made.chosen["contender"]:
        if name != base(made):
            mine = last.loc[name, DISCRETE]
            rows.append({"contender": name, **{each: _quoted(np.log(mine[each] / other[each]).to_numpy(), geometric=True)
                                               for each in (LOSS, GRADIENT)},
                         f"{CURVATURE}, difference": _quoted((mine[CURVATURE] - other[CURVATURE]).to_numpy())})
    return pd.DataFrame(rows)


def apart(made: AutoencoderComparison) -> pd.DataFrame:
    """`contender seed observable rms order`: root mean square over the steps of discrete − equation, as in `CLOSE`."""
    values = wide(made).copy()
    values[[LOSS, GRADIENT]] = np.log(values[[LOSS, GRADIENT]])
    later = values[values.index.get_level_values("step") > 0]
    parts = []
    for order in (1, 2):
        gap = later.xs(DISCRETE, level="curve") - later.xs(f"order {order}", level="curve")
        rms = gap.pow(2).groupby(["contender", "seed"]).mean().pow(0.5)
        parts.append(rms.reset_index().melt(["contender", "seed"], value_name="rms").assign(order=order))
    return pd.concat(parts, ignore_index=True)


def closeness(made: AutoencoderComparison) -> pd.DataFrame:
    """How close both equations are, as they are printed."""
    table, rows = apart(made), []
    for name in made.chosen["contender"]:
        for observable in OBSERVABLES:
            part = table[(table["contender"] == name) & (table["observable"] == observable)]
            first, second = (part[part["order"] == order].sort_values("seed")["rms"].to_numpy() for order in (1, 2))
            known = bool(np.isfinite([first, second]).all())
            rows.append({"contender": name, "observable": observable,
                         **{f"order {order}": f"{np.sqrt((each**2).mean()):.2e}" for order, each in ((1, first), (2, second))},
                         "order 2 is closer by": _quoted(np.log(first / second), geometric=True) if known else "–"})
    return pd.DataFrame(rows)


@dataclass(frozen=True, repr=False)
class Autoencoder(Report):
    """All tables of a race."""

    file = name = "autoencoder"
    title = "Adam, RMSProp and Nesterov's momentum on an autoencoder of digits"
    made: AutoencoderComparison

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.made.seeds

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"autoencoder": self.made.table}

    def draw(self, path: Path) -> Path:
        return picture.draw(self.made, self.provenance, path)

    def body(self, style: str) -> list[str]:
        made = self.made
        shown = made.chosen.map(lambda cell: "–" if pd.isna(cell) else f"{cell:.4g}" if isinstance(cell, float) else cell)
        return [SETTING.format(seed=SEARCH_SEED, count=len(made.seeds)), grid(shown, style),
                 ENDS.format(steps=made.table["step"].max()), grid(ends(made), style),
                 RATIOS.format(base=base(made)), grid(ratios(made), style), CLOSE, grid(closeness(made), style)]
