"""Results side by side: what is chosen, what tells it apart, and that no number is changed on the way."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ks_2samp, kstwobign

import sme
from sme.convergence.comparison.comparison import COLUMNS, Comparison
from sme.simulate.control_variates import controls
from sme.studies.panels import picture, run, selection
from tests.support.tiny import tiny

SCRIPT = Path(__file__).parents[2] / "scripts" / "panels.py"
START = {"theta": torch.tensor([1.0, 0.5])}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Studies in two regimes and of the ODE, and trajectories at two noises and two step sizes."""
    place = tmp_path_factory.mktemp("panels") / "results"
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch, 16)
        patch.setattr(controls, "LONGEST", 0)
        for changes in ({}, {"regime": "batch_equivalent", "order": 1}, {"brownian": "none", "order": 1}):
            sme.weak_error(sme.Quadratic(), sme.SGD(), start=START, results=place, backend="torchsde",
                           **{"order": (1, 2), "tau": [1 / 2, 1 / 4], "times": [0.5, 1.0], "paths": 65536, **changes})
        for noise, tau in ((0.5, 1 / 2), (0.25, 1 / 2), (0.25, 1 / 4)):
            sme.trajectories(sme.Quadratic(noise=noise), sme.SGD(), tau=tau, start=START, paths=1, order=1, results=place,
                             backend="torchsde", checkpoints=[0.5, 1.0])
    return place


def read(results, name):
    return pd.read_csv(results / "panels" / f"{name}.csv", keep_default_na=False)


def comments(path):
    """The texts of an SVG."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def test_the_errors_are_those_of_the_studies(results):
    said = str(run.errors(results, "all", ["problem.dim=2", "horizon=1"]))
    joined = read(results, "all")
    assert list(joined["setting"].unique()) == ["ballistic", "batch equivalent"]
    assert set(joined["equation"]) == {"order 1", "order 2", "order 1, ODE"}
    for folder in results.glob("*/errors.csv"):
        theirs = pd.read_csv(folder, keep_default_na=False)
        mine = joined[joined["study"] == folder.parent.name].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine[theirs.columns], theirs)
    assert "order 1, ODE" in said
    assert "slope [95 %]" in (results / "panels" / "all.md").read_text(encoding="utf-8")
    assert "seed 0, all" in said


def test_the_picture_has_a_column_for_each_setting_and_a_row_for_each_error(results, request):
    made = run.errors(results, "two", ["brownian=independent"], ["|theta|^2"])
    table = read(results, "two").astype({"seeds": str})
    assert set(table["observable"]) == {"|theta|^2"}
    request.getfixturevalue("drawn")
    texts = comments(picture.errors(table, made.provenance, results / "two.svg"))
    assert texts.count("ballistic") == texts.count("batch equivalent") == 1
    assert sum("largest over t" in text for text in texts) == 1
    assert sum("t = 1" in text for text in texts) == 1
    assert "order 2" in texts
    assert "order 1, ODE" not in texts


def test_the_distances_are_those_of_the_samples():
    generator = np.random.default_rng(0)
    one, other = generator.normal(0, 1, 400), generator.normal(0.3, 1, 300)
    limits = np.linspace(-8, 8, 4001)
    parts = [pd.DataFrame({"setting": "", "over": "", "variable": "theta[0]", "time": 1.0, "curve": curve,
                           "count": np.histogram(values, limits)[0]})
             for curve, values in (("discrete", one), ("order 1", other))]
    (row,) = run._distances(pd.concat(parts)).itertuples()
    assert row.largest == pytest.approx(ks_2samp(one, other).statistic, abs=0.004)
    assert kstwobign.sf(row.chance / (1 / 400 + 1 / 300) ** 0.5) == pytest.approx(0.05, abs=1e-4)


def test_histograms_that_differ_in_the_step_size_share_a_row(results, request):
    said = str(run.histograms(results, "shared", ["problem.problem=quadratic"], ["tau"]))
    table = read(results, "shared")
    assert list(table["setting"].unique()) == ["noise = 0.25", "noise = 0.5"]
    assert list(table["over"].unique()) == ["τ = 0.5", "τ = 0.25"]  # the finest last, whose equation is drawn
    assert len(table) == 3 * 2
    assert (table["chance"] > 0).all()
    assert "sme " in said
    request.getfixturevalue("drawn")
    apart = str(run.histograms(results, "apart", ["tau=1/4,1/2", "problem.noise=0.25"]))
    assert "τ = 0.25" in apart
    assert "noise" not in apart.split("largest:")[0]
    assert (results / "panels" / "apart.png").stat().st_size > 10_000


@pytest.mark.parametrize(("conditions", "count"), [
    ([], 3), (["brownian=none"], 1), (["regime=ballistic"], 2), (["start.theta=[1.0]"], 0),
    (["problem.noise=1/4", "horizon=1"], 3),
    (["brownian=none,independent"], 3), (["problem.seed=None"], 3), (["horizon=one"], 0),
])
def test_conditions_choose(conditions, count, results):
    there = {folder: selection.settings(folder) for folder in sme.convergence.collect.studies(results)}
    if count:
        assert len(selection.select(there, conditions)) == count
    else:
        with pytest.raises(sme.SMEError, match="none of the 3 results meets"):
            selection.select(there, conditions)


def test_labels_say_what_differs_and_no_more():
    each = [{"optimizer.name": "adam", "optimizer.c1": 1.0, "optimizer.c": 2.0, "horizon": 1.0, "problem.level": 0.5},
            {"optimizer.name": "rmsprop", "optimizer.c": 0.5, "horizon": 1.0, "problem.level": 1.0}]
    assert selection.telling(each) == ["optimizer.name", "problem.level"]
    assert selection.telling(each, ["problem.level"]) == ["optimizer.name"]
    assert selection.label(each[0], ["optimizer.name", "problem.level"]) == "adam, noise level = 0.5"
    scaled = [{"tau": tau, "problem.batch_size": 4 * tau, "problem.level": level} for tau in (1, 2) for level in (0, 1)]
    assert selection.following(scaled, ["tau"]) == ["tau", "problem.batch_size"]
    assert selection.select({Path("one"): {"tau": 0.166667}}, ["tau=1/6"])  # as a folder's name has it
    assert selection.label({"start.theta": [1.5]}, ["start.theta"]) == "start θ = 1.5"


@pytest.mark.parametrize(("arguments", "words"), [
    (["errors", "x", "horizn=1"], "did you mean 'horizon'"), (["errors", "x", "horizon"], "write name=value"),
    (["errors", "x", "horizon=7"], "horizon is 1.0 there"), (["histograms", "x", "tau=3"], "none of the 3 results"),
    (["histograms", "x", "over=[taw]"], "did you mean 'tau'"),
    (["errors", "x", "observables=[loss,|phi|]"], ""), (["errors", "x", "observables=[|phi|]"], "none of these studies has"),
])
def test_the_command_runs_or_names_bad_input(arguments, words, results, monkeypatch, capsys):
    task, name, *rest = arguments
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), f"task={task}", f"name={name}", f"results={results}", *rest])
    if not words:
        runpy.run_path(str(SCRIPT), run_name="__main__")
        assert "slope [95 %]" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_dollars_in_names_are_dollars_in_every_picture(tmp_path, monkeypatch, drawn):
    tiny(monkeypatch, 16)
    name = r"$\undefined$ a $x_{$ b"
    ask = {"start": START, "backend": "torchsde", "order": 1, "tau": 1 / 2, "observables": {name: lambda s: s["theta"].sum(-1)}}
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), paths=32768, results=tmp_path, **ask)
    sme.trajectories(sme.Quadratic(), sme.SGD(), paths=2, points=1, checkpoints=[1.0], histogram=name, results=tmp_path, **ask)
    run.errors(tmp_path, "errors", [])
    run.histograms(tmp_path, "histograms", [])
    rows = [(tau, name, "end", 1.0, -0.1 * tau, 1e-3, 1e-6, -9.0, -1.0, 9.0, 64, 0.0) for tau in (1 / 2, 1 / 4)]
    comparison = Comparison(study.name, ("order 2", "order 1"), pd.DataFrame(rows, columns=COLUMNS), 0, True)
    comparison.plot(tmp_path / "comparison.png")
    assert len(list(tmp_path.rglob("*.png"))) == 6
