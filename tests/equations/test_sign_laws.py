"""SignSGD under any law that is given by its distribution function, and the phases of its equation."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import erf, zeta

import sme
from sme.common.random.increments import Draws
from sme.convergence.estimator import paired
from sme.equations.chain import Chain
from sme.equations.closed.signs import IndependentSignSGD
from sme.equations.order.expectation import chain_expectation
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from sme.problems.renoised import Renoised
from sme.simulate.control_variates import controls
from sme.studies.stationary import sign_phases
from tests.support import models

SCALE = torch.tensor([0.6, 0.9], dtype=torch.float64)
THETA = models.STATES["theta"]


def student(z):
    """Student's t with three degrees of freedom, scaled."""
    y = z / SCALE / math.sqrt(3)
    return 0.5 + (y / (1 + y * y) + torch.atan(y)) / math.pi


def cauchy(z):
    return 0.5 + torch.atan(z / 0.5) / math.pi


def gumbel(z):
    """Skewed, with mean 0."""
    return torch.exp(-torch.exp(-(z + float(np.euler_gamma))))


def normal(z):
    return torch.special.ndtr(z / SCALE)


def problem(law, dim=2):
    return sme.Problem(models.bent, 2, law) if dim == 2 else Renoised(sme.Polynomial(), law)


@pytest.mark.parametrize(("cdf", "dim"), [(student, 2), (gumbel, 1), (cauchy, 1)])
def test_signs_have_order_two_by_their_probability_alone(cdf, dim):
    made = problem(sme.DistributionNoise(cdf, dim), dim)
    states = {"theta": THETA[:dim]}
    assert sme.check_order(made, sme.SignSGD(), states=states).proved == 2
    if dim == 1:
        assert sme.check_order(made, sme.SignSGD(), order=1, states=states).proved == 1


def test_signs_have_order_two_under_a_named_heavy_law():
    assert sme.check_order(problem(sme.StudentNoise(3, 0.5), 1), sme.SignSGD(), states={"theta": THETA[:1]}).proved == 2


class Uncorrected(IndependentSignSGD):
    """With the correction of the drift turned round."""

    def drift(self, t, x):
        leading = -self.law.sign_mean(x, self.problem.gradient(x))
        return leading if self.order == 1 else 2 * leading - super().drift(t, x)


class Loud(IndependentSignSGD):
    """With the noise of the second moment, not of the variance."""

    def diffuse(self, t, x, dW):
        return -self.tau**0.5 * dW


@pytest.mark.parametrize("wrong", [Uncorrected, Loud])
def test_a_wrong_equation_of_signs_is_found_out(wrong):
    assert sme.check_order(problem(sme.DistributionNoise(gumbel), 1), sme.SignSGD(), states={"theta": THETA[:1]}, kind=wrong
                           ).proved == 1


def test_the_moment_test_takes_the_probabilities_of_the_law():
    made = problem(sme.DistributionNoise(gumbel, 2))
    chain, tau = Chain(made, sme.SignSGD(), BALLISTIC, 0.5), 0.5
    below = gumbel(-made.gradient(THETA[None])[0])
    wanted = sum(float(torch.where(torch.tensor(signs) < 0, below, 1 - below).prod())
                 * models.smooth(THETA - tau * torch.tensor(signs, dtype=torch.float64))
                 for signs in itertools.product((-1, 1), repeat=2))
    torch.testing.assert_close(chain_expectation(chain, THETA, models.smooth, 0.0), wanted, rtol=1e-12, atol=1e-14)


def test_the_equation_is_that_of_the_named_laws():
    x = torch.stack((THETA, -2 * THETA))
    one, other = (equation(problem(law), sme.SignSGD(), BALLISTIC, 1 / 8, 2)
                  for law in (sme.DistributionNoise(student, 2), sme.StudentNoise(3, SCALE)))
    gauss, known = (equation(problem(law), sme.SignSGD(), BALLISTIC, 1 / 8, 2)
                    for law in (sme.DistributionNoise(normal, 2), sme.DiagonalNoise(SCALE)))
    torch.testing.assert_close(one.drift(0.0, x), other.drift(0.0, x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gauss.drift(0.0, x), known.drift(0.0, x), rtol=1e-12, atol=1e-14)
    dW = torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(one.diffuse(0.0, x, dW), other.diffuse(0.0, x, dW), rtol=1e-12, atol=1e-14)
    described = one.describe({"theta": THETA}).terms.set_index("term")["size"]
    p = one.law.sign_mean(x, one.problem.gradient(x))[0]
    assert described["leading drift"] == pytest.approx(float(p.norm()))
    assert described["noise of the first motion"] == pytest.approx(float((1 - p * p).sum() / 8) ** 0.5)
    assert set(one.describe({"theta": THETA}).latex) == set(IndependentSignSGD.latex)


def test_moments_are_those_of_the_tails():
    law, far = sme.DistributionNoise(gumbel, 2), THETA[None]
    exact = [math.pi**2 / 6, 2 * float(zeta(3)), 3 * (math.pi**2 / 6) ** 2 + math.pi**4 / 15]
    for moment, value in zip((law.variance, law.third, law.fourth), exact, strict=True):
        assert moment(far)[0].tolist() == pytest.approx([value] * 2, rel=1e-7)
    assert law.skewed
    assert not sme.DistributionNoise(normal, 2).skewed
    g, units = torch.tensor([[0.3, -0.2]], dtype=torch.float64).expand(2, -1), torch.eye(2, dtype=torch.float64)
    noise, skew = law.diffuse_square(far.expand(2, -1), units)
    square = 2 * g * noise + skew
    assert ((square**2).sum(0) + (law.second(far.expand(2, -1), units) ** 2).sum(0)).tolist() == pytest.approx(
        law.square_variance(far, g[:1])[0].tolist(), rel=1e-12)
    heavy = sme.DistributionNoise(student, 2)
    assert law.moments == math.inf > heavy.moments
    torch.testing.assert_close(heavy.variance(far)[0], 3 * SCALE**2, rtol=1e-6, atol=0)
    with pytest.raises(sme.SMEError, match=r"E z\^4 .*does not exist"):
        heavy.fourth(far)
    with pytest.raises(sme.SMEError, match=r"E z\^2 .*does not exist.*signSGD needs none"):
        sme.stationary(problem(sme.DistributionNoise(cauchy), 1), sme.SGD(), 0.1)


def test_a_rule_that_squares_gets_order_two_too():
    assert sme.check_order(problem(sme.DistributionNoise(lambda z: torch.special.ndtr(z / 0.5)), 1), sme.RMSProp()).proved == 2


def test_draws_have_the_distribution():
    law = sme.DistributionNoise(cauchy, 2)
    z = law.draw(None, 0.1, Draws((0, 4, 2, 7), 0, 2**12, torch.device("cpu")), 2**13)
    noise = law.sample(z, z)
    torch.testing.assert_close(cauchy(noise), torch.special.ndtr(z), rtol=0, atol=1e-12)
    assert stats.kstest(noise[:, 1].numpy(), stats.cauchy(scale=0.5).cdf).pvalue > 0.01


def test_a_run_without_a_variance_goes_its_way(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.setattr(controls, "LONGEST", 0)
    made = Renoised(sme.Polynomial(), sme.DistributionNoise(cauchy))
    study = sme.weak_error(made, sme.SignSGD(), order=1, tau=[1 / 4, 1 / 8], start={"theta": torch.ones(1)}, horizon=0.25,
                           paths=1, processes=1, backend="torchsde")
    assert study.errors["error"].notna().all()
    assert (study.errors["diverged"] == 0).all()


@pytest.mark.parametrize(("arguments", "said"), [
    ((0.5,), "cdf must be a function"), ((lambda z: z @ torch.ones(3),), "cdf fails"), ((lambda z: z.sum(),), "of the shape"),
    ((torch.tanh,), "from 0 to 1"), ((lambda z: torch.special.ndtr(z - 0.3),), "mean 0, got"), ((normal, 0), "dim"),
    ((lambda z: torch.special.ndtr(-z),), "from 0 to 1"), ((torch.special.ndtr, 3), r"dim=2")])
def test_bad_distributions_are_refused(arguments, said):
    with pytest.raises(sme.SMEError, match=said):
        problem(sme.DistributionNoise(*arguments))


def test_minibatches_of_signs_are_still_refused():
    with pytest.raises(sme.SMEError, match=r"sign.*sme.GaussianNoise"):
        sme.check_order(models.minibatch(2), sme.SignSGD())


def test_the_chord_and_its_parallel_tangent_hold_erf_between_them():
    assert pytest.approx(0.24681, abs=5e-6) == sign_phases.SLOPE
    y = np.linspace(sign_phases.NOISY, sign_phases.CLEAR, 2001)[1:]
    low, high = sign_phases.simplified(y)
    assert (-high >= erf(y) - 1e-15).all()
    assert (erf(y) >= -low - 1e-15).all()
    assert np.min(-high - erf(y)) < 1e-6  # it touches, and the chord meets at both ends
    assert abs(erf(y[-1]) + low[-1]) < 1e-12


def test_outside_the_second_phase_there_is_one_drift():
    y = np.array([-3.0, -0.2, 0.0, 0.2, 0.9, 2.0])
    low, high = sign_phases.simplified(y)
    assert low.tolist() == high.tolist() == pytest.approx([1, 0.4 / math.sqrt(math.pi), 0, -0.4 / math.sqrt(math.pi),
                                                          -1.8 / math.sqrt(math.pi), -1])


def test_the_phase_is_that_of_the_gradient_over_its_noise():
    made = sme.Problem(lambda theta: 0.5 * (theta**2).sum(), 2, sme.DiagonalNoise(torch.tensor([1.0, 2.0])))
    theta = math.sqrt(2) * torch.tensor([[1.6, 1.6], [1.2, 0.1], [-0.9, -3.1]], dtype=torch.float64)
    assert sign_phases.phases(made, theta).tolist() == [[1, 3], [2, 3], [3, 1]]
    torch.testing.assert_close(sign_phases.standard(made, theta)[0], torch.tensor([1.6, 0.8], dtype=torch.float64))
    with pytest.raises(sme.SMEError, match="Gaussian"):
        sign_phases.phases(problem(sme.StudentNoise(3, 0.5)), theta)


def test_the_errors_of_the_phases_are_the_largest_there_are():
    table = sign_phases.table().set_index("phase")["error of the drift"]
    for phase, (a, b) in {1: (1.5, 6.0), 2: (1.0, 1.5), 3: (0.0, 1.0)}.items():
        y = np.linspace(a, b, 4001)[1:]
        off = [np.abs(-erf(y) - each).max() for each in sign_phases.simplified(y)]
        assert max(off) == pytest.approx(table[phase], rel=5e-3)
