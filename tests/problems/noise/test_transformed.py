"""Laws of a clipped, normalised, signed or private gradient, against sums over all batches and integrals of their own."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

import sme
from sme.problems.noise.minibatch.clipped import clipped
from sme.problems.noise.wrapped.driven import Driven
from tests.support.few import few

POINTS = np.random.default_rng(5).normal(size=(8, 2))
LIMIT, SIGMA = 1.1, 0.6
THETA = np.array([0.37, -0.45])
OWN = {
    "Clipped": lambda g: g * np.minimum(1, LIMIT / np.linalg.norm(g, axis=-1, keepdims=True)),
    "Normalised": lambda g: g / np.linalg.norm(g, axis=-1, keepdims=True),
    "Signed": np.sign,
}
MAKE = {"Clipped": lambda law: sme.Clipped(law, LIMIT), "Normalised": sme.Normalised, "Signed": sme.Signed}


def example(theta, x):
    return 0.5 * (theta - x).square().sum() + 0.1 * (theta @ x).square()


def own_gradients(theta):
    return theta - POINTS + 0.2 * (POINTS @ theta)[:, None] * POINTS


def minibatch(size):
    return sme.MinibatchNoise(example, (torch.from_numpy(POINTS),), size)


def problem(law):
    points = torch.from_numpy(POINTS)
    return sme.Problem(lambda theta: torch.stack([example(theta, x) for x in points]).mean(), 2, law)


def at(theta=THETA):
    return torch.from_numpy(np.atleast_2d(theta))


def joint(law, mean, dim):
    """The covariance of `(γ, γ∘γ)` from the columns of the law's noises."""
    theta = at(THETA[:dim])
    units = torch.eye(law.motions, dtype=torch.float64)
    noise, square = law.diffuse_square(theta.expand(len(units), -1), units)
    assert torch.allclose(noise, law.diffuse(theta.expand(len(units), -1), units))
    rows = [torch.cat((noise, square + 2 * mean * noise), 1)]
    if law.second_motions:
        own = law.second_columns()
        rows.append(torch.cat((torch.zeros(len(own), dim), law.second(theta.expand(len(own), -1), own)), 1))
    both = torch.cat(rows)
    return (both.T @ both).numpy()


def compare(law, values, weights, tolerance):
    """All moments against those of values with weights."""
    dim = values.shape[1]
    theta, mean = at(THETA[:dim]), weights @ values
    centred = values - mean
    assert law.mean(theta, None)[0].numpy() == pytest.approx(mean, abs=tolerance)
    for power, name in ((2, "variance"), (3, "third"), (4, "fourth")):
        assert getattr(law, name)(theta)[0].numpy() == pytest.approx(weights @ centred**power, abs=tolerance)
    both = np.concatenate((centred, values**2 - weights @ values**2), 1)
    found = joint(law, torch.from_numpy(mean), dim)
    assert found == pytest.approx(both.T @ (both * weights[:, None]), abs=tolerance)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", MAKE)
def test_of_a_minibatch_they_are_sums_over_all_batches(name, size):
    law = problem(MAKE[name](minibatch(size))).noise
    each = own_gradients(THETA)
    seen = np.array([each[list(i)].mean(0) for i in itertools.product(range(8), repeat=size)])
    compare(law, OWN[name](seen), np.full(len(seen), 1 / len(seen)), 1e-12)


@pytest.mark.parametrize("size", [1, 2])
def test_a_private_gradient_is_the_mean_of_clipped_ones_and_gaussian_noise(size):
    law = problem(sme.Private(minibatch(size), LIMIT, SIGMA)).noise
    each = OWN["Clipped"](own_gradients(THETA))
    batch = np.array([each[list(i)].mean(0) for i in itertools.product(range(8), repeat=size)])
    z, w = np.polynomial.hermite_e.hermegauss(6)
    z, w = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2), np.outer(w, w).ravel() / w.sum() ** 2
    seen = (batch[:, None] + SIGMA * LIMIT / size * z).reshape(-1, 2)
    compare(law, seen, np.tile(w, len(batch)) / len(batch), 1e-12)


@pytest.mark.parametrize(("dim", "name"), few([(dim, name) for dim in (1, 2) for name in MAKE], 0, 1, 2, 3))
def test_of_gaussian_noise_they_are_integrals(name, dim):
    factor = np.array([[0.7, 0.2], [-0.3, 0.5]])[:dim, :dim]
    slope = np.array([[1.5, 0.3], [0.3, 0.8]])[:dim, :dim]
    given = sme.Problem(lambda theta: 0.5 * theta @ torch.from_numpy(slope) @ theta, dim,
                        MAKE[name](sme.GaussianNoise(torch.from_numpy(factor))))
    g, step = slope @ THETA[:dim], 0.004 if dim == 1 else 0.01
    z = (np.arange(-round(7 / step), round(7 / step)) + 0.5) * step
    grid = np.stack(np.meshgrid(*[z] * dim), -1).reshape(-1, dim)
    weights = norm.pdf(grid).prod(1) * step**dim
    seen = g + grid @ factor.T
    tolerance = 2e-3 if name != "Clipped" else 2e-5  # of the sum here, which a jump makes coarse
    compare(given.noise, OWN[name](seen), weights / weights.sum(), tolerance)


@pytest.mark.parametrize("law", [sme.Clipped(sme.GaussianNoise(torch.eye(2)), 0.8), sme.Private(minibatch(2), LIMIT, SIGMA),
                                 sme.Normalised(sme.GaussianNoise(torch.eye(2))), sme.Clipped(minibatch(2), LIMIT)],
                         ids=["clip", "private", "norm", "clipped batch"])
def test_the_mean_field_is_differentiated(law):
    field = Driven.of(problem(law))
    theta, u, h = at(), torch.tensor([[0.6, -0.3]], dtype=torch.float64), 1e-5
    wanted = (field.gradient(theta + h * u) - field.gradient(theta - h * u)) / (2 * h)
    assert torch.allclose(field.hessian(theta, u), wanted, atol=1e-7)


def test_every_example_of_a_network_is_clipped_alone():
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    inputs, targets = torch.randn(6, 3), torch.randn(6, 2)
    network = sme.Network(module, (inputs, targets), "mse", batch_size=2)
    theta = network.start["theta"].unsqueeze(0)
    each = network.examples.weigh(theta.expand(6, -1), torch.eye(6, dtype=torch.float64))[0]
    limit = float(each.norm(dim=1).median())
    wanted = each * (limit / each.norm(dim=1, keepdim=True)).clamp(max=1)
    few = clipped(network.examples, limit)
    assert torch.allclose(few.weigh(theta.expand(6, -1), torch.eye(6, dtype=torch.float64))[0], wanted)
    assert torch.allclose(few.batch(theta, torch.tensor([[1, 4]]))[0], wanted[[1, 4]].mean(0))
    assert torch.allclose(few.averages(theta)[1][0], wanted.square().mean(0))
    private = sme.Network(module, (inputs, targets), "mse", noise=sme.Private(network.noise, limit, 0.5))
    equation = sme.derive(private, sme.Adam(bias_correction=False))(0.1)
    x = torch.cat((theta, 0.1 * torch.ones_like(theta), torch.ones_like(theta)), 1)
    assert torch.isfinite(equation.drift(0.0, x)).all()


def test_what_cannot_be_transformed_says_so():
    with pytest.raises(sme.SMEError, match="not itself of a transformed gradient"):
        sme.Clipped(sme.Signed(sme.GaussianNoise(torch.eye(2))), 1.0)
    with pytest.raises(sme.SMEError, match=r"limit must be finite and > 0"):
        sme.Clipped(sme.GaussianNoise(torch.eye(2)), 0.0)
    with pytest.raises(sme.SMEError, match=r"sme\.Clipped clips the gradient of a step"):
        sme.Private(sme.GaussianNoise(torch.eye(2)), 1.0, 1.0)
    with pytest.raises(sme.SMEError, match="T₃ and T₄"):
        sme.derive(problem(sme.Clipped(minibatch(1), 1.0)), sme.SGD(), regime="batch_equivalent", order=1)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["Gaussian", "batches"])
def test_a_clip_before_a_smooth_rule_is_of_order_two(law):
    noise = sme.GaussianNoise(lambda theta: 0.4 * (1 + 0.3 * torch.sin(theta)).reshape(1, 1)) if law == "Gaussian" else None
    if noise is None:
        points = torch.tensor([-2.0, 0.1, 2.2])  # the clip has kinks at 0.8 and 1.5, away from the run
        noise = sme.MinibatchNoise(lambda theta, x: 0.5 * (theta[0] - x) ** 2, (points,), 1)
        given = sme.Problem(lambda theta: 0.5 * (theta[0] - points).square().mean(), 1, sme.Clipped(noise, 0.7))
    else:
        given = sme.Problem(lambda theta: 0.5 * theta[0] ** 2 + 0.075 * theta[0] ** 4, 1, sme.Clipped(noise, 0.7))
    check = sme.check_order(given, sme.RMSProp(c=1.0), order=2, start={"theta": torch.tensor([1.15]), "v": torch.tensor([0.5])},
                            horizon=0.02)
    assert check.moments["off"].sum() == 0
    assert check.rate > 2.8
