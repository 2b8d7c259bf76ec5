"""The table of what the differences of the published equations cost."""

from pathlib import Path

import numpy as np
import pandas as pd

from sme.common.output.report import Tabled
from sme.common.output.text import grid
from sme.studies.published import picture
from sme.studies.published.run import SEEDS

SOURCE = """Read off the public scripts that go with arXiv 2509.21614 (commit 20e4203 of their repository). The text of the
paper's theorems was not seen, and their reading may differ; other versions of the scripts have some of these terms as ours
(2, 5 and 12, at least). Each row changes one term of our order-2 equation into the published one, all else as ours. In the
batch-equivalent regime both sides carry step memory: with independent motions neither is of order 2, whatever its terms
(docs/theory/equations.md, section 5), and to leading order a term costs the same.

"quadratic" is what a difference changes in the published quadratic experiment: A = [[1, ½], [½, 1]], noise ¼ A, c = ½
(Adam: 1 and ½), ε = 10⁻⁶, bias correction. Ratio: the residual of the one-step moment test at one step size over that at half of
it, where it is largest; 8 goes with order 2, 4 with order 1. The test is made on the case of the second table, of ours at
τ = 2⁻⁹, of theirs at 2⁻¹⁴."""
WORDS = """Cases: "quadratic" has loss, noise, ε and memory (but 12: c₁ = 2) of that experiment, started nearer, at θ = (1, ½),
and bias correction in 9 and 10 alone, from t = 1; "polynomial" is ½ θ² + 0.075 θ⁴ with noise 0.3, "varying" the same with noise
0.3 + 0.2 sin θ, both from θ = 0.8, with ε = 0.1. All run for a time of 1.

error = E[discrete] − E[equation] ± standard error (integrator bias); cost = E[theirs] − E[ours], both on one and the same
noise; error of theirs = error of ours − cost. Slopes are local, between the two step sizes."""


def slopes(table: pd.DataFrame, name: str) -> pd.Series:
    """The local slope of an error to the next coarser `τ`; NaN at the coarsest, and where the error changes sign there."""
    groups = table.sort_values("tau", ascending=False).groupby(["difference", "observable"], sort=False)
    with np.errstate(invalid="ignore"):
        return np.log(groups[name].shift() / table[name]) / np.log(groups["tau"].shift() / table["tau"])


class Published(Tabled):
    """Terms, orders by the one-step test and measured errors; `table` is that of `run.measure`."""

    file = name = "published"
    title = "What the differences of the published equations cost"
    seeds = SEEDS

    def draw(self, path: Path) -> Path:
        return picture.draw(self.table, self.provenance, path)

    def body(self, style: str) -> list[str]:
        table = self.table
        one = table.drop_duplicates("difference")
        numbers = {name: str(i) for i, name in enumerate(one["difference"], 1)}
        orders = {words: [f"{order:g} ({ratio:.2f})" for order, ratio in one[names].itertuples(index=False)]
                  for words, names in (("order of ours (ratio)", ["order", "ratio"]),
                                       ("of theirs", ["order_published", "ratio_published"]))}
        terms = pd.DataFrame({"": one["difference"].map(numbers), "equation": one["scheme"], "published term": one["published"],
                              "ours": one["ours"], "matters where": one["where"], "quadratic": one["quadratic"], **orders})
        shown = table[table["shown"]]
        errors = {words: [f"{value:.2e} ± {noise:.0e} ({abs(bias):.0e})"
                          for value, noise, bias in shown[names].itertuples(index=False)]
                  for words, names in (("error of ours", ["error", "stderr", "integrator_bias"]),
                                       ("error of theirs", ["error_published", "stderr_published", "bias_published"]),
                                       ("cost", ["cost", "cost_stderr", "cost_bias"]))}
        rates = {words: slopes(table, name)[shown.index].map("{:.2f}".format).replace("nan", "–")
                 for words, name in (("slope of ours", "error"), ("of theirs", "error_published"), ("of the cost", "cost"))}
        measured = pd.DataFrame({"": shown["difference"].map(numbers), "loss": shown["problem"],
                                 "observable": shown["observable"], "tau": shown["tau"].map("{:g}".format), **errors, **rates})
        return [SOURCE, grid(terms, style), WORDS, grid(measured, style)]
