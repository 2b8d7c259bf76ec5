"""Minibatches drawn by importance: moments by enumeration, the optimal probabilities, and the orders of the equations."""

import itertools

import pytest
import torch
from torch.func import grad, vmap

import sme
from sme.common.random.increments import Draws
from sme.problems.renoised import Renoised
from sme.studies.importance.probabilities import each
from tests.support import models

THETA = models.STATES["theta"].unsqueeze(0)
P = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


def drawn(batch_size, examples=3, probabilities=P, scale=1.0):
    """The minibatch problem, its examples drawn with these probabilities."""
    problem = models.minibatch(batch_size, examples)
    law = sme.ImportanceNoise(probabilities, batch_size=batch_size, examples=problem.noise.examples, scale=scale)
    return Renoised(problem, law)


def enumerated(law):
    """The noise of every batch, and its probability."""
    batches = torch.tensor(list(itertools.product(range(law.motions), repeat=law.batch_size)))
    return law.sample(THETA.expand(len(batches), -1), batches), law.probabilities[batches].prod(1)


@pytest.mark.parametrize(("batch_size", "scale"), [(1, 1.0), (2, 1.0), (3, 0.7)])
def test_the_noise_has_the_exact_covariance_of_gradient_and_square(batch_size, scale):
    problem = drawn(batch_size, scale=scale)
    law, g, n = problem.noise, problem.gradient(THETA), 3
    noise, weights = enumerated(law)
    torch.testing.assert_close(weights @ noise, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-15)
    both = torch.cat((noise, (g + noise) ** 2), -1)
    both = both - weights @ both
    units = torch.eye(n, dtype=torch.float64)
    linear, skew = law.diffuse_square(THETA.expand(n, -1), units)
    close = {"rtol": 1e-12, "atol": 1e-15}
    for dim in (2, 0):  # known to be few, or not
        columns = law.sized(dim).second_columns()
        square = law.second(THETA.expand(len(columns), -1), columns)
        rows = torch.cat((torch.cat((linear, 2 * g * linear + skew), -1), torch.cat((torch.zeros_like(square), square), -1)))
        torch.testing.assert_close(rows.T @ rows, torch.einsum("n,ni,nj->ij", weights, both, both), **close)
    torch.testing.assert_close(linear, law.diffuse(THETA.expand(n, -1), units), **close)
    for moment, power in ((law.variance, 2), (law.third, 3), (law.fourth, 4)):
        torch.testing.assert_close(moment(THETA)[0], weights @ noise**power, **close)
    u = torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    near = (law.variance(THETA + 1e-6 * u) - law.variance(THETA - 1e-6 * u)) / 2e-6
    torch.testing.assert_close(law.variance_slope(THETA, u), near, rtol=1e-7, atol=1e-9)


def test_uniform_probabilities_are_plain_minibatches():
    plain, law = models.minibatch(2).noise, drawn(2, probabilities=torch.ones(3)).noise
    dW = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    for one, other in zip(plain.diffuse_square(THETA, dW), law.diffuse_square(THETA, dW), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(plain.fourth(THETA), law.fourth(THETA), rtol=1e-12, atol=0)
    z = torch.tensor([[0, 2]])
    torch.testing.assert_close(plain.sample(THETA, z), law.sample(THETA, z), rtol=1e-12, atol=1e-15)
    noisy, same = (each.noisy(THETA, z, plain.examples.gradient, 0.5) for each in (law, plain))
    torch.testing.assert_close(noisy, same, rtol=1e-12, atol=0)


def test_examples_are_drawn_with_their_probabilities():
    z = drawn(2).noise.draw(None, 0.1, Draws((0, 4, 2, 7), 0, 2**12, torch.device("cpu")), 2**13)
    assert z.shape == (2**13, 2)
    share = torch.bincount(z.flatten(), minlength=3) / z.numel()
    assert bool(((share - P).abs() < 4 * (P * (1 - P) / z.numel()).sqrt()).all())


@pytest.mark.parametrize("precondition", [None, torch.tensor([2.0, 0.3], dtype=torch.float64)])
def test_the_optimal_probabilities_have_the_trace_of_the_formula_and_none_are_better(precondition):
    problem = drawn(1, examples=5, probabilities=torch.arange(1.0, 6.0))
    found = sme.importance(problem, THETA[0], precondition)
    d = torch.ones(2, dtype=torch.float64) if precondition is None else precondition

    def trace(p):
        noise, weights = enumerated(sme.ImportanceNoise(p, examples=problem.noise.examples))
        return float(weights @ (d * noise).square().sum(1))

    table = found.table.set_index("probabilities")["trace"]
    assert table["optimal"] == pytest.approx(trace(found.probabilities), rel=1e-12)
    assert table["uniform"] == pytest.approx(trace(torch.ones(5)), rel=1e-12)
    assert table["as drawn"] == pytest.approx(trace(problem.noise.probabilities), rel=1e-12)
    slope = torch.tensor([1.0, -1.0, 0.5, -0.5, 0.0], dtype=torch.float64)
    for step in (0.02, -0.02):
        assert trace(found.probabilities * (1 + step * slope)) > table["optimal"]
    sizes = (d * each(problem.noise.examples, THETA[0])).norm(dim=1)
    mean = (d * problem.gradient(THETA)[0]).square().sum()
    assert table["optimal"] == pytest.approx(float(sizes.mean() ** 2 - mean), rel=1e-12)


def test_the_table_counts_a_larger_batch():
    found = sme.importance(sme.Logistic(examples=20), torch.full((4,), 0.5))
    uniform, optimal = (found.table.iloc[i] for i in (0, 1))
    assert uniform["effective batch"] == 8
    assert optimal["effective batch"] == pytest.approx(8 / optimal["ratio"])
    assert optimal["ratio"] < 0.8
    assert "optimal" in str(found)


def test_gradients_of_examples_one_by_one():
    def loss(theta, a, b):
        return torch.nn.functional.softplus(theta @ a) - b * (theta @ a)

    problem = sme.Logistic(examples=12)
    theta = torch.full((4,), 0.3, dtype=torch.float64)
    one_by_one = vmap(grad(loss), in_dims=(None, 0, 0))(theta, problem.features, problem.targets)
    torch.testing.assert_close(each(problem.noise.examples, theta), one_by_one, rtol=1e-12, atol=1e-15)
    shares = torch.linspace(0.1, 1, 12, dtype=torch.float64)
    examples = [problem.noise.examples, sme.MinibatchNoise(loss, (problem.features, problem.targets)).examples]
    for each_kind in examples:
        torch.testing.assert_close(each_kind.power(theta[None], 3, shares)[0], shares @ one_by_one**3, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("optimizer", "regime", "order", "proved"), [
    (sme.RMSProp(denominator="updated"), "ballistic", 2, 2),
    (sme.SGD(), "batch_equivalent", 1, 0.5)])
def test_the_equations_keep_their_orders(optimizer, regime, order, proved):
    assert sme.check_order(drawn(2), optimizer, regime, order).proved == proved


@pytest.mark.parametrize(("make", "said"), [
    (lambda: drawn(1, probabilities=torch.ones(2)), r"3 finite numbers > 0"),
    (lambda: drawn(1, probabilities=torch.tensor([1.0, 0.0, 1.0])), r"0\.9 p \+ 0\.1/n"),
    (lambda: drawn(1, probabilities="many"), "must be a tensor"),
    (lambda: sme.importance(sme.Quadratic(), torch.ones(2)), "minibatches with replacement"),
    (lambda: sme.importance(drawn(1), torch.ones(3)), r"\(d,\) = \(2,\)"),
    (lambda: sme.importance(drawn(1), torch.full((2,), torch.nan)), "vanish or are not finite")])
def test_bad_input_is_refused(make, said):
    with pytest.raises(sme.SMEError, match=said):
        make()
