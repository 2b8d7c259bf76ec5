"""How large a point is in its folder, known before it is computed."""

from collections.abc import Iterable

from sme.common import errors
from sme.convergence.estimator.paired import BLOCKS
from sme.simulate.control_variates.controls import Controls
from sme.simulate.setup import Setup

DIGITS = 21
"""bytes of a number in a file"""
HEAVY = 32
"""MiB of a point from which on a run says so"""


def point_mib(setup: Setup) -> float:
    """At most, of a prepared setup: the moments of all its variables, of which there are as many as pairs of them."""
    equations = setup.equations()
    kinds = 2 + (len(equations) > 1 or setup.ordinary is not None)
    carried = Controls(setup.weights, equations[0]).carried if setup.weights is not None else 0
    variables = kinds * len(setup.marks) * len(setup.observables) + carried
    return BLOCKS * DIGITS * variables * (variables + 3) / 2 / 2**20


def warn(setups: Iterable[Setup]) -> None:
    """Say, in one line, what is paid for many observables and times."""
    largest = max(setups, key=point_mib, default=None)
    if largest is not None and (size := point_mib(largest)) > HEAVY:
        errors.warn(f"{len(largest.observables)} observables at {len(largest.marks)} times: a point takes up to {size:.0f} MiB, "
                    "which grows with the square of their number: name fewer of either, or spread them over several studies")
