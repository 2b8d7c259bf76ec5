"""Clip and direction of a gradient with equal Gaussian noise in three parameters, against integrals over spheres."""

import numpy as np
import pytest
import torch

import sme
from sme.problems.noise.wrapped.driven import Driven
from sme.problems.noise.wrapped.radial import _means
from tests.support.few import few

LIMIT, SIZE = 0.8, 0.55
TURN = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0][:3]  # S Sᵀ = s² I with four motions
MAKE = {"Clipped": lambda law: sme.Clipped(law, LIMIT), "Normalised": sme.Normalised}


def problem(name, slope):
    return sme.Problem(lambda theta: 0.5 * slope * theta.square().sum() + 0.1 * theta.pow(4).sum(), 3,
                       MAKE[name](sme.GaussianNoise(torch.from_numpy(SIZE * TURN), motions=4)))


def own(name, g):
    """`ĝ` at nodes of spheres about 0, their weights, and `γ`."""
    legendre = np.polynomial.legendre.leggauss
    z, w = legendre(60)
    last = np.linalg.norm(g) + 9 * SIZE
    radius = np.concatenate([0.5 * (b - a) * (z + 1) + a for a, b in ((0, LIMIT), (LIMIT, last))])
    share = np.concatenate([0.5 * (b - a) * w for a, b in ((0, LIMIT), (LIMIT, last))]) * radius**2
    up, chance = legendre(60)
    turn = 2 * np.pi * np.arange(64) / 64
    side = np.sqrt(1 - up**2)[:, None]
    unit = np.stack(np.broadcast_arrays(side * np.cos(turn), side * np.sin(turn), up[:, None]), -1).reshape(-1, 3)
    weights = np.outer(share, np.repeat(chance, 64) * 2 * np.pi / 64).ravel()
    seen = (radius[:, None, None] * unit).reshape(-1, 3)
    weights *= np.exp(-np.square(seen - g).sum(1) / (2 * SIZE**2)) / (2 * np.pi * SIZE**2) ** 1.5
    size = np.linalg.norm(seen, axis=1, keepdims=True)
    return seen, weights, seen / size if name == "Normalised" else seen * np.minimum(1, LIMIT / size)


@pytest.mark.parametrize(("slope", "name"), few([(slope, name) for slope in (0.0, 1.0, 4.0) for name in MAKE], 0, 3, 4))
def test_all_moments_are_integrals_over_spheres(name, slope):
    theta = np.array([0.5, -0.35, 0.2]) * (slope != 0)
    seen, weights, values = own(name, slope * theta + 0.4 * theta**3)
    law = problem(name, slope).noise
    found = law.found(torch.from_numpy(theta)[None])
    mean = weights @ values
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    for first in (found.mean, law.mean(torch.from_numpy(theta)[None], None)):
        assert first[0].numpy() == pytest.approx(mean, abs=1e-11)
    for power, part in ((2, found.variance), (3, found.third), (4, found.fourth)):
        assert part[0].numpy() == pytest.approx(weights @ (values - mean) ** power, abs=1e-11)
    both = np.concatenate((values - mean, values**2 - weights @ values**2), 1)
    factor = found.factor[0].numpy()
    assert factor @ factor.T == pytest.approx(both.T @ (both * weights[:, None]), abs=1e-11)
    z = (seen - weights @ seen) @ TURN / SIZE
    assert factor[:, :4] == pytest.approx(both.T @ (z * weights[:, None]), abs=1e-11)


def test_far_from_zero_a_clip_that_is_not_reached_does_nothing():
    """The mean of `w` is 1 and the run's noise is its own, at `|g|/s` of hundreds."""
    assert _means(torch.tensor([0.0, 3e3, 9e4], dtype=torch.float64), 7, 1e4).numpy() == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("theta", [[0.0, 0.0, 0.0], [0.6, -0.2, 0.9]])
def test_the_mean_is_differentiated_at_its_zero_too(name, theta):
    field, h = Driven.of(problem(name, 1.0)), 1e-5
    theta = torch.tensor([theta], dtype=torch.float64)
    u = torch.tensor([[0.6, -0.3, 0.2]], dtype=torch.float64)
    wanted = (field.gradient(theta + h * u) - field.gradient(theta - h * u)) / (2 * h)
    assert torch.allclose(field.hessian(theta, u), wanted, atol=1e-8)
    again = (field.hessian(theta + h * u, u) - field.hessian(theta - h * u, u)) / (2 * h)
    assert torch.allclose(field.third(theta, u, u), again, atol=1e-7)


def test_noise_that_differs_between_directions_says_what_is_known():
    noise = sme.Clipped(sme.GaussianNoise(torch.diag(torch.tensor([0.5, 0.5, 0.6]))), LIMIT)
    wide = sme.Problem(lambda theta: theta.square().sum(), 3, noise)
    with pytest.raises(sme.SMEError, match="with a constant factor S"):
        wide.noise.found(torch.ones(1, 3, dtype=torch.float64))
