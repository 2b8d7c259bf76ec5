"""AdaBayes as a filter: the published steps, its limits, its equations, and what it has in common with its fixed point."""

import math

import numpy as np
import pytest
import torch

import sme
from sme.optimizers.regimes import regime
from sme.studies.interpolation import report, run
from tests.support import models

STEPS, TAU = 50, 1 / 16
START = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)
SLOW = pytest.mark.slow
SCALE = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
NOISE = 0.5 * torch.randn(STEPS, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def double(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def steps(optimizer, scaling, state, tau=TAU):
    for k in range(STEPS):
        gradient = regime(scaling).gradient(SCALE * state["theta"], NOISE[k], tau)
        state = optimizer.update(state, gradient, tau, k * tau)
    return state


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize("denominator", ["previous", "updated"])
def test_it_is_the_published_filter(scaling, denominator):
    filtered = sme.AdaBayesFilter(c1=0.9, prior=0.4, decay=0.3, denominator=denominator)
    hyper = filtered.physical(regime(scaling), TAU)
    theta, m, s = START, torch.full((3,), 0.2 * hyper["batch"], dtype=torch.float64), 0.8 * hyper["sigma2"]
    kept = math.exp(-hyper["lr"] ** 2 / hyper["sigma2"])
    for k in range(STEPS):
        # as published: G is the batch times the gradient of the mean loss
        G = hyper["batch"] * (SCALE * theta + NOISE[k] / TAU ** (regime(scaling).mean_power / 2))
        m = hyper["beta1"] * m + (1 - hyper["beta1"]) * G
        prior = kept * s + hyper["sigma2"] * (1 - kept)
        posterior = 1 / (1 / prior + G * G)
        theta = theta - (posterior if denominator == "updated" else s) * m
        theta, s = (1 - hyper["weight_drift"]) * theta, posterior
    begin = {"theta": START, "m": torch.full_like(START, 0.2), "p": torch.full_like(START, 0.8 / 0.8)}
    found = steps(filtered, scaling, begin)
    torch.testing.assert_close(found["theta"], theta, rtol=1e-12, atol=1e-14)
    variance = TAU * found["p"] if scaling == "ballistic" else found["p"]
    torch.testing.assert_close(variance, s, rtol=1e-12, atol=0)


def settled(tau, q, prior=0.4):
    """The filter's `p` after a long time of squares `q`."""
    filtered = sme.AdaBayesFilter(prior=prior)
    state = {name: torch.zeros_like(q) for name in filtered.fields}
    for _ in range(math.ceil(30 / tau)):
        state = filtered.update(state, regime("ballistic").seen(q.sqrt(), tau), tau, 0.0)
    return state["p"]


def test_it_settles_where_the_published_fixed_point_is_up_to_the_step_size():
    q = double(0.0, 0.05, 0.6, 4.0)
    wanted = 1 / (0.4 + (0.16 + q).sqrt())
    coarse, fine, finest = (settled(tau, q) - wanted for tau in (1 / 16, 1 / 32, 1 / 64))
    assert abs(float(coarse[0])) < 1e-9  # the prior
    torch.testing.assert_close(fine[1:] / finest[1:], torch.full((3,), 2.0, dtype=torch.float64), rtol=0.03, atol=0)
    assert ((coarse / fine)[1:] - 2).abs().max() > 1.5 * ((fine / finest)[1:] - 2).abs().max()
    torch.testing.assert_close((2 * finest - fine)[1:] / wanted[1:], torch.zeros(3, dtype=torch.float64), rtol=0, atol=2e-4)


@pytest.mark.parametrize(("a", "v", "rule", "scale", "leading"), [
    (10.0, 0.3, sme.Momentum(c=1.0), 0.05, 0.3 / 400), (40.0, 0.3, sme.Momentum(c=1.0), 0.0125, 0.3 / 6400),
    (0.01, 0.3, sme.Adam(eps=0.0, v_floor=0.0), 1.0, 0.01 / 0.3**0.5),
    (0.001, 0.3, sme.Adam(eps=0.0, v_floor=0.0), 1.0, 0.001 / 0.3**0.5),
], ids=["momentum", "momentum, nearer", "adam", "adam, nearer"])
def test_the_fixed_point_tends_to_both_limits_at_its_rate(a, v, rule, scale, leading):
    gradient = regime("ballistic").seen(SCALE, TAU)
    state = {"theta": torch.zeros(3, dtype=torch.float64), "m": START, "v": torch.full((3,), v, dtype=torch.float64)}
    bayes = sme.AdaBayes(prior=a, v_floor=0.0).update(state, gradient, TAU, 0.0)["theta"]
    limit = scale * rule.update({name: state[name] for name in rule.fields}, gradient, TAU, 0.0)["theta"]
    below = 1 - bayes / limit
    torch.testing.assert_close(below / leading, torch.ones(3, dtype=torch.float64), rtol=0.02, atol=0)


def test_filter_and_fixed_point_run_together_as_the_step_size_goes_to_zero():
    """From its stationary state, and where `v` follows as fast: the difference of the runs is `O(τ)`."""
    def apart(tau):
        time, root, q = 2.0, 0.5, 0.25
        p = 1 / (0.4 + (0.16 + q) ** 0.5)
        bayes, filtered = sme.AdaBayes(prior=0.4, v_floor=0.0), sme.AdaBayesFilter(prior=0.4)
        one = {"theta": double(0.0), "m": double(0.0), "v": double(q)}
        other = {"theta": double(0.0), "m": double(0.0), "p": double(p)}
        for k in range(round(time / tau)):
            gradient = regime("ballistic").seen(double(root), tau)
            one, other = bayes.update(one, gradient, tau, k * tau), filtered.update(other, gradient, tau, k * tau)
        return float((one["theta"] - other["theta"]).abs())

    assert 1.9 < apart(1 / 32) / apart(1 / 64) < 2.1


@pytest.mark.parametrize(("denominator", "noise", "order"), [
    ("updated", models.gaussian(True), 2),
    *(pytest.param(denominator, noise, order, marks=SLOW) for denominator in ("previous", "updated")
      for noise in (models.minibatch(2), models.gaussian(False)) for order in (1, 2)),
])
def test_its_ballistic_equations_have_their_orders(denominator, noise, order):
    filtered = sme.AdaBayesFilter(c1=0.9, prior=0.4, decay=0.3, denominator=denominator)
    assert sme.check_order(noise, filtered, order=order).proved == order


@SLOW  # by default as that of other rules, in tests/equations/order/test_check.py
def test_step_memory_has_order_two_in_the_batch_equivalent_regime():
    filtered = sme.AdaBayesFilter(c1=0.9, prior=0.4)
    assert sme.check_order(models.gaussian(True), filtered, "batch_equivalent", 2, "step_memory").proved == 2


@SLOW
def test_the_obstruction_is_all_that_keeps_independent_motions_from_order_two():
    found = sme.check_order(models.gaussian(False), sme.AdaBayesFilter(c1=0.9, prior=0.4), "batch_equivalent", 2)
    assert (found.proved, found.without_obstruction) == (1, 2)
    assert "T₃" in found.obstacle


def test_the_moment_test_sees_a_wrong_term_in_the_filter():
    class Wrong(sme.AdaBayesFilter):
        def update(self, state, gradient, tau, t):
            new = super().update(state, gradient, tau, t)
            return {**new, "p": new["p"] + 0.1 * tau**2}

    problem, right = models.gaussian(True), sme.AdaBayesFilter(prior=0.4)
    kind = type(sme.derive(problem, right)(0.1))

    class Misled(kind):
        def __init__(self, problem, optimizer, tau, order, brownian):
            super().__init__(problem, Wrong(prior=0.4), tau, order, brownian)

    assert sme.check_order(problem, right, kind=Misled).proved == 1


@pytest.mark.parametrize(("make", "words"), [
    (lambda: sme.AdaBayesFilter(prior=0), ["prior", "> 0", "got 0"]), (lambda: sme.AdaBayesFilter(c1=-1), ["c1", "> 0", "-1"]),
    (lambda: sme.AdaBayesFilter(decay=-1), ["decay", "≥ 0", "-1"]),
    (lambda: sme.AdaBayesFilter(denominator="old"), ["old", "previous, updated"]),
    (lambda: sme.AdaBayesFilter(c1=32.0).check(TAU), ["c1 τ = 32", "not in (0, 1)"]),
])
def test_bad_input_says_what_is_wrong(make, words):
    with pytest.raises(sme.SMEError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.slow
def test_interpolation_is_measured_on_the_update_rules(tmp_path, drawn):
    table = run.measure([1 / 4, 1 / 8], paths=64)
    fixed = table[table["curve"] == run.CURVES[0]]
    ratio = fixed["ratio"].to_numpy()
    apart = run.limits(ratio)
    np.testing.assert_allclose(fixed["rate"], apart["rate"], rtol=1e-12)
    assert apart["to_sgd"][0] == pytest.approx(apart["sgd_leading"][0], rel=1e-4)
    assert apart["to_adam"].iloc[-1] == pytest.approx(apart["adam_leading"].iloc[-1], rel=0.01)
    beside = report.beside(table)
    random = beside[beside["curve"] == run.CURVES[2]]
    assert (random["stderr"] > 0).all()
    constant = beside[beside["curve"] == run.CURVES[1]].set_index(["ratio", "tau"])["quotient"]
    q, tau = 0.25, 1 / 8  # √v/a = 1
    p = settled(tau, double(q), prior=0.5)
    assert constant[1.0, tau] == pytest.approx(float(p) / 0.8284271247461903, rel=1e-9)
    report.Interpolation(table, folder=tmp_path).save()
    written = (tmp_path / "interpolation.md").read_text(encoding="utf-8")
    assert "rate in τ" in written
    assert (tmp_path / "interpolation.png").stat().st_size > 10_000
