"""Shards over threads where compiled code does the work, over processes elsewhere, and over one where that is quicker."""

import pytest
import torch

import sme
from sme.convergence import runner
from sme.convergence.cost import weight
from sme.convergence.estimator import paired

START = {"theta": torch.tensor([1.0, 0.5])}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few pairs, and no process but this one."""
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 64)
    asked = []

    def spread(work, tasks, processes, ordered=True):
        asked.append(processes)
        yield from (work(*task) for task in tasks)

    monkeypatch.setattr(runner, "spread", spread)
    return asked


def run(processes, law=None, backend="compiled", **changes):
    problem = sme.Quadratic() if law is None else sme.Quadratic(noise=law)
    settings = {"tau": [1 / 2, 1 / 4], "order": (1, 2), "start": START, "paths": 40_000, **changes}
    return sme.weak_error(problem, sme.SGD(), processes=processes, backend=backend, **settings)


def digits(study):
    return {point.key: [block.moments.comoment.tobytes() + block.moments.mean.tobytes() for block in point.blocks]
            for point in study.points}


def test_any_number_of_threads_gives_the_same_digits(few):
    one, two, five = (digits(run(count)) for count in (1, 2, 5))
    assert len(one) == 8
    assert one == two == five
    assert not few


def test_what_is_not_compiled_goes_to_processes(few):
    run(2, backend="torchsde", order=1)
    assert few == [2]


@pytest.mark.parametrize(("expected", "count"), [(0.5, 1), (1e3, 3)])
def test_auto_takes_workers_where_they_save_more_than_they_take(few, monkeypatch, expected, count):
    monkeypatch.setattr("sme.convergence.spec.effort.processes", lambda given, device: 3)
    monkeypatch.setattr(weight, "expected", lambda setups: expected)
    run("auto", backend="torchsde", order=1)
    run(3, backend="torchsde", order=1)
    assert few == [count, 3]
    plan = sme.plan(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], order=1, start=START, paths=40_000, processes="auto",
                    backend="torchsde")
    assert plan.processes == count


def test_what_is_expected_goes_with_steps_and_shards(monkeypatch):
    monkeypatch.setattr(weight, "seconds", lambda setup: 8.0)
    specification = run(1, backend="torchsde", order=1, tau=1 / 2).specification()
    coarse, fine = (specification.setup(1, steps) for steps in (2, 4))
    substeps = [setup.steps * setup.substeps(weight.scheme(setup.equation())) for setup in (coarse, fine)]
    assert weight.expected([]) == 0
    assert weight.expected([fine]) == 8
    assert weight.expected([coarse, fine, fine]) == pytest.approx(16 + 8 * substeps[0] / substeps[1])


def test_the_time_of_a_shard_is_found_for_equations_with_a_past_too():
    for driver in ("independent", "step_memory", "fast_memory"):
        specification = run(1, backend="torchsde", order=2, tau=1 / 2, driver=driver, horizon=0.5).specification()
        assert 0 < weight.seconds(specification.setup(2, 1)) < 60
