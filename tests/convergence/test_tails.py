"""Observables without a variance under heavy tails: found for any rule, said, and given no interval; and capped ones."""

import json
import math
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special

import sme
from sme.convergence.estimator.estimates import estimates
from sme.convergence.fit import tails
from sme.convergence.fit.tables import ERRORS, HIDDEN, slopes
from sme.convergence.fit.tails import MEAN, VARIANCE
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.spec.specification import Specification
from sme.equations.chain import Chain
from tests.support.tiny import tiny

START = {"theta": torch.tensor([0.8, -0.4])}


def loss(theta):
    return 0.7 * theta.square().sum() + 0.3 * theta[..., 0]


def spec(optimizer, nu=6.0, regime="ballistic", observables=None, problem=None):
    problem = problem or sme.Problem(loss, 2, sme.StudentNoise(nu, 0.3))
    return Specification.of(problem, optimizer, regime, None, 1.0, START, observables, None)


def growth(optimizer, **changes):
    given = spec(optimizer, **changes)
    return tails.growth(Chain(given.problem, optimizer, given.regime, tails.TAU), given.start, given.observables)


class Cubed(sme.Optimizer):
    """An own rule whose average takes the cube of the gradient, and whose step is bounded in it."""

    fields = ("theta", "w")
    defaults: ClassVar = {"w": 0.1}

    def update(self, state, gradient, tau, t):
        w = state["w"] + tau * (gradient.square * gradient.step / tau - state["w"])
        return {"theta": state["theta"] - tau * torch.atan(w), "w": w}


@pytest.mark.parametrize("regime", ["ballistic", "batch_equivalent"])
def test_growth_in_the_noise_is_that_of_the_rule(regime):
    assert growth(sme.SGD(), regime=regime) == pytest.approx({"|theta|^2": 2, "mean theta": 1, "loss": 2}, abs=0.02)
    adam = growth(sme.Adam(), regime=regime)
    assert adam == pytest.approx({"|theta|^2": 2, "|m|^2": 2, "|v|^2": 4, "mean theta": 1, "mean v": 2, "loss": 2}, abs=0.02)
    updated = growth(sme.RMSProp(denominator="updated"), regime=regime)
    assert updated == pytest.approx({"|theta|^2": 0, "|v|^2": 4, "mean theta": 0, "mean v": 2, "loss": 0}, abs=0.02)


def test_growth_of_own_rules_observables_and_losses():
    own = {"w": lambda s: s["w"].sum(-1), "root": lambda s: s["w"][:, 0].abs().sqrt(),
           "log": lambda s: s["w"].square().sum(-1).log(), "side": lambda s: s["w"][:, 1].clamp(min=0),
           "theta": lambda s: s["theta"].sum(-1), "cap": "|w|^2 capped at 3",
           "far": lambda s: (s["w"][:, 0] > 1e3).to(torch.float64)}
    found = growth(Cubed(), observables=own)
    assert found == pytest.approx({"w": 3, "root": 1.5, "log": 0, "side": 3, "theta": 0, "cap": 0, "far": 0}, abs=0.1)
    quartic = sme.Problem(lambda t: 0.25 * (t**4).sum(), 2, sme.StudentNoise(9.0, 0.3))
    assert growth(sme.SGD(), problem=quartic, observables=["mean theta", "theta[0] capped at 2"]) == pytest.approx(
        {"mean theta": 27, "theta[0] capped at 2": 0}, abs=0.5)  # three steps of a cubic drift


@pytest.mark.parametrize(("nu", "variance", "mean"), [
    (2.5, {"|theta|^2", "|m|^2", "loss", "mean v"}, {"|v|^2"}), (4.0, {"|theta|^2", "|m|^2", "loss", "mean v"}, {"|v|^2"}),
    (4.1, {"|v|^2"}, set()), (8.0, {"|v|^2"}, set()), (8.1, set(), set())])
def test_doubts_follow_the_moments_of_the_law(nu, variance, mean):
    chain = Chain(sme.Problem(loss, 2, sme.StudentNoise(nu, 0.3)), sme.Adam(), sme.optimizers.regimes.BALLISTIC, tails.TAU)
    start = {"theta": START["theta"].double(), "m": torch.zeros(2, dtype=torch.float64), "v": torch.ones(2, dtype=torch.float64)}
    named = sme.simulate.observables.default(chain.problem, chain.optimizer, ("theta", "m", "v"))
    chain.problem.check(start["theta"])
    found = tails.doubts(chain, start, named)
    assert {name for name, word in found.items() if word == VARIANCE} == variance
    assert {name for name, word in found.items() if word == MEAN} == mean


def test_other_laws_leave_no_doubt_and_svag_those_of_its_law():
    assert spec(sme.Adam(), problem=sme.Quadratic()).outline().doubts == {}
    law = sme.StudentNoise(6.0, 0.3)
    law.check(2)
    assert spec(sme.RMSProp(), problem=sme.Problem(loss, 2, sme.SVAGNoise(law, 2))).outline().doubts == {"|v|^2": VARIANCE}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch)
        return sme.weak_error(sme.Problem(loss, 2, sme.StudentNoise(6.0, 0.3)), sme.RMSProp(), start=START, paths=1,
                              tau=[1 / 2, 1 / 4, 1 / 8], order=2, results=tmp_path_factory.mktemp("tails"), backend="torchsde",
                              observables=["|v|^2", "mean v", "|v|^2 capped at 2"])


def test_intervals_are_withheld_and_said_why(study):
    errors, slopes = study.errors.set_index("observable"), study.slopes.set_index("observable")
    assert errors.loc["|v|^2", "stderr"].isna().all()
    assert errors.loc["|v|^2", "error"].notna().all()
    assert slopes.loc["|v|^2", ["slope_low", "slope_high", "c1_low", "c1_high"]].isna().all()
    assert tuple(slopes.loc["|v|^2", ["verdict", "note"]]) == ("undecided", VARIANCE)
    for name in ("mean v", "|v|^2 capped at 2"):
        assert (errors.loc[name, "stderr"] > 0).all()
        assert "infinite" not in slopes.loc[name, "note"]
    assert " ± –" in str(study)
    assert "nan" not in str(study)
    assert "capped at 100" in str(study)


def test_a_study_that_is_loaded_withholds_as_well_and_can_be_made_again(study):
    assert json.loads((study.folder / "spec.json").read_text())["doubts"] == {"|v|^2": VARIANCE}
    again = sme.load(study.folder, problem=study.known.problem)
    pd.testing.assert_frame_equal(again.slopes, study.slopes)
    assert again.specification().name == study.name


@pytest.mark.slow
def test_trajectories_withhold_them_as_well():
    made = sme.trajectories(sme.Problem(loss, 2, sme.StudentNoise(6.0, 0.3)), sme.RMSProp(), start=START, tau=1 / 2, paths=64,
                            observables=["|v|^2", "mean v"], backend="torchsde", seed=1)
    heavy = made.table[(made.table["observable"] == "|v|^2") & (made.table["time"] > 0)]
    assert heavy.loc[heavy["curve"] == "discrete", ["stderr", "sd"]].isna().all(axis=None)
    assert heavy.loc[heavy["curve"] != "discrete", "difference_stderr"].isna().all()
    assert heavy.loc[heavy["curve"] != "discrete", ["stderr", "sd", "difference"]].notna().all(axis=None)
    assert made.closer.loc[made.closer["observable"] == "|v|^2", ["low", "high"]].isna().all(axis=None)
    other = made.table[(made.table["observable"] == "mean v") & (made.table["time"] > 0)]
    assert (other["stderr"] > 0).all()
    assert "|v|^2: infinite variance, so no standard error" in str(made)
    assert "± nan" not in str(made)


@pytest.mark.slow
def test_a_tolerance_does_not_wait_for_what_has_no_variance(monkeypatch):
    tiny(monkeypatch)
    made = sme.weak_error(sme.Problem(loss, 2, sme.StudentNoise(6.0, 0.3)), sme.RMSProp(), start=START, tau=1 / 2, order=1,
                          tolerance=0.9, backend="torchsde", observables=["|v|^2", "mean v"])
    assert len(made.points) < 6
    assert "Not every standard error" not in str(made)


def test_capped_observables_are_cut_off_on_both_sides_and_named_by_their_number():
    named = sme.simulate.observables.select(sme.Quadratic(), sme.SGD(), ["theta[0] capped at 3/2", "|theta|^2 capped at 2"])
    state = {"theta": torch.tensor([[-9.0, 0.0], [0.5, 1.0], [4.0, 1.0]], dtype=torch.float64)}
    assert named["theta[0] capped at 3/2"](state).tolist() == [-1.5, 0.5, 1.5]
    assert named["|theta|^2 capped at 2"](state).tolist() == [2, 1.25, 2]
    one, other, two = (spec(sme.SGD(), observables=[f"|theta|^2 capped at {limit}"]).describe()["observables"]
                       for limit in ("2", "2.0", "3"))
    assert list(one.values()) == list(other.values()) != list(two.values())


@pytest.mark.parametrize(("name", "words"), [("|v|^2 capped at x", "cap of observable"), ("|v|^2 capped at -1", "positive"),
                                             ("nothing capped at 1", "nothing"), ("v[9] capped at 1", "no v\\[9\\]")])
def test_bad_caps_are_one_line(name, words):
    with pytest.raises(sme.SMEError, match=words):
        sme.simulate.observables.select(sme.Quadratic(), sme.RMSProp(), [name])


def characteristic(t, nu):
    x = math.sqrt(nu) * abs(t)
    return special.kv(nu / 2, x) * x ** (nu / 2) / (special.gamma(nu / 2) * 2 ** (nu / 2 - 1))


def sgd(nu, tau, begin=1.2, scale=0.5):
    """The errors of `E cos(2θ)` and `E θ²` on ½ θ², from the characteristic function of Student variates."""
    steps = round(1 / tau)
    weights = tau * scale * (1 - tau) ** np.arange(steps)
    mean, variance = (1 - tau) ** steps * begin, scale**2 * nu / (nu - 2)
    chain = math.cos(2 * mean) * np.prod([characteristic(2 * w, nu) for w in weights])
    rate = 1 + tau / 2
    middle, spread = begin * math.exp(-rate), tau * variance * (1 - math.exp(-2 * rate)) / (2 * rate)
    return (chain - math.cos(2 * middle) * math.exp(-2 * spread),
            mean**2 + (weights**2).sum() * nu / (nu - 2) - middle**2 - spread)


@pytest.mark.slow
@pytest.mark.parametrize("nu", [3.0, 5.0, 7.0, 10.0])
def test_what_is_printed_covers_the_truth(nu):
    """Over 200 seeds at least 92 % of the 95 % intervals, of every row that has one."""
    observables = {"cos": lambda s: torch.cos(2 * s["theta"][:, 0]), "square": "|theta|^2", "exact": "theta[0]"}
    problem = sme.Problem(lambda t: 0.5 * t.square().sum(), 1, sme.StudentNoise(nu, 0.5))
    given = Specification.of(problem, sme.SGD(), "ballistic", None, 1.0, {"theta": torch.tensor([1.2])}, observables, None)
    doubts = given.outline().doubts
    assert doubts == ({"square": VARIANCE} if nu <= 4 else {})
    setup = runner.ready({(2, 4): given.setup(2, 4)}, "auto")[2, 4]
    hits = []
    for seed in range(200):
        found = estimates([[block] for block in paired.run_shard(setup, seed, 0)], 3, 3)
        hits.append(np.abs(found.mean[0, :2] - sgd(nu, 1 / 4)) < 1.96 * np.hypot(found.stderr[0, :2], found.mean[1, :2]))
    covered = np.mean(hits, 0)
    assert covered[0] >= 0.92
    if "square" not in doubts:
        assert covered[1] >= 0.92


@pytest.mark.parametrize(("optimizer", "regime", "nu", "left"), [
    (sme.SGD(), "ballistic", 2.4, 1.4), (sme.Momentum(c=0.8), "ballistic", 2.7, 1.7), (sme.RMSProp(), "ballistic", 5.0, 1.5),
    (sme.AdaGrad(eps=0.1), "ballistic", 4.4, 1.2), (sme.SGD(), "batch_equivalent", 3.0, 0.5),
    (sme.SignSGD(), "ballistic", 2.4, 2),
])
def test_rows_above_the_order_that_the_tail_leaves_say_so(optimizer, regime, nu, left):
    outline = spec(optimizer, nu=nu, regime=regime).outline()
    assert min(outline.tail, 2) == pytest.approx(left)
    table = pd.DataFrame([(order, tau, "mean theta", "end", 1.0, tau**order / 9, 1e-6, 1e-9, 99, 0.0, 0.0, tau / 5, 1e-6, 1, "")
                          for order in (1, 2) for tau in (0.25, 0.125, 0.0625)], columns=[*ERRORS, *HIDDEN])
    notes = slopes(table, "", tail=outline.tail).set_index("order")["note"]
    assert [f"order {left:g} in general" in notes[order] for order in (1, 2)] == [left < order for order in (1, 2)]


def test_a_specification_keeps_the_order_that_the_tail_leaves(tmp_path):
    heavy, light = spec(sme.SGD(), nu=2.3), spec(sme.SGD(), problem=sme.Problem(loss, 2, sme.GaussianNoise(torch.eye(2))))
    for given in (heavy, light):
        given.outline().write(tmp_path, given.describe(), given.recipe())
        assert StudyMetadata.read(tmp_path) == given.outline()
        assert ("tail" in json.loads((tmp_path / "spec.json").read_text())) == (given is heavy)
