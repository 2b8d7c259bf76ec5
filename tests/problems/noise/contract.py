"""What every law of the gradient noise must keep: checked for each that is exported, and for each that has a name."""

import copy
import json

import pytest
import torch

import sme
from sme.common.identity import numerics
from sme.common.identity.hashing import fingerprint
from sme.common.random.increments import Draws
from sme.problems.noise.base import NAMED
from sme.problems.noise.named import named
from tests.support import models

CPU = torch.device("cpu")
THETA = models.STATES["theta"].unsqueeze(0)
PATHS = 2**14
NODES = 60_000
"""of the rule that moments are compared with"""
MANY = 2**17
"""increments for a covariance that is no sum over units"""
TAIL = 8
"""moments that a law must have for its rule to be exact to rounding: the tail that it leaves out is too small to see"""


gradient = torch.func.vmap(torch.func.grad(models.bent))


def scale(theta):
    return 0.4 + 0.1 * torch.sin(theta)


def logistic(z):
    return torch.sigmoid(5 * z)


def lopsided(z):
    """Two normal laws of different widths, of mean 0."""
    return 0.3 * torch.special.ndtr((z - 0.7) / 0.3) + 0.7 * torch.special.ndtr((z + 0.3) / 0.5)


def minibatch(size=2, examples=4, **options):
    return models.minibatch(size, examples, **options).noise


def importance(*shares):
    return sme.ImportanceNoise(torch.tensor(shares), batch_size=2, examples=minibatch(2, len(shares)).examples)


LAWS = {
    **{f"by name, {law}": lambda law=law: named(law, models.FACTOR, 0.3)[0] for law in NAMED},
    "normal, varying": lambda: sme.GaussianNoise(models.varying),
    "normal, one motion": lambda: sme.GaussianNoise(models.FACTOR[:, :1]),
    "diagonal": lambda: sme.DiagonalNoise(torch.tensor([0.3, 0.5])),
    "t 9": lambda: sme.StudentNoise(9.0, 0.3),
    "t 11, two scales": lambda: sme.StudentNoise(11, torch.tensor([0.3, 0.5])),
    "t 9, varying": lambda: sme.StudentNoise(9.0, scale),
    "two points, varying": lambda: sme.TwoPointNoise(models.varying, 0.7),
    **{f"affine {kind}": lambda kind=kind: sme.AffineNoise(0.2, 0.3, kind, nu=9) for kind in ("rademacher", "skewed", "student")},
    "distribution": lambda: sme.DistributionNoise(logistic, 2),
    "distribution, skewed": lambda: sme.DistributionNoise(lopsided, 2),
    "minibatch": minibatch,
    "minibatch, all but one": lambda: minibatch(3, sampling="without_replacement"),
    "minibatch, scaled": lambda: minibatch(scale=0.7),
    "importance": lambda: importance(1.0, 2.0, 3.0),
    "SVAG of minibatches": lambda: sme.SVAGNoise(minibatch(1, 3), 2),
    "SVAG for SGD": lambda: sme.SVAGNoise(minibatch(1, 3), 3, "sgd"),
    "SVAG of affine": lambda: sme.SVAGNoise(sme.AffineNoise(0.2, 0.3, "skewed"), 2),
    "clipped batch": lambda: sme.Clipped(minibatch(), 0.4),
    "direction of a batch": lambda: sme.Normalised(minibatch()),
    "sign of a batch": lambda: sme.Signed(minibatch()),
    "private": lambda: sme.Private(minibatch(), 0.4, 0.7),
    "SVAG of two points": lambda: sme.SVAGNoise(sme.TwoPointNoise(models.FACTOR, 0.3), 2),
}
"""one or more of every law; one with a name is here by itself"""


def kinds():
    """The exported laws."""
    base = sme.GaussianNoise.__mro__[1]
    return {each for each in vars(sme).values() if isinstance(each, type) and issubclass(each, base)}


@pytest.fixture(params=LAWS, scope="module")
def law(request):
    """A law that knows the gradient of a problem of two parameters."""
    return sme.Problem(models.bent, 2, LAWS[request.param]()).noise


@pytest.fixture(scope="module")
def exact(law):
    """Noise at the nodes of its finest rule, the weights, and how close moments are to them."""
    *_, (z, weights) = (rule for rule, _ in zip(law.quadrature(), range(4), strict=False) if len(rule[1]) <= NODES)
    close = 1e-9 if law.exact or law.moments > TAIL else 2e-3
    return law.sample(wide(THETA, len(z)), z), weights, {"rtol": close, "atol": 1e-2 * close}


def wide(theta, count):
    return theta.expand(count, -1)


class Contract:
    """Checks of one law, with `g = ∇f` of the problem that it is the noise of."""

    g = gradient(THETA)

    def test_moments_are_those_of_its_quadrature(self, law, exact):
        noise, weights, close = exact
        torch.testing.assert_close(weights @ noise, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-7)
        for moment, power in ((law.variance, 2), (law.third, 3), (law.fourth, 4)):
            torch.testing.assert_close(moment(THETA)[0], weights @ noise**power, **close)
        square = (self.g + noise) ** 2
        spread = weights @ square**2 - (weights @ square) ** 2
        torch.testing.assert_close(law.square_variance(THETA, self.g)[0], spread, **close)
        assert law.skewed or not bool((law.third(THETA).abs() > 1e-9).any())

    def test_motions_carry_the_covariance_of_gradient_and_square(self, law, exact):
        noise, weights, close = exact
        both = torch.cat((noise, (self.g + noise) ** 2), -1)
        both = both - weights @ both
        covariance = torch.einsum("n,ni,nj->ij", weights, both, both)
        first = torch.eye(law.motions, dtype=torch.float64)
        linear, skew = law.diffuse_square(wide(THETA, len(first)), first)
        rows = torch.cat((linear, 2 * self.g * linear + skew), -1)
        carried = rows.T @ rows
        if not law.bilinear:
            unit = torch.eye(law.second_motions, dtype=torch.float64)
            second = law.second(wide(THETA, len(unit)), unit)
            carried[2:, 2:] += second.T @ second
            torch.testing.assert_close(carried, covariance, **close)
            return
        dW = torch.randn(MANY, law.second_motions, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        second = law.second(wide(THETA, MANY), dW)
        carried[2:, 2:] += second.T @ second / MANY
        size = covariance.diagonal().sqrt()
        torch.testing.assert_close(carried / size / size[:, None], covariance / size / size[:, None], rtol=0, atol=0.03)

    def test_draws_have_its_moments_and_come_from_their_stream_alone(self, law, exact):
        noise, weights, _ = exact
        one, again = (law.draw(None, 0.1, Draws((0, 4, 2, 7), 0, PATHS // 2, CPU), PATHS) for _ in range(2))
        torch.testing.assert_close(one, again, rtol=0, atol=0)
        drawn = law.sample(wide(THETA, PATHS), one)
        assert drawn.shape == (PATHS, 2)
        size = (weights @ noise**2).sqrt()
        assert bool((drawn.mean(0).abs() < 5 * size / PATHS**0.5).all())
        assert bool(((drawn.square().mean(0) / size**2 - 1).abs() < 0.15).all())

    def test_a_paired_draw_is_the_increment_over_its_size(self, law):
        dW = torch.randn(3, law.motions, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        if law.paired:
            sampled = law.sample(wide(THETA, 3), law.draw(dW, 0.25, None, 3))
            torch.testing.assert_close(0.5 * sampled, law.diffuse(wide(THETA, 3), dW), rtol=1e-12, atol=1e-14)

    def test_noise_turns_with_an_antithetic_path(self, law):
        generator = torch.Generator().manual_seed(7)
        for noise, motions in ((law.diffuse, law.motions), (law.second, law.second_motions)):
            dW = torch.randn(3, motions, generator=generator, dtype=torch.float64)
            torch.testing.assert_close(noise(wide(THETA, 3), -dW), -noise(wide(THETA, 3), dW), rtol=1e-12, atol=1e-14)
        dW = torch.randn(3, law.motions, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(law.diffuse_square(wide(THETA, 3), dW)[0], law.diffuse(wide(THETA, 3), dW))

    def test_slopes_are_those_of_differences(self, law):
        u, dW = torch.tensor([[0.3, -0.8]], dtype=torch.float64), torch.ones(1, law.motions, dtype=torch.float64)
        dW[:, 0] = -0.4
        for value, slope, extra in ((law.variance, law.variance_slope, ()), (law.diffuse, law.diffuse_slope, (dW,))):
            near = (value(THETA + 1e-6 * u, *extra) - value(THETA - 1e-6 * u, *extra)) / 2e-6
            torch.testing.assert_close(slope(THETA, u, *extra), near, rtol=1e-6, atol=1e-8)
        if law.constant:
            torch.testing.assert_close(law.variance(THETA + u), law.variance(THETA), rtol=0, atol=0)

    def test_a_short_way_to_the_noisy_gradient_is_the_same(self, law):
        z = law.draw(None, 0.1, Draws((0, 4, 2, 7), 0, 4, CPU), 8)
        theta = wide(THETA, 8)

        def mean(theta):
            return law.mean(theta, gradient)

        for share in (0.5, 1.0):
            expected = share * mean(theta) + law.sample(theta, z)
            torch.testing.assert_close(law.noisy(theta, z, mean, share), expected, rtol=1e-11, atol=1e-13)

    def test_copies_and_those_on_a_device_are_the_same_law(self, law):
        for other in (copy.deepcopy(law), law.to(CPU).bound(gradient)):
            assert (other.motions, other.second_motions) == (law.motions, law.second_motions)
            for value in ("variance", "third", "fourth"):
                torch.testing.assert_close(getattr(other, value)(THETA), getattr(law, value)(THETA), rtol=0, atol=0)
            assert fingerprint(other) == fingerprint(law)

    def test_its_description_is_plain_data_and_its_parts_are_known(self, law):
        assert isinstance(law.describe()["law"], str)
        json.dumps(law.describe())
        assert set(law.numerics) <= set(numerics.NUMERICS)
        assert type(law).__name__ in repr(law)
