"""Laws that are not Gaussian: exact moments and signs, draws, and what order is left."""

import json

import pytest
import torch
from scipy import stats
from torch.func import jvp, vmap

import sme
from sme.common.identity import recipe
from sme.common.random.increments import Draws
from sme.optimizers.regimes import REGIMES
from sme.problems.noise.base import NAMED, Named
from sme.problems.noise.independent.unit import Normal, Student, TwoPoint
from sme.studies.orders import by_law
from tests.support import models
from tests.support.few import few

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


@pytest.mark.parametrize("unit", [TwoPoint(), TwoPoint(0.2), Student(9), Student(13.5), Normal()],
                         ids=["symmetric", "skewed", "t 9", "t 13.5", "normal"])
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


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_two_point_draws_have_their_probability(p):
    law = sme.TwoPointNoise(models.FACTOR, p)
    law.check(2)
    z = law.draw(None, 0.1, Draws((0, 4, 2, 7), 0, 2**13, CPU), 2**14)
    high, low = law.unit.values
    assert set(z.unique().tolist()) == {low, high}
    assert float((z == high).double().mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / z.numel()) ** 0.5)


def scale(theta):
    return 0.4 + 0.1 * torch.sin(theta)


def test_affine_noise_has_the_variance_that_it_says_and_is_paired_if_gaussian():
    problem = two(sme.AffineNoise(0.2, 0.3))
    torch.testing.assert_close(problem.noise.variance(THETA), 0.2 + 0.3 * problem.gradient(THETA) ** 2, rtol=1e-14, atol=0)
    dW = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    torch.testing.assert_close(problem.noise.draw(dW, 0.25, None, 1), 2 * dW, rtol=0, atol=0)
    assert [two(sme.AffineNoise(0.2, 0.3, law)).noise.paired for law in ("gaussian", "skewed", "student")] == [True, False, False]
    with pytest.raises(sme.SMEError, match=r"give it to sme\.Problem"):
        sme.AffineNoise(0.2, 0.3).variance(THETA)


@pytest.mark.parametrize(("problem", "regime", "order", "brownian", "proved"), [
    (two(sme.TwoPointNoise(models.varying, 0.2)), "ballistic", 2, "independent", 2),
    pytest.param(one(sme.AffineNoise(0.2, 0.3)), "ballistic", 2, "independent", 2, marks=pytest.mark.slow),
    (one(sme.AffineNoise(0.2, 0.3, "skewed")), "ballistic", 2, "independent", 2),
    (one(sme.AffineNoise(0.2, 0.3, "skewed")), "batch_equivalent", 1, "independent", 0.5),
    (two(sme.TwoPointNoise(models.FACTOR)), "batch_equivalent", 1, "independent", 1)])
def test_the_orders_of_rmsprop(problem, regime, order, brownian, proved):
    assert sme.check_order(problem, sme.RMSProp(), regime, order, brownian).proved == proved


@pytest.mark.slow
def test_affine_noise_has_order_two_with_step_memory():
    assert sme.check_order(one(sme.AffineNoise(0.2, 0.3)), sme.SGD(), "batch_equivalent", 2, "step_memory").proved == 2


def test_affine_noise_has_no_order_two_with_independent_motions():
    with pytest.raises(sme.SMEError, match="leading noise depends"):
        sme.check_order(one(sme.AffineNoise(0.2, 0.3)), sme.SGD(), "batch_equivalent", 2)


@pytest.mark.parametrize("law", few([lambda: models.minibatch(1, 3).noise, lambda: sme.TwoPointNoise(models.FACTOR, 0.3)], 1))
def test_noise_of_two_draws_has_its_order(law):
    problem = sme.Problem(models.minibatch(1, 3)._loss, 2, sme.SVAGNoise(law(), 3, "sgd"))
    assert sme.check_order(problem, sme.SGD()).proved == 2


def test_the_sign_of_two_points_jumps():
    with pytest.raises(sme.SMEError, match="jumps"):
        sme.check_order(two(sme.TwoPointNoise(models.FACTOR)), sme.SignSGD())


@pytest.mark.parametrize(("optimizer", "noise"), [
    (0, "affine skewed"), (1, "Rademacher"), (2, "affine skewed"), (2, "Student"), (3, "skewed")])
def test_one_step_leaves_the_moments_of_the_formulas(optimizer, noise):
    found = by_law.leftovers(by_law.OPTIMIZERS[optimizer], noise)
    assert found["from the step"].to_numpy() == pytest.approx(found["value"].to_numpy(), rel=1e-5, abs=by_law.SMALL)
    assert found["value"].abs().max() > 0.01


@pytest.mark.parametrize("noise", ["skewed", "affine Student"])
def test_the_sizes_of_the_symbols_are_those_of_the_moments(noise):
    """`T₃ = ½ E θθv ∂θ∂θ∂v + …/3!`: a norm over all index triples of the symmetric symbol."""
    optimizer, where = by_law.OPTIMIZERS[2], by_law.problem(noise)
    state = torch.tensor([by_law.STATE[name] for name in optimizer.fields], dtype=torch.float64)
    sizes = by_law.Obstruction(where, optimizer, REGIMES["batch_equivalent"]).sizes(state, 0.0)
    value = by_law.leftovers(optimizer, noise).set_index(["moment", "power of τ"])["value"]
    square = (value["theta theta theta", 2.0] / 6) ** 2 + 3 * (value["theta theta v", 2.0] / 6) ** 2
    assert sizes["T₃"] == pytest.approx(square**0.5, rel=1e-9)
    assert sizes["T₄"] == pytest.approx(abs(value["theta theta theta theta", 2.0]) / 24, rel=1e-9)
    assert sizes["skewness"] == pytest.approx(abs(value["theta theta theta", 1.5]) / 6, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("nu", [1, pytest.param(2.5, marks=pytest.mark.slow)])
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
    assert ("heavy tails" in (found.obstacle or "")) == (power < order)


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


@pytest.mark.parametrize(("given", "said"), [
    ({"nu": 3}, "nu = 3 is a setting of law='student', and the law is 'gaussian'"),
    ({"law": "student", "growth": 1.0}, "setting of law='affine'"), ({"law": "rademacher", "p": 0.3}, "setting of law='skewed'")])
def test_a_setting_of_another_law_is_refused(given, said):
    for problem in (sme.Quadratic, sme.Polynomial):
        with pytest.raises(sme.SMEError, match=said):
            problem(**given)


def test_a_setting_that_no_problem_names_goes_to_its_law_and_into_the_recipe(monkeypatch):
    monkeypatch.setitem(NAMED, "wide", Named(lambda factor, noise, width: sme.GaussianNoise(width * factor), "width", 2.0))
    for problem in (sme.Quadratic, sme.Polynomial):
        made = problem(law="wide", width=3)
        again = recipe.make(json.loads(json.dumps(recipe.of(made))), sme.Problem)
        assert made.describe() == again.describe() == {**problem().describe(), "law": "wide", "width": 3.0}
        point = torch.zeros(1, made.dim, dtype=torch.float64)
        torch.testing.assert_close(again.noise.variance(point), 9 * problem().noise.variance(point))
    with pytest.raises(sme.SMEError, match=r"unknown setting of the noise 'widht'.*did you mean 'width'"):
        sme.Quadratic(law="wide", widht=3)


def test_a_named_law_has_its_default():
    for law, setting in (("student", {"nu": 5.0}), ("skewed", {"p": 0.2}), ("affine", {"growth": 1.0})):
        assert sme.Polynomial(law=law).describe() == sme.Polynomial(law=law, **setting).describe()
        assert setting.items() <= sme.Polynomial(law=law).describe().items()
