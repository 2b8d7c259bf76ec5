"""A results folder in which every spec.json names os.system: no function and no script calls it."""

import os
import runpy
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch

import sme
from sme.common.storage import seal
from sme.convergence import collect
from sme.studies.panels import run, selection
from tests.support.few import few
from tests.support.tiny import tiny

SCRIPTS = Path(__file__).parents[2] / "scripts"
START = {"theta": torch.tensor([0.4, -0.9])}
SYSTEM = {"_target_": "os.system", "command": "true"}
SMALL = ["optimizer=sgd", "order=1", "tau=1/2", "processes=1", "backend=torchsde", "results={0}"]
TASKS = [
    ("weak_error.py", [*SMALL, "paths=32768"]),
    ("trajectories.py", [*SMALL, "paths=2", "points=1"]),
    ("collect.py", ["results={0}"]),
    ("study.py", ["study={0}/{1}"]),
    ("study.py", ["study={0}/{1}", "style=latex"]),
    ("study.py", ["task=extend", "study={0}/{1}", "order=1", "tau=1/4"]),
    ("study.py", ["task=compare", "study={0}/{1}", "tau=1/4"]),
    ("study.py", ["task=compare", "study={0}/{1}", "other={0}/{1}", "orders=[2,1]"]),
    ("panels.py", ["task=errors", "name=all", "results={0}"]),
    ("panels.py", ["task=histograms", "name=all", "results={0}"]),
    ("report.py", ["results={0}"]),
    ("certify.py", ["optimizer=sgd", "problem=polynomial", "start.theta=1", "tau=1/4", "horizon=0.5", "models=[ode]",
                    "observables=[loss]", "results={0}"]),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study and trajectories, as somebody computed them."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch, 16)
        study = sme.weak_error(sme.Quadratic(), sme.SGD(), order=[1, 2], tau=1 / 2, start=START, paths=32768, backend="torchsde",
                               observables=["loss"], results=place)
        sme.trajectories(sme.Quadratic(), sme.SGD(), order=1, tau=1 / 2, start=START, paths=2, points=1, backend="torchsde",
                         results=place)
    return study


@pytest.fixture(params=few(["problem", "optimizer", "observables", "everywhere"], "observables", "everywhere"))
def foreign(request, made, tmp_path, monkeypatch):
    """The same with os.system in the recipe and checksums that are right; at the end, that it was not called."""
    place, calls = tmp_path / "results", []
    shutil.copytree(made.folder.parent, place)
    for path in place.rglob("spec.json"):
        data, _ = seal.read(path)
        for part in (["problem", "optimizer"] if request.param == "everywhere" else [request.param]):
            data["recipe"][part] = dict.fromkeys(data["recipe"]["observables"], "os.system") if part == "observables" else SYSTEM
        if request.param == "everywhere":
            data["recipe"]["observables"] = dict.fromkeys(data["recipe"]["observables"], "os.system")
            data["recipe"]["start"] = SYSTEM
        seal.write(path, data)
    monkeypatch.setattr(os, "system", lambda *given, **named: calls.append((given, named)))
    yield place
    assert not calls


def test_no_function_calls_it(foreign, made, monkeypatch):
    place = foreign
    tiny(monkeypatch, 16)
    folder = place / made.name
    study = sme.load(folder)
    print(study, repr(study), study.text("latex"), study._repr_html_()[:9])
    study.plot(place / "picture.png")
    collect.rebuild(place)
    collect.join(place)
    selection.settings(folder)
    run.errors(place, "all", [])
    run.histograms(place, "all", [])
    refused = [lambda: study.extend(tau=1 / 4, order=1), lambda: study.compare(tau=1 / 4), lambda: study.compare(study),
               lambda: sme.load(folder, start=START), lambda: sme.load(folder, start=START).extend(tau=1 / 4)]
    for act in refused:
        with pytest.raises(sme.SMEError):
            act()
    sme.weak_error(sme.Quadratic(), sme.SGD(), order=1, tau=1 / 2, start=START, paths=32768, backend="torchsde",
                   observables=["loss"], results=place)  # one's own, in the same folder


@pytest.mark.parametrize("foreign", ["everywhere"], indirect=True)
@pytest.mark.parametrize(("script", "arguments"), TASKS)
def test_no_script_calls_it(script, arguments, foreign, made, monkeypatch, capsys):
    place = foreign
    tiny(monkeypatch, 16)
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS / script), *(each.format(place, made.name) for each in arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(place.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
    said = capsys.readouterr().err.splitlines()
    refused = arguments[0] in ("task=extend", "task=compare")
    assert (code == 2) == refused, said
    assert [line.startswith("error: ") for line in said if not line.startswith("warning: ")] == [True] * refused
