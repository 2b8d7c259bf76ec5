"""What is left of the order where the mean step jumps or has a kink: losses and rules with corners, without Monte Carlo."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, several
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.studies.kinks.cases import CASES, SIZE
from sme.studies.kinks.report import Kinks

FINEST = 2048
"""steps in a unit of time: finer ones differ by no more than rounding"""
ROUNDING = 1e-10
"""of an error, below which no slope is taken"""

COLUMNS = ["case", "title", "meets", "observable", "order", "tau", "error", "slope", "expected", "constant", "derived"]


@entry
def kinks(cases: Sequence[str] | None = None, tau: Sequence[float | str] = ("1/8", "1/16", "1/32", "1/64", "1/128", "1/256"),
          size: float = SIZE, results: str | Path | None = None) -> Kinks:
    """Weak errors of equations of order 1 and 2 at corners, exact to rounding, with the orders and constants of the theory.

    The run crosses a jump of its mean step, or a kink, or rests there: `|θ|`, a hinge, a network of ReLUs, Huber's loss, a leaky
    `relu²`, Signum's sign. All have one parameter and Gaussian noise, so that both expectations are had by quadrature.

    Parameters
    ----------
    cases
        some of them, by name; default all.
    tau
        step sizes, each 1 over a whole number.
    size
        of the gradient noise.
    results
        folder; a table and a picture go to `kinks` in it. None: in memory.

    Raises
    ------
    SMEError
        for bad input.
    """
    names = list(CASES) if cases is None else list(dict.fromkeys(choose("case", each, CASES) for each in several(cases)))
    steps, noise, root = _steps(tau), number("size", size), effort.place(results, "kinks")
    if not 0 < noise < math.inf:
        raise SMEError(f"size must be positive and finite, got {noise:g}: give such as size={SIZE:g}")
    if not names:
        raise SMEError("cases is empty: give such as cases=[hinge]")
    rows = []
    with progress(total=len(names) * len(steps), desc="corners", leave=True) as work:
        for name in names:
            case, found = CASES[name], []
            for count in steps:
                found.append(case.errors(1 / count, noise))
                work.update()
            constant = case.constant(noise)
            for order, errors in enumerate(zip(*found, strict=True), 1):
                slopes = [math.nan, *(_slope(one, other) for one, other in pairwise(zip(steps, errors, strict=True)))]
                rows += [(name, case.title, case.meets, case.seen, order, 1 / count, error, slope,
                          *((case.order, error * count**case.order, constant) if order == 2 else 3 * (math.nan,)))
                         for count, error, slope in zip(steps, errors, slopes, strict=True)]
    return Kinks(pd.DataFrame(rows, columns=COLUMNS), noise, folder=root).saved()


def _steps(tau: Sequence[float | str]) -> list[int]:
    """Steps in a unit of time, from few to many.

    Raises
    ------
    SMEError
        for bad input.
    """
    found = set()
    for each in several(tau):
        value = number("tau", each)
        count = round(1 / value) if 0 < value <= 0.5 else 0
        if not 2 <= count <= FINEST or abs(count * value - 1) > 1e-9:
            raise SMEError(f"tau = {value:g} must be 1 over a whole number from 2 to {FINEST}: give such as tau=[1/8,1/16]")
        found.add(count)
    if len(found) < 2:
        raise SMEError("two or more step sizes are needed for a slope: give such as tau=[1/8,1/16]")
    return sorted(found)


def _slope(coarse: tuple[int, float], fine: tuple[int, float]) -> float:
    """Of `log |error|` over `log τ`."""
    (few, large), (many, small) = coarse, fine
    if large * small <= 0 or abs(small) < ROUNDING:
        return math.nan
    return math.log(large / small) / math.log(many / few)
