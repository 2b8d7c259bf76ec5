"""The one way in: quick tries, help, the console entry, and one table at the end of a multirun."""

import math
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from omegaconf import OmegaConf

import sme
from sme.cli import main, pages, sweeps, tasks
from sme.common.errors import SMEError
from sme.equations.models import MODELS
from sme.problems.noise.base import NAMED

COMMANDS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.usefixtures("tiny_runs")


def test_a_quick_try_gives_way_to_what_is_given():
    assert main._smoke("check_order", ["model=mine.paper", "smoke=true"]) == ["model=mine.paper"]
    words = main._smoke("weak_error", ["smoke=true", "tau=1/16"])
    assert words[-1] == "tau=1/16"
    assert "shards=0" in words
    assert words.index("tau=[1/4,1/8]") < words.index("tau=1/16")
    assert main._smoke("weak_error", ["smoke=false", "seed=1"]) == ["seed=1"]
    with pytest.raises(SMEError, match="smoke must be true or false, got 'maybe'"):
        main._smoke("weak_error", ["smoke=maybe"])


def test_a_quick_try_of_an_experiment_with_few_dear_paths_has_fewer():
    own = OmegaConf.load(main.command.CONF / "experiment" / "digits.yaml").paths
    assert own == 64
    assert "paths=8" in main._smoke("trajectories", ["smoke=true", "experiment=digits"])
    assert "paths=4" in main._smoke("trajectories", ["smoke=true", "experiment=deep"]), "two pairs have a standard error"
    assert "paths=512" in main._smoke("trajectories", ["smoke=true", "experiment=hard"])
    assert "paths=512" in main._smoke("trajectories", ["smoke=true"])
    assert main._smoke("trajectories", ["smoke=true", "experiment=digits", "paths=32"])[-1] == "paths=32"


def test_hydra_is_told_nothing_that_the_user_tells_it():
    assert "hydra.run.dir=." in main._plumbing("weak_error", ["tau=1/4"])
    assert not [word for word in main._plumbing("weak_error", ["hydra.run.dir=there"]) if "run.dir" in word]


@pytest.mark.parametrize("name", main.scripts())
def test_every_page_has_its_words_an_example_and_the_quick_try(name):
    said = pages.of(name)
    assert said[0].isupper()
    assert f"scripts/{name}.py" in said
    assert "smoke=true" in said
    assert "_target_" not in said
    assert "hydra." not in said.partition("Also:")[0]


def test_the_models_are_named():
    assert all(name in pages.of("models") for name in ("malladi", "compagnoni", "ode", "averaged", "backward"))


@pytest.mark.parametrize("name", ["weak_error", "trajectories"])
def test_the_choices_are_filled_in_from_what_is_there(name):
    said = pages.of(name)
    assert f"# {' | '.join(MODELS)}" in said
    assert f"problem.law=gaussian            # {' | '.join(NAMED)}" in said or name != "weak_error"
    assert "see --help" not in said


def test_a_studys_own_function_takes_the_settings_by_name():
    def study(steps, seed=0, results=None):
        return SimpleNamespace(folder=f"{results}/{steps}-{seed}")

    made = tasks.direct(study, OmegaConf.create({"_target_": "sme.x", "steps": 3, "results": "there"}))
    assert tasks.answer(made).line == "there/3-0"
    with pytest.raises(SMEError, match="steps is missing"):
        tasks.direct(study, OmegaConf.create({"results": "there"}))
    with pytest.raises(SMEError, match=r"unknown setting 'sed'.*did you mean 'seed'"):
        tasks.direct(study, OmegaConf.create({"steps": 3, "sed": 1}))


def counted(steps, results=None):
    """A study's own function, for the test below."""
    return SimpleNamespace(folder=f"{results}/{steps}")


def test_a_script_whose_target_is_a_studys_own_function_runs_and_no_other_target_does(tmp_path, monkeypatch, capsys):
    (tmp_path / "counting.yaml").write_text(f"_target_: {__name__}.counted\nsteps: 3\nresults: there\n", encoding="utf-8")
    monkeypatch.setattr(main.command, "CONF", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["counting.py", "steps=5"])
    main.main("counting")
    assert capsys.readouterr().out.splitlines()[-1] == "in there/5"
    monkeypatch.setattr(sys, "argv", ["counting.py", "_target_=sme.cli.tasks.collect"])
    with pytest.raises(SystemExit):
        main.main("counting")
    assert "is no task of this package" in capsys.readouterr().err


def test_the_page_of_the_command_line_names_every_law_and_model():
    rows = {line.split("|")[1].strip(" `"): line for line in COMMANDS.splitlines() if line.startswith("| ")}
    assert not [law for law in NAMED if f"`{law}`" not in rows["noise"] and f"law={law}`" not in rows["noise"]]
    assert not [name for name in MODELS if f"`{name}`" not in rows["model"]]


def test_the_console_entry_runs_a_script_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["optimizer=sgd", "order=1", "smoke=true", "backend=torchsde", "processes=1"]
    monkeypatch.setattr(sys, "argv", ["sme", "weak_error", *words])
    main.console()
    assert "verdict" in capsys.readouterr().out
    assert list((tmp_path / "results" / "smoke").glob("sgd-*/slopes.csv"))
    monkeypatch.setattr(sys, "argv", ["sme", "weak_eror"])
    with pytest.raises(SystemExit) as stop:
        main.console()
    assert stop.value.code == 2
    assert "did you mean 'weak_error'" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["sme"])
    main.console()
    assert "Weak errors of an optimizer" in capsys.readouterr().out


def test_a_multirun_prints_a_line_a_job_and_one_table(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["weak_error.py", "-m", "optimizer=sgd", "order=1,2", "smoke=true", "backend=torchsde",
                                      "processes=1"])
    main.main("weak_error")
    out = capfd.readouterr().out
    jobs = [line for line in out.splitlines() if line.startswith("results/smoke/sgd-ballistic-quadratic-independent-")]
    assert len(jobs) == 2
    assert out.count("verdict") == 1
    table = out[out.index("verdict"):]
    assert {line.split()[3] for line in table.splitlines()[2:] if line.strip()} == {"1", "2"}
    assert not list((tmp_path / "results").rglob(".hydra/*/*")), "its notes are gone"


def test_only_the_studies_of_the_multirun_stand_in_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(sweeps.NAME, "one")
    rows = {name: 1.0 for name in sweeps.SHOWN if name.startswith("slope")}
    names = ["sgd-a", "sgd-b"]
    pd.DataFrame([{**dict.fromkeys(sweeps.SHOWN, "x"), **rows, "study": name, "optimizer": name} for name in names]).to_csv(
        tmp_path / "slopes.csv", index=False)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "sgd-b").write_text(str(tmp_path / "sgd-b"))
    sweeps.Joined().on_multirun_end(sme.cli.config.OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    said = capsys.readouterr().out
    assert "sgd-b" in said
    assert "sgd-a" not in said


def test_a_study_without_slopes_has_a_line_in_it_and_no_warning(recwarn):
    row = {**dict.fromkeys(sweeps.SHOWN, math.nan), "optimizer": "sgd", "verdict": "undecided"}
    said = sweeps.shown(pd.DataFrame([row]))
    assert said.splitlines()[-1].split() == ["sgd", "–", "–", "–", "undecided"]
    assert not recwarn.list


@pytest.mark.parametrize(("words", "said"), [
    (["model=mine.paper", "optimizer=adam"], "'Adam' object has no attribute 'c'"),
    (["model=mine.my_problem"], "got mine.my_problem, <function my_problem"),
    (["model=mine.paper", "table=models"], "table has no use beside model"),
    (["optimizer=adam"], "optimizer has no use without model"),
    (["model=mine.paper", "start.theta=2"], "start.theta has no use: without a horizon"),
])
def test_what_goes_with_one_equation_and_what_with_a_table(words, said, tmp_path, monkeypatch, capsys):
    shutil.copy(Path(__file__).parents[2] / "docs" / "mine.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(sys, "argv", ["check_order.py", *words])
    with pytest.raises(SystemExit) as stop:
        main.main("check_order")
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
