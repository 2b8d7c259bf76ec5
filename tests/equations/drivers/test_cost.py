"""What the examples one by one cost beside Brownian motions, on all the breast-cancer data; compiled and torch agree."""

import time

import pytest
import torch

import sme
from sme.convergence.spec.specification import Specification
from sme.simulate.backend import compiled_setups
from sme.simulate.codegen.ensemble import ensemble

PAIRS, STEPS = 1024, 4


def seconds(driver):
    """CPU seconds of a path-step, without tracing and compiling."""
    problem, start = sme.Logistic(batch_size=8), {"theta": torch.full((4,), 0.5), "v": torch.full((4,), 0.2)}
    assert problem.noise.motions == 569
    spec = Specification.of(problem, sme.RMSProp(), "batch_equivalent", driver, 1.0, start, ["|theta|^2"], None)
    with torch.no_grad():
        setups = compiled_setups({(1, STEPS): spec.setup(1, STEPS)}, True)  # which raises unless they agree with torch to 1e-9
        run = ensemble(setups[1, STEPS], (0, STEPS, 0, 0), PAIRS)
        began = time.process_time()
        run.advance(STEPS)
    return (time.process_time() - began) / (2 * PAIRS * STEPS)


@pytest.mark.slow
def test_the_examples_one_by_one_cost_no_more_than_three_times_as_much():
    found = {driver: min(seconds(driver) for _ in range(2)) for driver in ("independent", "poisson")}
    print(", ".join(f"{driver} {1e6 * each:.1f} µs a path-step" for driver, each in found.items()),
          f"ratio {found['poisson'] / found['independent']:.2f}")
    assert found["poisson"] < 3 * found["independent"]
