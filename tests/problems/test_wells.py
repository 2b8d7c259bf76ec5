"""The problem in two wells: its derivatives, the law of its two-point noise, and its equations' order."""

import itertools

import pytest
import torch
from scipy.stats import binom
from torch.func import grad, vmap

import sme

THETA = torch.tensor([[-1.2], [-0.3], [0.1], [1.5], [1.9]], dtype=torch.float64)


def losses(theta, level=0.0):
    """`f₁` and `f₂` as they are written in the literature."""
    one, other = 0.2 * (theta + 1.1) ** 2 * (theta - 1.9) ** 4, 2 * (theta - 0.1) ** 2
    return one + level * (one - other), other - level * (one - other)


def mean(theta):
    return (0.5 * sum(losses(theta))).sum()


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_derivatives_are_those_of_the_mean_loss(level):
    problem = sme.Wells(level=level)
    first = grad(mean)
    second = grad(lambda x: first(x).sum())
    third = grad(lambda x: second(x).sum())
    u, w = 0.3 * torch.ones_like(THETA), -0.7 * torch.ones_like(THETA)
    for ours, theirs in ((problem.loss(THETA), vmap(mean)(THETA)), (problem.gradient(THETA), vmap(first)(THETA)),
                         (problem.hessian(THETA, u), vmap(second)(THETA) * u),
                         (problem.third(THETA, u, w), vmap(third)(THETA) * u * w)):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("level", "batch_size", "scale"), [(0.0, 1, 1.0), (0.0, 8, 1.0), (2.0, 3, 0.25)])
def test_noise_is_that_of_a_binomial_number_of_picks(level, batch_size, scale):
    law, gaussian = (sme.Wells(level, batch_size, noise, scale).noise for noise in ("minibatch", "gaussian"))
    one, other = (vmap(grad(lambda x, i=i: losses(x, level)[i].sum()))(THETA) for i in range(2))
    picks = binom(batch_size, 0.5)
    chance = torch.tensor(picks.pmf(range(batch_size + 1)))
    average = torch.stack([(k * one + (batch_size - k) * other) / batch_size for k in range(batch_size + 1)])
    centred = scale * (average - vmap(grad(mean))(THETA))
    second, third, fourth = (torch.einsum("k,kpd->pd", chance, centred**power) for power in (2, 3, 4))
    for ours, theirs in ((law.variance(THETA), second), (gaussian.variance(THETA), second), (law.third(THETA), third),
                         (law.fourth(THETA), fourth)):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)
    batches = torch.tensor(list(itertools.product(range(2), repeat=batch_size)))
    for row, theta in enumerate(THETA):
        drawn = law.sample(theta.expand(len(batches), -1), batches)
        share = (batches == 0).sum(1)
        torch.testing.assert_close(drawn, centred[share, row], rtol=1e-10, atol=1e-12)


def test_closed_forms_agree_with_differentiated_losses():
    fast = sme.Wells(level=0.5, batch_size=4).noise
    plain = sme.MinibatchNoise(lambda theta, which: losses(theta[0], 0.5)[0] * which + losses(theta[0], 0.5)[1] * (1 - which),
                               (torch.tensor([1.0, 0.0]),), 4)
    generator = torch.Generator().manual_seed(0)
    u, dW, dW2 = (torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (1, 2, 1))
    plain.check(1)
    for name, arguments in {"variance": (), "third": (), "fourth": (), "diffuse": (dW,), "diffuse_square": (dW,),
                            "second": (dW2,), "variance_slope": (u,)}.items():
        ours, theirs = (getattr(law, name)(THETA, *arguments) for law in (fast, plain))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("optimizer", [sme.RMSProp(), pytest.param(sme.Adam(), marks=pytest.mark.slow)])
@pytest.mark.parametrize("noise", ["minibatch", "gaussian"])
def test_the_equation_has_order_two(optimizer, noise):
    assert sme.check_order(sme.Wells(noise=noise), optimizer).proved == 2


@pytest.mark.parametrize(("arguments", "words"), [
    ({"level": -1}, ["level", "-1", "≥ 0"]),
    ({"batch_size": 0}, ["batch_size", "0"]),
    ({"scale": 0}, ["scale", "0", "positive"]),
    ({"noise": "normal"}, ["normal", "gaussian"]),
])
def test_wells_refuse(arguments, words):
    with pytest.raises(sme.SMEError) as caught:
        sme.Wells(**arguments)
    assert all(word in str(caught.value) for word in words)
