"""Moments, quantiles and skewness of noise that is given by its distribution function, at any scale."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

import sme
from sme.common.random.increments import Draws
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC

SCALES = (1e-4, 0.03, 1.0, 37.0, 1e4)
AT = torch.zeros(1, 1, dtype=torch.float64)
ALL = torch.zeros(1, len(SCALES), dtype=torch.float64)


def student(nu):
    """By the finite sums for a whole number of degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""

    def cdf(t):
        angle = torch.atan(t / math.sqrt(nu))
        c, s, odd = torch.cos(angle), torch.sin(angle), nu % 2
        term = total = c if odd else torch.ones_like(t)
        for j in range(2 if odd else 1, nu - 1 if odd else nu - 2, 2):
            term = term * c * c * j / (j + 1)
            total = total + term
        return 0.5 + (angle + s * total) / math.pi if odd else 0.5 + 0.5 * s * total

    return cdf


def lognormal(sigma):
    mean = math.exp(sigma * sigma / 2)
    return lambda z: torch.special.ndtr(torch.log((z + mean).clamp(min=1e-300)) / sigma)


def mixture(z):
    return 0.3 * torch.special.ndtr((z - 1.4) / 0.2) + 0.7 * torch.special.ndtr((z + 0.6) / 0.4)


LAWS = {
    "normal": (torch.special.ndtr, (1, 0, 3), math.inf),
    "student 3": (student(3), (3, None, None), 3.0),
    "student 5": (student(5), (5 / 3, 0, 25.0), 5.0),
    "student 6": (student(6), (1.5, 0, 13.5), 6.0),
    "student 10": (student(10), (1.25, 0, 6.25), 10.0),
    "logistic": (torch.sigmoid, (math.pi**2 / 3, 0, 7 * math.pi**4 / 15), math.inf),
    "exponential": (lambda z: 1 - torch.exp(-(z + 1).clamp(min=0)), (1, 2, 9), math.inf),
    "uniform": (lambda z: 0.5 * (z + 1).clamp(0, 2), (1 / 3, 0, 1 / 5), math.inf),
    "lognormal 0.4": (lognormal(0.4), None, math.inf),
    "lognormal 1.2": (lognormal(1.2), None, math.inf),
    "mixture": (mixture, (0.3 * (1.96 + 0.04) + 0.7 * (0.36 + 0.16),
                          0.3 * (1.4**3 + 3 * 1.4 * 0.04) - 0.7 * (0.216 + 1.8 * 0.16),
                          0.3 * (1.4**4 + 6 * 1.96 * 0.04 + 3 * 0.0016) + 0.7 * (0.6**4 + 6 * 0.36 * 0.16 + 3 * 0.0256)),
                math.inf),
}


def exact(name):
    """`E z², E z³, E z⁴`."""
    if LAWS[name][1] is not None:
        return LAWS[name][1]
    sigma = float(name.split()[1])
    raw = [math.exp(j * j * sigma * sigma / 2) for j in range(5)]
    return tuple(sum(math.comb(k, j) * raw[j] * (-raw[1]) ** (k - j) for j in range(k + 1)) for k in (2, 3, 4))


@pytest.mark.parametrize("name", LAWS)
def test_moments_are_those_of_the_law_at_any_scale(name):
    cdf, _, moments = LAWS[name]
    c = torch.tensor(SCALES, dtype=torch.float64)
    law = sme.DistributionNoise(lambda z: cdf(z / c), len(SCALES))
    assert law.moments == pytest.approx(moments, abs=0.01)
    found = [law.variance, law.third, law.fourth]
    second, third, fourth = exact(name)
    torch.testing.assert_close(found[0](ALL)[0] / c**2, torch.full_like(c, second), rtol=1e-9, atol=0)
    for power, wanted, ask in ((3, third, found[1]), (4, fourth, found[2])):
        if wanted is None:
            with pytest.raises(sme.SMEError, match="does not exist"):
                ask(ALL)
        else:
            unit = second ** (power / 2)
            torch.testing.assert_close(ask(ALL)[0] / c**power / unit, torch.full_like(c, wanted / unit), rtol=1e-8, atol=1e-9)
    assert law.skewed == (third not in (0, None))


@pytest.mark.parametrize("nu", [3, 5, 10])
def test_the_references_are_students_law(nu):
    z = torch.linspace(-7, 7, 29, dtype=torch.float64)
    np.testing.assert_allclose(student(nu)(z).numpy(), stats.t(nu).cdf(z.numpy()), rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-3, 0.2, 500.0])
def test_a_law_without_a_third_moment_is_skewed_where_its_sides_differ(scale):
    t = student(2)
    slanted = sme.DistributionNoise(lambda z: torch.where(z < 0, 0.8 * t(z / scale), 1.2 * t(1.5 * z / scale) - 0.2))
    assert slanted.moments == pytest.approx(2, abs=0.01)
    assert slanted.skewed
    assert not sme.DistributionNoise(lambda z: student(2)(z / scale)).skewed


def jumps(z):
    """`±½` with probability 0.4 each, uniform on [−1, 1] else."""
    return 0.4 * (z >= -0.5).to(z.dtype) + 0.4 * (z >= 0.5).to(z.dtype) + 0.1 * (z + 1).clamp(0, 2)


class Opaque(torch.autograd.Function):
    """Without a forward derivative."""

    @staticmethod
    def forward(z):
        return torch.special.ndtr(z)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass


@pytest.mark.parametrize(("cdf", "moments"), [(jumps, (0.2 + 0.2 / 3, 0, 0.05 + 0.04)), (Opaque.apply, (1, 0, 3))])
@pytest.mark.parametrize("scale", [1e-3, 200.0])
def test_a_law_without_a_density_has_the_moments_of_its_tails(cdf, moments, scale):
    law = sme.DistributionNoise(lambda z: cdf(z / scale))
    for power, value, ask in zip((2, 3, 4), moments, (law.variance, law.third, law.fourth), strict=True):
        assert float(ask(AT)) / scale**power == pytest.approx(value, rel=1e-8, abs=1e-12)
    assert law.moments == math.inf
    assert not law.skewed


def test_draws_are_quantiles_at_any_scale():
    c = torch.tensor(SCALES, dtype=torch.float64)
    law = sme.DistributionNoise(lambda z: mixture(z / c), len(SCALES))
    z = law.draw(None, 0.1, Draws((1, 4, 2, 7), 0, 2**8, torch.device("cpu")), 2**9)
    noise = law.sample(z, z)
    torch.testing.assert_close(mixture(noise / c), torch.special.ndtr(z), rtol=0, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-4, 3e3])
def test_an_equation_scales_with_its_noise(scale):
    """θ of RMSProp is the same where gradient, noise and ε are multiplied by one number, and v by its square."""

    def system(k):
        noise = sme.DistributionNoise(lambda z: mixture(z / k))
        problem = sme.Problem(lambda t: k * (0.5 * t * t + 0.1 * t**4).sum(), 1, noise)
        return equation(problem, sme.RMSProp(eps=0.2 * k, v_floor=0.0), BALLISTIC, 1 / 8, 2)

    one, other, units = system(1.0), system(scale), torch.tensor([1.0, scale**2], dtype=torch.float64)
    x = torch.tensor([[0.7, 1.3]], dtype=torch.float64)
    dW = torch.tensor([[0.4, -0.9]], dtype=torch.float64)
    torch.testing.assert_close(other.drift(0.0, x * units) / units, one.drift(0.0, x), rtol=1e-8, atol=0)
    torch.testing.assert_close(other.diffuse(0.0, x * units, dW) / units, one.diffuse(0.0, x, dW), rtol=1e-8, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_mean_is_refused_in_units_of_the_law(scale):
    with pytest.raises(sme.SMEError, match="mean 0, got"):
        sme.DistributionNoise(lambda z: torch.special.ndtr(z / scale - 1e-5))
    assert sme.DistributionNoise(lambda z: torch.special.ndtr(z / scale - 1e-9)).moments == math.inf


def test_a_rule_of_nodes_carries_the_law():
    law = sme.DistributionNoise(lambda z: mixture(z / 0.01), 2)
    for z, weights in itertools.islice(law.quadrature(), 1, 3):
        x = law.sample(z, z) / 0.01
        for power, value in enumerate((1, 0, *exact("mixture"))):
            assert (weights @ x**power).tolist() == pytest.approx([value] * 2, abs=1e-10)
    (one,) = (weights @ (x[:, 0] * x[:, 1]).square() for z, weights in itertools.islice(law.quadrature(), 1, 2)
              for x in [law.sample(z, z) / 0.01])
    assert float(one) == pytest.approx(exact("mixture")[0] ** 2, rel=1e-10)


def test_skewed_noise_leaves_order_one_half():
    made = sme.Problem(lambda t: (0.5 * t * t + 0.1 * t**4).sum(), 1, sme.DistributionNoise(mixture))
    assert sme.check_order(made, sme.SGD(), "batch_equivalent", order=1).proved == 0.5
