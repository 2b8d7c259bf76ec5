"""Weak errors of a few small cases with their uncertainty, to test other programs by; some six minutes on two cores.

    python scripts/known_answers.py
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

import sme
from sme.cli import command
from sme.common.inputs import number, several
from sme.common.output import provenance
from sme.common.storage.files import write_text
from sme.common.version import version
from sme.convergence.estimator import linear
from sme.convergence.spec import effort
from sme.convergence.spec.specification import Specification

PATHS = 2_500_000
COLUMNS = ["case", "optimizer", "order", "tau", "observable", "error", "stderr", "integrator_bias", "paths", "exact",
           *provenance.COLUMNS]
Case = tuple[sme.Problem, dict[str, list[float]], list[str] | None, list[sme.Optimizer]]
CASES: dict[str, Case] = {
    "quadratic": (sme.Quadratic(), {"theta": [1.0, 0.5], "m": [0.0, 0.0], "v": [1.0, 1.0]}, None, [sme.RMSProp(), sme.Adam()]),
    "line": (sme.Polynomial([0.0, 0.0, 0.5], noise=0.3), {"theta": [0.8], "m": [0.0]}, ["|theta|^2", "mean theta"],
             [sme.SGD(), sme.Momentum()]),
    "bent": (sme.Polynomial(), {"theta": [0.8], "v": [0.6]}, ["|theta|^2", "mean theta", "mean v"], [sme.RMSProp()]),
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

`√v` has a smooth floor at `v = 0.01`, which these paths all but never see. The equations are those of docs/derivation.md, with
independent Brownian motions; the error of order 2 depends on which terms of order τ² they keep, so compare the equations first.
`loss` is `f(θ)`, `mean` the mean over coordinates, `|·|²` the sum of squares.

How to compare: a program with error `e` and standard error `s` agrees if `e − error` is within three times
`√(s² + stderr²)`, plus `|integrator_bias|`, which is more than what is left of it here, and the last digit. Errors have six
significant digits, `stderr` and `integrator_bias` two. Where paths and equation are linear in the noise, the mean has no
standard error but rounding.

Made by `python scripts/known_answers.py --paths {paths}` with sme {version}.
"""


def answers(name: str, ladder: list[float], paths: int, processes: int) -> pd.DataFrame:
    """The rows of one case."""
    problem, fields, observables, optimizers = CASES[name]
    tables = []
    for optimizer in optimizers:
        start = {field: torch.tensor(value, dtype=torch.float64) for field, value in fields.items() if field in optimizer.fields}
        study = sme.weak_error(problem, optimizer, order=(1, 2), tau=ladder, start=start, observables=observables, paths=paths,
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
    except sme.SMEError:
        return {}


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The digits that are worth printing, as text."""
    digits = {"error": "{:.5e}", "stderr": "{:.1e}", "integrator_bias": "{:.1e}", "exact": "{:.5e}"}
    shown = {name: table[name].map(form.format, na_action="ignore") for name, form in digits.items()}
    return table.assign(tau=table["tau"].map("{:g}".format), **shown)


def main(given: Sequence[str] | None = None) -> None:
    """Compute every case, write both files, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tau", default="1/4,1/8,1/16,1/32,1/64", help="step sizes, default %(default)s")
    parser.add_argument("--paths", type=int, default=PATHS, help=f"at each τ, default {PATHS}")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where known_answers.csv and .md go")
    parser.add_argument("--processes", default="auto", help="default: one a core")
    arguments = parser.parse_args(given)
    processes = effort.processes(arguments.processes, "cpu")
    ladder = [number("tau", tau) for tau in several(arguments.tau)]
    effort.folder(arguments.results)
    table = rounded(pd.concat([answers(name, ladder, arguments.paths, processes) for name in CASES]))
    write_text(arguments.results / "known_answers.csv", table.to_csv(index=False))
    write_text(arguments.results / "known_answers.md", TEXT.format(paths=arguments.paths, version=version()))
    print(table.to_string(index=False))


if __name__ == "__main__":
    command.cli(main)
