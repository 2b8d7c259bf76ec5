"""Models by name: their formulas by hand, their orders by the moment test, their studies, names and verdicts."""

import dataclasses
import inspect
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import solve_ivp

import sme
from sme.convergence.comparison import duel
from sme.convergence.estimator import paired
from sme.convergence.fit.slopes import Interval, Verdict, fit_constant, judge_limit
from sme.convergence.spec.outline import FILE
from sme.convergence.spec.specification import Specification
from sme.equations.literature import compagnoni, malladi
from sme.equations.models import MODELS, UNCLAIMED
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, regime
from sme.studies.panels import picture, run
from tests.support import committed, models

SLOW = pytest.mark.slow
TAU, TIME = 1 / 16, 2.5
TAUS = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
START = {"theta": torch.tensor([1.0, 0.5], dtype=torch.float64)}
S = np.array([[0.5, 0.2], [-0.1, 0.4]])
SIGMA = np.array([0.29, 0.17])
THETA, M, V = np.array([0.7, -0.4]), np.array([0.3, 0.5]), np.array([0.6, 0.9])
G = np.array([1.4, -0.4])
"""the gradient of `θ₁² + θ₂²/2` at `THETA`"""
DW = np.array([0.3, -0.7])
DIAGONAL = sme.Problem(models.bent, 2, sme.DiagonalNoise(torch.tensor([0.5, 0.4])))
CORRECTED = {"c1": 0.9, "c2": 0.6, "bias_correction": True, "t0": 2.0}


def problem():
    return sme.Problem(lambda theta: theta[0] ** 2 + 0.5 * theta[1] ** 2, 2, sme.GaussianNoise(torch.from_numpy(S)))


def rmsprop(share, root, decay=0.0):
    """Drift and noise with `share` of the squared gradient in `v`, and noise of size `root`."""
    p = 1 / (np.sqrt(V) + 0.1)
    return (-p * G - decay * THETA, 0.7 * (share * G**2 + SIGMA - V)), (-root * p * (S @ DW), 0 * V)


def adam(share, root, ahead, decay=0.0):
    """The same, with `ahead` of the way of the momentum in the drift of `θ`."""
    gamma1, gamma2 = 1 - (1 - 0.9 * TAU) ** (TIME / TAU + 1), 1 - (1 - 0.6 * TAU) ** (TIME / TAU + 1)
    p = np.sqrt(gamma2) / gamma1 / (np.sqrt(V) + 0.1 * np.sqrt(gamma2))
    drift = (-p * (M + ahead * (G - M)) - decay * THETA, 0.9 * (G - M), 0.6 * (share * G**2 + SIGMA - V))
    return drift, (0 * V, root * 0.9 * (S @ DW), 0 * V)


def signs(share, root):
    """The same of signSGD, with `share` of the gradient beside the noise."""
    mean = torch.erf(torch.from_numpy(share * G / np.sqrt(2 * SIGMA))).numpy()
    return (-mean / share,), (-root * np.sqrt(1 - mean**2) * (S @ DW) / np.sqrt(SIGMA),)


ROOT = TAU**0.5
SMALL, LARGE = "ballistic", "batch_equivalent"
BY_HAND = {
    ("malladi", sme.RMSProp(c=0.7), SMALL): rmsprop(0, ROOT),
    ("malladi", sme.RMSProp(c=0.7), LARGE): rmsprop(0, 1),
    ("malladi", sme.Adam(**CORRECTED), SMALL): adam(0, ROOT, 0),
    ("malladi", sme.Adam(**CORRECTED), LARGE): adam(0, 1, 0),
    ("compagnoni", sme.RMSProp(c=0.7), SMALL): rmsprop(1, ROOT),
    ("compagnoni", sme.RMSPropW(c=0.7, decay=0.3), LARGE): rmsprop(TAU, 1, 0.3),
    ("compagnoni", sme.Adam(**CORRECTED), LARGE): adam(TAU, 1, TAU * 0.9),
    ("compagnoni", sme.AdamW(**CORRECTED, decay=0.3), SMALL): adam(1, ROOT, TAU * 0.9, 0.3),
    ("compagnoni", sme.SignSGD(), SMALL): signs(1, ROOT),
    ("compagnoni", sme.SignSGD(), LARGE): signs(ROOT, 1),
    ("ode", sme.RMSProp(c=0.7), SMALL): rmsprop(1, 0),
    ("ode", sme.RMSProp(c=0.7), LARGE): rmsprop(0, 0),
    ("ode", sme.Adam(**CORRECTED), SMALL): adam(1, 0, 0),
}
CASES = [pytest.param(*key, *value, id=f"{key[0]}-{key[1].name}-{key[2]}") for key, value in BY_HAND.items()]


def made(name, optimizer, scaling, kind=None, where=None):
    chosen = MODELS[name]
    return equation(where or problem(), optimizer, regime(scaling), TAU, 1, chosen.brownian[0],
                    kind or chosen.check(optimizer, regime(scaling)))


def terms(one):
    """Drift and noise at the state, field by field."""
    state = {"theta": THETA, "m": M, "v": V}
    x = torch.from_numpy(np.concatenate([state[name] for name in one.optimizer.fields])[None])
    dW = torch.from_numpy(DW[None]) if one.motions else torch.zeros(1, 0)
    return [part[0].reshape(-1, 2).numpy() for part in (one.drift(TIME, x), one.diffuse(TIME, x, dW))]


@pytest.mark.parametrize(("name", "optimizer", "scaling", "drift", "noise"), CASES)
def test_formulas_are_those_written_by_hand(name, optimizer, scaling, drift, noise):
    one = made(name, optimizer, scaling)
    for found, wanted in zip(terms(one), (drift, noise), strict=True):
        np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-12, atol=1e-15)
    assert one.small_noise == (scaling == SMALL or name == "ode")
    assert one.motions == (0 if name == "ode" else 2)


MUTATIONS = [
    (malladi, "self.tau**0.5 * super", "super", "malladi", sme.RMSProp(c=0.7), SMALL),
    (compagnoni, "return -getattr", "return getattr", "compagnoni", sme.RMSPropW(c=0.7, decay=0.3), LARGE),
    (compagnoni, "self.tau * self.optimizer.c *", "self.optimizer.c *", "compagnoni", sme.RMSPropW(c=0.7, decay=0.3), LARGE),
    (compagnoni, "self.tau * self.optimizer.c2 * join", "0 * join", "compagnoni", sme.Adam(**CORRECTED), LARGE),
    (compagnoni, " - factor.gain * p.value * ahead", "", "compagnoni", sme.AdamW(**CORRECTED, decay=0.3), SMALL),
    (compagnoni, "self.tau**0.5 * join(zero", "join(zero", "compagnoni", sme.AdamW(**CORRECTED, decay=0.3), SMALL),
    (compagnoni, "-self.mean(x) / self.share", "-self.mean(x)", "compagnoni", sme.SignSGD(), LARGE),
    (compagnoni, "(1 - self.mean(x).square()).sqrt() * unit", "unit", "compagnoni", sme.SignSGD(), SMALL),
]


@pytest.mark.parametrize(("module", "right", "wrong", "name", "optimizer", "scaling"), MUTATIONS)
def test_a_wrong_term_is_seen(module, right, wrong, name, optimizer, scaling):
    source = inspect.getsource(module)
    assert right in source, "the mutation no longer applies: the equation was rewritten"
    mutant = type(sys)("mutant")
    exec(compile(source.replace(right, wrong), module.__name__, "exec"), mutant.__dict__)
    kind = getattr(mutant, MODELS[name].check(optimizer, regime(scaling)).__name__)
    drift, noise = BY_HAND[name, optimizer, scaling]
    found = terms(made(name, optimizer, scaling, kind))
    assert max(np.abs(one - np.stack(other)).max() for one, other in zip(found, (drift, noise), strict=True)) > 1e-3


@pytest.mark.parametrize("optimizer", [sme.RMSProp(), sme.Adam()], ids=lambda each: each.name)
def test_malladis_equation_is_the_first_order_one_where_noise_dominates(optimizer):
    assert MODELS["malladi"].check(optimizer, BATCH_EQUIVALENT) is type(
        equation(problem(), optimizer, BATCH_EQUIVALENT, TAU, 1, "independent"))


@pytest.mark.parametrize("optimizer", [sme.Nesterov(), sme.AdaBayes(), sme.SignSGD()], ids=lambda each: each.name)
def test_the_ode_of_any_rule_is_the_first_order_drift(optimizer):
    x = models.state(optimizer).unsqueeze(0)
    for noisy in (models.gaussian(True), *([] if optimizer.signed else [models.minibatch(2)])):
        ours = equation(noisy, optimizer, BALLISTIC, TAU, 1, "independent")
        assert torch.equal(made("ode", optimizer, SMALL, where=noisy).drift(0.0, x), ours.drift(0.0, x))


@pytest.mark.parametrize(("name", "optimizer", "scaling", "noisy", "order"), [
    ("malladi", sme.RMSProp(), SMALL, models.gaussian(True), 0),
    pytest.param("malladi", sme.Adam(), LARGE, models.gaussian(True), 1, marks=SLOW),
    pytest.param("malladi", sme.RMSProp(denominator="updated"), LARGE, models.gaussian(True), 1, marks=SLOW),
    pytest.param("compagnoni", sme.RMSPropW(), LARGE, models.gaussian(True), 1, marks=SLOW),
    pytest.param("compagnoni", sme.AdamW(), SMALL, models.minibatch(2), 1, marks=SLOW),
    pytest.param("compagnoni", sme.AdamW(), LARGE, models.gaussian(True), 1, marks=SLOW),
    pytest.param("compagnoni", sme.SignSGD(), SMALL, models.gaussian(True), 1, marks=SLOW),
    ("compagnoni", sme.SignSGD(), LARGE, DIAGONAL, 1),
    ("compagnoni", sme.SignSGD(), LARGE, models.gaussian(False), 0),
    ("ode", sme.AdaGrad(), SMALL, models.gaussian(True), 1),
    pytest.param("ode", sme.Adam(), LARGE, models.gaussian(True), 0, marks=SLOW),
], ids=lambda each: getattr(each, "name", each))
def test_a_model_has_the_order_that_it_claims(name, optimizer, scaling, noisy, order):
    state = {part: models.STATES[part] for part in optimizer.fields}
    found = sme.check_order(noisy, optimizer, scaling, model=name, states=state)
    assert found.proved == order == MODELS[name].claim(noisy, optimizer, regime(scaling), MODELS[name].brownian[0]).order
    assert (UNCLAIMED in found.obstacle) == (order == 0)


class Undecayed(compagnoni.BallisticCompagnoniRMSProp):
    """Without `−λ θ`."""

    def decay(self, theta):
        return 0 * theta


class Unscaled(compagnoni.BatchEquivalentCompagnoniRMSProp):
    """With `c g∘g` in place of `τ c g∘g`."""

    def drift(self, t, x):
        theta, v = self.split(x)
        square = (1 - self.tau) * self.optimizer.c * self.problem.gradient(theta).square()
        return super().drift(t, x) + torch.cat((torch.zeros_like(v), square), -1)


@pytest.mark.parametrize(("kind", "scaling"), [(Undecayed, SMALL), (Unscaled, LARGE)])
def test_the_moment_test_sees_a_wrong_model(kind, scaling):
    assert sme.check_order(DIAGONAL, sme.RMSPropW(), scaling, 1, kind=kind).proved == 0


def test_the_table_of_models_proves_what_is_claimed(tmp_path):
    table = pd.read_csv(committed.results(tmp_path) / "models.csv", keep_default_na=False, na_values=[""])
    tested = {name for name, each in MODELS.items() if each.memory == 1}
    assert set(table["model"]) <= tested  # a younger one is not in the record yet
    assert len(table) == len(set(table["model"])) * 4 * 2 * 4
    held = table.dropna(subset="proved")
    assert (held["claimed"] == held["proved"]).all()
    assert set(held[held["model"] == "compagnoni"]["proved"]) == {0, 0.5, 1}
    assert set(held.query("model == 'malladi' and regime == 'ballistic'")["proved"]) == {0}
    assert table[table["proved"].isna()]["in the way"].notna().all()


@pytest.mark.parametrize("key", [key for key in BY_HAND if key[0] != "ode"], ids=lambda key: f"{key[0]}-{key[1].name}-{key[2]}")
def test_a_model_describes_its_terms(key):
    one = made(*key)
    found = one.describe({name: torch.from_numpy(value) for name, value in
                          {"theta": THETA, "m": M, "v": V}.items() if name in one.optimizer.fields}, t=TIME)
    rows = {f"{term}, {field}" for term, field in found.terms[["term", "field"]].itertuples(index=False)}
    assert rows == set(found.latex)
    assert rows == set(one.latex) or key[0] == "malladi"  # which has the formulas of order 2 as well


def test_studies_of_the_own_model_are_what_they_were(tmp_path):
    (folder,) = committed.results(tmp_path).glob("rmsprop-ballistic-quadratic-independent-fe85ca90")
    spec = sme.load(folder).specification()
    assert spec.name == folder.name
    spec.outline().write(tmp_path, spec.describe(), spec.recipe())
    was, now = (json.loads((place / FILE).read_text()) for place in (folder, tmp_path))
    assert now.pop("recipe").keys() == was.pop("recipe").keys()
    assert now.pop("sha256")  # younger than the record
    assert now == was


def tiny(monkeypatch, pairs=32):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", pairs)


def study(name, optimizer=None, **settings):
    return sme.weak_error(sme.Quadratic(), optimizer or sme.RMSProp(), model=name, start=START, paths=1,
                          **{"tau": 1 / 4, "horizon": 0.5, "backend": "torchsde", **settings})


@pytest.mark.slow
def test_a_study_of_a_model_is_named_after_it_and_grows(monkeypatch, tmp_path, undrawn):
    tiny(monkeypatch)
    begun = study("malladi", results=tmp_path, observables=["mean v"])
    assert begun.name.startswith("rmsprop-ballistic-quadratic-malladi-")
    assert begun.orders == (1,)
    found = sme.load(begun.folder).extend(tau=1 / 8, backend="torchsde")
    assert found.name == begun.name
    assert list(found.errors["tau"]) == [0.25, 0.125]
    assert found.specification().model is MODELS["malladi"]
    assert UNCLAIMED in found.slopes["note"][0]
    study("sme", order=1, results=tmp_path, observables=["mean v"])
    monkeypatch.setattr(picture, "errors", lambda *_: None)
    run.errors(tmp_path, "both", [])
    shown = pd.read_csv(tmp_path / "panels" / "both.csv")
    assert set(shown["equation"]) == {"order 1", "order 1, malladi"}
    assert shown["setting"].nunique() == 1
    assert len({Specification.of(sme.Quadratic(), sme.RMSProp(), SMALL, None, 1.0, START, None, None, name).name
                for name in MODELS}) == len(MODELS)


def test_a_model_without_a_leading_term_is_inconsistent(monkeypatch):
    tiny(monkeypatch)
    found = study("malladi", tau=TAUS, horizon=0.25, observables=["mean theta", "mean v"])
    assert set(found.slopes["verdict"]) == {"inconsistent"}
    assert (found.slopes["slope"] < 0.1).all()
    assert (found.slopes["slope_high"] < 0.5).all()
    assert "v lacks the gradient's square" in found.slopes["note"][0]
    assert "No order claimed: " in str(found)
    low, high = map(float, re.search(r"limit [\d.]+ \[([\d.]+), ([\d.]+)\]", found.slopes["note"][1]).groups())
    whole, lacking = (made(name, sme.RMSProp(), SMALL, where=sme.Quadratic()) for name in ("ode", "malladi"))
    begin, flow = torch.tensor([1.0, 0.5, 1.0, 1.0], dtype=torch.float64), []
    for one in (whole, lacking):  # the limit is that of both drifts, without noise
        ends = solve_ivp(lambda t, x, one=one: one.drift(t, torch.from_numpy(x)[None])[0].numpy(), (0, 0.25), begin, rtol=1e-8)
        flow.append(ends.y[2:, -1].mean())
    assert low < flow[0] - flow[1] < high


def test_the_mean_of_a_quadratic_needs_no_noise(monkeypatch):
    tiny(monkeypatch)
    found = study("ode", regime=LARGE, tau=TAUS, horizon=0.25, observables=["mean theta", "|theta|^2"])
    assert dict(found.slopes.set_index("observable")["verdict"]) == {"mean theta": "consistent", "|theta|^2": "inconsistent"}


def test_an_error_of_a_model_is_its_equations(monkeypatch):
    tiny(monkeypatch)
    plain = study("sme", sme.Adam(), order=1, brownian="none").errors
    pd.testing.assert_frame_equal(study("ode", sme.Adam()).errors, plain)


@pytest.mark.parametrize(("optimizer", "scaling"), [
    (sme.SignSGD(), LARGE), pytest.param(sme.AdamW(), SMALL, marks=pytest.mark.slow)], ids=["signsgd", "adamw"])
def test_a_compiled_model_is_the_same(optimizer, scaling, monkeypatch):
    tiny(monkeypatch)
    one, other = (study("compagnoni", optimizer, regime=scaling, backend=each).errors for each in ("compiled", "torchsde"))
    pd.testing.assert_frame_equal(one, other, rtol=1e-7, atol=1e-12)
    assert (one["error"].abs() > 5 * one["stderr"]).any()


@pytest.mark.slow
def test_models_are_compared_on_common_noise(monkeypatch):
    tiny(monkeypatch)
    monkeypatch.setattr(duel, "FINEST", 16)
    ours, theirs, third = (study(name, regime=LARGE, horizon=0.25, order=1, observables=["mean v"])
                           for name in ("sme", "malladi", "compagnoni"))
    same = theirs.compare(ours, orders=(1, 1), backend="torchsde")
    assert same.names == ("order 1, malladi", "order 1, independent")
    assert (same.table["difference"] == 0).all()
    assert third.compare(theirs, orders=(1, 1), backend="torchsde").table["difference"][0] > 0.01


def test_a_trajectory_follows_the_orders_of_its_model(monkeypatch, tmp_path):
    found = sme.trajectories(sme.Quadratic(), sme.SignSGD(), model="compagnoni", tau=1 / 4, start=START, paths=64, horizon=0.5,
                             backend="torchsde")
    assert set(found.table["curve"]) == {"discrete", "order 1"}


def test_a_model_may_describe_fewer_fields(monkeypatch):
    monkeypatch.setitem(MODELS, "half", dataclasses.replace(MODELS["ode"], name="half", fields=("theta",)))
    spec = Specification.of(sme.Quadratic(), sme.RMSProp(), SMALL, None, 1.0, START, None, None, "half")
    assert list(spec.observables) == ["|theta|^2", "mean theta", "loss"]
    with pytest.raises(sme.SMEError, match="'v', but the equation has theta"):
        Specification.of(sme.Quadratic(), sme.RMSProp(), SMALL, None, 1.0, START, ["mean v"], None, "half")


@pytest.mark.parametrize(("settings", "words"), [
    ({"name": "mallady"}, ["mallady", "did you mean 'malladi'"]),
    ({"name": "malladi", "optimizer": sme.AdamW()}, ["AdamW", "RMSProp and Adam", "model='sme'"]),
    ({"name": "compagnoni", "optimizer": sme.RMSProp(eps_mode="inside")}, ["eps_mode='inside'", "ε outside the root"]),
    ({"name": "malladi", "order": 2}, ["order of model='malladi' must be 1, got 2", "leave order out"]),
    ({"name": "ode", "order": []}, ["empty", "give 1"]),
    ({"name": "ode", "brownian": "independent"}, ["driver='none' alone", "leave driver out"]),
    ({"name": "compagnoni", "brownian": "step"}, ["step", "independent"]),
    ({"name": "ode", "optimizer": sme.SignSGD(), "regime": LARGE}, ["no equation is known for signsgd"]),
])
def test_what_no_model_has_is_refused(settings, words):
    with pytest.raises(sme.SMEError) as caught:
        study(**settings)
    for word in words:
        assert word in str(caught.value)


def test_signs_without_moments_are_refused():
    with pytest.raises(sme.SMEError, match="no moments in closed form"):
        sme.check_order(models.minibatch(2), sme.SignSGD(), model="compagnoni")


def test_kind_and_model_are_one_too_many():
    with pytest.raises(sme.SMEError, match="give one of them"):
        sme.check_order(problem(), sme.RMSProp(), kind=malladi.BallisticMalladiRMSProp, model="malladi")


STEPS = np.array([1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64])


@pytest.mark.parametrize(("errors", "limit"), [
    (0.15 + 0.2 * STEPS, 0.15), (0.02 - 0.3 * STEPS, 0.02), (0.2 * STEPS + 0.1 * STEPS**2, 0)], ids=["large", "small", "none"])
def test_the_limit_of_errors_is_found(errors, limit):
    found = fit_constant(STEPS, errors, 1e-5 + 0 * STEPS, 0 * STEPS, power=0)
    assert limit in found
    assert found.half_width < 0.005


@pytest.mark.parametrize(("first", "limit", "word"), [
    ("consistent", Interval(0.1, 0.05, 0.15), "inconsistent"), ("undecided", Interval(0.1, 0.05, 0.15), "inconsistent"),
    ("consistent", Interval(0.0, -0.01, 0.01), "consistent"), ("consistent", Interval(0.0, -0.2, 0.2), "undecided"),
    ("undecided", Interval(), "undecided"),
])
def test_a_limit_decides(first, limit, word):
    assert judge_limit(Verdict(first), limit, 1.0).word == word
