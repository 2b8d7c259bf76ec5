"""Weak errors of a few small cases with their uncertainty, to test other programs by."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from sme.common.errors import SMEError
from sme.common.output import provenance
from sme.common.output.report import Tabled
from sme.convergence.api import weak_error
from sme.convergence.estimator import linear
from sme.convergence.spec.specification import Specification
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.momentum import Momentum
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.problems.base import Problem
from sme.problems.polynomial import Polynomial
from sme.problems.quadratic import Quadratic

PATHS = 2_500_000
COLUMNS = ["case", "optimizer", "order", "tau", "observable", "error", "stderr", "integrator_bias", "paths", "exact",
           *provenance.COLUMNS]
Case = tuple[Problem, dict[str, list[float]], list[str] | None, list[Optimizer]]
CASES: dict[str, Case] = {
    "quadratic": (Quadratic(), {"theta": [1.0, 0.5], "m": [0.0, 0.0], "v": [1.0, 1.0]}, None, [RMSProp(), Adam()]),
    "line": (Polynomial([0.0, 0.0, 0.5], noise=0.3), {"theta": [0.8], "m": [0.0]}, ["|theta|^2", "mean theta"],
             [SGD(), Momentum()]),
    "bent": (Polynomial(), {"theta": [0.8], "v": [0.6]}, ["|theta|^2", "mean theta", "mean v"], [RMSProp()]),
}
"""by name: problem, start, observables (None: the default ones), optimizers"""
TEXT = """# Known answers

`known_answers.csv` holds weak errors `E φ(discrete run) − E φ(equation)` at time 1 in the ballistic regime (learning rate τ),
to test other programs by: their discrete runs, their equations of order 1 and 2 and their integrators together. Where chain
and equation are linear, `exact` is the error from closed means and covariances; else the cell is empty.

| case | loss | gradient noise | start |
|---|---|---|---|
| `quadratic` | `½ θᵀAθ`, `A = [[1, ½], [½, 1]]` | `¼ A z`, `z ~ N(0, I)` | `θ = (1, ½)`, `m = 0`, `v = 1` |
| `line` | `½ θ²` | `0.3 z` | `θ = 0.8`, `m = 0` |
| `bent` | `½ θ² + 0.075 θ⁴` | `0.3 z` | `θ = 0.8`, `v = 0.6` |

With `ĝ = ∇f(θ) + noise`, all on the right the values before the step, and `P = 1/(√v + 0.1)`:

| optimizer | one step |
|---|---|
| `sgd` | `θ ← θ − τ ĝ` |
| `momentum` | `θ ← θ − τ (m + τ (ĝ − m))`, `m ← m + τ (ĝ − m)` |
| `rmsprop` | `θ ← θ − τ P ĝ`, `v ← v + 0.5 τ (ĝ∘ĝ − v)` |
| `adam` | `θ ← θ − τ P (m + τ (ĝ − m))`, `m ← m + τ (ĝ − m)`, `v ← v + 0.5 τ (ĝ∘ĝ − v)` |

`√v` has a smooth floor at `v = 0.01`, which these paths all but never see. The equations are those of docs/theory, with
independent Brownian motions; the error of order 2 depends on which terms of order τ² they keep, so compare the equations first.
`loss` is `f(θ)`, `mean` the mean over coordinates, `|·|²` the sum of squares.

How to compare: a program with error `e` and standard error `s` agrees if `e − error` is within three times
`√(s² + stderr²)`, plus `|integrator_bias|`, which is more than what is left of it here, and the last digit. Errors have six
significant digits, `stderr` and `integrator_bias` two. Where paths and equation are linear in the noise, the mean has no
standard error but rounding.

Made by `python scripts/known_answers.py paths={paths}` with sme {version}.
"""


def answers(name: str, ladder: list[float], paths: int, processes: int) -> pd.DataFrame:
    """The rows of one case."""
    problem, fields, observables, optimizers = CASES[name]
    tables = []
    for optimizer in optimizers:
        start = {field: torch.tensor(value, dtype=torch.float64) for field, value in fields.items() if field in optimizer.fields}
        study = weak_error(problem, optimizer, order=(1, 2), tau=ladder, start=start, observables=observables, paths=paths,
                               processes=processes)
        table = study.errors.assign(**study.provenance.columns)
        spec = Specification.of(problem, optimizer, "ballistic", "independent", 1.0, start, observables, None)
        known = {(order, tau): closed(spec, order, tau) for order in (1, 2) for tau in ladder}
        table["exact"] = [known[row.order, row.tau].get(row.observable) for row in table.itertuples()]
        tables.append(table.assign(case=name, optimizer=optimizer.name))
    return pd.concat(tables)[COLUMNS]


def closed(spec: Specification, order: int, tau: float) -> dict[str, float]:
    """The exact errors by observable; none where they have no closed form."""
    try:
        return linear.exact(spec.setup(order, spec.steps(tau)))
    except SMEError:
        return {}


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The digits that are worth printing, as text."""
    digits = {"error": "{:.5e}", "stderr": "{:.1e}", "integrator_bias": "{:.1e}", "exact": "{:.5e}"}
    shown = {name: table[name].map(form.format, na_action="ignore") for name, form in digits.items()}
    return table.assign(tau=table["tau"].map("{:g}".format), **shown)


def measure(ladder: Sequence[float], paths: int = PATHS, processes: int = 1) -> pd.DataFrame:
    """Every case, in the digits that are worth printing."""
    return rounded(pd.concat([answers(name, list(ladder), paths, processes) for name in CASES]))


@dataclass(frozen=True, repr=False)
class KnownAnswers(Tabled):
    """The table of `measure`, and what it is of."""

    file = name = "known_answers"
    title = "Known answers"
    paths: int = PATHS

    def csv(self, table: pd.DataFrame) -> str:
        return table.to_csv(index=False)

    def body(self, style: str) -> list[str]:
        return [self.table.to_string(index=False)]

    @property
    def document(self) -> str:
        return TEXT.format(paths=self.paths, version=self.provenance.version)
