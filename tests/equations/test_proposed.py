"""An equation of the caller's own: its units, what it may ask for and must give, its name, and every entry that takes it."""

import math
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.convergence.comparison import duel
from sme.convergence.spec.specification import Specification
from sme.equations.drivers.poisson import Poissonised
from sme.equations.registry import equation
from sme.optimizers.regimes import regime

RATE, EPS = 0.5, 0.1
RMS = sme.RMSProp(c=RATE, eps=EPS)
START = {"theta": torch.tensor([1.0, 0.5])}


def gradient_descent(state, tau, t, problem):
    g = problem.gradient(state["theta"])
    return {"theta": -g - tau * problem.hessian(state["theta"], g) / 2}


def kicked(state, dW, tau, t, problem):
    return {"theta": -(tau**0.5) * problem.noise.diffuse(state["theta"], dW)}


SECOND = sme.equation(gradient_descent, kicked)


def slowed(state, tau, t, problem, eta, rho, eps, size):
    """RMSProp in a paper's variables: `v` of the physical gradient, time counted in steps."""
    theta, v = state["theta"], state["v"]
    return {"theta": -eta * problem.gradient(theta) / (v.sqrt() + eps), "v": rho * (size**2 * problem.noise.variance(theta) - v)}


def pushed(state, dW, tau, t, problem, eta, eps, size):
    return {"theta": -eta / (state["v"].sqrt() + eps) * size * problem.noise.diffuse(state["theta"], dW)}


UNITS = {"v": -1, "time": -1}
LETTERS = {"eta": lambda tau: tau**0.5, "rho": lambda tau: RATE * tau, "eps": lambda tau: EPS * tau**-0.5,
           "size": lambda tau: tau**-0.5}
PAPER = sme.equation(slowed, pushed, order=1, units=UNITS, symbols=LETTERS, name="paper")


def test_a_papers_variables_are_those_of_the_package():
    ours = equation(sme.Quadratic(), RMS, regime("batch_equivalent"), 1 / 8, 1)
    theirs = PAPER.at(sme.Quadratic(), RMS, 1 / 8, "batch_equivalent")
    x = torch.tensor([[0.4, -0.3, 0.8, 1.1], [1.0, 0.2, 0.5, 0.9]], dtype=torch.float64)
    dW = torch.tensor([[0.3, -0.2], [0.1, 0.4]], dtype=torch.float64)
    torch.testing.assert_close(theirs.drift(0.3, x), ours.drift(0.3, x), rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(theirs.diffuse(0.3, x, dW), ours.diffuse(0.3, x, dW), rtol=1e-14, atol=1e-15)
    assert (theirs.small_noise, theirs.first, theirs.second, theirs.obstructed) == (False, 2, 0, "")


def test_units_of_every_kind_by_hand():
    """`X = a x`, `s = b t`: `dx = (b/a) f(X, s) dt + (1/a) g(X) √b dW`, in plain numpy."""
    made = sme.equation(lambda state, tau, t: {"theta": state["theta"] * t + state["m"], "m": 2.0},
                        lambda state, dW, tau, t: {"m": state["theta"].square() * dW.sum(-1, keepdim=True) * t}, motions=3,
                        units={"theta": 0.5, "m": lambda tau: 3 * tau, "time": lambda tau: 2 / tau})
    tau, t, theta, m = 0.09, 0.7, np.array([0.4, -0.2]), np.array([0.1, 0.5])
    one = made.at(sme.Quadratic(), sme.Momentum(), tau)
    x = torch.from_numpy(np.concatenate([theta, m])[None])
    dW = np.array([0.2, -0.5, 0.4])
    a, b, clock = tau**0.5, 3 * tau, 2 / tau
    drift = np.concatenate([clock / a * (a * theta * clock * t + b * m), np.full(2, clock / b * 2.0)])
    noise = np.concatenate([np.zeros(2), (a * theta) ** 2 * (math.sqrt(clock) * dW.sum()) * clock * t / b])
    np.testing.assert_allclose(one.drift(t, x)[0].numpy(), drift, rtol=1e-13)
    np.testing.assert_allclose(one.diffuse(t, x, torch.from_numpy(dW[None]))[0].numpy(), noise, rtol=1e-13)
    assert (one.first, one.second) == (2, 1)


def test_moments_are_those_of_a_plain_euler_maruyama():
    """A nonlinear equation in a paper's units against a few lines of numpy with its own random numbers."""
    problem = sme.Polynomial()

    def drift(state, eta, t):
        return {"theta": -eta * torch.sin(state["theta"]) * (1 + t / 20)}

    def diffusion(state, dW, eta, t):
        return {"theta": eta * (0.5 + 0.2 * torch.cos(state["theta"])) * dW}

    made = sme.equation(drift, diffusion, motions=1, order=1, units={"time": -1})
    found = sme.trajectories(problem, sme.SGD(), tau=1 / 8, start={"theta": [0.8]}, model=made, paths=2**12,
                             observables=["theta[0]", "|theta|^2"], histogram="theta[0]", backend="torchsde")
    tau, rng = 1 / 8, np.random.default_rng(0)
    theta, dt = np.full(2**16, 0.8), 1 / 16  # in steps
    for k in range(128):
        noise = rng.standard_normal(len(theta)) * math.sqrt(dt)
        theta = theta - tau * np.sin(theta) * (1 + k * dt / 20) * dt + tau * (0.5 + 0.2 * np.cos(theta)) * noise
    table = found.table[(found.table["curve"] == "order 1") & (found.table["time"] == 1)].set_index("observable")
    for name, sample in (("theta[0]", theta), ("|theta|^2", theta**2)):
        error = math.hypot(table.loc[name, "stderr"], sample.std() / 256)
        assert abs(table.loc[name, "mean"] - sample.mean()) < 4 * error + 4e-4  # and Euler's bias
    assert found.origin in str(found)


@pytest.mark.usefixtures("tiny_runs")
@pytest.mark.parametrize("backend", ["compiled", "torchsde"])
def test_errors_are_those_of_the_same_equation_of_the_package(backend):
    asked = {"tau": [1 / 2, 1 / 4], "start": START, "backend": backend, "order": 2, "paths": 2**15}
    mine, ours = (sme.weak_error(sme.Quadratic(), sme.SGD(), model=model, **asked) for model in (SECOND, "sme"))
    pd.testing.assert_frame_equal(mine.errors, ours.errors, rtol=1e-10)
    assert mine.name.startswith("sgd-ballistic-quadratic-own-")


@pytest.mark.usefixtures("tiny_runs")
def test_nothing_of_ours_is_claimed():
    asked = {"tau": [1 / 2, 1 / 4], "regime": "batch_equivalent", "start": START, "backend": "torchsde", "paths": 2**15}
    right = sme.equation(lambda state, tau, t, problem: {"theta": -problem.gradient(state["theta"]), "v": 0.0}, order=2)
    study = sme.weak_error(sme.Quadratic(), RMS, model=right, **asked)
    assert study.outline.obstruction == ""
    assert study.predicted is None
    assert not study.slopes["note"].str.contains("obstructed|predicted").any()
    said = "The equation 'own' is the caller's: it is held against order 2, with which it was given, and nothing is claimed"
    assert said in str(study)


def averaged(state, tau, t, problem, optimizer):
    theta, v = state["theta"], state["v"]
    g = problem.gradient(theta)
    return {"theta": -g / (v.sqrt() + optimizer.eps), "v": optimizer.c * (g * g + problem.noise.variance(theta) - v)}


def shaken(state, dW, tau, t, problem, optimizer):
    """Of five motions one is idle, and the package's own equation has four."""
    theta, noise = state["theta"], problem.noise.diffuse(state["theta"], dW[:, :2])
    square = 2 * problem.gradient(theta) * noise + problem.noise.second(theta, dW[:, 2:4])
    return {"theta": -(tau**0.5) * noise / (state["v"].sqrt() + optimizer.eps), "v": tau**0.5 * optimizer.c * square}


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_runs")
def test_two_equations_are_compared_on_common_noise(monkeypatch):
    monkeypatch.setattr(duel, "LONGEST", 0)  # no control variates
    asked = {"paths": 2**15, "backend": "torchsde"}
    study = sme.weak_error(sme.Quadratic(), RMS, tau=[1 / 2], start=START, order=1, **asked)
    same = study.compare(model=sme.equation(averaged, shaken, motions=5, order=1), **asked)
    assert same.table["difference"].abs().max() < 1e-13
    assert same.names == ("order 1, independent", "order 1, own")
    assert "is the caller's" in str(same)
    with pytest.raises(sme.SMEError, match="both name the second equation"):
        study.compare(study, model=SECOND)


@pytest.mark.usefixtures("tiny_runs")
def test_two_equations_of_one_name_are_told_apart(monkeypatch):
    monkeypatch.setattr(duel, "LONGEST", 0)
    asked = {"paths": 2**15, "backend": "torchsde"}
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2], start=START, model=built(2.0), **asked)
    found = study.compare(model=built(3.0), **asked)
    row = found.table[found.table["observable"] == "mean theta"]
    assert row["difference"].item() == pytest.approx(0.75 * (math.exp(-2) - math.exp(-3)), rel=1e-5)
    with pytest.raises(sme.SMEError, match="both are the same equation"):
        study.compare(model=built(2.0), **asked)


def test_a_class_of_equations_is_a_model_too():
    class Mine(sme.Equation):
        small_noise = True

        def drift(self, t, x):
            return -self.problem.gradient(x)

        def diffuse(self, t, x, dW):
            return -self.tau**0.5 * self.law.diffuse(x, dW)

    found = sme.check_order(sme.Quadratic(), sme.SGD(), model=Mine)
    assert (found.proved, found.obstacle) == (1, None)
    assert re.search(r"E\[Δθ\[\d\]\] at τ² is off by", found.report)


def drift(state, tau, t):
    return {"theta": -state["theta"]}


def noise(state, dW, tau, t):
    return {"theta": dW}


COUNT = iter(range(10**9))
FAULTS = {
    "no function": (lambda: sme.equation(5), r"drift must be a function drift\(state, tau, t\).*got 5"),
    "a class": (lambda: sme.equation(sme.SGD), "drift must be a function"),
    "too few": (lambda: sme.equation(lambda t, x: x), r"takes \(t, x\), and is called as drift\(state, tau, t\)"),
    "swapped": (lambda: sme.equation(lambda state, t, tau: state), "change the order of its arguments"),
    "names in others' places": (lambda: sme.equation(lambda x, t, h: x), "its t would be tau: change the order"),
    "a letter in a place": (lambda: sme.equation(lambda state, problem, tau: state), "its problem would be tau.*by name, behind"),
    "a symbol in a place": (lambda: sme.equation(drift, lambda s, dW, eta, t: s, symbols={"eta": 0.1}), "its eta would be tau"),
    "unknown letter": (lambda: sme.equation(lambda state, tau, t, eta: state), "asks for 'eta'.*add it to symbols"),
    "no diffusion": (lambda: sme.equation(drift, motions=2), "no diffusion that takes them"),
    "no motions": (lambda: sme.equation(drift, noise, motions=0), "motions is 0"),
    "half a motion": (lambda: sme.equation(drift, noise, motions=1.5), "motions must be a whole number"),
    "order": (lambda: sme.equation(drift, order=3), "order must be 1 or 2"),
    "name": (lambda: sme.equation(drift, name="a/b"), "name must be letters"),
    "units": (lambda: sme.equation(drift, units="physical"), "units must map fields"),
    "unit": (lambda: sme.equation(drift, units={"v": "two"}), r"units\['v'\] must be a number"),
    "zero": (lambda: sme.equation(drift, units={"v": lambda tau: 0.0}), r"units\['v'\] is the factor 0"),
    "time": (lambda: sme.equation(drift, units={"time": lambda tau: -tau}), "of the time positive"),
    "failing unit": (lambda: sme.equation(drift, units={"v": lambda tau: tau["x"]}), r"units\['v'\] fails at τ"),
    "symbols": (lambda: sme.equation(drift, symbols=["eta"]), "symbols must map"),
    "symbol": (lambda: sme.equation(drift, symbols={"a b": 1}), "is no name of an argument"),
    "taken": (lambda: sme.equation(drift, symbols={"tau": 1}), "a name that is taken"),
    "infinite": (lambda: sme.equation(drift, symbols={"eta": math.inf}), r"symbols\['eta'\] is inf"),
    "model": (lambda: sme.check_order(sme.Quadratic(), sme.SGD(), model=5), "model must be 'sme'.*or an equation of your own"),
    "path": (lambda: sme.check_order(sme.Quadratic(), sme.SGD(), model="math.pi"), r"got math\.pi, 3\.14"),
    "both": (lambda: sme.check_order(sme.Quadratic(), sme.SGD(), model=SECOND, kind=sme.Equation), "both name an equation"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_equation_is_said(name):
    make, said = FAULTS[name]
    with pytest.raises(sme.SMEError, match=said):
        make()


GIVEN = {
    "nothing": (lambda state, tau, t: None, "drift must return named fields, got NoneType"),
    "a field that is not there": (lambda state, tau, t: {"thata": state["theta"]}, "unknown field in what drift returns 'thata'"),
    "a field that is asked for": (lambda state, tau, t: {"theta": state["v"]}, "drift asks for 'v', and the state has the"),
    "no field": (lambda state, tau, t: {}, "drift says nothing of theta"),
    "text": (lambda state, tau, t: {"theta": "x"}, "drift of theta must be a tensor of shape"),
    "numpy": (lambda state, tau, t: {"theta": state["theta"].numpy()}, "drift of theta must be a tensor"),
    "a shape": (lambda state, tau, t: {"theta": state["theta"].sum(-1)}, r"has the shape \(\d+,\), and must have \(\d+, 2\)"),
    "a type": (lambda state, tau, t: {"theta": state["theta"].float()}, "is in torch.float32"),
    "a device": (lambda state, tau, t: {"theta": state["theta"].to("meta")}, "on the device meta, and the state on cpu"),
    "a fault": (lambda state, tau, t: {"theta": state["theta"] @ state["theta"]}, "drift fails on fields of shape"),
    "not a number": (lambda state, tau, t: {"theta": state["theta"].abs().neg().log()}, "drift of theta is .* not finite"),
    "a mean over paths": (lambda state, tau, t: {"theta": state["theta"] - state["theta"].mean(0)}, "drift mixes paths"),
    "a count": (lambda state, tau, t: {"theta": state["theta"] + next(COUNT)}, "another value each time"),
}
ENTRIES = [lambda model: sme.check_order(sme.Quadratic(), sme.SGD(), model=model),
           lambda model: sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 4, start=START, model=model)]


@pytest.mark.parametrize("name", GIVEN)
def test_what_a_function_gives_is_tried_before_a_run(name):
    function, said = GIVEN[name]
    for entry in ENTRIES:
        with pytest.raises(sme.SMEError, match=said):
            entry(sme.equation(function))


@pytest.mark.parametrize(("diffusion", "said"), [
    (lambda state, dW, tau, t: {"theta": dW.square()}, "diffusion is not linear in dW"),
    (lambda state, dW, tau, t: {"theta": dW + 1}, "diffusion is not linear in dW"),
    (lambda state, dW, tau, t: {"theta": dW * math.nan}, "diffusion of theta is .* not finite"),
    (lambda state, dW, tau, t: {"theta": dW[:, :1]}, "diffusion of theta has the shape"),
    (lambda state, dW, tau, t: {"theta": torch.randn(dW.shape, dtype=dW.dtype) * dW}, "another value each time"),
])
def test_a_diffusion_is_a_product_with_the_increments(diffusion, said):
    with pytest.raises(sme.SMEError, match=said):
        ENTRIES[0](sme.equation(drift, diffusion))


def test_units_are_those_of_the_optimizer():
    with pytest.raises(sme.SMEError, match="units has 'v', and sgd has the fields theta"):
        ENTRIES[1](sme.equation(drift, units={"v": -1}))


def test_what_is_written_over_is_a_copy():
    def writing(state, tau, t):
        return {"theta": state["theta"].mul_(-1.0)}

    one = sme.equation(writing).at(sme.Quadratic(), sme.SGD(), 1 / 4)
    x = torch.ones(1, 2, dtype=torch.float64)
    assert torch.equal(one.drift(0.0, x), -x)
    assert torch.equal(x, torch.ones_like(x))


def named(model, **more):
    return Specification.of(sme.Quadratic(), sme.SGD(), "ballistic", None, 1.0, START, None, None, model).name


def built(factor, more=0):
    return sme.equation(lambda state, tau, t: {"theta": -factor * state["theta"] + more}, order=1)


def test_a_name_follows_the_functions():
    assert named(built(2.0)) == named(built(2.0))
    others = {named(built(2.0)), named(built(3.0)), named(built(2.0, 1)), named(sme.equation(drift, order=1)),
              named(sme.equation(drift, order=2)), named(sme.equation(drift, noise, order=1)), named(SECOND), named("sme"),
              named(sme.equation(drift, order=1, units={"theta": 1})), named(sme.equation(drift, order=1, symbols={"a": 1})),
              named(sme.equation(drift, order=1, symbols={"a": lambda tau: 2 * tau}))}
    assert len(others) == 11


@pytest.mark.usefixtures("tiny_runs", "undrawn")
def test_a_study_of_a_dotted_path_is_taken_up_again(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text(
        "import sme\ndef drift(state, tau, t, problem):\n    return {'theta': -problem.gradient(state['theta'])}\n"
        "paper = sme.equation(drift, order=1, name='paper')\nfive = 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = {"tau": 1 / 2, "start": START, "paths": 2**15, "backend": "torchsde", "results": tmp_path / "results"}
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), model="mine_here.paper", **asked)
    again = sme.weak_error(sme.Quadratic(), sme.SGD(), model=sys.modules["mine_here"].paper, **asked)
    assert again.folder == study.folder
    assert study.folder.name.startswith("sgd-ballistic-quadratic-paper-")
    loaded = sme.load(study.folder)
    assert "The equation mine_here.paper is the caller's" in str(loaded)
    assert loaded.extend(tau=1 / 4, paths=2**15, backend="torchsde").errors["tau"].tolist() == [0.5] * 3 + [0.25] * 3
    assert "points" not in sme.plan(sme.Quadratic(), sme.SGD(), model="mine_here.paper", **asked).table.columns
    one = sme.weak_error(sme.Quadratic(), sme.SGD(), model=built(2.0), **asked)
    with pytest.raises(sme.SMEError, match=r"no dotted path names the model .*model=…"):
        sme.load(one.folder).extend(tau=1 / 4)
    assert len(sme.load(one.folder, model=built(2.0)).extend(tau=1 / 4, paths=2**15, backend="torchsde").errors) == 6
    with pytest.raises(sme.SMEError, match="are not its own"):
        sme.load(one.folder, model=built(3.0))


@pytest.mark.slow
def test_processes_take_functions_without_a_path():
    asked = {"tau": [1 / 2, 1 / 4], "start": START, "paths": 2**15, "model": built(2.0), "backend": "torchsde"}
    one, two = (sme.weak_error(sme.Quadratic(), sme.SGD(), processes=count, **asked) for count in (1, 2))
    assert one.errors["error"].tolist() == two.errors["error"].tolist()


class Jumping(Poissonised):
    """One's own, driven by jumps: it has the third moment of a batch."""


class Diffusing(type(equation(sme.Logistic(examples=9, batch_size=3), sme.SGD(), regime("batch_equivalent"), 1 / 8, 1))):
    """One's own, driven by Brownian motions."""


class Coarse(Diffusing):
    """One's own, of large step sizes alone."""

    def __init__(self, problem, optimizer, tau, order, brownian):
        if tau < 0.01:
            raise sme.SMEError("tau is too small")
        super().__init__(problem, optimizer, tau, order, brownian)


@pytest.mark.parametrize(("own", "way"), [(Jumping, ""), (Diffusing, "skewness, order 1/2"), (Coarse, "skewness, order 1/2")])
def test_skewed_batches_obstruct_the_callers_diffusions_but_not_their_jumps(own, way):
    problem = sme.Logistic(features=1, examples=20, batch_size=3)
    given = {"theta": torch.full((problem.dim,), 0.3)}
    spec = Specification.of(problem, sme.SGD(), "batch_equivalent", "independent", 1.0, given, None, None, own)
    outline = spec.outline()
    assert outline.obstruction == way
    assert outline.halves  # the errors of all are series in the root of tau
