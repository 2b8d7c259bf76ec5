"""Trajectories: the curves against closed moments and the weak error, nothing dropped, the same bytes again."""

import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.convergence import collect
from sme.convergence.estimator import paired
from sme.convergence.fit.fieller import factor
from sme.studies.panels import selection
from sme.studies.trajectories import closer, pieces
from sme.studies.trajectories.sample import Paths, Sums
from tests.support.few import few

SCRIPT = Path(__file__).parents[2] / "scripts" / "trajectories.py"
START = {"theta": torch.tensor([1.0, 0.5])}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 64)


def made(optimizer=None, problem=None, **changes):
    arguments = {"tau": 1 / 4, "start": START, "paths": 512, **changes}
    return sme.trajectories(problem or sme.Quadratic(), optimizer or sme.SGD(), **arguments)


def rows(result, **wanted):
    table = result.table
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table.reset_index(drop=True)


@pytest.mark.parametrize("regime", few(["ballistic", "batch_equivalent"], "ballistic"))
def test_the_difference_at_the_end_is_the_weak_error(regime):
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 4, start=START, order=(1, 2), regime=regime, paths=1,
                           observables=["|theta|^2", "theta[0]"])
    end = rows(made(regime=regime, observables=["|theta|^2", "theta[0]"]), time=1.0)
    assert len(study.errors) == 4
    for row in study.errors.itertuples():
        (mine,) = end[(end["observable"] == row.observable) & (end["curve"] == f"order {row.order}")].itertuples()
        assert abs(mine.difference - row.error) < 4 * mine.difference_stderr + 4 * row.stderr
    assert (end["difference_stderr"].dropna() < 0.1 * end["sd"].max()).all()


@pytest.mark.parametrize("regime", few(["ballistic", "batch_equivalent"], "batch_equivalent"))
def test_the_discrete_run_is_the_same_for_each_order(regime):
    first, second = (rows(made(sme.Adam(), tau=1 / 2, regime=regime, order=order), curve="discrete") for order in (1, 2))
    pd.testing.assert_frame_equal(first.drop(columns="floored"), second.drop(columns="floored"), rtol=1e-12)


def test_sgd_on_a_quadratic_has_its_closed_moments():
    A, S, tau = np.array([[1.0, 0.5], [0.5, 1.0]]), 0.25 * np.array([[1.0, 0.5], [0.5, 1.0]]), 1 / 4
    result = made(regime="batch_equivalent", observables=["|theta|^2", "theta[0]"], histogram="theta[0]")
    mean, covariance, step, pairs = np.array([1.0, 0.5]), np.zeros((2, 2)), np.eye(2) - tau * A, 256
    square, first = (rows(result, observable=name, curve="discrete") for name in ("|theta|^2", "theta[0]"))
    for k in range(5):
        if k:
            mean, covariance = step @ mean, step @ covariance @ step.T + tau * S @ S.T
        spread = covariance[0, 0] ** 0.5
        assert first["time"][k] == k * tau
        assert first["mean"][k] == pytest.approx(mean[0], abs=1e-12)  # antithetic: exact
        assert abs(first["sd"][k] - spread) <= 5 * spread / (2 * pairs) ** 0.5
        for column, sign in (("low", -1), ("high", 1)):  # of 512 paths: a standard error of 0.1 sd
            assert abs(first[column][k] - mean[0] - sign * 1.645 * spread) <= 0.5 * spread
        exact = mean @ mean + np.trace(covariance)
        assert abs(square["mean"][k] - exact) <= 5 * square["stderr"][k] + 1e-12
    assert 0 < square["stderr"][4] < 0.05 * square["mean"][4]


@pytest.mark.slow
def test_the_bands_lie_around_the_means_and_start_at_the_start():
    table = made(sme.Adam()).table
    assert list(table["curve"].unique()) == ["discrete", "order 1", "order 2"]
    later = table[table["time"] > 0]
    assert (later["low"] < later["mean"]).all()
    assert (later["mean"] < later["high"]).all()
    assert (later["sd"] > 0).all()
    start = table[table["time"] == 0]
    assert (start[["sd", "stderr"]] == 0).to_numpy().all()
    assert (start[start["observable"] == "|theta|^2"][["mean", "low", "high"]] == 1.25).to_numpy().all()


def test_every_path_is_in_a_histogram():
    result = made(sme.RMSProp(), tau=1 / 2, regime="batch_equivalent", histogram=["theta[1]", "loss"], checkpoints=[0.5, 1.0])
    groups = result.histograms.groupby(["variable", "time", "curve"])
    assert len(groups) == 12
    assert (groups["count"].sum() == 512).all()
    assert groups["low"].min().eq(-np.inf).all()
    inner = result.histograms.dropna()
    inner = inner.assign(share=inner["density"] * (inner["high"] - inner["low"]))
    share = inner.groupby(["variable", "time", "curve"])["share"].sum()
    assert share.between(0.95, 1 + 1e-12).all()


@pytest.mark.slow
def test_pieces_of_any_size_give_the_same_numbers(monkeypatch):
    whole = made(sme.Adam(), tau=1 / 2)
    monkeypatch.setattr(pieces, "HELD", 1)
    monkeypatch.setattr(pieces, "FEWEST", 16)
    parts = made(sme.Adam(), tau=1 / 2)
    same = ["mean", "stderr", "sd", "difference", "difference_stderr", "integrator_bias", "paths", "floored"]
    pd.testing.assert_frame_equal(whole.table[same], parts.table[same], rtol=1e-9)
    assert (whole.table["low"] - parts.table["low"]).abs().max() < 0.3 * whole.table["sd"].max()


def test_diverged_paths_are_counted_and_in_no_mean():
    result = made(problem=sme.Polynomial([0, 0, 0, 0, 1.0], noise=0.5), tau=1 / 2, horizon=4.0, order=1,
                  start={"theta": torch.tensor([0.9])}, observables=["|theta|^2"])
    discrete = rows(result, curve="discrete", observable="|theta|^2")
    assert 0 < discrete["diverged"][0] < 1
    assert discrete["mean"].notna().all()
    counts = result.histograms[result.histograms["curve"] == "discrete"].groupby("time")["count"].sum()
    assert (counts == round(512 * (1 - discrete["diverged"][0]))).all()
    assert f"{discrete['diverged'][0]:.2%}" in str(result)


def _comments(path):
    """The texts of an SVG, which stand before their glyphs."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_a_run_that_diverges_as_a_whole_is_not_silent(tmp_path, drawn):
    result = made(problem=sme.Polynomial([0, 0, 0, 0, 50.0], noise=0.1), tau=1 / 2, horizon=4.0, order=1,
                  start={"theta": torch.tensor([2.0])}, observables=["|theta|^2"], results=tmp_path)
    assert (rows(result, curve="discrete")["diverged"] == 1).all()
    assert rows(result, curve="discrete")["mean"].isna().all()
    assert "100.00%" in str(result)
    result.plot(tmp_path / "curves.svg")
    assert "diverged" in _comments(tmp_path / "curves.svg")
    assert (result.folder / "trajectories.png").exists()


def test_the_ordinary_equation_has_no_spread():
    result = made(brownian="none", order=1)
    equation = rows(result, curve="order 1")
    assert (equation["sd"] < 1e-12).all()
    assert (rows(result, curve="discrete").query("time > 0")["sd"] > 0.01).all()


def test_points_checkpoints_and_step_sizes():
    result = made(tau=["1/16", "1/8"], points=2, checkpoints=[0.25], band="none")
    assert result.tau == 1 / 8
    assert sorted(result.table["time"].unique()) == [0, 0.25, 0.5, 1]
    assert result.histograms["time"].unique() == [0.25]
    assert made(tau=1 / 2).histograms["time"].unique() == pytest.approx([0.5, 1.0])


BAD = [
    ({"checkpoints": [0.3]}, "not a multiple of tau"), ({"checkpoints": [2.0]}, "checkpoints must lie in"),
    ({"band": "wide"}, "unknown band 'wide'"), ({"points": 0}, "points must be a whole number"),
    ({"histogram": "theta[2]"}, "no theta[2]: the problem has dim = 2"), ({"histogram": "q[0]"}, "unknown observable"),
    ({"histogram": []}, "histogram is empty"), ({"tau": []}, "tau is empty"), ({"tau": 0.3}, "whole number of steps"),
    ({"observables": ["thta[0]"]}, "did you mean 'theta[0]'"), ({"paths": 0}, "paths must be"),
    ({"backend": "jit"}, "unknown backend"), ({"tau": "1/2000", "points": 2000}, "too many"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=str)
def test_bad_input_is_named(changes, message):
    with pytest.raises(sme.SMEError) as fault:
        made(**changes)
    assert message in str(fault.value)


def test_sums_merge_as_if_they_were_one():
    values = np.random.default_rng(0).normal(3, 2, (50, 4))
    merged = Sums.of(values[:0]).merge(Sums.of(values[:20])).merge(Sums.of(values[20:])).merge(Sums.of(values[:0]))
    assert merged.centre == pytest.approx(values.mean(0))
    assert merged.sd == pytest.approx(values.std(0, ddof=1))
    assert np.isnan(Sums.of(values[:0]).centre).all()


def command(monkeypatch, *overrides):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *overrides])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.mark.parametrize("overrides", [
    ["experiment=obstruction", "horizon=0.25"],
    pytest.param(["experiment=minibatch", "problem.examples=12", "observables=[loss]"], marks=pytest.mark.slow),
], ids=" ".join)
def test_the_experiments_have_trajectories(overrides, tmp_path, monkeypatch, capsys):
    command(monkeypatch, *overrides, "paths=512", "processes=1", f"results={tmp_path}")
    assert "discrete − equation" in capsys.readouterr().out
    (folder,) = (tmp_path / "trajectories").iterdir()
    steps = {"obstruction": "-tau0.125", "minibatch": "-tau0.5"}
    assert any(name in overrides[0] and folder.name.endswith(tau) for name, tau in steps.items())


@pytest.mark.slow
def test_the_command_gives_the_same_bytes_and_no_study(tmp_path, monkeypatch, drawn):
    for folder in ("one", "two"):
        command(monkeypatch, "optimizer=sgd", "tau=1/4", "band=quantiles", f"results={tmp_path / folder}")
    (first,), (second,) = (list((tmp_path / folder / "trajectories").iterdir()) for folder in ("one", "two"))
    assert first.name == second.name
    pictures = {f"{name}.{kind}" for name in ("trajectories", "histograms") for kind in ("png", "pdf")}
    names = {"spec.json", "trajectories.csv", "histograms.csv", "closer.csv", *pictures}
    assert {path.name for path in first.iterdir()} == {*names, "sums"}
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    written = pd.read_csv(first / "trajectories.csv")
    assert list(written.columns[-2:]) == ["seeds", "version"]
    assert first.name.rpartition("-tau")[0].encode() in (first / "trajectories.png").read_bytes()
    assert collect.studies(tmp_path / "one") == []


def test_the_command_names_bad_input(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        command(monkeypatch, "histogram='theta[7]'", f"results={tmp_path}")
    assert "error: there is no theta[7]" in capsys.readouterr().err


@pytest.mark.slow
def test_the_scaling_rule_takes_batch_and_noise_from_the_step_size(tmp_path, monkeypatch, capsys):
    short = ["horizon=0.04", "checkpoints=[0.04]", "paths=1", "backend=torchsde", f"results={tmp_path}"]
    command(monkeypatch, "experiment=scaling", "tau=1/100", *short)
    (spec,) = tmp_path.glob("trajectories/*/spec.json")
    problem = selection.settings(spec.parent)
    assert (problem["problem.batch_size"], problem["problem.scale"]) == (4, pytest.approx(0.1))
    for override, message in (("problem.scale=${power:1,2}", "has 2 parts"), ("tau=[1/50,1/100]", "must be a number")):
        with pytest.raises(SystemExit):
            command(monkeypatch, "experiment=scaling", override, *short)
        assert message in capsys.readouterr().err


def network():
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).unsqueeze(1)
    return sme.Network(torch.nn.Linear(1, 1), (x, 2 * x + x**2), "mse", batch_size=2)


@pytest.mark.slow  # 10 s of CPU
def test_a_network_has_more_discrete_runs_which_are_the_first_ones_and_further_ones(monkeypatch):
    problem = network()
    options = {"start": None, "tau": 1 / 2, "observables": ["loss"], "histogram": ["loss"], "points": 1, "response": True}
    few = made(problem=problem, paths=16, **options)
    monkeypatch.setattr(pieces, "MORE", 1)
    many, same = made(problem=problem, paths=256, **options), made(problem=problem, paths=16, **options)
    end = {"time": 1.0, "observable": "loss"}
    wide, plain, deep = (rows(each, curve="discrete", **end).iloc[0] for each in (few, same, many))
    assert (wide["paths"], plain["paths"]) == (256, 16)
    assert [wide[name] for name in ("mean", "stderr", "sd")] == pytest.approx([deep[name] for name in ("mean", "stderr", "sd")])
    for order in ("order 1", "order 2"):
        mine, theirs = (rows(each, curve=order, **end).iloc[0] for each in (few, same))
        assert (mine["paths"], mine["mean"], mine["stderr"]) == (16, theirs["mean"], theirs["stderr"])
        assert mine["difference"] == pytest.approx(wide["mean"] - mine["mean"], rel=1e-12)
        assert mine["difference_stderr"] == pytest.approx(np.hypot(wide["stderr"], mine["stderr"]), rel=1e-12)
    counted = few.histograms[few.histograms["time"] == 1.0].groupby("curve")["count"].sum()
    assert counted.to_dict() == {"discrete": 256, "order 1": 16, "order 2": 16}


@pytest.mark.parametrize(("problem", "more"), [
    (network(), 31 * 8), (sme.Quadratic(), 0), (sme.Logistic(features=1, examples=8), 0), (ranked := network(), 0)],
    ids=["network", "paired", "no network", "batches that follow the increments"])
def test_further_pairs_are_those_behind_the_equations(problem, more, monkeypatch):
    ranked.noise = ranked.noise.changed(coupling="ranked")
    monkeypatch.setattr(pieces, "MORE", 32)
    monkeypatch.setattr(paired, "chunk", lambda setup: 5)
    setups = {1: SimpleNamespace(problem=problem, steps=4, marks=(4,), observables={"loss": None})}
    mine, further = ([(block[2:], pair) for block, pairs in taken for pair in pairs]
                     for taken in (pieces.pieces(setups, 3, 16), pieces.further(setups, 3, 16, pieces.MORE)))
    assert mine == [((0, 0), pair) for pair in range(8)]
    assert further == [((0, pair // 64), pair % 64) for pair in range(8, 8 + more)]


def test_how_much_closer_of_independent_runs_is_that_of_their_means():
    """Against own numpy: the variances of both errors and their covariance, in which the discrete run is in both."""
    rng = np.random.default_rng(5)
    discrete, one, two = rng.normal(size=400) + 3, rng.normal(size=(2, 40)) + 1, rng.normal(size=(2, 40))
    curves = [Paths(*[each[:, :, None, None]] * 3, 0) for each in (one, one + 0.5 * two)]
    apart = Sums.of(discrete[:, None, None])
    (row,) = closer.table(closer.sums(None, *curves), ["loss"], np.array([1.0]), apart).itertuples()
    first, second = one.mean(0), (one + 0.5 * two).mean(0)
    noise = np.cov(first, second) / 40 + discrete.var(ddof=1) / 400
    assert (row.error_1, row.error_2) == pytest.approx((discrete.mean() - first.mean(), discrete.mean() - second.mean()))
    assert (row.stderr_1**2, row.stderr_2**2) == pytest.approx((noise[0, 0], noise[1, 1]))
    wanted = factor([row.error_1, row.error_2], (noise[0, 0], noise[1, 1], noise[0, 1]), 40)
    assert (row.factor, row.low, row.high) == pytest.approx(wanted)


@pytest.mark.slow
def test_reshuffled_epochs_stand_beside_independent_steps():
    """Order 2 that knows the epochs is an ODE for one example a batch: closer than the equation of independent steps."""
    slopes = torch.tensor([1.4, -0.3, -1.1, 0.0], dtype=torch.float64)

    def example(theta, slope):
        return 0.5 * theta[0] ** 2 + 0.3 * theta[0] ** 4 + slope * theta[0]

    law = sme.MinibatchNoise(example, (slopes,), 1, sampling="reshuffled")
    problem = sme.Problem(lambda theta: (0.5 * theta[0] ** 2 + 0.3 * theta[0] ** 4), 1, law)
    found = made(problem=problem, tau=1 / 4, start={"theta": torch.tensor([1.0])}, observables=["|theta|^2"], backend="torchsde",
                 order=2, substeps=4, points=1, checkpoints=[1.0], paths=256)
    assert list(found.table["curve"].unique()) == ["discrete", "order 2", "order 2, independent steps"]
    one, other = (rows(found, curve=name, time=1.0)["difference"][0] for name in ("order 2", "order 2, independent steps"))
    (row,) = found.epochs[found.epochs["time"] == 1].itertuples()
    assert row.error_1 == pytest.approx(other)
    assert row.error_2 == pytest.approx(one)
    assert abs(other) > 2 * abs(one)
    assert row.low > 1
    assert "order 2 is closer by" in str(found)
