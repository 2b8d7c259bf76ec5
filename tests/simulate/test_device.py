"""On a device the loop of a run waits for no value and mixes no devices: on tensors without values either would raise."""

import dataclasses

import pytest
import torch

import sme
from sme.optimizers.grid import StepGrid
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT
from sme.simulate.ensemble import TorchEnsemble
from sme.simulate.setup import Setup

META = torch.device("meta")
NUMBERS, PAIRS = (1, 8, 0, 0), 3


def moved(problem, rule, regime, order, driver):
    """A setup whose tensors have no values, made where they have some."""
    start = {name: torch.full((problem.dim,), 0.7, dtype=torch.float64) for name in rule.fields}
    here = Setup(problem, rule, regime, order, driver, StepGrid(1.0, 8), start, (8,),
                 {"square": lambda state: state["theta"].square().sum(-1)})
    here.equation()
    return dataclasses.replace(here, problem=problem.to(META), start={name: field.to(META) for name, field in start.items()})


def drawn():
    """Batches of 2 of 6 examples."""
    points = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(6, 2)
    noise = sme.MinibatchNoise(lambda theta, x: (0.5 * theta**2 + (x * theta).sin()).sum(), (points,), batch_size=2)

    def loss(theta):
        return (0.5 * theta**2).sum(-1) + (points.to(theta.device) * theta.unsqueeze(-2)).sin().sum(-1).mean(-1)

    return sme.Problem(loss, 2, noise)


CASES = {
    "floor": (lambda: sme.Quadratic(dim=2), sme.Adam(v_floor=0.1), BALLISTIC, 2, "independent"),
    "without noise": (lambda: sme.Quadratic(dim=2), sme.SGD(), BALLISTIC, 1, "none"),
    "memory": (lambda: sme.Quadratic(dim=2), sme.RMSProp(), BATCH_EQUIVALENT, 2, "step_memory"),
    "minibatches": (drawn, sme.RMSProp(), BALLISTIC, 2, "independent"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_waits_for_no_value_of_the_device(name):
    make, *rest = CASES[name]
    setup = moved(make(), *rest)
    with torch.no_grad():
        run = TorchEnsemble(setup, NUMBERS, PAIRS)
        run.advance(3)
        seen, _ = run.ladders[0].values(lambda x: setup.observe(setup.fields(x)))
        kept = [*run.state.values(), *run.ladders[0].states, run.sound(), run.floored, seen]
    assert {each.device.type for each in kept} == {"meta"}
