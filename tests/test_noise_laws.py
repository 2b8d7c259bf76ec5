"""Laws that are not Gaussian: exact moments and signs, draws, and what order is left."""

import pytest
import torch
from scipy import stats
from torch.func import jvp, vmap

import sme
from sme.laws.unit import Student, TwoPoint
from sme.simulate.increments import Draws
from tests import models

CPU = torch.device("cpu")
THETA = models.STATES["theta"].unsqueeze(0)
NU = (0.5, 1, 1.5, 2, 2.5, 3, 4, 5.5, 7, 30.2, 40, 41, 300.5)


def one(law):
    """A problem of one parameter under that law."""
    return sme.Problem(lambda theta: 0.5 * theta[0] ** 2 + 0.3 * torch.sin(theta[0]) + 0.075 * theta[0] ** 4, 1, law)


def two(law):
    """One of two."""
    return sme.Problem(models.bent, 2, law)


@pytest.mark.parametrize("nu", NU)
def test_the_mean_sign_of_student_noise_is_the_t_distribution_and_its_slope_the_density(nu):
    a = torch.linspace(-30, 30, 301, dtype=torch.float64)
    value, slope = jvp(Student(nu).sign_mean, (a,), (torch.ones_like(a),))
    torch.testing.assert_close(value, torch.from_numpy(2 * stats.t.cdf(a.numpy(), nu) - 1), rtol=0, atol=5e-14)
    torch.testing.assert_close(slope, torch.from_numpy(2 * stats.t.pdf(a.numpy(), nu)), rtol=0, atol=2e-13)
    torch.testing.assert_close(vmap(Student(nu).sign_mean)(a), value, rtol=0, atol=1e-15)


@pytest.mark.parametrize("unit", [TwoPoint(), TwoPoint(0.2), Student(9), Student(13.5)], ids=str)
def test_moments_are_those_of_the_rule(unit):
    z, weights = unit.rule(5)
    for power, moment in enumerate((1, 0, unit.second, unit.third, unit.fourth)):
        assert float(weights @ z**power) == pytest.approx(moment, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("nu", [1, 3, 4.5])
def test_student_draws_have_the_t_law(nu):
    law = sme.StudentNoise(nu, 2.0)
    law.check(2)
    z = law.draw(None, 0.1, Draws((0, 4, 2, 7), 0, 2**13, CPU), 2**14)
    assert z.shape == (2**14, 2)
    assert stats.kstest(z[:, 0].numpy(), stats.t(nu).cdf).pvalue > 0.01
    assert stats.kstest(z[:, 1].numpy(), stats.t(nu).cdf).pvalue > 0.01
    again = law.draw(None, 0.1, Draws((0, 4, 2, 7), 0, 2**13, CPU), 2**14)
    torch.testing.assert_close(law.sample(THETA.expand(len(z), -1), again), 2 * z, rtol=0, atol=0)


def scale(theta):
    return 0.4 + 0.1 * torch.sin(theta)


@pytest.mark.parametrize("given", [0.3, torch.tensor([0.3, 0.5]), scale], ids=["number", "vector", "function"])
def test_student_noise_has_the_exact_covariance_of_gradient_and_square(given):
    problem = two(sme.StudentNoise(9.0, given))
    law, g, units = problem.noise, problem.gradient(THETA), torch.eye(2, dtype=torch.float64)
    noise, skew = law.diffuse_square(THETA.expand(2, -1), units)
    second = law.second(THETA.expand(2, -1), units)
    rows = torch.cat((torch.cat((noise, 2 * g * noise + skew), -1), torch.cat((torch.zeros_like(second), second), -1)))
    size = torch.as_tensor(given(THETA[0]) if callable(given) else given, dtype=torch.float64).expand(2)
    z, weights = Student(9.0).rule(5)
    for i in range(2):
        n = size[i] * z
        both = torch.stack((n, (g[0, i] + n) ** 2), -1)
        both = both - weights @ both
        exact = torch.einsum("n,ni,nj->ij", weights, both, both)
        torch.testing.assert_close((rows.T @ rows)[[i, i + 2]][:, [i, i + 2]], exact, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(law.variance(THETA)[0, i], weights @ n**2, rtol=1e-9, atol=0)
    u = torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    if callable(given):
        near = (law.variance(THETA + 1e-6 * u) - law.variance(THETA - 1e-6 * u)) / 2e-6
        torch.testing.assert_close(law.variance_slope(THETA, u), near, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(law.to(CPU).variance(THETA), law.variance(THETA), rtol=0, atol=0)


@pytest.mark.parametrize("nu", [1, 2.5])
def test_signs_have_order_two_under_any_tail(nu):
    assert sme.check_order(one(sme.StudentNoise(nu, scale)), sme.SignSGD()).proved == 2


def test_signs_have_their_orders_with_two_parameters():
    for order in (1, 2):
        assert sme.check_order(two(sme.StudentNoise(1, scale)), sme.SignSGD(), order=order).proved == order


@pytest.mark.parametrize(("optimizer", "regime", "order", "brownian", "nu", "power"), [
    (sme.SGD(), "ballistic", 1, "none", 1.0, 0.0), (sme.SGD(), "ballistic", 1, "none", 1.5, 0.5),
    (sme.SGD(), "ballistic", 2, "independent", 2.5, 1.5), (sme.SGD(), "ballistic", 2, "independent", 3.5, 2.0),
    (sme.SGD(), "batch_equivalent", 1, "independent", 2.5, 0.25), (sme.SGD(), "batch_equivalent", 1, "independent", 7, 1.0),
    (sme.RMSProp(), "ballistic", 1, "none", 2.5, 0.25), (sme.RMSProp(), "ballistic", 2, "independent", 5.5, 1.75),
    (sme.RMSProp(), "ballistic", 2, "independent", 7, 2.0)])
def test_the_tail_sets_the_order(optimizer, regime, order, brownian, nu, power):
    """`min(2, ν − 1)`, for a rule that squares `min(2, ν/2 − 1)`; batch-equivalent `min(1, ν/2 − 1)`."""
    found = sme.check_order(one(sme.StudentNoise(nu, 0.5)), optimizer, regime, order, brownian)
    assert found.rate - 1 == pytest.approx(power, abs=0.05)
    assert found.proved == max(step for step in (0, 0.5, 1, 2) if step <= power)
    assert ("heavy tails" in found.obstacle) == (power < order)


def test_an_equation_says_which_moments_it_misses():
    with pytest.raises(sme.SMEError, match=r"nu = 2 .*no variance.*nu > 2.*SignSGD"):
        sme.check_order(one(sme.StudentNoise(2, 0.5)), sme.SGD())
    with pytest.raises(sme.SMEError, match=r"nu = 4 .*fourth moment.*nu > 4"):
        sme.check_order(one(sme.StudentNoise(4, 0.5)), sme.RMSProp())
    with pytest.raises(sme.SMEError, match=r"step_memory.*Gaussian"):
        sme.check_order(one(sme.StudentNoise(9, 0.5)), sme.SGD(), brownian="step_memory")
    with pytest.raises(sme.SMEError, match="not Gaussian"):
        sme.check_order(one(sme.StudentNoise(9, 0.5)), sme.SGD(), "batch_equivalent", 2)


@pytest.mark.parametrize(("arguments", "said"), [
    ((0, 1.0), "nu must be positive"), (("x", 1.0), "nu must be a number"), ((3, -1.0), "scale must be finite, > 0"),
    ((3, "wide"), "a number, a tensor"), ((3, torch.ones(3)), r"shape \(d,\) = \(2,\), got \(3,\)"),
    ((3, lambda theta: theta.sum()), r"got \(\)"), ((3, lambda theta: theta @ torch.ones(3)), "fails at a float64 theta")])
def test_bad_student_noise_is_refused(arguments, said):
    with pytest.raises(sme.SMEError, match=said):
        two(sme.StudentNoise(*arguments))
