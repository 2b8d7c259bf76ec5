"""Studies that grow: loaded, extended, compared, interrupted; with parts of the user's own."""

import math
import os
import pty
import re
import runpy
import shutil
import signal
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.convergence.comparison import duel
from sme.convergence.estimator import crossfit, linear, paired
from sme.convergence.spec.specification import Specification
from sme.convergence.store.points import Point
from sme.simulate.control_variates import controls

ROOT = Path(__file__).parents[2]
START = {"theta": torch.tensor([1.0, 0.5])}


pytestmark = pytest.mark.usefixtures("tiny_runs", "undrawn")


def begun(results, **changes):
    arguments = {"tau": [1 / 4, 1 / 8], "order": 2, "start": START, "paths": 1, "results": results, **changes}
    optimizer = arguments.pop("optimizer", sme.SGD())
    return sme.weak_error(arguments.pop("problem", sme.Quadratic()), optimizer, **arguments)


def test_a_loaded_study_has_the_tables_of_the_one_that_was_saved(tmp_path):
    made = begun(tmp_path, order=(1, 2), horizon=0.25)
    loaded = sme.load(made.folder)
    assert str(loaded) == str(made)
    assert loaded.orders == (1, 2)
    assert loaded.missing == []


def test_a_point_is_read_once_and_again_where_its_file_has_changed(tmp_path, monkeypatch):
    reads, load = [], Point.load.__func__
    monkeypatch.setattr(Point, "load", classmethod(lambda cls, path, *rest: (reads.append(path.name), load(cls, path, *rest))[1]))
    begun(tmp_path, horizon=0.25)
    assert len(reads) == len(set(reads)) == 2
    reads.clear()
    study = begun(tmp_path, horizon=0.25, tau=[1 / 4, 1 / 8, 1 / 16])
    assert len(reads) == len(set(reads)) == 3
    first = sorted((study.folder / "points").iterdir())[0]
    content = first.read_bytes()
    first.write_bytes(content[:-3] + b'x"}')
    with pytest.warns(UserWarning, match="not a whole point"):
        study.reload()
    first.write_bytes(content)
    study.reload()
    assert len(study.points) == 3


def test_an_extended_study_is_the_one_that_asks_for_all_at_once(tmp_path):
    whole = begun(tmp_path / "whole", tau=[1 / 4, 1 / 8, 1 / 16], paths=40_000, horizon=0.25)
    grown = begun(tmp_path / "grown", horizon=0.25)
    sme.load(grown.folder).extend(tau=1 / 16)
    again = sme.load(grown.folder)
    assert len(again.points) == 4  # τ = 1/16 has two shards by default
    again.extend(paths=40_000)
    pd.testing.assert_frame_equal(again.errors, whole.errors, check_exact=True)
    for name in ("errors.csv", "slopes.csv", "slopes.md", "slopes.tex"):
        assert (grown.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_shards_by_number_add_up(tmp_path):
    whole = begun(tmp_path / "whole", paths=100_000, order=1, horizon=0.25)
    for shards in (2, [0, 3], "1"):
        parts = begun(tmp_path / "parts", paths=100_000, order=1, horizon=0.25, shards=shards)
    assert len(whole.points) == 8
    pd.testing.assert_frame_equal(parts.errors, whole.errors, check_exact=True)


def test_a_study_in_memory_grows_too():
    made = begun(None)
    assert len(made.extend(order=1, paths=1).points) == 4
    assert set(made.errors["order"]) == {1, 2}


@dataclass(frozen=True)
class Local(sme.SGD):
    """An optimizer whose module can be imported."""

    @property
    def name(self):
        return "local"


def steep(state):
    return state["theta"].square().amax(-1)


def test_parts_with_a_dotted_path_are_made_again(tmp_path):
    observables = {"steep": steep, "theta[0]": "theta[0]", "loss": "loss"}
    made = begun(tmp_path, optimizer=Local(), problem=sme.Quadratic(dim=3, seed=1), observables=observables, order=1,
                 start={"theta": torch.ones(3)}, horizon=0.25)
    again = sme.load(made.folder).extend(tau=1 / 16, paths=1)
    assert set(again.errors["observable"]) == set(observables)
    assert again.errors["tau"].nunique() == 3


def test_parts_without_one_are_handed_over(tmp_path):
    problem = sme.Problem(lambda theta: theta.square().sum(), 2, sme.GaussianNoise(0.1 * torch.eye(2, dtype=torch.float64)))
    observables = {"sum": lambda s: s["theta"].sum(-1)}
    made = begun(tmp_path, problem=problem, observables=observables, order=1, horizon=0.25)
    with pytest.raises(sme.SMEError, match="hand them over"):
        sme.load(made.folder).extend(tau=1 / 16)
    loaded = sme.load(made.folder, problem=problem, observables=observables)
    assert len(loaded.extend(tau=1 / 16, paths=1).points) == 3
    other = sme.Problem(lambda theta: 2 * theta.square().sum(), 2, problem.noise)
    with pytest.raises(sme.SMEError, match="have changed since"):
        sme.load(made.folder, problem=other, observables=observables)


def test_the_code_of_ones_own_optimizer_is_part_of_the_study(tmp_path):
    def kind(factor):
        @dataclass(frozen=True)
        class Own(sme.Optimizer):
            def update(self, state, gradient, tau, t):
                return {"theta": state["theta"] - factor * gradient.step}
        return Own()

    names = {Specification.of(sme.Quadratic(), kind(f), "ballistic", "independent", 1.0, START, None, None).name for f in (1, 2)}
    assert len(names) == 2


@pytest.mark.slow
def test_the_difference_of_two_equations_is_the_exact_one(monkeypatch):
    """SGD in one dimension, whose moments are known; the forms leave nothing but the fourth order of a quadratic."""
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 256)
    problem = sme.Polynomial([0, 0, 0.5])
    study = begun(None, problem=problem, optimizer=sme.SGD(), start={"theta": torch.tensor([0.8])}, order=(1, 2), paths=1)
    table = study.compare(paths=1).table
    for tau, group in table.groupby("tau"):
        rows = group.set_index("observable")
        first, second = (linear.exact(study.specification().setup(order, round(1 / tau))) for order in (1, 2))
        for name in ("|theta|^2", "mean theta"):
            row = rows.loc[name]
            noise = 5 * row["stderr"] + 3 * abs(row["integrator_bias"])
            assert abs(row["difference"] - (first[name] - second[name])) < noise + 1e-12
    assert (table["paths"] == 2 * 256 * paired.BLOCKS).all()


@pytest.mark.parametrize("optimizer", [sme.RMSProp(), pytest.param(sme.AdamW(), marks=pytest.mark.slow)],
                         ids=lambda each: each.name)
def test_forms_sharpen_the_difference_and_leave_its_mean(optimizer, monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 128)
    spec = Specification.of(sme.Quadratic(), optimizer, "ballistic", "independent", 0.5, START, None, None)
    plain = duel.EquationPair.of(spec.setup(2, 2), 1, "independent")
    sharp = duel.prepared(plain)
    rows = len(spec.observables)
    raw = duel.run_block(plain, (0, 2, 0, 0)).moments
    both = duel.run_block(sharp, (0, 2, 0, 0)).moments
    np.testing.assert_array_equal(both.mean[: 2 * rows], raw.mean)
    spread = np.sqrt(np.diag(both.comoment)[2 * rows :] / both.count / both.count)
    assert (np.abs(both.mean[2 * rows :]) < 5 * spread).all()
    own, joint = np.diag(both.comoment), both.comoment[:rows, 2 * rows :].diagonal()
    assert (joint**2 > 0.9 * own[:rows] * own[2 * rows :]).all()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [sme.RMSProp(), sme.Adam()], ids=lambda each: each.name)
def test_the_standard_error_of_a_comparison_is_its_spread_over_seeds(optimizer):
    spec = Specification.of(sme.Quadratic(), optimizer, "ballistic", "independent", 1.0, START, None, None)
    one = duel.prepared(duel.EquationPair.of(spec.setup(2, 8), 1, "independent"))
    rows = len(spec.observables)
    found = [crossfit.estimate([part for part, _ in duel.run_shard(one, seed, 0)], 2 * rows) for seed in range(60)]
    mean, stderr = (np.stack(part)[:, :rows] for part in zip(*found, strict=True))
    z = (mean - np.average(mean, 0)) / stderr
    print(z.std(0))
    assert (z.std(0) > 0.7).all()
    assert (z.std(0) < 1.35).all()


@pytest.mark.slow
def test_a_comparison_is_written_and_far_sharper_than_the_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 128)
    monkeypatch.setattr(controls, "LONGEST", 4096)
    one, two = (begun(tmp_path, optimizer=sme.Adam(), order=order, tau=1 / 8, observables=["loss", "|v|^2"], horizon=0.5)
                for order in (1, 2))
    found = two.compare(one)
    assert found.names == ("order 2, independent", "order 1, independent")
    assert (found.table["sharper"] > 8).all()
    assert (found.table["z"] / found.table["z_tables"] > 8).all()  # the same sign, too
    errors = [each.errors.query("order == @order").set_index("observable") for each, order in ((two, 2), (one, 1))]
    for row in found.factors.itertuples():
        pair = [each.loc[row.observable] for each in errors]
        assert row.factor == pytest.approx(abs(pair[0]["error"] / pair[1]["error"]))
        assert row.low <= row.factor <= row.high
        m, v = zip(*((each["error"], each["stderr"] ** 2 + each["integrator_bias"] ** 2) for each in pair), strict=True)
        for end in (row.low, row.high):  # Fieller: there the difference is as far from 0 as its own error allows
            away = min((m[0] - k * m[1]) ** 2 / (v[0] + k * k * v[1]) for k in (end, -end))
            assert end in (0, math.inf) or away == pytest.approx(1.959964**2, rel=1e-5)
    assert len(found.factors) == len(found.table)
    assert "How many times larger" in str(found)
    written = {path.name for path in two.folder.glob("compare-*")}
    assert written == {f"compare-order2-independent-order1-independent-seed0.{end}" for end in ("csv", "md", "pdf", "png")}
    first = pd.read_csv(next(two.folder.glob("compare-*.csv")))
    two.compare(one, tau=1 / 4, paths=1)
    joined = pd.read_csv(next(two.folder.glob("compare-*.csv")))
    assert joined["tau"].unique().tolist() == [1 / 4, 1 / 8]
    pd.testing.assert_frame_equal(joined[joined["tau"] == 1 / 8].reset_index(drop=True), first)
    assert list(joined.columns[-2:]) == ["seeds", "version"]


@pytest.mark.slow
def test_step_memory_against_independent_motions():
    common = {"problem": sme.Polynomial(noise=0.7), "optimizer": sme.RMSProp(c=2.0), "regime": "batch_equivalent",
              "start": {"theta": torch.tensor([0.8]), "v": torch.tensor([0.6])}, "tau": 1 / 8, "horizon": 0.25}
    memory = begun(None, brownian="step_memory", **common)
    found = memory.compare(begun(None, **common))
    assert found.names == ("order 2, step_memory", "order 2, independent")
    assert np.isfinite(found.table["z"]).all()


def command(*words, cwd, script="weak_error.py"):
    """At work in a group of its own, which ctrl-c reaches also where these tests run in a background that it does not."""
    return subprocess.Popen([sys.executable, ROOT / "scripts" / script, *map(str, words)], cwd=cwd, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_finished_and_prints_it(tmp_path):
    results = tmp_path / "results"
    running = command("optimizer=sgd", "order=1", "tau=[1/8]", "paths=100000000", "processes=2", f"results={results}",
                      cwd=tmp_path)
    deadline = time.monotonic() + 120
    while len(list(results.glob("*/points/*.json"))) < 3:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in out + err
    assert "interrupted; its finished points are kept" in err
    (folder,) = (path.parent for path in results.glob("*/spec.json"))
    kept = len(list((folder / "points").glob("*.json")))
    assert kept >= 3
    assert f"{3052 - kept} of the 3052 points asked for are missing" in out
    assert int(pd.read_csv(folder / "errors.csv")["paths"].iloc[0]) == 32768 * kept


@pytest.mark.slow
def test_the_progress_bar_knows_the_time_left(tmp_path):
    """On a terminal; the first points are a few of many."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 120))
    words = ["optimizer=sgd", "order=1", "tau=[1/4]", "paths=3000000", "processes=1", f"results={tmp_path / 'results'}"]
    script = ROOT / "scripts" / "weak_error.py"
    running = subprocess.Popen([sys.executable, script, *words], stdout=subprocess.DEVNULL, stderr=end)
    os.close(end)
    seen, deadline = b"", time.monotonic() + 120
    while not re.search(rb"\d+/368 .*\d\d:\d\d<\d\d:\d\d", seen):
        assert time.monotonic() < deadline, seen
        seen += os.read(terminal, 4096)
    running.kill()
    running.wait()
    os.close(terminal)


@pytest.mark.slow
def test_parts_of_ones_own_by_dotted_path(tmp_path, monkeypatch, capsys):
    """The template, copied and given on the command line; then extended from the folder alone."""

    def run(script, *words):
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")

    shutil.copy(ROOT / "docs" / "mine.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    run("weak_error.py", "optimizer=own", "optimizer._target_=mine.MyOptimizer", "+optimizer.c=0.4", "problem=own",
        "problem._target_=mine.my_problem", "+problem.noise=0.1", "observables=[loss,mine.spread]", "tau=[1/4,1/8]",
        "horizon=0.25", "paths=1", "processes=1", "order=1")
    assert "spread" in capsys.readouterr().out
    (folder,) = (path.parent for path in (tmp_path / "results").glob("*/spec.json"))
    assert folder.name.startswith("myoptimizer-ballistic-valley-independent-")
    run("study.py", "task=extend", f"study={folder}", "tau=1/16", "processes=1", "paths=1")
    assert pd.read_csv(folder / "errors.csv")["tau"].nunique() == 3
    monkeypatch.delitem(sys.modules, "mine")
