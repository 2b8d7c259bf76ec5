"""`check_order` proves what holds, sees what does not, and finds the obstruction."""

from dataclasses import dataclass

import pytest
import torch

import sme
from sme.equations.order.obstruction import Obstruction
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from sme.problems.noise.quadrature import sparse
from tests.support import models
from tests.support.paper_rules import WithMomentum
from tests.support.third_moments import obstruction

GAUSSIAN = {"constant": models.gaussian(False), "varying": models.gaussian(True)}
NOISE = {**GAUSSIAN, "batch-of-2": models.minibatch(2)}
RULES = {
    "momentum": sme.Momentum(c=0.8), "nesterov": sme.Nesterov(c=0.8), "adagrad": sme.AdaGrad(eps=0.1),
    "adagrad-updated": sme.AdaGrad(eps=0.1, denominator="updated"), "rmspropw": sme.RMSPropW(c=0.7, decay=0.3),
    "adamw-updated": sme.AdamW(c1=0.9, c2=0.6, decay=0.3, denominator="updated"), "adabayes": sme.AdaBayes(prior=0.4),
    "rmsprop-inside": sme.RMSProp(eps_mode="inside"), "adam-average": sme.Adam(eps_mode="average"),
}
FIRST = {
    "sgd": sme.SGD(), "rmsprop": sme.RMSProp(c=0.7), "rmsprop-updated": sme.RMSProp(c=0.7, denominator="updated"),
    "adam": sme.Adam(c1=0.9), "adam-updated": sme.Adam(c1=0.9, denominator="updated"),
}
EACH = ("nesterov", "adagrad-updated")
"""with momentum, and with a denominator; the slow tests take every field, form of ε and decay"""
SLOW = pytest.mark.slow
OBSTRUCTED = [("rmsprop", "constant"), *(pytest.param(name, "varying", marks=SLOW) for name in ("adam", "adabayes")),
              *(pytest.param(name, "constant", marks=SLOW) for name in ("rmsprop-updated", "adam", "adagrad"))]
STATE = dict(models.STATES)


def check(optimizer, problem, *args, **kwargs):
    return sme.check_order(problem, optimizer, *args, states={name: STATE[name] for name in optimizer.fields}, **kwargs)


@pytest.mark.parametrize(("name", "noise"), [
    *((name, "varying") for name in EACH), ("nesterov", "batch-of-2"),
    *(pytest.param(name, "varying", marks=SLOW) for name in RULES if name not in EACH),
    *(pytest.param(name, noise, marks=SLOW) for name in RULES for noise in ("constant", "batch-of-2")
      if (name, noise) != ("nesterov", "batch-of-2")),
])
def test_ballistic_equations_of_every_rule_have_order_two(name, noise):
    found = check(RULES[name], NOISE[noise])
    assert found.proved == 2
    assert 2.6 < found.rate < 3.4
    assert found.obstacle is None


@pytest.mark.parametrize(("name", "noise"), [
    ("rmsprop", "constant"), pytest.param("adam-updated", "varying", marks=SLOW),
    *(pytest.param(name, "varying", marks=SLOW) for name in (*FIRST, "momentum", "adabayes", "adagrad-updated")
      if name != "adam-updated"),
    *(pytest.param(name, "constant", marks=SLOW) for name in (*FIRST, *RULES) if name != "rmsprop"),
])
def test_step_memory_has_order_two_in_the_batch_equivalent_regime(name, noise):
    assert check({**FIRST, **RULES}[name], GAUSSIAN[noise], "batch_equivalent", 2, "step_memory").proved == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_step_memory_follows_noise_that_depends_on_the_state(name):
    assert sme.check_order(models.line(), FIRST[name], "batch_equivalent", 2, "step_memory").proved == 2


@pytest.mark.parametrize("name", [pytest.param("rmsprop", marks=SLOW), pytest.param("rmsprop-updated", marks=SLOW), "adam"])
def test_step_memory_has_order_two_in_the_ballistic_regime(name):
    assert check(FIRST[name], GAUSSIAN["varying"], "ballistic", 2, "step_memory").proved == 2


@pytest.mark.parametrize(("name", "noise"), OBSTRUCTED)
def test_the_obstruction_is_all_that_keeps_independent_motions_from_order_two(name, noise):
    found = check({**FIRST, **RULES}[name], GAUSSIAN[noise], "batch_equivalent", functions=cubic, tau=(2.0**-11, 2.0**-12))
    assert (found.proved, found.without_obstruction) == (1, 2)
    assert "T₃" in found.obstacle
    coarse, fine = (found.residuals[found.residuals["tau"] == tau].reset_index() for tau in (2.0**-11, 2.0**-12))
    limit = 2 * fine["residual"] / 2.0**-24 - coarse["residual"] / 2.0**-22
    assert (limit - fine["t3"]).abs().max() < 1e-6
    assert fine["t3"].abs().max() > 1e-3


def cubic(x):
    """A cubic polynomial that mixes every field."""
    n = len(x)
    powers = torch.sin(torch.arange(1.0, 3 * n + 1, dtype=x.dtype)).reshape(3, n) @ x
    return torch.stack([powers[0] * powers[1] * powers[2], powers[0] ** 2 * powers[2]])


def test_the_obstruction_agrees_with_its_explicit_form():
    for optimizer in (sme.RMSProp(c=0.7), sme.Adam(c1=0.9, c2=0.6)):
        problem, x = GAUSSIAN["constant"], models.state(optimizer)
        closed = equation(problem, optimizer, regime("batch_equivalent"), 0.1, 2, "independent")
        found = Obstruction(problem, optimizer, regime("batch_equivalent")).third(x, models.smooth, 0.0)
        torch.testing.assert_close(found, obstruction(problem, closed, x, models.smooth), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_momentum_and_sgd_have_no_obstruction():
    for optimizer, noise in ((sme.SGD(), "constant"), (sme.Momentum(), "varying")):
        found = check(optimizer, GAUSSIAN[noise], "batch_equivalent")
        assert found.proved == 2
        assert found.sizes["T₃"] < 1e-12


def test_skewed_noise_leaves_half_an_order_in_the_batch_equivalent_regime():
    assert sme.check_order(NOISE["batch-of-2"], sme.SGD(), "batch_equivalent", 1).proved == 0.5
    found = check(sme.RMSProp(), NOISE["batch-of-2"], "batch_equivalent", 1)
    assert found.proved == 0.5
    assert "skewness" in found.obstacle
    assert found.sizes["skewness"] > 0
    with pytest.raises(sme.SMEError, match="skewed"):
        check(sme.RMSProp(), NOISE["batch-of-2"], "batch_equivalent", 2)


@pytest.mark.parametrize("noise", ["varying", pytest.param("constant", marks=SLOW)])
def test_signs_have_order_two(noise):
    assert check(sme.SignSGD(), GAUSSIAN[noise]).proved == 2
    signum = check(sme.Signum(), GAUSSIAN[noise])
    assert (signum.proved, signum.decided) == (1, False)  # 2 only while m crosses 0
    assert "sign in the update rule makes the mean step jump where m = 0" in signum.obstacle
    assert check(sme.SignSGD(), GAUSSIAN[noise], order=1).proved == 1


def test_a_table_says_what_was_found():
    text = str(check(sme.RMSProp(), GAUSSIAN["constant"], "batch_equivalent"))
    assert "order 1 by the one-step test" in text
    assert "T₃ of size" in text


@pytest.mark.parametrize("curvature", [pytest.param(15, marks=SLOW), 70])
def test_a_right_equation_of_large_curvature_is_not_accused(curvature):
    steep = sme.Problem(lambda theta: 0.5 * curvature * (theta**2).sum(), 1, sme.GaussianNoise([[0.3]]))
    found = sme.check_order(steep, sme.RMSProp())
    assert (found.proved, found.decided, found.obstacle) == (2, True, None)
    assert found.resolution < 0.005


def test_small_numbers_beside_the_state_are_no_reason_for_not_a_number():
    near = {"theta": torch.tensor([0.4]), "v": torch.tensor([3e-4])}
    found = sme.check_order(sme.Polynomial(), sme.RMSProp(v_floor=0.0), states=near)
    assert found.proved == 2
    assert not found.residuals["residual"].isna().any()


class Misled(type(equation(sme.Polynomial(), sme.SGD(), regime("ballistic"), 0.1, 2, "independent"))):
    """Wrong where `θ > 1.2` alone."""

    def drift(self, t, x):
        return super().drift(t, x) + torch.relu(x - 1.2) ** 6


@dataclass(frozen=True)
class Turned(WithMomentum):
    """A step of an average that is made nearly a unit vector by a polynomial, again and again, after `shift` cost it digits."""

    c: float = 1.2
    times: int = 1
    shift: float = 0.0
    defaults = {"m": 0.1}  # noqa: RUF012

    def update(self, state, gradient, tau, t):
        m = state["m"] + self.c * (gradient.step - tau * state["m"])
        step = (m + self.shift) - self.shift
        step = step / (step.square().sum() + 1e-6).sqrt()
        for _ in range(self.times):
            step = 3.1 * step - 3.9 * step**3 + 1.7 * step**5
        return {"theta": state["theta"] - tau * step, "m": m}


@pytest.mark.parametrize(("dim", "times", "shift"), [pytest.param(3, 1, 3000.0, marks=SLOW), pytest.param(4, 4, 0.0, marks=SLOW)])
def test_rounding_that_a_rule_amplifies_is_told_from_a_quadrature_that_does_not_settle(dim, times, shift):
    """Of three motions and more the rules for the noise have weights of both signs."""
    line = torch.linspace(0, 1, dim, dtype=torch.float64)
    states = {"theta": 0.9 - 0.5 * line, "m": 1.5 * line - 0.7}
    found = sme.check_order(sme.Quadratic(dim=dim), Turned(times=times, shift=shift), states=states)
    assert (found.proved, found.decided) == (2, True)
    assert found.resolution < 0.005


def test_the_run_is_followed():
    away = {"theta": torch.tensor([2.0])}
    assert sme.check_order(sme.Polynomial(), sme.SGD(), kind=Misled).proved == 2
    found = sme.check_order(sme.Polynomial(), sme.SGD(), kind=Misled, start=away, horizon=0.5)
    assert (found.proved, found.decided) == (0, True)
    assert "E[Δ theta]" in found.obstacle


class Later(type(equation(sme.Polynomial(), sme.SGD(), regime("ballistic"), 0.1, 2, "independent"))):
    """Wrong after the start."""

    def drift(self, t, x):
        return super().drift(t, x) * (1 + 0.01 * t)


def test_later_times_are_looked_at():
    assert sme.check_order(sme.Polynomial(), sme.SGD(), kind=Later).proved == 0


def test_moments_are_told_power_by_power():
    table = sme.check_order(sme.Polynomial(), sme.SGD()).moments
    first = table[(table["fields"] == "theta") & (table["power of τ"] == 1)]
    theta = torch.tensor([[0.9401]], dtype=torch.float64)
    assert set(table["degree"]) == {1, 2, 3, 4}
    assert (table["expected"] - table["found"]).abs().max() < 1e-6
    assert first["expected"].iloc[0] == pytest.approx(-float(sme.Polynomial().gradient(theta)), rel=1e-3)


@pytest.mark.parametrize(("kwargs", "word"), [
    ({"tau": (0.1,)}, "half of the one before"), ({"tau": (0.1, 0.02)}, "half of the one before"),
    ({"regime": "balistic"}, "ballistic"), ({"brownian": "memory"}, "driver"),
    ({"states": {"theta": torch.zeros(3)}}, "dim = 2"), ({"states": []}, "states must map"), ({"tau": 0.1}, "two or more"),
    ({"tau": (2.0**-30, 2.0**-31)}, "rounding"), ({"tau": (4.0, 2.0)}, "at most"), ({"tau": ("a", "b")}, "tau must be a number"),
    ({"functions": lambda x: torch.ones(2)}, "rounding"), ({"functions": torch.sum}, "vector"),
    ({"functions": lambda x: torch.log(x - 2)}, "not finite"), ({"optimizer": sme.Adam}, "optimizer must be"),
    ({"problem": None}, "problem must be"),
])
def test_bad_input_says_what_is_wrong(kwargs, word):
    with pytest.raises(sme.SMEError, match=word):
        sme.check_order(**{"problem": GAUSSIAN["constant"], "optimizer": sme.RMSProp(), **kwargs})


def flat(noise):
    return sme.Problem(lambda theta: 0.7 * theta.sum(), 1, sme.GaussianNoise([[noise]]))


@pytest.mark.parametrize(("problem", "regime", "order", "functions"), [
    (sme.Problem(lambda theta: 0 * theta.sum(), 1, sme.GaussianNoise([[0.0]])), "ballistic", 1, None),  # where nothing moves
    (flat(0.5), "batch_equivalent", 2, lambda x: torch.stack((x[0], x[0] ** 2)))])
def test_an_equation_may_be_exact(problem, regime, order, functions):
    found = sme.check_order(problem, sme.SGD(), regime, order, functions=functions)
    assert found.exact
    assert found.decided
    assert found.proved == order
    assert found.obstacle is None
    assert "exact to rounding, no order refuted" in str(found)
    assert "exact to rounding, no order refuted" in found.report


def test_an_equation_is_not_exact_at_one_state_alone():
    problem = sme.Polynomial(noise=0.0)
    states = [{"theta": torch.tensor([each])} for each in (0.0, 0.8)]  # the first does not move
    found = sme.check_order(problem, sme.SGD(), order=1, states=states)
    assert found.proved == 1
    assert not found.exact
    assert 1.9 < found.rate < 2.1


def test_an_equation_is_asked_for_with_a_step_size_that_exists():
    family = sme.derive(GAUSSIAN["constant"], sme.Adam(c1=10.0))
    for tau, word in ((-1.0, "positive"), (0.0, "positive"), ("a", "number"), (0.5, "β = 1 − c1 τ")):
        with pytest.raises(sme.SMEError, match=word):
            family(tau)


def test_sparse_rules_are_exact_for_their_degree():
    points, weights = sparse(4, 4)  # total degree 9
    moments = {(2, 2, 2, 2): 1, (4, 2, 0, 0): 3, (8, 0, 0, 0): 105, (4, 4, 0, 0): 9, (1, 2, 3, 0): 0, (6, 2, 0, 0): 15}
    for powers, wanted in moments.items():
        assert float(weights @ points.pow(torch.tensor(powers)).prod(-1)) == pytest.approx(wanted, abs=1e-10)
    assert len(points) < 1000


def test_many_batches_are_refused():
    with pytest.raises(sme.SMEError, match="too many"):
        next(models.minibatch(10, 30).noise.quadrature())


@dataclass(frozen=True)
class Late(sme.RMSProp):
    """A buffer of steps that are scaled by a spread: at rest the parameters move by τ² at first."""

    fields = ("theta", "v", "mean", "buffer")

    def update(self, state, gradient, tau, t):
        v = state["v"] + tau * 0.5 * (gradient.square - state["v"])
        mean = state["mean"] + 0.5 * (gradient.step - tau * state["mean"])
        buffer = state["buffer"] + gradient.step / ((v - mean * mean).sqrt() + 0.1) - tau * state["buffer"]
        return {"theta": state["theta"] - tau * buffer, "v": v, "mean": mean, "buffer": buffer}


def test_what_is_lost_in_rounding_is_not_surely_nothing():
    start = {"theta": torch.tensor([0.8, -0.5], dtype=torch.float64), "v": torch.full((2,), 2.0, dtype=torch.float64),
             "mean": torch.zeros(2, dtype=torch.float64), "buffer": torch.zeros(2, dtype=torch.float64)}
    found = sme.check_order(sme.Quadratic(dim=2), Late(), start=start, horizon=0.5)
    assert found.proved == 2, found.obstacle
