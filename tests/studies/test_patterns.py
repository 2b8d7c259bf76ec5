"""Adam over the rates a of v and b of m: its limits, the edge of stability, and the patterns of its loss."""

import math
import sys

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import sme
from sme.convergence.spec.specification import Specification
from sme.simulate.noiseless import discrete, drift
from sme.simulate.stability import stability
from sme.studies.phases.edge import longest, sharpness, threshold
from sme.studies.phases.full_batch import follow
from sme.studies.phases.patterns import DIVERGED, LARGE, SMALL, SPIKES, ab, classify, followed, predicted, sign_flow
from tests.support import models

START = torch.tensor([0.7, -0.4], dtype=torch.float64)
BENT = sme.Problem(models.bent, 2, sme.GaussianNoise(factor=[[0.0, 0.0], [0.0, 0.0]]))
SQUARE = sme.Polynomial([0, 0, 0.5], noise=0.0)
ONE = torch.ones(1, dtype=torch.float64)


def setup(optimizer, tau, horizon, problem=BENT, start=START, **fields):
    spec = Specification.of(problem, optimizer, "ballistic", "none", horizon, {"theta": start, **fields}, None, None)
    return spec.setup(1, spec.steps(tau))


def digits(width, examples):
    return sme.Digits(hidden=[width], classes=[3, 8], loss="mse", noise=0.0, examples=examples)


# limits


def test_a_is_of_v_and_b_of_m():
    given = ab(1, 100, 1e-3)
    assert (given.beta1, given.beta2) == pytest.approx((0.9, 0.999), rel=1e-12)  # torch's defaults
    scaled = given.scaled("ballistic", bias_correction=True, t0=1.0)
    assert (scaled.optimizer.c1, scaled.optimizer.c2, scaled.tau) == pytest.approx((100, 1, 1e-3))


@pytest.mark.parametrize(("given", "said"), [
    ((0, 1, 0.1), "a η"), ((1, 10, 0.1), "β₁"), ((1, 1, -1), "η"), (("x", 1, 1), "a must")])
def test_rates_that_make_no_decay_are_refused(given, said):
    with pytest.raises(sme.SMEError, match=said):
        ab(*given)


def test_the_limit_of_ab_is_its_equation():
    a, b, eps = 3.0, 2.0, 0.05
    fields = {"m": torch.tensor([0.2, 0.1]), "v": torch.tensor([0.5, 0.3])}

    def made(eta):
        return setup(ab(a, b, eta, eps).uncorrected("ballistic").optimizer, eta, 0.5, **fields)

    theta, m, v = START, fields["m"].double(), fields["v"].double()
    g = BENT.gradient(START[None])[0]
    by_hand = torch.cat([-m / (v.sqrt() + eps), b * (g - m), a * (g * g - v)])
    first = made(1 / 16)
    torch.testing.assert_close(first.equation().drift(0.0, torch.cat([theta, m, v])[None])[0], by_hand, rtol=1e-12, atol=0)
    apart = []
    for eta in (1 / 32, 1 / 64):
        here = made(eta)
        apart.append(float((discrete(here, [here.steps]) - drift(here, 1, [here.steps])).abs().max()))
    assert apart[0] / apart[1] == pytest.approx(2, rel=0.05)
    assert apart[1] < 0.02


def test_the_limit_with_fixed_decays_is_the_flow_of_signs():
    ends = []
    for eta in (1 / 100, 1 / 200):
        given = [sme.Hyperparameters("adam", eta, 0.5, 0.6, 0.05)]
        state = {}

        class Watched(sme.Problem):
            def both(self, theta, state=state):
                state["last"] = theta
                return super().both(theta)

        follow(Watched(models.bent, 2, BENT.noise), given, START, round(0.5 / eta) + 1)
        ends.append(state["last"][0].numpy())
    limit = sign_flow(BENT, START, [0.25, 0.5], 0.05)[-1]
    apart = [np.abs(end - limit).max() for end in ends]
    assert apart[0] / apart[1] == pytest.approx(2, rel=0.1)
    assert apart[1] < 3e-3
    assert np.abs(limit - START.numpy()).max() > 0.3


def test_the_flow_of_signs_moves_at_speed_one():
    found = sign_flow(SQUARE, 2 * ONE, [0.5, 1.0], 1e-9)
    np.testing.assert_allclose(found[:, 0], [1.5, 1.0], atol=1e-6)


# the edge of stability


@pytest.mark.parametrize("rates", [(1.0, 2.0), (8.0, 3.0)])
@pytest.mark.parametrize("share", [0.98, 1.02])
def test_the_threshold_is_where_the_spectrum_of_a_step_leaves_the_circle(rates, share):
    (c1, c2), tau = rates, 1 / 16
    root = tau / (share * threshold(1 - c1 * tau))  # η λ/√v = share · threshold, λ = 1
    optimizer = sme.Adam(c1=c1, c2=c2, eps=0.0, v_floor=0.0)
    found = stability(setup(optimizer, tau, tau, SQUARE, torch.zeros(1), v=torch.tensor([root**2])))
    assert (found.growth > 1) == (share > 1)


def test_at_the_threshold_the_root_is_minus_one():
    beta1 = 0.9
    assert threshold(beta1) == pytest.approx(38)
    z = np.roots([1, -(1 + beta1 - (1 - beta1) * threshold(beta1)), beta1])
    assert z.min() == pytest.approx(-1, abs=1e-6)


def test_no_step_is_longer_and_one_is_as_long():
    beta1, beta2 = 0.8, 0.9
    ago = np.arange(400)
    m, v = ((1 - beta1) * beta1**ago), ((1 - beta2) * beta2**ago)

    def step(g):
        return abs(m @ g) / math.sqrt(v @ (g * g))

    assert step((beta1 / beta2) ** ago) == pytest.approx(longest(beta1, beta2), rel=1e-9)
    some = np.random.default_rng(0).standard_normal((50, 400))
    assert max(map(step, some)) < longest(beta1, beta2)
    assert longest(0.9, 0.9) == pytest.approx(1)
    eta = 1e-6  # b/√(a(2b − a))
    assert longest(1 - 5 * eta, 1 - 2 * eta) == pytest.approx(5 / math.sqrt(2 * 8), rel=1e-4)
    assert longest(1 - 5 * eta, 1 - 10.1 * eta) == math.inf


def test_the_sharpness_is_an_eigenvalue():
    scale = torch.tensor([[0.3, 2.0]], dtype=torch.float64)
    dense = torch.diag(scale[0]) @ torch.func.hessian(models.bent)(START)
    found, _ = sharpness(BENT, START[None], scale, torch.ones(1, 2, dtype=torch.float64), 40)
    assert found.item() == pytest.approx(torch.linalg.eigvals(dense).real.max().item(), rel=1e-9)


# many runs at once


def test_the_runs_are_those_of_torch():
    problem, pairs, steps = digits(3, 6), [(20, 60), (90, 5)], 25
    given = [ab(a, b, 5e-3) for a, b in pairs]
    losses, edges = follow(problem, given, problem.start["theta"], steps, 10)
    assert losses.shape == (steps, 2)
    assert edges.shape == (3, 2)
    for i, each in enumerate(given):
        theta = torch.nn.Parameter(problem.start["theta"].clone())
        optimizer = each.torch([theta])
        for k in range(steps):
            assert losses[k, i] == pytest.approx(problem.loss(theta.detach()[None]).item(), rel=1e-9)
            theta.grad = problem.gradient(theta.detach()[None])[0]
            optimizer.step()


def test_the_edge_seen_in_a_run_is_that_of_torchs_step():
    a, b, eta, steps = 10.0, 40.0, 5e-3, 6
    _, edges = follow(SQUARE, [ab(a, b, eta)], 0.3 * ONE, steps, steps - 1)
    theta = torch.nn.Parameter(0.3 * ONE)
    optimizer = ab(a, b, eta).torch([theta])
    for k in range(steps):
        theta.grad = theta.detach().clone()
        optimizer.step()
        if k in (0, steps - 1):
            state = optimizer.state[theta]
            root = math.sqrt(state["exp_avg_sq"].item() / (1 - (1 - a * eta) ** (k + 1)))
            step = eta / (1 - (1 - b * eta) ** (k + 1)) / root
            assert edges[0 if k == 0 else 1, 0] == pytest.approx(step, rel=1e-6)


def test_settings_of_other_optimizers_are_refused():
    with pytest.raises(sme.SMEError, match="same lr"):
        follow(SQUARE, [ab(1, 1, 0.1), ab(1, 1, 0.2)], ONE, 3)
    with pytest.raises(sme.SMEError, match="adam"):
        follow(SQUARE, [sme.Hyperparameters("sgd", 0.1)], ONE, 3)


# the equation on a quadratic, averaged


@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (1.0, 1.0), (2.0, 1.0), (8.0, 1.5), (8.0, 0.6)])
def test_the_second_moment_falls_as_the_averaged_equation_says(a, b):
    """`v` as `e^{−at}` beyond `b = 5a/4`, else as `e^{−(8b − a)t/9}`, which for `b < a/8` grows."""
    rate = a if predicted(a, b) == SPIKES else (8 * b - a) / 9
    assert (predicted(a, b) == LARGE) == (rate < 0)
    balance = max(16 / 9 * (5 / 4 - b / a), 1e-3)
    amplitude, time = b / (100 * max(a, b)) ** 2, 3 / max(a, b)  # ω = 100 max(a, b), about

    def move(_, x):
        theta, m, v = x
        return [-m / math.sqrt(v), b * (theta - m), a * (theta * theta - v)]

    ends = np.linspace(0, time, 4001)
    begin = [amplitude, 0, amplitude**2 / balance]
    found = solve_ivp(move, (0, time), begin, "DOP853", ends, rtol=1e-8, atol=1e-8 * amplitude**2).y[2]
    late = ends > time / 3
    fit = np.polyfit(ends[late], np.log(found[late]), 1)[0]
    assert -fit == pytest.approx(rate, abs=1e-3 * max(a, b))


@pytest.mark.slow
def test_on_a_quadratic_the_patterns_are_those_of_the_equation_and_spikes_cross_the_threshold():
    eta, pairs = 5e-3, [(8, 24), (8, 6), (8, 0.5)]
    losses, edges = follow(SQUARE, [ab(a, b, eta) for a, b in pairs], ONE, 800, 4)
    found = classify(losses, large=1e-4, window=25)
    assert found["pattern"].tolist() == [predicted(*pair) for pair in pairs] == [SPIKES, SMALL, LARGE]
    above = edges > threshold(1 - eta * np.array([b for _, b in pairs]))
    assert above[50:].any(0).tolist() == [True, False, False]
    crossing = 4 * int(np.flatnonzero(above[50:, 0])[0] + 50)  # the loss is least just before, and largest just after
    low = int(np.maximum.reduceat(losses[:, 0], np.arange(0, 800, 25)).argmin()) * 25
    assert low - 25 <= crossing <= low + 100


# patterns


STEPS = np.arange(300)
FALL = 10.0 ** (-STEPS / 50)
SYNTHETIC = {
    "falls evenly": (FALL, SMALL),
    "ripples": (1e-3 * (1.5 + np.sin(STEPS)), SMALL),
    "spikes": (1e-4 * (1 + 1e3 * (STEPS % 70 == 69)), SPIKES),
    "spikes early": (1e-4 * (1 + 1e3 * (STEPS == 20)), SPIKES),
    "large": (0.3 + 0.2 * np.sin(STEPS / 9), LARGE),
    "blows up": (10.0 ** (STEPS / 30), DIVERGED),
    "blows up and comes back": (np.where(STEPS == 150, 1e4, 0.1), DIVERGED),
    "not finite": (np.where(STEPS < 250, 0.1, np.nan), DIVERGED),
}


@pytest.mark.parametrize(("curve", "pattern"), SYNTHETIC.values(), ids=SYNTHETIC)
def test_a_curve_has_its_pattern(curve, pattern):
    assert classify(curve[:, None])["pattern"].item() == pattern


def test_the_numbers_of_a_curve():
    curve = np.array([8.0, 4, 1, 2, 3, 6])[:, None]
    row = classify(curve, tail=0.5, large=100).iloc[0]
    assert (row["mean"], row["ratio"], row["rise"]) == pytest.approx((11 / 3, 3, 6))
    assert classify(curve, large=100, floor=1).iloc[0]["rise"] == pytest.approx(3.5)
    assert classify(curve, large=100, window=2).iloc[0]["rise"] == pytest.approx(3)  # blocks 8, 2, 6
    assert classify(curve, large=100, ratio=5)["pattern"].item() == SPIKES
    assert classify(curve, large=2.9)["pattern"].item() == LARGE


def test_zeros_of_an_oscillation_are_no_spikes():
    curve = (1e-3 * np.sin(STEPS / 3)) ** 2
    assert classify(curve[:, None], window=10)["pattern"].item() == SMALL
    assert classify(curve[:, None])["pattern"].item() == SPIKES


@pytest.mark.parametrize("wrong", [{"tail": 0}, {"window": 200}, {"window": 0}])
def test_bad_settings_of_the_classifier_are_named(wrong):
    with pytest.raises(sme.SMEError, match="window"):
        classify(FALL[:, None], **wrong)


@pytest.mark.parametrize(("wrong", "said"), [({"large": -1}, "large must be > 0"), ({"ratio": 0}, "ratio must be > 1"),
                                             ({"floor": -1}, "floor must be ≥ 0"), ({"ratio": math.nan}, "ratio must be > 1")])
def test_thresholds_without_meaning_are_refused(wrong, said):
    with pytest.raises(sme.SMEError, match=said):
        classify(FALL[:, None], **wrong)


@pytest.mark.slow
def test_the_three_published_settings_have_three_patterns_on_a_small_network():
    problem = digits(16, 12)
    made = sme.phases(problem, problem.start["theta"], eta=3e-3, low=5, high=6, cells=2, steps=500, looks=25, floor=1e-7)
    assert made.examples["pattern"].tolist() == [SPIKES, SMALL, LARGE]
    assert (made.table["pattern"] == SMALL).all()
    assert made.examples["edge"][0] > 1.1
    assert made.examples["edge"][1] == pytest.approx(1, abs=0.03)  # where it stays
    assert made.examples["edge"][2] < 0.1


@pytest.mark.slow
def test_a_diagram_leaves_its_files_and_is_judged_anew_without_a_run(tmp_path, monkeypatch, drawn):
    given = {"eta": 5e-3, "low": 8, "high": 24, "cells": 2, "steps": 600, "looks": 30, "large": 2e-4, "window": 25, "tail": 0.4,
             "examples": [(8, 24), (8, 8), (24, 2)]}
    made = sme.phases(SQUARE, ONE, **given, results=tmp_path)
    assert made.table["pattern"].tolist() == [SMALL, SMALL, SPIKES, SMALL]  # (8, 8), (24, 8), (8, 24), (24, 24)
    assert made.table["predicted"].tolist() == made.table["pattern"].tolist()
    assert made.examples["pattern"].tolist() == made.examples["predicted"].tolist() == [SPIKES, SMALL, LARGE]
    assert made.examples["edge"][0] > 1 > made.examples["edge"][1]
    assert made.examples["longest"][1:].tolist() == [pytest.approx(1), math.inf]
    assert {path.name for path in made.folder.iterdir()} == {
        "phases.csv", "examples.csv", "phases.md", "phases.png", "phases.pdf", "examples.png", "examples.pdf", "points"}
    assert "small oscillation" in str(made)
    monkeypatch.setattr(sys.modules["sme.studies.phases.run"], "follow", lambda *_: pytest.fail("a run"))
    monkeypatch.setattr(sme.Phases, "save", lambda _: None)
    again = sme.phases(SQUARE, ONE, **given | {"large": 1e-30}, results=tmp_path)
    assert again.examples["pattern"].tolist() == [LARGE] * 3
    assert again.table["mean"].tolist() == made.table["mean"].tolist()


@pytest.mark.parametrize(("wrong", "said"), [
    ({"low": 0}, "low must be > 0"), ({"examples": [3]}, "pairs"), ({"examples": 3}, "pairs"), ({"cells": 1}, "cells"),
    ({"eta": 0.02}, "below 1")])
def test_bad_input_of_the_diagram_is_named(wrong, said):
    with pytest.raises(sme.SMEError, match=said):
        sme.phases(SQUARE, ONE, **wrong)


@pytest.mark.parametrize(("wrong", "said"), [
    ({"classes": [3, 3]}, "different digits"), ({"classes": [3, 10]}, "0 to 9"), ({"loss": "hinge"}, "hinge")])
def test_bad_classes_are_named(wrong, said):
    with pytest.raises(sme.SMEError, match=said):
        sme.Digits(**wrong)


def test_two_digits_are_told_apart_by_targets_of_their_own():
    problem = digits(4, 50)
    assert problem.targets.sum(1).tolist() == [1.0] * 50
    assert 15 < problem.targets[:, 0].sum() < 35
    assert problem.describe()["classes"] == [3, 8]
    assert "classes" not in sme.Digits().describe()
    assert sme.Digits(classes=[3, 8, 1]).targets.unique().tolist() == [0, 1, 2]
    torch.testing.assert_close(problem.both(problem.start["theta"][None])[0], problem.gradient(problem.start["theta"][None]))


# the equation, followed


def test_what_is_foretold_is_large_by_its_loss_and_spikes_by_the_edge_where_v_falls_freely():
    losses = np.stack([np.full(30, 0.5), np.geomspace(1, 1e-6, 30), np.geomspace(1, 1e-6, 30), np.geomspace(1, 1e-6, 30)], 1)
    edges = np.array([[0.1, 0.5, 0.5, 0.5], [2.0, 1.2, 1.2, 0.9]])
    pairs = [(1.0, 100.0), (1.0, 100.0), (10.0, 12.0), (1.0, 100.0)]
    assert followed(losses, edges, pairs) == [LARGE, SPIKES, SMALL, SMALL]


def test_many_steps_for_one_stand_for_the_equation_at_the_same_times(tmp_path):
    """On a quadratic from 1 the equation is followed by two steps for one; its loss and its distance to the edge by own steps."""
    made = sme.phases(SQUARE, ONE, low=1.0, high=4.0, cells=2, steps=40, looks=4, examples=[], equation=2, results=tmp_path)
    assert made.name != sme.phases(SQUARE, ONE, low=1.0, high=4.0, cells=2, steps=40, looks=4, examples=[]).name
    losses, edges = (np.load(tmp_path / "phases" / made.name / "points" / "1.npz")[name] for name in ("losses", "edges"))
    (a, b), eta, found = (4.0, 1.0), 5e-4, []
    theta, m, v = 1.0, 0.0, 0.0
    for k in range(1, 81):
        found.append(0.5 * theta**2)
        m, v = (1 - b * eta) * m + b * eta * theta, (1 - a * eta) * v + a * eta * theta**2
        theta -= eta * (m / (1 - (1 - b * eta)**k)) / ((v / (1 - (1 - a * eta)**k)) ** 0.5 + 1e-8)
        if k == 61:
            step = 2 * eta / ((v / (1 - (1 - a * eta)**k)) ** 0.5 + 1e-8) / (1 - (1 - b * eta)**k)
    assert losses[:, 1] == pytest.approx(np.array(found[::2]))
    assert edges[3, 1] == pytest.approx(step)
    assert set(made.table["followed"]) == {LARGE}
    assert "Right in" in str(made)
