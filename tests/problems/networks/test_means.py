"""Loss and accuracy of a network at the same θ come out of one forward pass."""

import copy
import pickle
from functools import partial

import pytest
import torch
import torch.autograd.forward_ad as fwAD
from torch import nn
from torch.func import grad

import sme
from sme.problems.networks import means
from sme.simulate.observables import observe, select
from tests.problems.networks.test_network import data, perceptron, points

NAMES = ["loss", "test loss", "accuracy", "test accuracy", "test error"]


@pytest.fixture
def problem():
    return sme.Network(perceptron(), data(), test=data(7))


@pytest.fixture
def passes(problem):
    """How often the module ran on all examples of a data set."""
    count = []
    run = problem.model.call
    problem.model.call = lambda parameters, inputs: count.append(len(inputs)) or run(parameters, inputs)
    return count


def direct(problem, theta):
    found = []
    for x, y in ((problem.inputs, problem.targets), problem.test):
        outputs = torch.stack([problem.model(point, x) for point in theta])
        losses = nn.functional.cross_entropy(outputs.mT, y.expand(len(theta), -1), reduction="none")
        found.append((losses.mean(1), (outputs.argmax(-1) == y).double().mean(1)))
    (loss, right), (test, tested) = found
    return torch.stack((loss, test, right, tested, 1 - tested), 1)


def test_what_is_observed_at_one_state_takes_one_pass_of_each_data_set(problem, passes):
    seen = select(problem, sme.Adam(), NAMES)
    states = [{"theta": points(problem) + shift} for shift in (0.0, 0.2)]
    found = []
    for state in states:
        passes.clear()
        found.append(observe(seen, state))
    assert sorted(n for n in passes if n > 1) == [7, 12]  # of one example there is a look at the sizes
    for state, values in zip(states, found, strict=True):
        torch.testing.assert_close(values, direct(problem, state["theta"]), rtol=1e-12, atol=0)


def test_a_state_that_was_written_over_is_seen_anew(problem):
    seen = select(problem, sme.Adam(), NAMES)
    theta = points(problem)
    observe(seen, {"theta": theta})
    theta += 0.3
    torch.testing.assert_close(observe(seen, {"theta": theta}), direct(problem, theta), rtol=1e-12, atol=0)
    problem.loss(theta).zero_()  # of what is handed out nothing is kept
    torch.testing.assert_close(problem.loss(theta), direct(problem, theta)[:, 0], rtol=1e-12, atol=0)


def test_another_observable_that_writes_to_its_copy_changes_nothing(problem):
    seen = {"spoilt": lambda state: state["theta"].zero_().sum(-1), **select(problem, sme.Adam(), NAMES)}
    theta = points(problem)
    torch.testing.assert_close(observe(seen, {"theta": theta})[:, 1:], direct(problem, theta), rtol=1e-12, atol=0)


def test_the_loss_of_a_class_of_ones_own_gets_a_copy():
    class Writes(sme.Network):
        def loss(self, theta):
            return super().loss(theta.mul_(1.0).zero_())

    problem = Writes(perceptron(), data())
    theta = points(problem)
    observe(select(problem, sme.Adam(), ["loss", "accuracy"]), {"theta": theta})
    assert torch.equal(theta, points(problem))


def test_where_a_derivative_is_taken_nothing_is_kept(problem, passes):
    theta = points(problem)
    problem.functions()["accuracy"](theta), problem.loss(theta)
    whole = torch.stack([grad(lambda point: problem.loss(point[None])[0])(point) for point in theta])
    torch.testing.assert_close(whole, problem.gradient(theta), rtol=1e-10, atol=1e-13)
    leaf = theta.clone().requires_grad_()
    for _ in range(2):  # each with a graph of its own
        (slope,) = torch.autograd.grad(problem.loss(leaf).sum(), leaf)
        torch.testing.assert_close(slope, problem.gradient(theta), rtol=1e-10, atol=1e-13)


def test_the_same_inputs_with_other_labels_are_another_data_set():
    x, y = data()
    problem = sme.Network(perceptron(), (x, y), test=(x, (y + 1) % 3))
    theta = points(problem)
    torch.testing.assert_close(observe(select(problem, sme.Adam(), NAMES), {"theta": theta}), direct(problem, theta), rtol=1e-12,
                               atol=0)
    other = copy.copy(problem)
    other.targets = problem.test[1]
    torch.testing.assert_close(other.loss(theta), direct(problem, theta)[:, 1], rtol=1e-12, atol=0)


def test_data_or_a_module_that_changed_are_seen_anew(problem):
    theta = points(problem)
    first = problem.loss(theta)
    problem.targets[:5] = 2
    torch.testing.assert_close(problem.loss(theta), direct(problem, theta)[:, 0], rtol=1e-12, atol=0)
    assert not torch.equal(problem.loss(theta), first)
    other = copy.copy(problem)
    other.model = sme.Network(perceptron(nn.SiLU), data()).model
    torch.testing.assert_close(other.loss(theta), direct(other, theta)[:, 0], rtol=1e-12, atol=0)


def test_tangents_and_inference_are_taken_as_they_are(problem):
    theta, u = points(problem), torch.ones(4, problem.dim, dtype=torch.float64)
    value = problem.loss(theta)
    with fwAD.dual_level():
        found = fwAD.unpack_dual(problem.loss(fwAD.make_dual(theta, u)))
    torch.testing.assert_close(found.tangent, (problem.gradient(theta) * u).sum(1))
    with torch.inference_mode():
        assert torch.equal(problem.loss(theta.clone()), value)


def test_a_partial_of_ones_own_gets_a_copy(problem):
    def spoil(state, scale):
        return scale * state["theta"].zero_().sum(-1)

    def own(function, state):
        return function(state["theta"].zero_())

    theta = points(problem)
    observe({"keywords": partial(spoil, scale=2.0), "own": partial(own, problem.loss)}, {"theta": theta})
    assert torch.equal(theta, points(problem))


def test_a_few_paths_at_a_time_are_the_same_paths(problem, monkeypatch):
    whole = problem.loss(points(problem))
    monkeypatch.setattr(means, "HELD", {"cpu": 2 * 12 * (5 + 3), "cuda": 1})
    torch.testing.assert_close(problem.loss(points(problem)), whole, rtol=1e-13, atol=0)


def test_a_copy_keeps_nothing_of_the_original(problem):
    theta = points(problem)
    problem.loss(theta)
    for other in (pickle.loads(pickle.dumps(problem)), copy.deepcopy(problem)):
        assert not other._means._last
        assert torch.equal(other.loss(theta), problem.loss(theta))
    moved = problem.to(torch.device("cpu"))
    torch.testing.assert_close(moved.loss(theta), problem.loss(theta))
