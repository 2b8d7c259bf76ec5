"""Derived equations: equal to the closed forms where there are any; power series; what cannot be derived."""

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from torch.func import jvp

import sme
from sme.equations.derived.series import Series
from sme.equations.derived.step import Step, nested
from sme.equations.order.one_step import Generator
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from tests.equations.test_equations import assert_order, ratios
from tests.support import models
from tests.support.paper_rules import WithMomentum

TAU, PATHS = 0.05, 3
KINDS = ((sme.RMSProp, {"c": 0.7}), (sme.Adam, {"c1": 0.9, "c2": 0.6}))
CLOSED = [sme.SGD(), *(kind(**rates, denominator=each) for kind, rates in KINDS for each in ("previous", "updated"))]
QUICK = {("ballistic", 2, True), ("batch_equivalent", 2, True)}
"""scaling, dimension and whether the noise varies, by default"""


def problem(d, varying):
    generator = torch.Generator().manual_seed(d)
    a, b = (0.3 * torch.randn(d, d, generator=generator, dtype=torch.float64) for _ in range(2))

    def loss(theta):
        return 0.5 * (theta**2).sum() + 0.1 * torch.sin(theta).sum() * theta[0] + 0.05 * (theta**4).sum()

    def factor(theta):
        return a + b * torch.sin(theta)[None, :] * torch.cos(theta)[:, None]

    return sme.Problem(loss, d, sme.GaussianNoise(factor if varying else a))


def states(optimizer, d):
    return 0.5 + torch.rand((PATHS, d * len(optimizer.fields)), generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def covariance(eq, x):
    g = torch.stack([eq.diffuse(0.0, x, column.expand(len(x), -1)) for column in Generator(eq, models.smooth).motions], -1)
    return g @ g.mT


@pytest.mark.parametrize(("scaling", "d", "varying"), [
    pytest.param(*each, marks=[pytest.mark.slow] * (each not in QUICK))
    for each in itertools.product(("ballistic", "batch_equivalent"), (1, 2, 5), (False, True))])
def test_derived_and_closed_equations_agree(scaling, d, varying):
    compared = 0
    for optimizer in CLOSED:
        for order in (1, 2):
            for brownian in ("independent", "step_memory"):
                where = problem(d, varying)
                if scaling == "batch_equivalent" and order == 2 and varying and not isinstance(optimizer, sme.Adam):
                    continue  # no closed form
                closed = equation(where, optimizer, regime(scaling), TAU, order, brownian)
                derived = sme.derive(where, optimizer, scaling, order, brownian)(TAU)
                assert not type(closed).__name__.startswith("Derived")
                x = states(optimizer, d)
                torch.testing.assert_close(derived.drift(0.0, x), closed.drift(0.0, x), rtol=1e-10, atol=1e-12)
                torch.testing.assert_close(covariance(derived, x), covariance(closed, x), rtol=1e-10, atol=1e-12)
                if closed.remembers:
                    y, w = torch.randn((2, PATHS, d), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
                    torch.testing.assert_close(derived.memory(0.0, x, y, w), closed.memory(0.0, x, y, w), rtol=1e-10, atol=1e-12)
                    torch.testing.assert_close(derived.memory_trace(0.0, x), closed.memory_trace(0.0, x), rtol=1e-10, atol=1e-12)
                compared += 1
    assert compared >= 14


@pytest.mark.parametrize("batch", ["batch-of-1", "batch-of-2"])
def test_derived_and_closed_equations_agree_for_minibatches(batch):
    where = models.minibatch(int(batch[-1]))
    for optimizer in CLOSED[1:]:
        x = states(optimizer, 2)
        closed = equation(where, optimizer, regime("ballistic"), TAU, 2, "independent")
        derived = sme.derive(where, optimizer, "ballistic", 2)(TAU)
        torch.testing.assert_close(derived.drift(0.0, x), closed.drift(0.0, x), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(covariance(derived, x), covariance(closed, x), rtol=1e-10, atol=1e-12)


def test_power_series_are_nested_derivatives():
    v = torch.tensor([0.3, 0.7], dtype=torch.float64)

    def curve(e):
        w = v + e * (v * v) - 0.5 * e
        bent = torch.where(w > 0.1, torch.tanh(w) / (w.sqrt() + 0.1), w) * (1 / (1 + w * w))
        bent = bent + torch.expm1(w) * torch.log(1 + w).rsqrt() + (w - 0.5).abs() * torch.rsqrt(w)
        return bent + torch.exp(-w).pow(3) - torch.log1p(w).clamp(0, 1) + (2 - w) ** 2 + w.square() / v - 3 / w

    series = curve(Series.variable(4))
    for order in range(1, 5):
        torch.testing.assert_close(series.coefficients[order], nested(curve, order), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(series.coefficients[0], curve(torch.zeros((), dtype=torch.float64)))


def test_power_series_nest():
    v = torch.tensor([0.3, 0.7], dtype=torch.float64)

    def inner(u):
        e = Series.variable(2)
        return (torch.sqrt(u + e * u * u) * torch.tanh(e + u) * torch.log1p(e * u).exp()).coefficients[2]

    got = inner(v + 1.5 * Series.variable(1)).coefficients[1]

    def outer(u):
        return nested(lambda e: torch.sqrt(u + e * u * u) * torch.tanh(e + u) * torch.log1p(e * u).exp(), 2)

    wanted = jvp(outer, (v,), (torch.full_like(v, 1.5),))[1]
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@dataclass(frozen=True)
class Odd(sme.Optimizer):
    """A user's rule, of the kind that a test asks for."""

    kind: str = "clip"

    def update(self, state, gradient, tau, t):
        theta = state["theta"]
        q, s = gradient.square, gradient.step
        moved = {
            "cubic": lambda: theta - s - tau**2 * q**3,
            "product": lambda: theta - s * (1 + tau * q**2),
            "clip": lambda: theta - gradient.step.square(),
            "still": lambda: theta - 0.1 * theta,
            "float": lambda: theta - gradient.step * math.sqrt(float(tau)),
            "square": lambda: theta - tau * gradient.square.square(),
        }
        return {"theta": moved[self.kind]()}


WRONG = [("clip", "multiplies gradient.step by itself"), ("still", "moves although"), ("float", "cannot be differentiated"),
         ("square", "third and fourth moments")]


@pytest.mark.parametrize(("kind", "word"), WRONG)
def test_rules_that_cannot_be_expanded_say_why(kind, word):
    with pytest.raises(sme.SMEError, match=word):
        sme.derive(problem(1, False), Odd(kind), "batch_equivalent")(TAU)


def test_a_product_of_two_steps_is_of_second_order_in_the_ballistic_regime():
    x, where = states(Odd("clip"), 1), problem(1, False)
    g, sigma = where.gradient(x), where.noise.variance(x)
    derived = sme.derive(where, Odd("clip"))(TAU)
    torch.testing.assert_close(derived.drift(0.0, x), -TAU * (g * g + sigma), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize("kind", ["cubic", pytest.param("product", marks=pytest.mark.slow)])
def test_increments_of_too_high_a_degree_have_order_one_only(kind, scaling):
    with pytest.raises(sme.SMEError, match="use order=1"):
        sme.derive(problem(2, False), Odd(kind), scaling)(TAU)
    assert sme.check_order(problem(2, False), Odd(kind), scaling, order=1).proved == 1


@dataclass(frozen=True)
class Normed(WithMomentum):
    """A rule that mixes coordinates: the momentum is damped by its own norm."""

    def update(self, state, gradient, tau, t):
        m = state["m"] + gradient.step - tau * state["m"] * (1 + (state["m"] + 3 * gradient.step).square().sum())
        return {"theta": state["theta"] - tau * m, "m": m}


@pytest.mark.parametrize("scaling", ["ballistic", pytest.param("batch_equivalent", marks=pytest.mark.slow)])
def test_rules_that_mix_coordinates_are_derived_too(scaling):
    step = Step(Normed(), 2)
    assert not step.separate
    assert_order(ratios(Normed(), models.gaussian(True), scaling, 2), 2)


@dataclass(frozen=True)
class Odder(sme.Optimizer):
    """Rules that a careless look would take for simpler ones."""

    kind: str = "triangular"
    v_floor = 0.0  # no field of the dataclass

    fields = ("theta", "v")
    defaults = {"v": 1.0}  # noqa: RUF012
    nonnegative = ("v",)

    def update(self, state, gradient, tau, t):
        theta, s = state["theta"], gradient.step
        rate = {"triangular": 1.0, "warm-up": t, "schedule": 1.0, "one-sided": torch.relu(-theta) ** 4}[self.kind]
        v = state["v"] + tau * rate * (gradient.square - state["v"])
        if self.kind == "triangular":  # coordinate 0 sees coordinate 1, and not the other way
            return {"theta": theta - s / (v.flip(-1).cumsum(-1).flip(-1) + 0.1).sqrt(), "v": v}
        pace = 1 + 0.5 * torch.cos(torch.as_tensor(3 * t)) if self.kind == "schedule" else 1.0
        return {"theta": theta - pace * s / (state["v"] + 0.1), "v": v}


LONG = pytest.mark.slow  # no power series pass through some of these


@pytest.mark.parametrize(("kind", "scaling"), [
    ("warm-up", "ballistic"), pytest.param("triangular", "ballistic", marks=LONG),
    pytest.param("one-sided", "batch_equivalent", marks=LONG), *(pytest.param(kind, scaling, marks=LONG) for kind, scaling in (
        ("schedule", "ballistic"), ("one-sided", "ballistic"), ("warm-up", "batch_equivalent"),
        ("triangular", "batch_equivalent"), ("schedule", "batch_equivalent"))),
])
def test_rules_with_a_hidden_structure_have_order_two(kind, scaling):
    brownian = "independent" if scaling == "ballistic" else "step_memory"
    small = models.line(), {"theta": torch.tensor([-0.9])}
    where, states = (models.gaussian(True), {"theta": torch.tensor([-0.9, -0.6])}) if kind == "triangular" else small
    found = sme.check_order(where, Odder(kind), scaling, 2, brownian, states)
    assert found.proved == 2


class Mutable(sme.Optimizer):
    """A rule whose settings may change between two runs."""

    fields = ("theta", "v")
    defaults = {"v": 1.0}  # noqa: RUF012
    nonnegative = ("v",)
    c = 0.0

    def update(self, state, gradient, tau, t):
        v = state["v"] + tau * self.c * (gradient.square - state["v"])
        return {"theta": state["theta"] - gradient.step / (state["v"].sqrt() + 0.1), "v": v}


def test_a_changed_optimizer_is_expanded_again():
    optimizer = Mutable()
    assert not Step.of(optimizer, 2).squares
    optimizer.c = 1.0
    assert Step.of(optimizer, 2).squares
