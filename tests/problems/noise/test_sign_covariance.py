"""The covariance of signs of correlated Gaussian noise, against Owen's T and against derivatives of the density."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import ndtr, owens_t
from scipy.stats import multivariate_normal, norm

import sme
from sme.convergence.estimator import paired
from sme.convergence.spec.specification import Specification
from sme.equations.chain import Chain
from sme.equations.order.expectation import chain_expectation
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from sme.problems.noise.wrapped.orthants import NEAR
from sme.problems.noise.wrapped.orthants import covariance as _covariance
from sme.simulate.control_variates import controls
from tests.support import models

PAIRS = [(0.4, -0.3), (1.1, 1.1), (1.1, 1.1 + 1e-7), (-0.9, -0.8), (2.3, 2.4), (0.0, 0.2), (-1.7, 1.7), (0.02, -0.03), (5.0, 4.9),
         (0.0, 0.0), (9.0, -9.0)]
GAPS = [0.5, 0.1, 0.0751, 0.0749, 1e-2, 1e-3, 1e-5, 1e-8, 1e-11, 1e-15]


def both_positive(a, b, w, side):
    """`P(a + X > 0, b + Y > 0)` at the correlation `side √(1 − w²)`, by Owen's T; at `w = 0` by one probability."""
    if side < 0:
        return ndtr(a) - both_positive(a, -b, w, 1)
    if w == 0:
        return ndtr(min(a, b))
    if a == b == 0:
        return 0.5 - math.asin(w) / (2 * math.pi)
    r = math.sqrt((1 - w) * (1 + w))
    gap = w * w / (1 + r)  # 1 − r
    parts = [owens_t(x, ((y - x) + gap * x) / (x * w)) if x else math.copysign(0.25, y) for x, y in ((a, b), (b, a))]
    half = 0.0 if a * b > 0 or (a * b == 0 and a + b >= 0) else 0.5
    return 0.5 * (ndtr(a) + ndtr(b)) - sum(parts) - half


def exact(a, b, w, side):
    return 4 * (both_positive(a, b, w, side) - ndtr(a) * ndtr(b))


def factor(w, side):
    """Unit rows whose correlation is `side √(1 − w²)`."""
    return torch.tensor([[1.0, 0.0], [side * math.sqrt((1 - w) * (1 + w)), w]], dtype=torch.float64)


def covariance(a, b, w, side):
    return float(_covariance(torch.tensor([[a, b]], dtype=torch.float64), factor(w, side)[None])[0, 1, 0])


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_the_covariance_is_right_at_every_correlation(a, b, side):
    for w in [0.0, *(math.sqrt(gap * (2 - gap)) for gap in GAPS)]:
        assert covariance(a, b, w, side) == pytest.approx(exact(a, b, w, side), abs=1e-13), w


def test_the_reference_is_the_bivariate_normal_law():
    for (a, b), r in itertools.product(PAIRS[:6], (-0.97, 0.3, 0.99)):
        both = multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([a, b])
        assert both_positive(a, b, math.sqrt(1 - r * r), math.copysign(1, r)) == pytest.approx(both, abs=1e-7)


@pytest.mark.parametrize("side", [1, -1])
def test_rounding_of_the_rows_does_not_count(side):
    """Rows of three numbers, equal up to sign: their product is 1 up to rounding alone."""
    row = torch.tensor([0.3, -0.7, 1.9], dtype=torch.float64)
    row = row / row.norm()
    a, b = 0.8, 0.5
    found = _covariance(torch.tensor([[a, b]], dtype=torch.float64), torch.stack([row, side * row])[None])[0, 0, 1]
    assert float(found) == pytest.approx(exact(a, b, 0.0, side), abs=1e-15)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("gap", [0.3, 0.08, 0.06, 0.01, 1e-4, 0.0])
@pytest.mark.parametrize(("a", "b"), [(0.4, -0.3), (0.7, 0.7), (1.2, 1.25), (-0.5, 0.55)])
def test_its_derivative_is_that_of_the_conditional_law(a, b, gap, side):
    """`∂_a Cov = 2φ(a) (E[sign(b + Y) | X = −a] − E sign(b + Y))`."""
    w = math.sqrt(gap * (2 - gap))
    if w == 0 and b == side * a:
        pytest.skip("a kink")
    at, along = torch.tensor([[[a, b]], [[1.0, 0.0]]], dtype=torch.float64)
    _, found = torch.func.jvp(lambda x: _covariance(x, factor(w, side)[None]), (at,), (along,))
    mean = b - side * math.sqrt(1 - w * w) * a
    given = 2 * ndtr(mean / w) - 1 if w else np.sign(mean)
    assert float(found[0, 0, 1]) == pytest.approx(2 * norm.pdf(a) * (given - (2 * ndtr(b) - 1)), abs=1e-11)


def correlated(w):
    """Gaussian noise of standard deviations ½ and 0.8 whose correlation is `√(1 − w²)`."""
    return sme.Problem(models.bent, 2, sme.GaussianNoise(torch.tensor([[0.5], [0.8]], dtype=torch.float64) * factor(w, 1)))


@pytest.mark.parametrize("w", [0.4, 0.03, 1e-4])
def test_one_step_has_the_probabilities_of_owens_t(w):
    """So that the moment test, which takes them from the package, is not checked by itself."""
    made, tau = correlated(w), 0.25
    theta = models.STATES["theta"]
    g = made.gradient(theta[None])[0] / made.noise.variance(theta[None])[0].sqrt()
    a, b = g.tolist()
    up = both_positive(a, b, w, 1)
    chance = {(1, 1): up, (1, -1): ndtr(a) - up, (-1, 1): ndtr(b) - up, (-1, -1): 1 - ndtr(a) - ndtr(b) + up}
    wanted = sum(p * models.smooth(theta - tau * torch.tensor(signs, dtype=torch.float64)) for signs, p in chance.items())
    found = chain_expectation(Chain(made, sme.SignSGD(), BALLISTIC, tau), theta, models.smooth, 0.0)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("w", [0.2, 1e-3, 0.0])
def test_the_equation_has_this_covariance(w):
    made, theta = correlated(w), torch.tensor([[0.3, -0.4], [1.0, 0.2]], dtype=torch.float64)
    made_of = equation(made, sme.SignSGD(), BALLISTIC, 1.0, 2)
    columns = [made_of.diffuse(0.0, theta, e.expand(2, -1)) for e in torch.eye(made_of.motions, dtype=torch.float64)]
    total = sum(c[:, 0] * c[:, 1] for c in columns)
    scale = made.noise.variance(theta).sqrt()
    for (a, b), found in zip((made.gradient(theta) / scale).tolist(), total.tolist(), strict=True):
        assert found == pytest.approx(exact(a, b, w, 1), abs=1e-12)


@pytest.mark.parametrize(("w", "parts"), [(0.5, ()), (0.2, ("signs",))])
def test_a_name_says_where_the_end_is_used(w, parts):
    spec = Specification.of(correlated(w), sme.SignSGD(), "ballistic", None, 1.0, {"theta": torch.ones(2)}, None, None)
    assert spec.parts == ("core", *parts)
    assert 1 - 0.3**2 > NEAR**2 > 1 - 0.5**2


def test_compiled_code_has_this_covariance(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.setattr(controls, "LONGEST", 0)
    made = sme.Problem(lambda t: (0.5 * t * t + 0.1 * t**4).sum(), 2, correlated(0.01).noise)
    start = {"theta": torch.tensor([0.4, -0.2])}
    one, other = (sme.weak_error(made, sme.SignSGD(), order=1, tau=[1 / 4, 1 / 8], start=start, horizon=0.5, paths=1, processes=1,
                                 backend=backend).errors for backend in ("compiled", "torchsde"))
    np.testing.assert_allclose(one["error"], other["error"], rtol=1e-9, atol=1e-12)
