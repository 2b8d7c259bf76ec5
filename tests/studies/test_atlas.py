"""The atlas of limits: exponents of one step, equations and their approach in each kind of cell."""

import itertools
import sys

import pandas as pd
import pytest
import torch

from sme import Adam, Polynomial, Quadratic, RMSProp, SMEError
from sme.common.process.progress import Lines
from sme.equations.chain import Chain
from sme.studies.atlas.cell import MEMORIES, NOISES, Cell, Limit, equations
from sme.studies.atlas.run import _extrapolated, atlas

START = {name: torch.tensor([value], dtype=torch.float64) for name, value in (("theta", 0.8), ("m", 0.3), ("v", 0.6))}
PROBLEM = Polynomial(noise=0.5)
RMSPROP, ADAM = RMSProp(c=0.5), Adam(c1=0.5, c2=0.5)


def start(optimizer):
    return {name: START[name] for name in optimizer.fields}


@pytest.mark.parametrize(("noise", "memory"), list(itertools.product(NOISES, MEMORIES)))
def test_exponents_of_one_step_are_those_that_the_cell_is_named_for(noise, memory):
    found = Cell(noise, memory).exponents(PROBLEM, RMSPROP, start(RMSPROP))
    q = MEMORIES[memory]
    drift = 1.5 if noise == "pure diffusion" else 1.0  # beyond τ it is lost
    spread = {"ballistic": 2.0, "averaged noise": 1.5, "batch-equivalent": 1.0, "pure diffusion": 1.0}[noise]
    assert [found[name] for name in ("E Δtheta", "Var Δtheta", "E Δv", "Var Δv")] == pytest.approx(
        [drift, spread, q, 2 * q], abs=0.1)


@pytest.mark.parametrize(("noise", "memory"), list(itertools.product(NOISES, list(MEMORIES)[1:])))
@pytest.mark.parametrize("optimizer", [RMSProp(c=0.5), Adam(c1=0.7, c2=0.3)])
def test_the_limit_drifts_and_spreads_as_one_small_step_does(noise, memory, optimizer):
    cell, tau = Cell(noise, memory), 2.0**-30
    state = start(optimizer)
    limit = Limit(cell, PROBLEM, optimizer, state)
    if memory == "slaved":  # at the averages' own equilibrium, which the limit takes for granted
        g = PROBLEM.gradient(state["theta"][None])[0]
        state |= {"v": limit.sigma + (g * g if noise == "ballistic" else 0.0), "m": g if cell.driven else 0.0 * g}
        state = {name: state[name] for name in optimizer.fields}
    moments = cell._moments(PROBLEM, limit.optimizer, state, tau)
    batch = {name: field[None] for name, field in state.items()}
    still, moved = (limit.step(batch, 1.0, torch.full((1, 1), dW, dtype=torch.float64)) for dW in (0.0, 1.0))
    variables = ["theta"] if memory != "dynamic" else optimizer.fields
    for name in variables:
        drift, spread = (float(part) for part in (still[name] - batch[name], moved[name] - still[name]))
        assert moments[f"E Δ{name}"] / tau == pytest.approx(drift, rel=1e-3, abs=1e-3)
        if memory == "slaved" and limit.momentum:  # the noise is in m, whose law one step does not show
            assert abs(spread) == pytest.approx(float(cell.noisy * limit.precondition(state["v"]).value * limit.sigma**0.5))
        else:
            assert moments[f"Var Δ{name}"] / tau == pytest.approx(spread**2, rel=1e-3, abs=1e-3)
    assert all(bool((still[name] == batch[name]).all()) for name in set(batch) - set(variables))


@pytest.mark.parametrize("optimizer", [RMSPROP, Adam(c1=0.7, c2=0.3)])
def test_few_steps_of_a_small_gradient_are_averaged_to_the_slope_of_the_field(optimizer):
    bowl, at, none = Polynomial([0.0, 0.0, 0.5], noise=0.5), torch.full((1, 1), 1e-4, dtype=torch.float64), torch.zeros(1, 1)
    ballistic, noisier = (Limit(Cell(noise, "a few steps"), bowl, optimizer, start(optimizer))
                          for noise in ("ballistic", "averaged noise"))
    steps = [limit.step({"theta": at}, 1.0, none)["theta"] - at for limit in (ballistic, noisier)]
    assert float(steps[0]) == pytest.approx(float(steps[1]), rel=1e-3)
    assert float(steps[1]) == pytest.approx(-1e-4 * float(noisier.slope))
    silent = Limit(Cell("ballistic", "a few steps"), Polynomial([0.0, 0.0, 0.5], noise=1e-9), optimizer, start(optimizer))
    stepped = silent.step({"theta": 1e4 * at}, 1.0, none)["theta"]  # of one sign
    assert float(stepped) == pytest.approx(1 - 1 / (1 + optimizer.eps), rel=1e-5)


@pytest.mark.slow
def test_the_difference_is_what_the_discrete_run_has_more():
    """With frozen averages both drift alike, and only the discrete run has the noise, which adds to `E θ²`."""
    bowl, tau = Polynomial([0.0, 0.0, 0.5], noise=0.5), 2.0**-6
    made = atlas(bowl, [RMSPROP], start(RMSPROP), tau=[2 * tau, tau], paths=512).differences
    row = made[(made["noise"] == "averaged noise") & (made["memory"] == "frozen") & (made["tau"] == tau)].iloc[0]
    p = 1 / (0.6**0.5 + RMSPROP.eps)
    more = sum(p**2 * 0.25 * tau**1.5 * (1 - tau * p) ** (2 * k) for k in range(64))
    assert row["difference"] == pytest.approx(more, rel=0.1)


@pytest.mark.slow
def test_momentum_of_a_shorter_memory_than_v_leaves_the_limit_of_rmsprop():
    silent, differences = Polynomial(noise=0.0), []
    for steps in (256, 4096):
        adam, rmsprop = Adam(c1=0.5 * steps**0.5, c2=0.5), RMSProp(c=0.5)
        chain, limit = (Chain(silent, adam, Cell("ballistic", "dynamic").regime, 1 / steps),
                        Limit(Cell("ballistic", "dynamic"), silent, rmsprop, start(rmsprop)))
        one, other = ({name: field[None] for name, field in start(each).items()} for each in (adam, rmsprop))
        for k in range(steps):
            one, _ = chain.step(one, torch.zeros(1, 1, dtype=torch.float64), k)
            other = limit.step(other, 1 / steps, torch.zeros(1, 1, dtype=torch.float64))
        differences.append(abs(float(one["theta"] - other["theta"])))
    assert differences[1] < 0.02
    assert differences[0] / differences[1] == pytest.approx(4, abs=0.8)  # like √τ


def test_a_series_in_the_root_of_the_step_size_is_extrapolated():
    tau = pd.Series([0.25, 0.0625, 0.015625])
    found = _extrapolated(pd.DataFrame({"tau": tau, "difference": 0.3 - 2 * tau**0.5 + tau, "stderr": 0.0}))
    assert found["extrapolated"] == pytest.approx(0.3)
    fine = (0.3 - 2 * tau**0.5 + tau)[1:].to_numpy()
    assert found["cut"] == pytest.approx(abs(0.3 - (2 * fine[1] - fine[0])))  # linear in √τ, which halves


@pytest.mark.parametrize(("noise", "memory", "optimizer", "allowed"), [
    ("ballistic", "dynamic", RMSPROP, 2e-3), ("ballistic", "a few steps", ADAM, 4e-3),
    ("batch-equivalent", "dynamic", ADAM, 1e-3), ("batch-equivalent", "frozen", RMSPROP, 1e-3),
    ("averaged noise", "frozen", ADAM, 1.5e-3),
])
def test_the_discrete_run_is_at_its_limit_and_not_at_another(noise, memory, optimizer, allowed):
    steps, pairs = 64, 128
    limit, generator = Limit(Cell(noise, memory), PROBLEM, optimizer, start(optimizer)), torch.Generator().manual_seed(0)
    other = Limit(Cell(noise, "slaved" if memory in ("frozen", "dynamic") else "frozen"), PROBLEM, optimizer, start(optimizer))
    chain = Chain(PROBLEM, limit.optimizer, limit.cell.regime, 1 / steps)
    counts = [2 * pairs, *(2 * pairs if each.cell.noisy else 1 for each in (limit, other))]
    runs = [{name: field.expand(count, -1) for name, field in start(optimizer).items()} for count in counts]
    for k in range(steps):
        half = torch.randn(pairs, 1, generator=generator, dtype=torch.float64)
        z = torch.cat((half, -half))
        runs[0], _ = chain.step(runs[0], z, k)
        runs[1:] = [each.step(run, 1 / steps, z[:count] / steps**0.5)
                    for each, run, count in zip((limit, other), runs[1:], counts[1:], strict=True)]
    discrete, own, wrong = (run["theta"].square().mean() for run in runs)
    assert abs(discrete - own) < 10 * allowed
    assert abs(discrete - wrong) > 2 * abs(discrete - own)


def test_the_long_run_variance_of_momentum_alone_is_that_of_the_noise():
    """Where the denominator hardly moves, averaging over a few steps leaves the sum of the noise as it is."""
    optimizer = Adam(c1=0.5, c2=0.5, eps=1e4, v_floor=0.01)
    limit = Limit(Cell("batch-equivalent", "a few steps"), PROBLEM, optimizer, start(optimizer))
    assert float(limit.spread) == pytest.approx(0.5 / 1e4, rel=3e-4)
    assert float(limit.slope) == pytest.approx(1e-4, rel=1e-3)


def test_the_long_run_variance_hardly_depends_on_the_seed(monkeypatch):
    monkeypatch.setattr(sys.modules["sme.studies.atlas.cell"], "HELD", 2**20)
    optimizer, found = Adam(c1=0.5, c2=0.5), []
    for seed in (0, 1, 2):
        monkeypatch.setattr(sys.modules["sme.studies.atlas.cell"], "SEED", seed)
        found.append(float(Limit(Cell("batch-equivalent", "a few steps"), PROBLEM, optimizer, start(optimizer)).spread))
    assert max(found) < 1.007 * min(found)


def test_every_cell_has_equations_of_its_own():
    for momentum in (False, True):
        said = {cell: equations(Cell(*cell), momentum) for cell in itertools.product(NOISES, MEMORIES)}
        assert all("∇" not in text for (noise, _), text in said.items() if noise == "pure diffusion")
        assert all(("dW" in text) == (noise in ("batch-equivalent", "pure diffusion") and not (momentum and memory == "frozen"))
                   for (noise, memory), text in said.items())
    assert equations(Cell("batch-equivalent", "dynamic"), False) == "dθ = −P(v) (∇ dt + S dW); v̇ = c (σ − v)"


def test_the_atlas_has_all_cells_and_files(tmp_path, drawn):
    made = atlas(PROBLEM, [RMSPROP], start(RMSPROP), tau=["1/4", "1/8"], paths=4, results=tmp_path)
    assert len(made.cells) == 16
    assert made.differences["tau"].tolist() == [0.25, 0.125] * 16
    assert {path.name for path in made.folder.iterdir()} == {"atlas.md", "atlas.pdf", "atlas.png", "cells.csv", "differences.csv"}
    assert "extrapolated" in str(made)


@pytest.mark.parametrize(("change", "message"), [
    ({"problem": Quadratic(dim=2)}, "one parameter with constant Gaussian noise, got dim = 2"),
    ({"optimizers": []}, "one or more optimizers, each once"),
    ({"optimizers": [Adam()]}, "so c1 must be < 1"),
    ({"optimizers": [RMSProp(denominator="updated")]}, "denominator=previous"),
    ({"optimizers": [RMSProp(c=0.5, memory=2.0)]}, "its own memory exponent, got rmsprop with memory = 2"),
    ({"tau": ["1/4"]}, "two or more step sizes"),
    ({"tau": ["0.3", "1/4"]}, "must be in .0, 1. and divide the horizon"),
    ({"horizon": float("inf")}, "horizon must be positive and finite"),
    ({"seed": -1}, "seed must be a whole number"),
    ({"start": {"w": 1.0}}, "field in start"),
])
def test_bad_input_is_told(change, message):
    given = {"problem": PROBLEM, "optimizers": [RMSPROP], "start": start(RMSPROP), "tau": ["1/4", "1/8"], "paths": 4} | change
    with pytest.raises(SMEError, match=message):
        atlas(given.pop("problem"), given.pop("optimizers"), given.pop("start"), **given)
    assert not Lines.running  # a log would speak of it for ever
