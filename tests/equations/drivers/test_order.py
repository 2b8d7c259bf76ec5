"""The orders of the drivers by the one-step test: ½, 1, 3/2 and 2, as the page of the theory has them."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

import sme
from sme.equations.derived.batch_equivalent import DerivedBatchEquivalent
from sme.equations.registry import equation
from sme.optimizers.regimes import BATCH_EQUIVALENT
from sme.problems.base import Problem
from tests.support import models

SLOW = pytest.mark.slow
RULES = {"sgd": sme.SGD(), "momentum": sme.Momentum(c=0.8), "rmsprop": sme.RMSProp(c=0.7, denominator="previous"),
         "rmsprop-updated": sme.RMSProp(c=0.7, denominator="updated"), "adam": sme.Adam(c1=0.9, c2=0.6)}
VALUES = {3: (1.1, -0.3, -0.8), 10: (4.0, -3.0, -1.0, 0.2, 0.1, -0.4, 0.6, -0.1, -0.9, 0.5)}


def loss(theta):
    return 0.5 * theta[0] ** 2 + 0.08 * theta[0] ** 4


def skewed(n, batch_size, sampling="with_replacement", scale=0.5):
    values = torch.tensor(VALUES[n], dtype=torch.float64)
    values = values - values.mean()

    def example(theta, x):
        return loss(theta) + scale * x * torch.sin(theta[0] + 0.4)

    return Problem(loss, 1, sme.MinibatchNoise(example, (values,), batch_size, sampling=sampling))


@pytest.mark.parametrize(("name", "n", "size", "sampling"), [
    pytest.param("rmsprop", 3, 1, "without_replacement", marks=SLOW),
    ("rmsprop-updated", 3, 1, "with_replacement"),  # whose δ₃ has a cubic part, and so a mean
    ("sgd", 3, 2, "without_replacement"),
    *(pytest.param(name, 3, size, "with_replacement", marks=SLOW) for name in RULES for size in (1, 2)
      if (name, size) != ("rmsprop-updated", 1)),
    *(pytest.param(name, 10, 4, "without_replacement", marks=SLOW) for name in ("sgd", "rmsprop")),
])
def test_the_poissonised_minibatch_has_order_one_for_skewed_examples(name, n, size, sampling):
    found = sme.check_order(skewed(n, size, sampling), RULES[name], "batch_equivalent", 1, driver="poisson")
    assert found.proved == 1
    assert found.decided
    assert "no Markov process" in found.obstacle if name != "sgd" and name != "momentum" else "random" in found.obstacle


@pytest.mark.parametrize("name", [pytest.param("sgd", marks=SLOW), "rmsprop", pytest.param("adam", marks=SLOW)])
def test_independent_motions_have_order_one_half_there(name):
    assert sme.check_order(skewed(3, 1), RULES[name], "batch_equivalent", 1, driver="independent").proved == 0.5


@pytest.mark.parametrize(("name", "problem"), [
    ("adam", models.line()),
    *(pytest.param(name, models.line(), marks=SLOW) for name in RULES),
    *(pytest.param(name, models.gaussian(True), marks=SLOW) for name in RULES),
])
def test_fast_memory_has_order_two_for_gaussian_noise(name, problem):
    found = sme.check_order(problem, RULES[name], "batch_equivalent", 2, driver="fast_memory")
    assert found.proved == 2
    assert found.obstacle is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_fast_memory_has_order_two_in_the_ballistic_regime(name):
    assert sme.check_order(models.line(), RULES[name], "ballistic", 2, driver="fast_memory").proved == 2


SIGMA, DRAWN = 0.5, np.array([4.0, -3.0, -1.0, 0, 0, 0, 0, 0, 0, 0]) / 2.6**0.5
"""of the noise, and a batch of one in units of it"""


def atoms(third, fourth, first=2.0):
    """Sizes and rates of two kinds of jumps without a mean and with these cumulants: `r₁J₁ = −r₂J₂ = a`."""
    other = brentq(lambda q: third * (first**3 + q**3) - fourth * (first**2 - q**2), 0, first)
    a = third / (first**2 - other**2)
    return np.array([first, -other]), np.array([a / first, a / other])


class Levy(DerivedBatchEquivalent):
    """Fast memory of a Brownian motion and two kinds of jumps, which together have a batch's cumulants."""

    fourth = float((DRAWN**4).mean()) - 3

    def __init__(self, problem, optimizer, tau, order, brownian):
        super().__init__(Problem(loss, 1, sme.GaussianNoise([[SIGMA]])), optimizer, tau, 2, "fast_memory")
        sizes, rates = atoms(float((DRAWN**3).mean()), self.fourth)
        self.first, self.jumps = 3, torch.tensor([0.0, *rates], dtype=torch.float64)
        self.covered = float(rates @ sizes**2)
        self.factors = torch.tensor([(1 - self.covered) ** 0.5, *tau**0.5 * sizes], dtype=torch.float64)

    def drift(self, t, x):
        square = torch.full_like(x[:, :1], SIGMA**2 * self.covered)
        return super().drift(t, x) - self.expansion.push(t, x, 0 * square, square)

    def diffuse(self, t, x, dW):
        dN, jumped = dW @ self.factors[:, None], SIGMA**2 * dW[:, 1:] @ self.factors[1:, None] ** 2
        leading = self.leading_noise(t, x, dN)
        linear = leading + self.tau * self._noise_correction(t, x, dN, leading)
        return linear + self.expansion.push(t, x, 0 * jumped, jumped)

    def recall(self, t, x, past, dW):
        return super().recall(t, x, past, dW @ self.factors[:, None] if dW.shape[1] == 3 else dW)

    def kept(self, t, x, dW):
        return SIGMA * dW @ self.factors[:, None]


class LevyOfAnotherFourth(Levy):
    fourth = Levy.fourth + 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least", "most"), [(Levy, 1.3, 1.7), (LevyOfAnotherFourth, 0.8, 1.2)])
def test_a_memory_of_a_levy_process_has_order_three_halves(kind, least, most):
    values = torch.tensor(SIGMA * DRAWN)
    problem = Problem(loss, 1, sme.MinibatchNoise(lambda theta, x: loss(theta) + x * theta[0], (values,), 1))
    state = {"theta": torch.tensor([0.6]), "v": torch.tensor([0.4])}
    found = sme.check_order(problem, RULES["rmsprop"], "batch_equivalent", 2, kind=kind, states=state, tau=(2.0**-8, 2.0**-9))
    assert least < found.rate - 1 < most
    assert found.proved <= 1.5


def test_the_jumps_of_a_step_are_those_of_its_batches():
    """Second and third moments of the draws in a step are a batch's own, by the sum over all batches."""
    import itertools

    for sampling, size in (("with_replacement", 2), ("without_replacement", 1), ("without_replacement", 3)):
        problem = skewed(10, size, sampling)
        eq = equation(problem, RULES["sgd"], BATCH_EQUIVALENT, 1.0, 1, "poisson")
        x = torch.tensor([[0.3]], dtype=torch.float64)
        jumps = eq.diffuse(0.0, x.expand(10, -1), torch.eye(10, dtype=torch.float64)).numpy()[:, 0]
        values = np.array(VALUES[10])
        noise = 0.5 * (values - values.mean()) * np.cos(0.7)
        draws = (itertools.product(noise, repeat=size) if sampling == "with_replacement" else itertools.combinations(noise, size))
        means = np.array([np.mean(batch) for batch in draws])
        for power in (1, 2, 3):
            wanted = np.mean((-means) ** power)
            assert abs(eq.each * (jumps**power).sum() - wanted) < 1e-12


def test_what_a_driver_does_not_have_is_said():
    gaussian = models.line()
    for problem, regime, order, driver, said in (
            (skewed(3, 1), "ballistic", 1, "poisson", "batch-equivalent regime"),
            (skewed(3, 1), "batch_equivalent", 2, "poisson", "no Markov process"),
            (gaussian, "batch_equivalent", 1, "poisson", "MinibatchNoise"),
            (skewed(3, 1), "batch_equivalent", 1, "fast_memory", "Gaussian"),
            (skewed(10, 5, "without_replacement"), "batch_equivalent", 1, "poisson", "third moments"),
            (skewed(3, 1), "batch_equivalent", 1, "arrivals", "reshuffled")):
        with pytest.raises(sme.SMEError, match=said):
            sme.check_order(problem, RULES["rmsprop"], regime, order, driver=driver)
    with pytest.raises(sme.SMEError, match="older name"):
        sme.check_order(gaussian, RULES["sgd"], driver="step_memory", brownian="none")


def test_driver_and_brownian_are_one_setting():
    from sme.convergence.api import parts

    asked = {"regime": "ballistic", "model": "sme", "horizon": 1.0, "start": {"theta": torch.tensor([0.5])}, "observables": None,
             "times": None, "order": 1}
    one, other = (parts(models.line(), sme.SGD(), **asked, **given)[0] for given in ({"driver": "none"}, {"brownian": "none"}))
    assert one.name == other.name
    assert "-none-" in one.name


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "order", "driver"), [(skewed(3, 2), 1, "poisson"), (models.line(), 2, "fast_memory")])
def test_compiled_code_takes_the_same_steps(problem, order, driver):
    from sme.convergence.spec.specification import Specification
    from sme.simulate.backend import compiled_setups

    start = {"theta": torch.tensor([0.5]), "v": torch.tensor([0.6])}
    spec = Specification.of(problem, RULES["rmsprop"], "batch_equivalent", driver, 1.0, start, ["|theta|^2"], None)
    with torch.no_grad():
        found = compiled_setups({(order, 8): spec.setup(order, 8)}, True)  # which raises unless they agree to 1e-9
    assert found[order, 8].source
