"""Gradient laws: exact moments by enumeration, and what an equation may ask of them."""

import itertools

import pytest
import torch
from torch.func import grad, vmap

import sme
from sme.simulate.increments import Draws
from tests import models

THETA = models.STATES["theta"].unsqueeze(0)


def enumerate_noise(problem):
    """`S z` for every batch, all equally likely."""
    law = problem.noise
    batches = torch.tensor(list(itertools.product(range(law.motions), repeat=law.batch_size)))
    return law.sample(THETA.expand(len(batches), -1), batches)


def images(problem):
    """The noise of `(ĝ, ĝ∘ĝ)` that goes with each first motion, and its second part, column by column."""
    law, g = problem.noise, problem.gradient(THETA)
    units = torch.eye(law.motions, dtype=torch.float64)
    theta = THETA.expand(law.motions, -1)
    noise, skew = law.diffuse_square(theta, units)
    first = torch.cat((noise, 2 * g * noise + skew), -1)
    second = torch.zeros(1, 4, dtype=torch.float64)
    if law.second_motions:
        n = law.motions
        pairs = torch.zeros(n * n, 2 * n + 1, dtype=torch.float64)
        for row, (j, k) in enumerate(itertools.product(range(n), repeat=2)):
            pairs[row, j] = pairs[row, n + k] = pairs[row, 2 * n] = 1
        square = law.second(THETA.expand(n * n, -1), pairs)
        second = torch.cat((torch.zeros_like(square), square), -1)
    return first, second


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_minibatch_noise_has_the_exact_covariance_of_gradient_and_square(batch_size):
    problem = models.minibatch(batch_size, examples=4)
    noise, g = enumerate_noise(problem), problem.gradient(THETA)
    both = torch.cat((noise, (g + noise) ** 2), -1)
    exact = (both - both.mean(0)).T @ (both - both.mean(0)) / len(both)
    first, second = images(problem)
    torch.testing.assert_close(first.T @ first + second.T @ second, exact, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(problem.noise.variance(THETA)[0], noise.square().mean(0), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(problem.noise.third(THETA)[0], noise.pow(3).mean(0), rtol=1e-11, atol=1e-15)
    assert noise.mean(0).abs().max() < 1e-15


def test_linear_examples_agree_with_differentiated_losses():
    problem = sme.Logistic(features=3, batch_size=4, examples=20)
    x, y = problem.features, problem.targets
    plain = sme.MinibatchNoise(lambda theta, a, b: torch.nn.functional.softplus(theta @ a) - b * (theta @ a), (x, y), 4)
    torch.manual_seed(0)
    theta, u = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    dW, dW2 = torch.randn(6, 20, dtype=torch.float64), torch.randn(6, 41, dtype=torch.float64)
    z = torch.randint(20, (6, 4))
    for name, arguments in {"variance": (), "third": (), "sample": (z,), "diffuse": (dW,), "diffuse_square": (dW,),
                            "second": (dW2,), "variance_slope": (u,)}.items():
        fast, slow = (getattr(law, name)(theta, *arguments) for law in (problem.noise, plain))
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-13)


def test_second_motion_of_a_minibatch_turns_with_an_antithetic_path():
    law = sme.Logistic(examples=20).noise
    dW = torch.randn(3, law.second_motions, dtype=torch.float64)
    theta = torch.zeros(3, 4, dtype=torch.float64)
    torch.testing.assert_close(law.second(theta, -dW), -law.second(theta, dW))


@pytest.mark.parametrize("state_dependent", [False, True])
def test_gaussian_noise_has_its_covariances(state_dependent):
    law = models.gaussian(state_dependent).noise
    s = models.varying(THETA[0]) if state_dependent else models.FACTOR
    sigma = s @ s.T
    first = law.diffuse(THETA.expand(law.motions, -1), torch.eye(law.motions, dtype=torch.float64))
    second = law.second(THETA.expand(law.second_motions, -1), torch.eye(law.second_motions, dtype=torch.float64))
    torch.testing.assert_close(first.T @ first, sigma, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(second.T @ second, 2 * sigma * sigma, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(law.variance(THETA)[0], sigma.diagonal(), rtol=1e-12, atol=1e-15)
    u = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    step = 1e-6
    for name, extra in {"variance": (), "diffuse": (torch.ones(1, 2, dtype=torch.float64),)}.items():
        slope = getattr(law, f"{name}_slope")(THETA, u, *extra)
        ahead, behind = (getattr(law, name)(THETA + sign * step * u, *extra) for sign in (1, -1))
        torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-7, atol=1e-9)


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
    monkeypatch.setattr("sme.laws.examples.CHUNK", 12)
    torch.testing.assert_close(law.variance(theta), whole, rtol=1e-14, atol=0)


def test_mean_of_per_example_gradients_is_the_gradient_of_the_loss():
    problem = models.minibatch(2)
    expected = vmap(grad(problem._loss))(THETA)
    torch.testing.assert_close(problem.noise.examples.averages(THETA)[0], expected, rtol=1e-12, atol=1e-15)
