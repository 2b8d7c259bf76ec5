"""Gradient laws: exact moments by enumeration, and what an equation may ask of them."""

import itertools

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

import sme
from sme.common.random.increments import Draws, Increments, coarsen, held
from sme.problems.noise.minibatch.linear import LinearExamples
from tests.support import models

THETA = models.STATES["theta"].unsqueeze(0)


def enumerate_noise(problem):
    """`S z` for every batch, all equally likely."""
    law = problem.noise
    every = (itertools.product(range(law.motions), repeat=law.batch_size) if law.sampling.name == "with_replacement"
             else itertools.combinations(range(law.motions), law.batch_size))
    batches = torch.tensor(list(every))
    return law.sample(THETA.expand(len(batches), -1), batches)


def images(problem):
    """The noise of `(ĝ, ĝ∘ĝ)` that goes with each first motion, and its second part, column by column."""
    law, g = problem.noise, problem.gradient(THETA)
    units = torch.eye(law.motions, dtype=torch.float64)
    theta = THETA.expand(law.motions, -1)
    noise, skew = law.diffuse_square(theta, units)
    first = torch.cat((noise, 2 * g * noise + skew), -1)
    columns = law.second_columns()
    square = law.second(THETA.expand(len(columns), -1), columns)
    second = torch.cat((torch.zeros_like(square), square), -1)
    return first, second


@pytest.mark.parametrize(("sampling", "examples", "batch_size"), [
    *(("with_replacement", 4, size) for size in (1, 2, 3)), *(("without_replacement", 6, size) for size in (1, 2, 3, 4, 5, 6)),
    *(("without_replacement", few, size) for few in (1, 2, 3) for size in range(1, few + 1)), ("reshuffled", 5, 2)])
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_minibatch_noise_has_the_exact_covariance_of_gradient_and_square(sampling, examples, batch_size, scale):
    problem = models.minibatch(batch_size, examples, sampling=sampling, scale=scale)
    noise, g = enumerate_noise(problem), problem.gradient(THETA)
    both = torch.cat((noise, (g + noise) ** 2), -1)
    exact = (both - both.mean(0)).T @ (both - both.mean(0)) / len(both)
    for dim in (2, 0):  # a triangular factor of few parameters, and the product of any number
        problem.noise.sized(dim)
        first, second = images(problem)
        torch.testing.assert_close(first.T @ first + second.T @ second, exact, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(problem.noise.variance(THETA)[0], noise.square().mean(0), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(problem.noise.third(THETA)[0], noise.pow(3).mean(0), rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(problem.noise.fourth(THETA)[0], noise.pow(4).mean(0), rtol=1e-11, atol=1e-15)
    assert noise.mean(0).abs().max() < 1e-15


def test_linear_examples_agree_with_differentiated_losses():
    problem = sme.Logistic(features=3, batch_size=4, examples=20)
    x, y = problem.features, problem.targets
    plain = sme.MinibatchNoise(lambda theta, a, b: torch.nn.functional.softplus(theta @ a) - b * (theta @ a), (x, y), 4)
    torch.manual_seed(0)
    theta, u = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    dW, dW2 = torch.randn(6, 20, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    plain.check(4)
    z = torch.randint(20, (6, 4))
    for name, arguments in {"variance": (), "third": (), "sample": (z,), "diffuse": (dW,), "diffuse_square": (dW,),
                            "second": (dW2,), "variance_slope": (u,)}.items():
        fast, slow = (getattr(law, name)(theta, *arguments) for law in (problem.noise, plain))
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("n", "batch", "sampling"), [
    (7, 3, "with_replacement"), (3, 2, "with_replacement"), (5, 2, "without_replacement"), (6, 3, "without_replacement")])
def test_the_noise_of_the_square_has_the_covariance_of_every_batch_by_numpy(n, batch, sampling):
    """Of four parameters; three examples have a singular covariance."""
    rng = np.random.default_rng(3)
    x, y, theta = rng.normal(size=(n, 4)), rng.integers(0, 2, n), np.array([0.3, -0.5, 0.2, 0.7])
    g = (1 / (1 + np.exp(-x @ theta)) - y)[:, None] * x
    pick = range(n)
    every = itertools.product(pick, repeat=batch) if sampling == "with_replacement" else itertools.combinations(pick, batch)
    mean = np.array([g[list(each)].mean(0) for each in every]) - g.mean(0)
    square = mean**2 - (mean**2).mean(0)
    given = [torch.from_numpy(each).double() for each in (x, y)]
    law = sme.MinibatchNoise(batch_size=batch, sampling=sampling, examples=LinearExamples(
        *given, lambda p, y: torch.sigmoid(p) - y, lambda r, y: (r + y) * (1 - r - y)))
    law.check(4)
    assert (law.second_motions, law.bilinear, law.signs) == (4, False, ())
    point = torch.from_numpy(theta)[None]
    noise, skew = (part.numpy() for part in law.diffuse_square(point.expand(n, -1), torch.eye(n, dtype=torch.float64)))
    root = law.second(point.expand(4, -1), torch.eye(4, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(noise.T @ noise, mean.T @ mean / len(mean), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(noise.T @ skew, mean.T @ square / len(mean), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(skew.T @ skew + root.T @ root, square.T @ square / len(mean), rtol=1e-9, atol=1e-13)
    assert np.allclose(np.triu(root.T, 1), 0)


@pytest.mark.parametrize("sampling", ["with_replacement", "without_replacement"])
def test_of_many_parameters_a_long_substep_has_the_sum_of_the_short_ones_noise(sampling):
    law = models.minibatch(3, 6, sampling=sampling).noise.sized(0)
    assert law.signs == (range(6, 13),)
    given = Increments((0, 1, 2, 3), 4, 8, 0.25, torch.device("cpu")).second(0, law.second_motions)
    dW = held(given, law.signs, 4)
    theta = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = torch.cat((theta[:4], theta[:4]))
    each = torch.stack([law.second(theta, part) for part in dW])
    for factor in (2, 4):
        whole = torch.stack([law.second(theta, part) for part in coarsen(dW, factor)])
        torch.testing.assert_close(whole, each.unflatten(0, (-1, factor)).sum(1), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(dW[..., :6], given[..., :6], rtol=0, atol=0)
    assert not torch.equal(torch.sign(dW[0]), torch.sign(dW[4]))  # the next long substep has other signs
    torch.testing.assert_close(each[:, :4], -each[:, 4:], rtol=1e-12, atol=0)  # antithetic


def test_batches_are_drawn_with_replacement_and_uniformly():
    law = models.minibatch(2, examples=3).noise
    z = law.draw(None, 0.1, Draws((0,), 0, 45_000, torch.device("cpu")), 90_000)
    counts = torch.zeros(3, 3).index_put_((z[:, 0], z[:, 1]), torch.tensor(1.0), accumulate=True)
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_square < 50  # 8 degrees of freedom: 1e-7


def test_per_example_gradients_in_chunks_are_the_same(monkeypatch):
    law = models.minibatch(2, examples=3).noise
    theta = torch.randn(11, 2, dtype=torch.float64)
    whole = law.variance(theta)
    monkeypatch.setattr("sme.problems.noise.minibatch.per_example.CHUNK", 12)
    torch.testing.assert_close(law.variance(theta), whole, rtol=1e-14, atol=0)


def test_mean_of_per_example_gradients_is_the_gradient_of_the_loss():
    problem = models.minibatch(2)
    expected = vmap(grad(problem._loss))(THETA)
    torch.testing.assert_close(problem.noise.examples.averages(THETA)[0], expected, rtol=1e-12, atol=1e-15)


def drawn(law, paths=90_000, steps=1):
    """Batches, and the increments that they were given, of steps of one run."""
    increments = Increments((0, 1, 2, 3), paths // 2, 1, 0.25, torch.device("cpu"))
    given = [increments.first(k, law.motions)[0] for k in range(steps)]
    return [law.draw(dW, 0.25, increments.draws(k), paths) for k, dW in enumerate(given)], given


@pytest.mark.parametrize(("sampling", "coupling"), [("without_replacement", "independent"), ("without_replacement", "ranked"),
                                                    ("with_replacement", "ranked"), ("reshuffled", "independent")])
def test_every_set_of_examples_is_drawn_as_often_as_it_should(sampling, coupling):
    """Also by the paths and their antithetic partners taken apart, and in two steps together."""
    law = models.minibatch(2, 4, sampling=sampling, coupling=coupling).noise
    (z, later), _ = drawn(law, steps=2)
    for batch in (z, z[: len(z) // 2], z[len(z) // 2 :]):
        counts = torch.nn.functional.one_hot(batch, 4).sum(1)
        kinds, seen = counts.unique(dim=0, return_counts=True)
        share = torch.exp(-torch.lgamma(kinds.double() + 1).sum(1))  # as often as its order can be changed
        expected = len(batch) * share / share.sum()
        assert len(kinds) == (10 if sampling == "with_replacement" else 6)
        assert ((seen - expected) ** 2 / expected).sum() < 50  # at most 9 degrees of freedom: 1e-7
    together = (z.sort(1).values * torch.tensor([4, 1])).sum(1) * 16 + (later.sort(1).values * torch.tensor([4, 1])).sum(1)
    if sampling == "reshuffled":  # an epoch of two steps: each example once
        assert (torch.cat((z, later), 1).sort(1).values == torch.arange(4)).all()
    elif sampling == "without_replacement":
        seen = together.unique(return_counts=True)[1]
        assert len(seen) == 36
        assert ((seen - len(z) / 36) ** 2 / (len(z) / 36)).sum() < 110  # 35 degrees of freedom: 1e-9


@pytest.mark.parametrize(("sampling", "batch_size", "expected"), [("without_replacement", 3, 0.65), ("with_replacement", 3, 0.6)])
def test_ranked_batches_go_with_the_increments(sampling, batch_size, expected):
    """The correlation of counts and increments; unranked ones have none, and the increments' law is what it was."""
    for coupling, least, most in (("ranked", expected, 0.9), ("independent", -0.01, 0.01)):
        law = models.minibatch(batch_size, 12, sampling=sampling, coupling=coupling).noise
        (z,), (dW,) = drawn(law, 40_000)
        counts = torch.nn.functional.one_hot(z, 12).sum(1).double()
        assert least < torch.corrcoef(torch.stack((counts[:, 0], dW[:, 0])))[0, 1] < most
        assert law.coupled == (coupling == "ranked")


def test_epochs_begin_anew_and_leave_out_what_is_left_over():
    law = models.minibatch(2, 5, sampling="reshuffled").noise
    batches, _ = drawn(law, 2000, steps=4)
    for first in (0, 2):
        assert all(len(set(row)) == 4 for row in torch.cat(batches[first : first + 2], 1).tolist())
    assert (batches[0] != batches[2]).any()


@pytest.mark.parametrize(("options", "words"), [
    ({"sampling": "reshufled"}, "did you mean 'reshuffled'"), ({"sampling": "without_replacement"}, "at most 3"),
    ({"coupling": "ranked", "sampling": "reshuffled", "size": 2}, "leave it at 'independent'"),
    ({"scale": 0}, "scale must be positive"), ({"coupling": "rank"}, "ranked")])
def test_a_minibatch_that_cannot_be_is_refused(options, words):
    size = options.pop("size", 4)
    with pytest.raises(sme.SMEError, match=words):
        models.minibatch(size, 3, **options)
