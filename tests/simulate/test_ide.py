"""Memory equations: the integro-differential equation against the ordinary one, its kernels, and published numbers."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from scipy.integrate import quad
from scipy.linalg import expm

import sme
from sme.cli import memory_config
from sme.optimizers.grid import StepGrid
from sme.optimizers.regimes import BALLISTIC
from sme.simulate import noiseless
from sme.simulate.integro import iterated, ordinary, volterra
from sme.simulate.integro.kernels import Fading, Rising
from sme.simulate.integro.losses import regression
from sme.simulate.integro.ordinary import Ordinary
from sme.simulate.setup import Setup
from sme.studies.ide import lagrangian
from sme.studies.ide import run as runs
from tests.support.few import few

PARABOLA = sme.Polynomial([16.0, -8.0, 1.0], noise=0.0)
WELLS = sme.Polynomial([0.25, 0.0, -0.5, 0.0, 0.25], noise=0.0)
TILTED = sme.Polynomial([2.5, -2.0, -2.0, 0.0, 1.5], noise=0.0)
ADAM = {"optimizer": "adam", "lr": 0.1, "beta1": 0.9, "beta2": 0.99}


@pytest.mark.parametrize("kernel", [Fading(0.3, 2.0), Fading(4.0, 0.0), Rising(0.99, 0.05), Rising(0.5, 0.1), Rising(0.2, 0.1)])
def test_a_kernel_is_what_its_equation_answers_to_an_impulse(kernel):
    unit, zero = np.eye(kernel.parts), np.zeros(1)
    matrix = np.stack([kernel.slope(column[:, None], zero)[:, 0] for column in unit], 1)
    impulse = kernel.slope(np.zeros((kernel.parts, 1)), np.ones(1))[:, 0]
    for s in (0.0, 0.03, 0.2, 1.0):
        assert kernel(np.array(s)) == pytest.approx((expm(matrix * s) @ impulse)[0], rel=1e-10, abs=1e-14)
    t = 1e-4 * 0.05
    assert kernel.start(t, np.ones(1))[0, 0] == pytest.approx(quad(kernel, 0, t)[0], rel=1e-3)


@pytest.mark.parametrize("beta", [0.99, 0.6, 0.5, 0.2])
def test_a_rising_kernel_has_weight_one_and_the_two_orders_remember_as_long(beta):
    kernel = Rising(beta, 0.1)
    for power, moment in ((0, 1.0), (1, 0.1 / (1 - beta))):
        found = quad(lambda s, power=power: s**power * kernel(np.array(s)), 0, 40 * 0.1 / (1 - beta), limit=500)[0]
        assert found == pytest.approx(moment, rel=1e-6)


CASES = [
    (PARABOLA, {"optimizer": "adagrad", "lr": 0.1}, 1.0, 15.0),
    (PARABOLA, {"optimizer": "rmsprop", "lr": 0.1, "beta2": 0.0}, 1.0, 3.3),
    (PARABOLA, {"optimizer": "rmsprop", "lr": 0.1, "beta2": 0.9}, 1.0, 6.0),
    (PARABOLA, {"optimizer": "adam", "lr": 0.01, "beta1": 0.0, "beta2": 0.99}, 1.0, 0.3),
    (PARABOLA, ADAM | {"clock": 1}, 1.0, 3.0),
    (WELLS, {"optimizer": "rmsprop", "lr": 0.1, "beta2": 0.99}, -0.1, 1.5),
    (WELLS, ADAM, 0.1, 3.0),
    (WELLS, {"optimizer": "adagrad", "lr": 0.1, "l2": 0.2, "decay": 0.01}, 0.1, 5.0),
    (sme.Quadratic(2), ADAM, [1.0, 0.5], 1.0),
]


@pytest.mark.parametrize(("problem", "given", "start", "horizon"), few(CASES, 0, 3, 4, 5, 7, 8))
def test_both_forms_agree_and_solve_the_equation(problem, given, start, horizon):
    equation = sme.IDE(problem, **given)
    solution = equation.solve(start, horizon)
    times = np.linspace(0, horizon, 81)
    assert np.abs(solution(times) - equation.ordinary(start, times)[:, 0]).max() < 1e-8
    assert solution.residual < 1e-8
    first, second = equation.rule.kernels()
    points, weights = np.polynomial.legendre.leggauss(400)
    for t in horizon * np.array([0.07, 0.6]):  # the integrals again, by another quadrature
        x = t**0.5 * (points + 1) / 2
        past = equation.losses.gradient(solution(x**2))[:, -1]
        m, v = (0.0 if kernel is None else weights @ (t**0.5 * x * kernel(t - x * x) * past**power)
                for kernel, power in ((first, 1), (second, 2)))
        g = equation.losses.gradient(solution(np.array([t])))[0, -1]
        step = equation.rule.step(np.array(t), *(np.array([part]) for part in (g, m, v)))[0]
        assert solution.slope(np.array([t]))[0, -1] == pytest.approx(-step, abs=1e-7)


def test_the_start_is_the_limit_of_the_equation():
    t = np.array([1e-8])
    free = sme.IDE(WELLS, "adagrad", 0.1).solve(0.5, 1e-3)
    assert free(t)[0, 0] - 0.5 == pytest.approx(2 * (0.1 * t[0]) ** 0.5, rel=1e-3)  # θ̇ = √(α/t)
    corrected = sme.IDE(WELLS, **ADAM).solve(0.5, 1e-3)
    ratios = [(1 - beta) / -np.log(beta) for beta in (0.9, 0.99)]
    assert corrected.slope(t)[0, 0] == pytest.approx(ratios[0] / ratios[1] ** 0.5, rel=1e-5)


def test_a_start_without_a_gradient_stays_and_wells_are_symmetric():
    times = np.linspace(0, 0.2, 6)
    for given in (ADAM, {"optimizer": "adagrad", "lr": 0.1}):
        equation = sme.IDE(WELLS, **given)
        assert not equation.solve(0.0, 0.2)(times).any()
        assert not equation.ordinary(0.0, times)[:, 0].any()
        assert not equation.discrete(0.0, 5)["theta"].any()
    assert (equation.solve(0.1, 0.2)(times) == -equation.solve(-0.1, 0.2)(times)).all()


def test_l2_is_a_part_of_the_loss():
    other = sme.Polynomial([0.25, 0.0, -0.5 + 0.25 * 0.4, 0.0, 0.25], noise=0.0)
    times = np.linspace(0, 0.5, 9)
    found = [sme.IDE(problem, **ADAM, l2=l2).solve(0.3, 0.5)(times) for problem, l2 in ((WELLS, 0.4), (other, 0.0))]
    np.testing.assert_allclose(*found, atol=1e-11)


@pytest.mark.parametrize("given", [ADAM, {"optimizer": "rmsprop", "lr": 0.1, "beta2": 0.9}])
def test_the_ordinary_form_is_the_first_order_modified_equation(given):
    equation = sme.IDE(TILTED, **given)
    lr, x, t = 0.1, np.array([[-1.2], [0.7], [2.3]]), 0.4
    c1, c2 = (None if beta is None else (1 - beta) / lr for beta in (equation.rule.beta1, equation.rule.beta2))
    optimizer = (sme.RMSProp(c=c2, eps=1e-8, v_floor=0.0) if c1 is None
                 else sme.Adam(c1=c1, c2=c2, eps=1e-8, bias_correction=True, t0=lr, clock=(0, 0), v_floor=0.0))
    x = x if c1 else x[[0, 2]]
    setup = Setup(TILTED, optimizer, BALLISTIC, 1, "none", StepGrid(1.0, 10), {}, (), {})
    drift = setup.equation().drift(t, torch.from_numpy(x.T.copy())).numpy()[0]
    slope = Ordinary(equation.losses, equation.rule)._slope(x.shape)(t**0.5, x.ravel()) / (2 * t**0.5)
    np.testing.assert_allclose(slope, drift, rtol=1e-12)


@pytest.mark.parametrize("beta", [(0.9, 0.7), (0.5, 0.5)])
def test_the_memories_of_the_second_order_equation_are_those_of_its_kernels(beta):
    equation = sme.IDE(TILTED, "adam", 0.1, beta1=beta[0], beta2=beta[1], clock=1)
    times = np.linspace(0, 0.6, 1201)
    state = equation.ordinary(-1.5, times, order=2, velocity=1.0)[..., 0]
    g = equation.losses.gradient(state[:, :1])[:, 0]
    for kernel, power, found in zip(equation.rule.kernels(2), (1, 2), (state[:, 2], state[:, 4]), strict=True):
        assert found[-1] == pytest.approx(np.trapezoid(kernel(times[-1] - times) * g**power, times), rel=1e-4)
    np.testing.assert_allclose(np.gradient(state[:, 0], times)[5:-5], state[5:-5, 1], atol=1e-3)
    step = equation.rule.step(times[1:], g[1:, None], state[1:, 2:3], state[1:, 4:5])[:, 0]
    force = -20 * (state[1:, 1] + step)
    np.testing.assert_allclose(np.gradient(state[1:, 1], times[1:])[9:-9], force[9:-9], atol=2e-2)


@pytest.mark.slow
def test_the_averages_updated_by_the_gradient_are_nearer_to_the_run():
    equation = sme.IDE(TILTED, "adam", 0.05, beta1=0.9, beta2=0.95, clock=1)
    times = np.arange(21) * 0.05
    run = equation.discrete(-1.5, 20)["theta"][:, 0]
    plain, updated = (np.abs(equation.ordinary(-1.5, times, 2, 1.0, each)[:, 0, 0] - run).max() for each in (False, True))
    assert updated < plain / 2


LAST = [(0.1, 0.9, 0.99, 100, 7.297613896508626e-4), (0.1, 0.9, 0.999, 100, 4.3504334727240e-4),
        (0.01, 0.0, 0.99, 200, 4.594908342703263e-9), (0.01, 0.0, 0.999, 200, 3.918526136903466e-8),
        (0.01, 0.9, 0.99, 200, 2.0813394460139634e-6), (0.01, 0.9, 0.999, 200, 1.1626759536031983e-5)]


@pytest.mark.parametrize(("lr", "beta1", "beta2", "steps", "last"), LAST)
def test_the_published_last_steps_of_the_run(lr, beta1, beta2, steps, last):
    for start in (0.1, -0.1):
        theta = sme.IDE(WELLS, "adam", lr, beta1=beta1, beta2=beta2).discrete(start, steps)["theta"][:, 0]
        assert abs(theta[-1] - theta[-2]) == pytest.approx(last, rel=1e-10)


@pytest.mark.parametrize("given", [{"optimizer": "rmsprop", "lr": 0.1, "beta2": 0.9}, {"optimizer": "adagrad", "lr": 0.1}])
def test_the_run_is_that_of_the_optimizer(given):
    adagrad = given["optimizer"] == "adagrad"
    optimizer = (sme.AdaGrad(eps=1e-9, denominator="updated", v_floor=0.0) if adagrad
                 else sme.RMSProp(c=1.0, eps=1e-8, denominator="updated", v_floor=0.0))
    start = {"theta": torch.tensor([-1.5], dtype=torch.float64), "v": torch.zeros(1, dtype=torch.float64)}
    tau = 0.01 if adagrad else 0.1
    silent = sme.Polynomial([2.5, -2.0, -2.0, 0.0, 1.5], noise=0.0)
    setup = Setup(silent, optimizer, BALLISTIC, 1, "none", StepGrid.of(tau, 20), start, (), {})
    found = sme.IDE(TILTED, **given).discrete(-1.5, 20)["theta"]
    np.testing.assert_allclose(found, noiseless.discrete(setup, range(21))[:, :1].numpy(), rtol=1e-12)


@pytest.mark.parametrize(("order", "velocity"), [(1, 0.0), (2, 2.0)])
def test_the_published_errors_by_their_scheme(order, velocity):
    equation = sme.IDE(TILTED, "adam", 0.01, beta1=0.99, beta2=0.999, clock=1)
    first, second = lagrangian.PUBLISHED[0.01]
    theta = iterated.grid(equation.losses, equation.rule, -1.5, 1500, order, velocity)
    run = equation.discrete(-1.5, 1000)["theta"][:, 0]
    assert abs(theta[5000] - run[1000]) == pytest.approx(first if order == 1 else second[velocity], rel=1e-7)


@pytest.mark.parametrize("given", [ADAM, {"optimizer": "rmsprop", "lr": 0.1, "beta2": 0.95},
                                   pytest.param({"optimizer": "adagrad", "lr": 0.1}, marks=pytest.mark.slow)])
def test_the_order_two_equation_is_nearer_to_the_run_and_of_its_order(given):
    largest = {}
    for lr in (0.05, 0.025) if given is ADAM else (0.05,):
        rates = {name: 1 - (1 - given[name]) * lr / 0.1 for name in ("beta1", "beta2") if name in given}
        equation, begin = sme.IDE(PARABOLA, **(given | {"lr": lr} | rates)), round(0.5 / lr)
        state = equation.discrete(1.0, 2 * begin)
        begun = {name: values[begin] for name, values in state.items()}
        for order in (1, 2):
            found = equation.modified(begun, begin, list(range(begin + 1)), order)
            largest[order, lr] = np.abs(found - state["theta"][begin:]).max()
        assert largest[2, lr] < largest[1, lr] / 5
    if given is ADAM:
        assert largest[1, 0.05] / largest[1, 0.025] == pytest.approx(2, abs=0.4)
        assert largest[2, 0.05] / largest[2, 0.025] == pytest.approx(4, abs=0.8)


def test_a_regression_is_the_mean_square_error_of_its_data():
    problem = regression(slope=2, scatter=0.1, examples=1000, seed=42)
    np.random.seed(42)
    x = np.random.uniform(0, 1, 1000)
    y = 2 * x + np.random.normal(0, 0.1, 1000)
    for theta in (-1.0, 0.0, 2.5):
        assert problem.loss(torch.tensor([[theta]], dtype=torch.float64)).item() == pytest.approx(np.mean((y - theta * x) ** 2))
    times = np.linspace(0, 2.0, 21)
    for given in ADAM, {"optimizer": "adagrad", "lr": 0.1}, {"optimizer": "rmsprop", "lr": 0.1, "beta2": 0.9}:
        equation = sme.IDE(problem, **given)
        solution = equation.solve(0.0, 2.0)
        assert np.abs(solution(times) - equation.ordinary(0.0, times)[:, 0]).max() < 1e-8
    with pytest.raises(sme.SMEError, match="seed below"):
        regression(2, 0.1, 10, 2**32)


@pytest.mark.parametrize(("given", "words"), [
    ({"optimizer": "adams", "lr": 0.1}, "did you mean 'adam'"), ({"optimizer": "adagrad", "lr": 0.0}, "lr must be"),
    ({"optimizer": "adam", "lr": 0.1, "beta1": 0.9}, "beta2 = None"), (ADAM | {"beta2": 1.0}, "must lie in"),
    ({"optimizer": "adagrad", "lr": 0.1, "clock": 1}, "corrects no bias"), (ADAM | {"epss": 1}, "did you mean 'eps'"),
])
def test_bad_hyperparameters_are_named(given, words):
    with pytest.raises(sme.SMEError, match=words):
        sme.IDE(WELLS, **given)


def test_bad_calls_are_named():
    equation = sme.IDE(WELLS, **ADAM)
    for call, words in (
            (lambda: equation.solve(0.1, 0.0), "horizon"), (lambda: equation.solve([0.1, 0.2], 1.0), "shape"),
            (lambda: equation.ordinary(0.1, [1.0, 0.5]), "ascending"), (lambda: equation.ordinary(0.1, [0.0, 1.0], 3), "order"),
            (lambda: equation.discrete(0.1, 0), "steps"),
            (lambda: sme.IDE(WELLS, "adagrad", 0.1).ordinary(0.1, [0.1], 2), "one of Adam"),
            (lambda: sme.IDE(WELLS, "rmsprop", 0.1, beta2=0).modified({}, 1, [0, 1]), "β > 0"),
            (lambda: Rising(0.5, 0.1).modes(), "1/2"),
            (lambda: runs.listed([{"lr": [0.1, 0.2], "steps": 5}]), "as many steps"),
            (lambda: runs.listed([3]), "groups of settings"),
            (lambda: runs.measure({"a": WELLS}, [
                {"loss": "b", "optimizer": "adam", "lr": 0.1, "steps": 5, "start": 1, "beta1": 0.9, "beta2": 0.9}]), "'b'"),
            (lambda: runs.listed([{"lr": 0.1, "steps": 5, "start": []}]), "start is empty"),
            (lambda: equation.solve(0.1, "abc"), "horizon must be a number"),
            (lambda: equation.solve("x", 1.0), "finite numbers"),
            (lambda: equation.ordinary(0.1, [0.0, np.inf]), "finite, ascending"),
            (lambda: equation.ordinary(0.1, [0.1], 2, [1.0, 2.0]), "velocity must be one finite number"),
            (lambda: equation.ordinary(0.1, [0.1], 1, 2.0), "no velocity of its own"),
            (lambda: equation.solve(0.1, 0.1)([0.2]), "known from 0 to 0.1"),
            (lambda: lagrangian.measure([], [], []), "needs rates"),
            (lambda: lagrangian.measure([0.05], [], [100], 0.1), "at least 11 steps"),
            (lambda: runs.measure({"a": WELLS}, [{"loss": "a", "lr": 0.1, "steps": 5, "start": 1}]), "'optimizer'"),
            (lambda: runs.measure({"a": WELLS}, [{"loss": "a", "lr": 0.1, "steps": 5, "start": "x"}]), "start must be")):
        with pytest.raises(sme.SMEError, match=words):
            call()
    with pytest.raises(sme.SMEError, match="problem must be"):
        sme.IDE("wells", **ADAM)


def test_a_solver_that_is_stuck_says_so(monkeypatch):
    monkeypatch.setattr(ordinary, "MOST", 100)
    monkeypatch.setattr(volterra, "PIECES", 5)
    for solve in (lambda each: each.solve(0.1, 1.0), lambda each: each.ordinary(0.1, [1.0])):
        with pytest.raises(sme.SMEError, match=r"cannot be followed beyond t = .*smaller learning rate"):
            solve(sme.IDE(WELLS, **ADAM))


def tiny(**given):
    whole = OmegaConf.to_container(OmegaConf.load("conf/ide.yaml"))
    return OmegaConf.create({name: value for name, value in whole.items() if name not in ("defaults", "hydra")} | given)


@pytest.mark.slow
def test_the_runs_of_the_configuration_are_written(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, place, **_: drawn.append(figure))
    few = [{"loss": "wells", "lr": [0.05], "steps": [12], "start": 0.1, **each} for each in (
        {"optimizer": "adam", "beta1": 0.9, "beta2": 0.99}, {"optimizer": "rmsprop", "beta2": [0.0, 0.9]})]
    said = str(memory_config.run(tiny(results=str(tmp_path), runs=few)))
    assert "IDE − ODE" in said
    assert [len(figure.axes) for figure in drawn] == [2, 2]  # one figure, as PNG and as PDF
    table = pd.read_csv(tmp_path / "ide" / "runs.csv")
    assert table["β₂"].tolist() == [0.99, 0.0, 0.9]
    assert (table["IDE − ODE"] < 1e-8).all()
    assert (table["run − IDE from step 10"] <= table["run − IDE"]).all()
    assert table["run − order 2"].isna().tolist() == [False, True, False]
    assert sorted(each.name for each in (tmp_path / "ide").iterdir()) == ["runs.csv", "runs.md", "wells.pdf", "wells.png"]


def test_a_loss_of_the_configuration_is_a_polynomial_or_a_regression(tmp_path, drawn):
    line = {"slope": 2, "scatter": 0.1, "examples": 20, "seed": 1}
    run = {"loss": "line", "optimizer": "adam", "lr": 0.1, "steps": 2, "start": 0, "beta1": 0.9, "beta2": 0.99}
    memory_config.run(tiny(results=str(tmp_path), losses={"line": line}, runs=[run]))
    assert (tmp_path / "ide" / "line.png").exists()
    for bad, words in (({**line, "slop": 2}, "did you mean 'slope'"), ({"slope": 2}, "scatter is missing"),
                       ({**line, "examples": 0}, "examples must be"), ("x", "list of coefficients")):
        with pytest.raises(sme.SMEError, match=words):
            memory_config.run(tiny(results=str(tmp_path), losses={"line": bad}, runs=[run]))


def test_the_table_of_published_errors_is_written(tmp_path):
    said = str(memory_config.run(tiny(results=str(tmp_path), table="lagrangian", rates=[0.05], epochs=[15], velocities=[2],
                                      horizon=1.0)))
    assert "updated averages, velocity 2" in said
    assert sorted(each.name for each in (tmp_path / "ide").iterdir()) == ["lagrangian.csv", "lagrangian.md"]
    assert pd.read_csv(tmp_path / "ide" / "lagrangian.csv")["published"].isna().all()  # nothing is, of so few steps
    whole = OmegaConf.load("conf/ide.yaml")
    assert dict(zip(whole.rates, whole.epochs, strict=True)) == lagrangian.EPOCHS
    assert whole.horizon == lagrangian.HORIZON
    with pytest.raises(sme.SMEError, match="as many epochs"):
        memory_config.run(tiny(results=str(tmp_path), table="lagrangian", rates=[0.05, 0.1], epochs=[25]))
    with pytest.raises(sme.SMEError, match="did you mean 'runs'"):
        memory_config.run(tiny(results=str(tmp_path), table="run"))
