"""A folder that somebody else wrote: what its spec.json names is resolved, and never run unless it is a part."""

import functools
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

import sme
from sme.common.identity import hashing, recipe
from sme.common.storage import seal
from sme.convergence import collect
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.spec.specification import Specification
from sme.convergence.study import Study
from sme.studies.panels import run
from tests.support.few import few

START = {"theta": torch.tensor([0.8, -0.3])}
MINE = '''
import os
from os import system
from pathlib import Path
import sme

Path({ran!r}).touch() if {loud} else None

class Halved(sme.SGD):
    pass

class NoPart:
    def __init__(self, **ignored):
        Path({ran!r}).touch()

def bowl(dim=2, noise=0.1):
    return sme.Quadratic(dim=dim, noise=noise)

def largest(state):
    return state["theta"].amax(-1)
'''
FOREIGN = ["os.system", "posix.system", "subprocess.run", "builtins.eval", "builtins.exec", "builtins.__import__", "pty.spawn",
           "antigravity.webbrowser", "runpy.run_path", "sme.common.identity.recipe.sys.exit",
           "sme.common.library.subprocess.Popen", "sme.SGD.__reduce__", "sme.Quadratic.__init__", "sme.common.version._git",
           "sme.common.storage.files.write_text", "sme.weak_error",
           "sme.load", "torch.load", "torch.hub.load", "numpy.load", "pandas.read_pickle", "joblib.load",
           "hydra.utils.instantiate", "mine.system", "mine.os.system", "mine.NoPart", "mine.Path",
           "__main__.main", "sme.Outline", "nowhere.to.be",
           "a b", "", "../mine", 3, None, ["os.system"]]


@functools.cache
def outlined():
    """A study's name, and what its spec.json says."""
    made = Specification.of(sme.Quadratic(), sme.SGD(), "ballistic", None, 1.0, START, ["loss"], None)
    outline = made.outline()
    return made.name, json.dumps({"numerics": outline.numerics, **outline._said(), "specification": made.describe(),
                                  "recipe": made.recipe()})


def written(folder, change):
    """A study's folder whose hash, name and checksum are right, with another recipe."""
    name, data = outlined()[0], json.loads(outlined()[1])
    change(data["recipe"])
    seal.write(folder / name / "spec.json", data)
    return folder / name


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's own, and the file that is there once something ran."""
    ran = tmp_path / "ran"
    (tmp_path / "mine.py").write_text(MINE.format(ran=str(ran), loud=False), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield ran
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("where", few(["problem", "optimizer", "observable", "nested"], "nested"))
def test_what_is_no_part_is_never_called(where, mine, tmp_path):
    for i, target in enumerate(FOREIGN):
        node = {"_target_": target, "command": f"touch {mine}", "args": [f"touch {mine}"], "path": str(mine), "content": "x"}
        change = {"observable": {"observables": {"loss": target}}}.get(where, {where: node})
        folder = written(tmp_path / str(i), lambda r, change=change: r["problem"].update(law=change["nested"])
                         if "nested" in change else r.update(change))
        with pytest.raises(sme.SMEError) as fault:
            Study(StudyMetadata.read(folder), folder=folder).extend(order=1, tau=1 / 2)
        assert "\n" not in str(fault.value)
        assert not mine.exists(), target


def test_no_function_or_script_runs_it(mine, tmp_path, monkeypatch, capsys):
    folder = written(tmp_path, lambda r: r.update(problem={"_target_": "os.system", "command": f"touch {mine}"}))
    collect.rebuild(tmp_path)
    print(sme.load(folder), repr(sme.load(folder)))
    acts = [lambda: sme.load(folder).extend(order=1, tau=1 / 2), lambda: sme.load(folder).compare(tau=1 / 2),
            lambda: sme.load(folder, start=START), lambda: run.errors(tmp_path, "all", ["horizon=1"])]
    for act in acts:
        with pytest.raises(sme.SMEError):
            act()
    monkeypatch.setattr(sys, "argv", ["study.py", "task=extend", f"study={folder}", "order=1", "tau=1/2"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "study.py"), run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: os.system is not of a module of yours")
    assert not mine.exists()


def test_a_module_of_ones_own_makes_problems_optimizers_and_observables(mine):
    import mine as own

    assert type(recipe.make({"_target_": "mine.Halved"}, sme.Optimizer)) is own.Halved
    assert recipe.make({"_target_": "mine.bowl", "noise": 0.3}, sme.Problem).describe()["noise"] == 0.3
    assert recipe.function("mine.largest") is own.largest
    with pytest.raises(sme.SMEError, match=r"no sme\.Optimizer"):
        recipe.make({"_target_": "sme.Quadratic"}, sme.Optimizer)
    with pytest.raises(sme.SMEError, match=r"makes a Quadratic, and not an sme\.Optimizer"):
        recipe.make({"_target_": "mine.bowl"}, sme.Optimizer)


def test_an_installed_package_is_the_users_if_it_builds_on_this_one(tmp_path, monkeypatch):
    place = tmp_path / "site-packages"
    for name, needs in (("builds_on", "Requires-Dist: sme>=0.2"), ("stranger", "Requires-Dist: numpy")):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(f"import sme\nopen({str(tmp_path / name)!r}, 'w')\nclass Rule(sme.SGD): pass\n")
        about = place / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}\n")
        (about / "top_level.txt").write_text(f"{name}\n")
    monkeypatch.syspath_prepend(place)
    assert type(recipe.make({"_target_": "builds_on.Rule"}, sme.Optimizer)).__name__ == "Rule"
    with pytest.raises(sme.SMEError, match="import stranger first"):
        recipe.make({"_target_": "stranger.Rule"}, sme.Optimizer)
    assert not (tmp_path / "stranger").exists()
    __import__("stranger")
    assert type(recipe.make({"_target_": "stranger.Rule"}, sme.Optimizer)).__name__ == "Rule"


def test_a_study_of_a_module_of_ones_own_goes_on_from_its_folder(mine, tmp_path, monkeypatch):
    import mine as own

    spec = Specification.of(own.bowl(), own.Halved(), "ballistic", None, 1.0, START, {"largest": own.largest}, None)
    data = spec.recipe()
    assert data["optimizer"]["_target_"] == "mine.Halved"
    assert Specification.remake(data, {}).name == spec.name


def test_the_hash_is_checked_before_anything_is_resolved(mine, tmp_path, monkeypatch):
    folder = written(tmp_path, lambda r: None)
    data = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    data["specification"]["problem"]["noise"] = 0.5
    del data["sha256"]
    seal.write(folder / "spec.json", data)
    monkeypatch.setattr(recipe, "located", lambda dotted: pytest.fail(f"{dotted} was resolved"))
    with pytest.raises(sme.SMEError, match="its specification is not that of"):
        sme.load(folder).extend(order=1, tau=1 / 2)
    assert hashing.hashed(data["specification"], data["numerics"]) != folder.name[-8:]
