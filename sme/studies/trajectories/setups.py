"""The curves of trajectories: a setup for each order and, of reshuffled epochs, for independent steps beside them."""

from collections.abc import Sequence
from dataclasses import replace

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.convergence.spec.specification import Specification
from sme.equations import registry
from sme.equations.drivers.epochs import whole
from sme.simulate.backend import chosen
from sme.simulate.control_variates.controls import responses
from sme.simulate.observables import select
from sme.simulate.setup import Setup

STEPS = "independent steps"
"""what the name of a curve says that does not know the epochs which the order of its name knows"""


def named(order: int) -> str:
    """The curve of an order."""
    return f"order {order}"


def setups(spec: Specification, wanted: Sequence[int], steps: int, device: str, marks: Sequence[int], histogram: Sequence[str],
           backend: str) -> dict[str, Setup]:
    """A setup for each curve, with the histograms' observables behind the others, and for a discrete run with draws of its own
    the weights of its response to them.
    """
    if not histogram:
        raise SMEError("histogram is empty: give at least one observable or coordinate, such as theta[0]")
    if not all(isinstance(each, str) for each in histogram):
        raise SMEError(f"histogram must be names of observables or coordinates, such as theta[0], got {short(histogram)}")
    found = {}
    for order in wanted:
        setup = spec.setup(order, steps, device)
        further = select(setup.problem, setup.optimizer, [each for each in histogram if each not in setup.observables])
        setup = replace(setup, marks=tuple(marks), observables={**setup.observables, **further})
        if not setup.problem.noise.paired:  # a paired run's response is that of its equation, and leaves their difference
            weights = responses(setup.chain, setup.start, setup.marks, setup.observables, curved=False)
            setup = replace(setup, weights=weights)
        found[order, steps] = setup
    made = {named(order): setup for (order, _), setup in chosen(found, backend).items()}
    last = max(wanted)
    if other := stepwise(found[last, steps]):
        (made[f"{named(last)}, {STEPS}"],) = chosen({(last, steps): other}, backend).values()
    return made


def stepwise(setup: Setup) -> Setup | None:
    """The same with the equation of independent steps, where its own knows the epochs of a reshuffled run."""
    if setup.kind is not None or not whole(setup.problem.noise):
        return None
    parts = setup.problem, setup.optimizer, setup.regime, setup.order
    kind = registry.stepwise(*parts)
    same = registry.chosen(*parts, setup.brownian) is kind
    return None if same else replace(setup, brownian="independent", kind=kind)


def compared(curves: Sequence[str]) -> tuple[str, str] | None:
    """Of two curves of one order, that of independent steps and that which knows the epochs."""
    return next(((each, each.removesuffix(f", {STEPS}")) for each in curves if each.endswith(STEPS)), None)
