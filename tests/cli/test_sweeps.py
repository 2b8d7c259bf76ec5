"""Sweeps: however a study is cut into jobs, disturbed or killed, its tables are those of one job that nothing disturbed."""

import contextlib
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hydra
import pandas as pd
import pytest
from hydra.core.hydra_config import HydraConfig
from joblib.externals.loky.process_executor import TerminatedWorkerError
from submitit.core.utils import FailedJobError

from sme.cli import command, config

SCRIPTS = Path(__file__).parents[2] / "scripts"
TABLES = ("errors.csv", "slopes.csv", "slopes.md", "slopes.tex", "errors.tex", "errors.png")
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
SUBMITIT = ["hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=4"]

QUICK = {"optimizer": "sgd", "horizon": "0.5", "order": "1", "tau": "1/2,1/4", "shards": "0,1"}
BY_SHARD = {**QUICK, "tau": "[1/2,1/4]"}
MEDIUM = {"optimizer": "sgd", "order": "2", "tau": "[1/4,1/8],1/16", "shards": "0,1"}
FULL = {"optimizer": "adam", "order": "1,2", "tau": "1/4,1/8,1/16,1/32,1/64", "shards": "0,1,2,3"}
"""settings, and the values that a multirun makes jobs of"""


def sweep(settings, *more):
    """The arguments of a multirun, one job for each combination of the values."""
    return ["-m", *(f"{name}={values}" for name, values in settings.items()), *more]


def job(settings, *more):
    """The arguments of one job for all values."""
    return [*(f"{name}=[{values}]" if "," in values else f"{name}={values}" for name, values in settings.items()), *more]


def begin(arguments, results):
    """A command at work, leader of a process group of its own."""
    return subprocess.Popen([sys.executable, SCRIPTS / "weak_error.py", *arguments, f"results={results}"], cwd=results.parent,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process, code=0):
    """What it has to say on standard error, once it is done."""
    _, err = process.communicate(timeout=900)
    assert process.returncode == code, err
    return err


def here(monkeypatch, script, *arguments):
    """Run a script in this process."""
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def study(results):
    (folder,) = (path.parent for path in results.glob("*/spec.json"))
    return folder


def tables(results):
    return {path.relative_to(results): path.read_bytes()
            for path in [results / "slopes.csv", *(study(results) / name for name in TABLES)]}


def points(results):
    return {path.name: path.read_bytes() for path in results.glob("*/points/*.json") if path.is_file()}


def killed(arguments, results, moment):
    """Kill a command and all that it started once `moment(seconds)` is true; whether it was still at work then."""
    began, process = time.monotonic(), begin(arguments, results)
    while process.poll() is None and not moment(time.monotonic() - began):
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def resumed(arguments, results):
    """Run the command again to its end: points that were there are not computed again. How many there were."""
    before = points(results)
    finish(begin(arguments, results))
    after = points(results)
    assert before == {name: after[name] for name in before}  # a point says how many seconds it took
    return len(before)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The quick study, in one job."""
    results = tmp_path_factory.mktemp("quick") / "results"
    with pytest.MonkeyPatch.context() as patch:
        here(patch, "weak_error.py", *job(QUICK, "processes=1"), f"results={results}")
    return results


@pytest.mark.slow
def test_submitit_gives_the_same_bytes(quick, tmp_path):
    finish(begin(sweep(BY_SHARD, *SUBMITIT), tmp_path / "results"))
    assert points(tmp_path / "results").keys() == points(quick).keys()
    assert tables(tmp_path / "results") == tables(quick)


@pytest.mark.slow
def test_a_large_sweep_gives_the_same_bytes(tmp_path):
    alone = tmp_path / "alone" / "results"
    alone.parent.mkdir()
    finish(begin(job(FULL, "processes=1"), alone))
    assert len(points(alone)) == 40
    for name, launcher in {"joblib": JOBLIB, "submitit": SUBMITIT}.items():
        results = tmp_path / name / "results"
        results.parent.mkdir()
        finish(begin(sweep(FULL, *launcher), results))
        assert points(results).keys() == points(alone).keys()
        assert tables(results) == tables(alone), name


@pytest.mark.slow
def test_a_job_that_fails_stops_no_other_and_its_point_is_named(quick, tmp_path, monkeypatch):
    results = tmp_path / "results"
    lost = results / study(quick).name / "points" / "order1-steps2-seed0-shard1.json"
    (lost / "in the way").mkdir(parents=True)
    err = finish(begin(sweep(QUICK, *JOBLIB), results), code=2)
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-1:]
    assert f"cannot write {lost}: " in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "Error executing job" not in err
    assert points(results).keys() == points(quick).keys() - {lost.name}

    for name in TABLES:
        (study(results) / name).unlink(missing_ok=True)
    with pytest.warns(UserWarning, match=r"1 of the 4 points asked for are missing \(order 1, tau = 0\.25, seed 0: shard 1\)"):
        here(monkeypatch, "collect.py", f"results={results}")
    found = pd.read_csv(study(results) / "errors.csv").groupby("tau")["paths"].unique().explode().to_dict()
    assert found == {0.5: 65536, 0.25: 32768}
    assert set(TABLES) <= {path.name for path in study(results).iterdir()}

    shutil.rmtree(lost)
    here(monkeypatch, "weak_error.py", *sweep(QUICK, "processes=1"), f"results={results}")
    assert tables(results) == tables(quick)


@pytest.mark.parametrize(("overrides", "processes"), [
    ([], None), (["hydra.mode=MULTIRUN"], None), (["hydra/launcher=joblib"], None),
    (["hydra.mode=MULTIRUN", "hydra/launcher=joblib"], 1), (["hydra.mode=MULTIRUN", "hydra/launcher=submitit_local"], 1),
    (["hydra.mode=MULTIRUN", "hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=8"], 8),
])
def test_a_job_beside_others_takes_its_own_processors_and_no_more(overrides, processes, monkeypatch):
    with hydra.initialize_config_dir(str(SCRIPTS.parent / "conf"), version_base="1.3"):
        composed = hydra.compose("weak_error", overrides, return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(composed)
    assert config._share() == processes


@pytest.mark.parametrize("fault", [TerminatedWorkerError, FailedJobError])
def test_a_job_that_is_killed_is_one_line(fault, capsys):
    with pytest.raises(SystemExit) as left:
        command.cli(lambda: (_ for _ in ()).throw(fault("a page of what the job wrote")))
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: a job was killed")


@pytest.mark.slow
def test_two_commands_for_the_same_points_at_the_same_time(quick, tmp_path):
    results = tmp_path / "results"
    for process in [begin(job(QUICK, "processes=1"), results) for _ in range(2)]:
        assert finish(process) == ""
    assert tables(results) == tables(quick)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["processes=1"], pytest.param(JOBLIB, marks=pytest.mark.slow)], ids=["one", "joblib"])
@pytest.mark.parametrize("written", [["*/.errors.csv*", "*/errors.csv"],
                                     pytest.param(["*/points/*.json"], marks=pytest.mark.slow)], ids=["tables", "point"])
def test_a_sweep_killed_as_it_writes_resumes_to_the_same_bytes(written, launcher, quick, tmp_path, monkeypatch):
    serial, results = sweep(BY_SHARD, "processes=1"), tmp_path / "results"
    assert killed(sweep(BY_SHARD, *launcher), results, lambda _: any(any(results.glob(each)) for each in written))
    before = points(results)
    assert before
    here(monkeypatch, "weak_error.py", *serial, f"results={results}")
    assert before.items() <= points(results).items()
    assert tables(results) == tables(quick)


@pytest.mark.slow
def test_twenty_sweeps_killed_at_any_moment_resume_to_the_same_bytes(tmp_path):
    arguments, began = sweep(MEDIUM, *JOBLIB), time.monotonic()
    finish(begin(arguments, tmp_path / "undisturbed"))
    duration, rng = time.monotonic() - began, random.Random(0)
    kills, found = 0, []
    for number in range(20):
        results, seconds = tmp_path / f"results{number}", duration * (number + rng.random()) / 20
        kills += killed(arguments, results, lambda elapsed, limit=seconds: elapsed > limit)
        found.append(resumed(arguments, results))
        assert tables(results) == tables(tmp_path / "undisturbed"), f"killed after {seconds:.2f} s"
    assert kills >= 15
    assert len(set(found)) > 2  # at the start, at the end, and between
