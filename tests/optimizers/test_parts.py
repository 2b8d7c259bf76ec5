"""Parts that go round a rule: schedules, averages, groups."""

import math

import pytest
import torch

import sme
from sme.common.identity.hashing import fingerprint
from sme.optimizers.base import updated
from sme.optimizers.library.adagrad import DecayedAdagrad
from sme.optimizers.library.rmsprop import HeavyCentredRMSprop, PlainRMSprop
from sme.optimizers.parts.schedules import Constant, Cosine, Exponential, Line, Power, Stairs, Then, Times
from sme.optimizers.regimes import BALLISTIC, REGIMES

TAU = 1 / 16
THETA = torch.tensor([0.4, -0.9], dtype=torch.float64)
SEEN = BALLISTIC.seen(torch.tensor([0.7, 1.3], dtype=torch.float64), TAU)


def test_a_schedule_multiplies_the_step_of_theta_alone():
    plain, state = sme.AdamW(), {"theta": THETA, "m": THETA + 1, "v": THETA.abs()}
    alone = updated(plain, state, SEEN, TAU, 0.5)
    after = updated(sme.Scheduled(plain, Cosine(2.0, 0.1)), state, SEEN, TAU, 0.5)
    factor = 0.1 + 0.45 * (1 + math.cos(math.pi / 4))
    torch.testing.assert_close(after["theta"] - THETA, factor * (alone["theta"] - THETA), rtol=1e-13, atol=1e-16)
    for name in ("m", "v"):
        torch.testing.assert_close(after[name], alone[name], rtol=0, atol=0)


@pytest.mark.parametrize(("schedule", "times"), [
    (Constant(0.3), {0.0: 0.3, 5.0: 0.3}), (Line(0.2, 1.0, 2.0), {0.0: 0.2, 0.5: 0.4, 2.0: 1.0, 3.0: 1.0}),
    (Cosine(2.0, 0.2), {0.0: 1.0, 1.0: 0.6, 2.0: 0.2}), (Exponential(0.5), {0.0: 1.0, 2.0: math.exp(-1)}),
    (Power(4.0, 2.0), {0.0: 1.0, 2.0: 0.25, 4.0: 0.0, 5.0: 0.0}), (Stairs(0.5, 0.3), {0.0: 1.0, 3 * 0.1: 0.5, 0.8: 0.25}),
    (Times(Line(0.0, 1.0, 1.0), Constant(0.5)), {0.5: 0.25, 2.0: 0.5}),
    (Then(Line(0.0, 1.0, 1.0), Cosine(2.0), 1.0), {0.25: 0.25, 1.0: 1.0, 2.0: 0.5, 3.0: 0.0})])
def test_schedules(schedule, times):
    for t, value in times.items():
        assert float(schedule(t)) == pytest.approx(value, abs=1e-15)
        assert float(schedule(torch.tensor(t, dtype=torch.float64))) == pytest.approx(value, abs=1e-15)


def state_of(rule):
    return {name: 0.3 + 0.1 * k + 0.2 * THETA.abs() if name != "theta" else THETA for k, name in enumerate(rule.fields)}


@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_a_belief_is_the_average_of_the_distance_from_the_momentum(regime):
    """In physical variables, where `v` and `ε` are those of the papers."""
    rule = sme.AdaBelief(c1=1.5, c2=0.8, eps=0.2, regime=regime.name)
    state, size = state_of(rule), 1.0 if regime == BALLISTIC else TAU**0.5
    physical = torch.tensor([0.7, 1.3], dtype=torch.float64)
    after = updated(rule, state, regime.seen(size * physical, TAU), TAU, 1.0)
    m = (1 - 1.5 * TAU) * state["m"] + 1.5 * TAU * physical
    v = (1 - 0.8 * TAU) * state["v"] / size**2 + 0.8 * TAU * (physical - m) ** 2
    steps = 1.0 / TAU + 1
    move = m / (1 - (1 - 1.5 * TAU) ** steps) / ((v / (1 - (1 - 0.8 * TAU) ** steps)).sqrt() + 0.2 / size)
    torch.testing.assert_close(after["v"], v * size**2, rtol=1e-12, atol=0)
    torch.testing.assert_close(after["theta"], state["theta"] - TAU / size * move, rtol=1e-12, atol=0)


def test_schedule_free_is_a_mean_of_its_own_steps():
    rule, x = sme.ScheduleFreeSGD(beta=0.8, rate=0.5, decay=0.3, t0=TAU), THETA.clone()
    state, seen = {"theta": THETA, "z": THETA}, [THETA]
    for k in range(1, 6):
        g = torch.tensor([0.7 * k, -1.3], dtype=torch.float64)
        z = state["z"] - TAU * 0.5 * (g + 0.3 * state["theta"])
        state = updated(rule, state, BALLISTIC.seen(g, TAU), TAU, k * TAU)
        seen.append(z)
        x = torch.stack(seen).mean(0)
        torch.testing.assert_close(state["z"], z, rtol=1e-13, atol=0)
        torch.testing.assert_close(state["theta"], 0.2 * z + 0.8 * x, rtol=1e-13, atol=0)


def test_blocks_of_lamb_move_by_a_share_of_their_own_length():
    rule = sme.Lamb(blocks=(1, 2), rate=0.5, decay=0.25)
    theta = torch.tensor([0.4, -0.9, 1.2], dtype=torch.float64)
    state = {"theta": theta, "m": theta.flip(0), "v": theta.abs()}
    moved = updated(rule, state, BALLISTIC.seen(theta + 1, TAU), TAU, 1.0)["theta"] - theta
    for mine in (slice(0, 1), slice(1, 3)):
        assert float(moved[mine].norm()) == pytest.approx(0.5 * TAU * float(theta[mine].norm()), rel=1e-13)
    with pytest.raises(sme.SMEError, match="have 3 numbers, and there are 2"):
        updated(rule, {name: field[:2] for name, field in state.items()}, SEEN, TAU, 1.0)


def test_lion_takes_the_sign_of_the_raw_gradient_and_the_momentum():
    state = {"theta": THETA, "m": torch.tensor([-0.02, -1.0], dtype=torch.float64)}
    after = updated(sme.Lion(c=2.0, a=0.1, decay=0.5), state, SEEN, TAU, 0.0)
    torch.testing.assert_close(after["theta"], THETA - TAU * (torch.tensor([1.0, -1.0]) + 0.5 * THETA), rtol=1e-14, atol=0)
    torch.testing.assert_close(after["m"], state["m"] + 2 * TAU * (SEEN.scaled - state["m"]), rtol=1e-13, atol=0)


def test_averages_of_the_weights():
    state = {"theta": THETA, "average": THETA + 2}
    after = updated(sme.Averaged(sme.SGD(), c=0.5), state, SEEN, TAU, 0.0)
    torch.testing.assert_close(after["average"], (1 - 0.5 * TAU) * (THETA + 2) + 0.5 * TAU * after["theta"], rtol=1e-14, atol=0)
    start = sme.NAdam(t0=TAU)
    rule, total = sme.Averaged(start, c=0.0), THETA.clone()
    state = {"theta": THETA, "m": THETA, "v": THETA.abs(), "average": THETA}
    for k in range(1, 5):  # the mean of the start and of all since
        state = updated(rule, state, SEEN, TAU, k * TAU)
        total = total + state["theta"]
        torch.testing.assert_close(state["average"], total / (k + 1), rtol=1e-13, atol=0)


@pytest.mark.parametrize("rule", [
    HeavyCentredRMSprop(), sme.Averaged(sme.SGD()), sme.QHM(),
    *(pytest.param(each, marks=pytest.mark.slow)
      for each in (sme.Adadelta(), sme.ScheduleFreeSGD(),
                   sme.AdaBelief(c1=1.5), sme.ScheduleFreeAdamW(), sme.AdEMAMix(), sme.Lion())),
    pytest.param(sme.Scheduled(PlainRMSprop(), Cosine(4.0)), marks=pytest.mark.slow),
    pytest.param(sme.NAdam(), marks=pytest.mark.slow), pytest.param(sme.RAdam(), marks=pytest.mark.slow),
    pytest.param(sme.ASGD(), marks=pytest.mark.slow), pytest.param(DecayedAdagrad(slowing=0.3), marks=pytest.mark.slow)],
    ids=lambda rule: rule.name)
def test_they_are_of_order_two_in_the_ballistic_regime(rule):
    assert sme.check_order(sme.Quadratic(dim=1), rule).proved == 2


@pytest.mark.parametrize(("make", "words"), [
    (lambda: sme.Scheduled(sme.SGD(), math.cos), ["schedule", "Cosine"]),
    (lambda: sme.Scheduled(math.cos, Constant()), ["sme.Optimizer"]),
    (lambda: Line(-1.0, 1.0, 1.0), ["first of Line", "≥ 0"]),
    (lambda: sme.Averaged(sme.SGD(), c=0.0), ["t0 > 0"]), (lambda: sme.Averaged(sme.SGD(), c=-1), ["c must be", "-1"]),
    (lambda: sme.Groups((sme.SGD(),), ((1, 2),)), ["runs must name each of the 1 rules"]),
    (lambda: sme.Groups((sme.SGD(),), (2,)), ["pairs"]),
    (lambda: sme.Groups((sme.SGD(), sme.NAdam()), ((0, 1), (1, 1))), ["agree in t0"]),
    (lambda: sme.NAdam(t0=0.0), ["t0 of NAdam must be > 0"]), (lambda: sme.ASGD(begins=2.0), ["begins at 2", "t0 = 1"]),
    (lambda: sme.Adadelta(rate=0.0), ["rate", "> 0"]), (lambda: sme.Muon(gain="most"), ["gain", "original"]),
    (lambda: sme.QHM(nu=1.5), ["nu", "[0, 1]"]), (lambda: sme.Lion(a=2.0), ["a must", "(0, 1]"]),
    (lambda: sme.ScheduleFreeSGD(beta=1.0), ["beta", "(0, 1)"]), (lambda: sme.Lamb(blocks=(0,)), ["block", "1"])])
def test_what_is_no_part_is_refused(make, words):
    with pytest.raises(sme.SMEError) as refusal:
        make()
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


def test_names_of_parts_know_their_settings_alone():
    def made(end):
        inside = sme.Groups((sme.SGD(), sme.Momentum(2.0)), ((0, 1), (1, 1)))
        return sme.Averaged(sme.Scheduled(inside, Then(Line(0.0, 1.0, 1.0), Cosine(end), 1.0)), c=0.5)

    assert made(2.0).name == "averaged_scheduled_groups_sgd_momentum"
    assert fingerprint(made(2.0)) == fingerprint(made(2.0))
    assert fingerprint(made(2.0)) != fingerprint(made(3.0))
    assert fingerprint(made(2.0))["rule"]["schedule"] == {
        "name": "Then", "first": {"name": "Line", "first": 0.0, "last": 1.0, "end": 1.0},
        "second": {"name": "Cosine", "end": 2.0, "least": 0.0}, "at": 1.0}
