"""The tables of AdaBayes between SGD and Adam."""

from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.output.report import Tabled
from sme.common.output.text import grid
from sme.studies.interpolation import picture
from sme.studies.interpolation.run import CURVES, SEED, limits

FIXED = """Rate: what AdaBayes at its fixed point multiplies τ m by, relative to SGD's 1/(2a), that is 2/(1 + √(1 + v/a²)); Adam's
is 2a/√v (ε = 0). Its distances to both, relative, tend to v/(4a²) and a/√v."""
FILTER = """The filter in its stationary state, relative to the fixed point at v = E ĝ∘ĝ: on gradients of constant size, and
the mean on Gaussian gradients ± standard error. Less 1, both are O(τ): "rate in τ" is the local slope of the distance between
the two finest step sizes, for Gaussian gradients with its standard error."""


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """The filter's rates over the fixed point's: `curve ratio tau quotient stderr`."""
    fixed = table[table["curve"] == CURVES[0]].set_index("ratio")["rate"]
    own = table[table["curve"] != CURVES[0]]
    scale = own["ratio"].map(fixed)
    return own[["curve", "ratio", "tau"]].assign(quotient=own["rate"] / scale, stderr=(own["stderr"] / scale).fillna(0.0))


def _slope(group: pd.DataFrame) -> str:
    """Of the distance over the two finest step sizes."""
    if len(group) < 2:
        return "–"
    (t0, t1), (q0, q1), (s0, s1) = (group[name].to_numpy(float)[-2:] for name in ("tau", "quotient", "stderr"))
    d0, d1, width = q0 - 1, q1 - 1, np.log(t0 / t1)
    if d0 * d1 <= 0 or min(abs(d0) - 3 * s0, abs(d1) - 3 * s1) <= 0:
        return "–"
    error = np.hypot(s0 / d0, s1 / d1) / width
    return f"{np.log(d0 / d1) / width:.3f}" + (f" ± {error:.3f}" if error else "")


class Interpolation(Tabled):
    """Limits of the fixed point, and the filter beside it; `table` is that of `run.measure`."""

    file = name = "interpolation"
    title = "AdaBayes between SGD and Adam"
    seeds = (SEED,)

    def draw(self, path: Path) -> Path:
        return picture.draw(self.table, beside(self.table), self.provenance, path)

    def body(self, style: str) -> list[str]:
        apart = limits(np.array(sorted(self.table["ratio"].unique())))
        titles = ["√v/a", "rate", "below SGD", "v/(4a²)", "below Adam", "a/√v"]
        shown = apart.map("{:.4g}".format).set_axis(titles, axis=1)
        rows = []
        for (curve, ratio), group in beside(self.table).groupby(["curve", "ratio"], sort=False):
            group = group.sort_values("tau", ascending=False)
            cells = [f"{q:.5f}" + (f" ± {s:.0e}" if s else "") for q, s in zip(group["quotient"], group["stderr"], strict=True)]
            rows.append({"gradients": str(curve).partition(", ")[2].partition(" ")[0], "√v/a": f"{ratio:g}",
                         **dict(zip([f"τ = {tau:g}" for tau in group["tau"]], cells, strict=True)), "rate in τ": _slope(group)})
        return [FIXED, grid(shown, style), FILTER, grid(pd.DataFrame(rows), style)]
