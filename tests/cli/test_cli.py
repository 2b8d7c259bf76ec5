"""The command line: every option runs, any way of running gives the same bytes, nothing is lost."""

import dataclasses
import io
import itertools
import runpy
import shutil
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import sme
from sme.convergence import collect, runner
from sme.convergence.estimator import paired
from sme.convergence.fit.tables import ERRORS
from sme.convergence.store.points import Point
from sme.simulate.control_variates import controls
from tests.support.few import few
from tests.support.tiny import coarse

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "weak_error.py"
TABLES = ("slopes.csv", "errors.csv", "slopes.md", "slopes.tex", "errors.tex")
JOB = ["optimizer=rmsprop", "order=2", "tau=[1/8,1/16,1/32]", "paths=32768", "horizon=0.25"]


def command(*overrides, results, **options):
    return subprocess.Popen([sys.executable, SCRIPT, *overrides, f"results={results}"], cwd=results.parent,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options)


def finish(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return out, err


def here(monkeypatch, *arguments):
    """Run the script in this process."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def tables(results):
    (folder,) = (path.parent for path in results.glob("*/spec.json"))
    return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """The ladder in one job."""
    results = tmp_path_factory.mktemp("ladder") / "results"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        here(patch, *JOB, "processes=1", f"results={results}")
    return results, out.getvalue(), err.getvalue()


def test_the_job_prints_its_table_and_leaves_its_files(ladder):
    results, out, err = ladder
    (folder,) = (path.parent for path in results.glob("*/spec.json"))
    assert folder.name.startswith("rmsprop-ballistic-quadratic-independent-")
    assert {path.name for path in folder.iterdir()} == {
        "spec.json", "asked", "points", "sums", "errors.png", "errors.pdf", *TABLES}
    assert len(list((folder / "points").iterdir())) == 3
    for word in ("slope [95 %]", "verdict", "integrator bias", "lr", "beta", "noise covariance", folder.name):
        assert word in out
    assert "0.96875" in out  # β = 1 − c τ
    assert err == ""  # no progress bar without a terminal
    assert list(pd.read_csv(results / "slopes.csv").columns) == collect.COLUMNS
    errors = pd.read_csv(folder / "errors.csv")
    assert list(errors.columns) == [*ERRORS, "seeds", "version"]
    assert (errors["paths"] == 32768).all()
    shutil.copytree(results, results.parent / "copy")


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(ladder, tmp_path, monkeypatch, undrawn):
    here(monkeypatch, *JOB, "processes=2", f"results={tmp_path / 'results'}")
    assert tables(tmp_path / "results") == tables(ladder[0])


@pytest.mark.slow
def test_a_multirun_over_tau_gives_the_same_bytes(ladder, tmp_path):
    multirun = ["-m", *JOB[:2], "tau=0.125,0.0625,0.03125", *JOB[3:], "processes=1"]
    finish(command(*multirun, results=tmp_path / "results"))
    assert tables(tmp_path / "results") == tables(ladder[0])
    assert (tmp_path / "results" / "slopes.csv").read_bytes() == (ladder[0] / "slopes.csv").read_bytes()


def test_collect_rebuilds_the_same_tables_and_keeps_the_errors_of_studies_without_points(ladder, tmp_path, undrawn):
    results = tmp_path / "results"
    shutil.copytree(ladder[0], results)
    (folder,) = (path.parent for path in results.glob("*/spec.json"))
    before = tables(results)
    for name in before:
        (folder / name).unlink()
    collect.rebuild(results)
    assert tables(results) == before
    verdicts = pd.read_csv(folder / "slopes.csv")["verdict"].tolist()
    for name in ("points", "asked"):
        shutil.rmtree(folder / name)
    collect.rebuild(results)
    after = tables(results)
    (errors,) = (name for name in before if str(name).endswith("errors.csv"))
    assert after.keys() == before.keys()
    assert after[errors] == before[errors]
    assert pd.read_csv(folder / "slopes.csv")["verdict"].tolist() == verdicts


def test_a_damaged_or_foreign_point_is_named_and_left_out(ladder, tmp_path, undrawn):
    results = tmp_path / "results"
    shutil.copytree(ladder[0], results)
    (folder,) = (path.parent for path in results.glob("*/spec.json"))
    first, second, third = sorted((folder / "points").iterdir())
    first.write_text(first.read_text().replace("1", "2", 1))
    dataclasses.replace(Point.load(second, folder.name), study="another").save(folder / "points")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        collect.rebuild(results)
    said = " ".join(str(warning.message) for warning in caught)
    assert first.name in said
    assert second.name in said
    assert "another" in said
    assert pd.read_csv(folder / "errors.csv")["tau"].nunique() == 1
    assert Point.load(third, folder.name).key.order == 2


def tiny(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)


OPTIONS = [  # those of the documentation's own commands are in test_commands.py
    ["problem=quadratic", "problem.dim=5", "problem.seed=3"],
    ["problem=logistic", "problem.features=30", "problem.batch_size=4", "problem.examples=12"],
    ["problem=logistic", "problem.examples=8", "problem.importance=0.5", "optimizer=sgd", "order=1"],
    ["problem=wells", "problem.noise=gaussian", "problem.scale=0.5", "regime=batch_equivalent", "order=1"],
    ["regime=batch_equivalent", "problem=polynomial"],
    ["problem=polynomial", "problem.law=student", "problem.nu=1", "optimizer=signsgd"],
    ["problem.law=affine", "problem.growth=0.5", "optimizer=sgd"],
    ["problem.law=skewed", "problem.p=0.3", "regime=batch_equivalent", "order=1", "optimizer=sgd"],
    ["brownian=none", "order=1"],
    ["model=compagnoni", "regime=batch_equivalent", "optimizer=rmspropw", "order=null", "brownian=null"],
    ["optimizer=signum", "start.m=-0.5"],
    ["optimizer=adabayes_filter", "optimizer.prior=0.25", "optimizer.decay=0.1", "order=1"],
    ["optimizer=adamw", "optimizer.decay=0.5", "optimizer.eps_mode=inside", "order=1"],
    ["experiment=wells", "tau=[1/8,1/16]", "paths=1"],
    ["experiment=published_quadratic", "tau=[1/4,1/8]", "horizon=1", "times=[0.5,1]", "order=2"],
    ["optimizer=adam", "optimizer.memory=0", "optimizer.c1=0.5", "optimizer.c2=0.3", "model=averaged", "observables=loss"],
    ["optimizer=rmspropw", "optimizer.memory=0", "problem.noise=0", "model=backward", "order=1"],
    ["tau=1/8", "paths=null", "tolerance=0.9"],
    ["times=[0.125,0.25]", "observables=[loss,mean v]", "seed=4", "budget_s=1000"],
]
SAME = [["optimizer=sgd"], ["problem=logistic", "problem.examples=12"], ["regime=batch_equivalent"], ["tau=1/8"],
        ["times=[0.125,0.25]"], ["observables=[loss,mean v]"], ["seed=4"], ["paths=null", "tolerance=0.9"], ["budget_s=1000"]]
"""one at a time, what others of the default run have together"""
DRAWN = "times="


@pytest.mark.parametrize("overrides", few([*OPTIONS, *SAME], 0, 2, 3, 7, 9, 16, 17, 18), ids=" ".join)
def test_every_option_composes_and_runs(overrides, tmp_path, monkeypatch, capsys, request):
    tiny(monkeypatch)
    coarse(monkeypatch)
    if not any(each.startswith(DRAWN) for each in overrides):
        request.getfixturevalue("undrawn")
        monkeypatch.setattr(controls, "LONGEST", 0)
    given = {override.split("=")[0] for override in overrides}
    common = [each for each in ("tau=[1/8,1/16]", "horizon=0.25", "paths=1") if each.split("=")[0] not in given]
    here(monkeypatch, *overrides, *common, "processes=1", f"results={tmp_path}")
    assert "verdict" in capsys.readouterr().out
    assert list(tmp_path.glob("*/errors.png"))
    assert not (pd.read_csv(next(tmp_path.glob("*/errors.csv")))["error"].isna()).any()


def test_a_budget_that_runs_out_says_so(monkeypatch):
    tiny(monkeypatch)
    ticks = itertools.count(0.0, 0.1)  # a clock that no other job on this machine can hurry
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: next(ticks), perf_counter=time.perf_counter))
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], start={"theta": torch.ones(2)},
                           paths=1_000_000, budget_s=0.35, processes=1, order=1)
    assert "points asked for are missing" in str(study)
    assert len(study.points) == 3  # one a tick


@pytest.mark.slow
def test_tolerance_adds_shards_where_they_are_needed(monkeypatch):
    tiny(monkeypatch)
    study = sme.weak_error(sme.Quadratic(), sme.RMSProp(), tau=[1 / 2, 1 / 4], start={"theta": torch.ones(2)},
                           tolerance=0.05, observables=["|v|^2"])
    assert set(study.errors["tau"]) == {1 / 2, 1 / 4}
    assert (study.errors["stderr"] <= 0.05 * study.errors["error"].abs()).all()
    alone = sme.weak_error(sme.Quadratic(), sme.RMSProp(), tau=1 / 4, start={"theta": torch.ones(2)},
                           tolerance=0.05, observables=["|v|^2"])
    here = study.errors.query("tau == 0.25").reset_index(drop=True)
    pd.testing.assert_frame_equal(here, alone.errors, check_exact=True)
