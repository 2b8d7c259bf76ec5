"""What a newcomer meets: a short study, kept files that stay, own equations and rules, help that is true."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import sme
from sme.cli import spellings
from sme.common.storage.files import write_text
from sme.studies.orders import run
from tests.support.short import START, study

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("tiny_runs")


def kept(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def published(folder):
    """As in a clone: tables alone."""
    for part in ("points", "asked"):
        for path in (folder / part).iterdir():
            path.unlink()
        (folder / part).rmdir()


@pytest.mark.slow
def test_a_part_computed_again_leaves_the_tables_of_the_whole(tmp_path):
    folder = study(results=tmp_path).folder
    published(folder)
    before = kept(folder)
    study(results=tmp_path, order=2)
    assert kept(folder) == before


def test_tables_follow_what_is_new_or_was_lost(tmp_path):
    folder = study(results=tmp_path).folder
    published(folder)
    before = kept(folder)
    study(results=tmp_path, order=2, seed=1)
    assert kept(folder)["errors.csv"] != before["errors.csv"]
    (folder / "slopes.md").unlink()
    study(results=tmp_path, order=2, seed=1)
    assert (folder / "slopes.md").exists()


def test_a_file_of_the_same_content_is_not_written(tmp_path):
    path = tmp_path / "a"
    write_text(path, "τ\n")
    before = path.stat().st_ino
    write_text(path, "τ\n")
    assert path.stat().st_ino == before
    write_text(path, "σ\n")
    assert path.read_text(encoding="utf-8") == "σ\n"


@pytest.mark.parametrize("changes", [{"results": "here"}, {"observables": {f"a long name {i}": lambda s: s["theta"][:, 0]
                                                                              for i in range(5)}}])
def test_a_study_is_shown_on_a_screen(changes, tmp_path):
    if "results" in changes:
        changes = {"results": tmp_path}
    made = study(**changes)
    assert made.name in repr(made)
    assert len(repr(made)) < 2000
    assert "order 2: slopes" in repr(made)
    assert "<table" in made._repr_html_()
    assert made.name in made._repr_html_()


def test_a_study_without_points_is_shown_too(tmp_path):
    folder = study(results=tmp_path).folder
    published(folder)
    assert folder.name in repr(sme.load(folder))


class Own(sme.Equation):
    small_noise = True

    def drift(self, t, x):
        return -self.problem.gradient(x)

    def diffuse(self, t, x, dW):
        return self.tau**0.5 * self.law.diffuse(x, dW[:, : self.first])


def test_an_own_class_of_equations_is_checked():
    found = sme.check_order(sme.Quadratic(), sme.SGD(), kind=Own)
    assert found.proved == 1


@pytest.mark.parametrize("kind", [(lambda t, x: -x, lambda t, x: x), Own.drift, sme.SGD,
                                  Own(sme.Quadratic(), sme.SGD(), 1 / 8, 1, "independent")])
def test_what_is_no_class_of_equations_is_said(kind):
    with pytest.raises(sme.SMEError, match=r"kind must be a class of equations, got .*subclass of sme\.Equation"):
        sme.check_order(sme.Quadratic(), sme.SGD(), kind=kind)


@pytest.mark.parametrize("task", [sme.weak_error, sme.plan])
def test_an_own_equation_is_sent_to_the_order_test(task):
    with pytest.raises(sme.SMEError, match=r"takes no kind.*check_order"):
        task(sme.Quadratic(), sme.SGD(), tau=[1 / 4], start=START, kind=Own)


@pytest.mark.slow
def test_the_order_test_takes_an_own_rule_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "my_rules_here.py").write_text(
        "import sme\nclass Plain(sme.Optimizer):\n    fields = ('theta',)\n"
        "    def update(self, s, g, tau, t): return {'theta': s['theta'] - g.step}\n"
        "class Needs(Plain):\n    def __init__(self, c): self.c = c\nfive = 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (rule,) = run._variants(["my_rules_here.Plain"])
    found = run.row(rule, "ballistic", "constant", sme.Quadratic())
    assert found["independent"] == 2
    for name, said in (("Needs", "without arguments"), ("five", "no sme.Optimizer"), ("Nothing", "has no Nothing")):
        with pytest.raises(sme.SMEError, match=said):
            list(run._variants([f"my_rules_here.{name}"]))


@pytest.mark.parametrize(("script", "taken", "not_taken"), [
    ("regime", {"problem"}, {"experiment", "optimizer"}), ("weak_error", {"experiment", "optimizer", "problem"}, set())])
def test_help_lists_the_groups_that_a_script_takes(script, taken, not_taken, monkeypatch, capsys):
    path = str(ROOT / "scripts" / f"{script}.py")
    monkeypatch.setattr(sys, "argv", [path, "--help"])
    runpy.run_path(path, run_name="__main__")
    said = capsys.readouterr().out
    groups = set(re.findall(r"^  (\w+)=\S+   # .* \| ", said, re.M))
    assert taken <= groups
    assert not not_taken & groups
    settings = OmegaConf.load(ROOT / "conf" / f"{script}.yaml")
    inside = spellings.INSIDE.get(script, {})
    shown = {name: each for each, name in inside.items()}
    for name in settings:
        if name not in ("defaults", "hydra", "_target_"):
            assert re.search(rf"^  {shown.get(name, name)}: ", said, re.M)
