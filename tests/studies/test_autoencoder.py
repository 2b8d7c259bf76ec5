"""The autoencoder, its lowest curvature, and the race on it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.func import grad, hessian

import sme
from sme.optimizers.regimes import BALLISTIC
from sme.problems import spectrum
from sme.studies.autoencoder import report, run

TINY = {"examples": 12, "hidden": 1}


def test_it_gives_back_its_inputs():
    problem = sme.Autoencoder()
    assert problem.dim == 64 * 16 + 16 + 16 * 64 + 64
    module, theta = problem.model.module, problem.start["theta"][None]
    assert problem.inputs.shape == (256, 64)
    wanted = torch.nn.functional.mse_loss(module(problem.inputs), problem.inputs)
    assert problem.loss(theta).item() == pytest.approx(wanted.item(), rel=1e-12)
    inputs, targets = problem.test
    assert torch.equal(inputs, targets)
    rows = {tuple(row) for row in problem.inputs.tolist()}
    assert not rows & {tuple(row) for row in inputs.tolist()}
    assert sme.Autoencoder(seed=1).describe() != problem.describe()
    assert float(sme.Autoencoder(noise=0.0).noise.variance(theta).max()) == 0


@pytest.mark.parametrize("dense", [1000, 0])
def test_gradient_and_lowest_curvature_are_those_of_the_whole_loss(dense, monkeypatch):
    monkeypatch.setattr(spectrum, "DENSE", dense)
    problem = sme.Autoencoder(**TINY)
    theta = problem.start["theta"] * torch.tensor([[0.5], [1.0]], dtype=torch.float64)
    found = {name: problem.functions()[name](theta) for name in ("|gradient|", "lowest curvature")}
    lowest = torch.stack([torch.linalg.eigvalsh(hessian(problem._whole)(point))[0] for point in theta])
    torch.testing.assert_close(found["lowest curvature"], lowest, rtol=1e-4, atol=1e-6)
    assert lowest[0] != lowest[1]
    slopes = torch.stack([grad(problem._whole)(point).norm() for point in theta])
    torch.testing.assert_close(found["|gradient|"], slopes, rtol=1e-10, atol=0)
    assert problem.lowest_curvature(theta * torch.tensor([[math.nan], [1e200]])).isnan().all()


@pytest.mark.parametrize(("settings", "words"), [({"examples": 1797}, ["below 1797", "1797"]), ({"hidden": 0}, ["hidden", "0"]),
                                                 ({"activation": "tan"}, ["tanh"])])
def test_bad_settings_are_named(settings, words):
    with pytest.raises(sme.SMEError) as caught:
        sme.Autoencoder(**settings)
    for word in words:
        assert word in str(caught.value)


def test_contenders_take_torchs_steps():
    problem, lr = sme.Autoencoder(**TINY, noise=0.0), 0.3
    optimizer, tau = run.OptimizerCase("nesterov", 0.9, ()).scaled(lr)
    theta = problem.start["theta"].clone().requires_grad_()
    torchs = torch.optim.SGD([theta], lr=lr, momentum=0.9, nesterov=True)
    state = {"theta": problem.start["theta"], "m": torch.zeros(problem.dim, dtype=torch.float64)}
    for k in range(10):
        state = optimizer.update(state, BALLISTIC.seen(problem.gradient(state["theta"][None])[0], tau), tau, k * tau)
        theta.grad = problem.gradient(theta.detach()[None])[0]
        torchs.step()
    torch.testing.assert_close(state["theta"], theta.detach(), rtol=1e-12, atol=1e-14)
    for beta in (0.9, 0.99):
        adam, tau = run.OptimizerCase("adam", beta, ()).scaled(0.03)
        assert adam.physical(BALLISTIC, tau) == pytest.approx({"lr": 0.03, "beta1": beta, "beta2": 0.999, "eps": 1e-4})
    rmsprop, tau = run.OptimizerCase("rmsprop", 0.0, ()).scaled(0.03)
    assert rmsprop.physical(BALLISTIC, tau) == pytest.approx({"lr": 0.03, "beta": 0.999, "eps": 1e-4})


@pytest.fixture(scope="module")
def made():
    contenders = (run.OptimizerCase("adam", 0.9, (0.001, 0.01)), run.OptimizerCase("nesterov", 0.9, (1e6, 0.3)))
    return run.race(TINY, steps=2, seeds=2, points=1, contenders=contenders)


def test_a_race_chooses_rates_and_follows_the_runs(made):
    assert made.chosen.set_index("contender")["lr"].to_dict() == pytest.approx({"adam 0.9": 0.01, "nesterov 0.9": 0.3})
    assert len(made.table) == 2 * 2 * 2 * 3 * 3
    problem = sme.Autoencoder(**TINY, seed=1)
    runs = made.table[(made.table["contender"] == "adam 0.9") & (made.table["seed"] == 1) & (made.table["observable"] == "loss")]
    start = problem.loss(problem.start["theta"][None]).item()
    assert runs[runs["step"] == 0]["value"].tolist() == pytest.approx([start] * 3, rel=1e-12)
    theta, m, v = problem.start["theta"], 0.0, torch.full((problem.dim,), run.SECOND, dtype=torch.float64)
    for _ in range(2):
        g = problem.gradient(theta[None])[0]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        theta = theta - 0.01 * m / (v.sqrt() + run.EPS)
    end = runs[(runs["step"] == 2) & (runs["curve"] == "discrete")]["value"].item()
    assert end == pytest.approx(problem.loss(theta[None]).item(), rel=1e-10)


@pytest.mark.slow
def test_order_two_is_closer_to_nesterov(monkeypatch):
    monkeypatch.setattr(run, "TOLERANCE", 1e-7)
    monkeypatch.setattr(run, "EVALUATIONS", 100)
    contenders = (run.OptimizerCase("nesterov", 0.9, (0.03,)),)
    table = report.apart(run.race(TINY, steps=24, seeds=2, points=2, contenders=contenders))
    part = table[table["observable"] == "loss"]
    first, second = (part[part["order"] == order]["rms"].to_numpy() for order in (1, 2))
    assert (second < 0.1 * first).all()


@pytest.mark.slow
def test_a_race_is_written_with_its_intervals(made, tmp_path, drawn):
    mean, low, high = report.interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, high - mean, mean - low) == pytest.approx((2.0, 4.302653 / 3**0.5, 4.302653 / 3**0.5), rel=1e-6)
    report.Autoencoder(made, folder=tmp_path).save()
    words = (tmp_path / "autoencoder.md").read_text(encoding="utf-8")
    assert "Against nesterov 0.9" in words
    assert "order 2 is closer by" in words
    assert len(pd.read_csv(tmp_path / "autoencoder.csv")) == len(made.table)
    assert (tmp_path / "autoencoder.png").stat().st_size > 10_000


def test_a_rate_that_always_diverges_is_refused():
    with pytest.raises(sme.SMEError, match=r"nesterov 0\.9 diverges"):
        run.race(TINY, steps=40, seeds=2, points=1, contenders=(run.OptimizerCase("nesterov", 0.9, (1e9,)),))
