"""The README's example, the tables of all pages, and the rule of docs/extend as a program; commands are in test_commands.py."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.docs import fill_readme
from tests.support import committed
from tests.support.tiny import tiny

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_python_example_runs(monkeypatch, tmp_path, drawn):
    tiny(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    for full, short in (("paths=100_000", "paths=1"), (", 1 / 16, 1 / 32, 1 / 64]", "]"), ("horizon=1.0", "horizon=0.25")):
        assert full in code
        code = code.replace(full, short)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "errors.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_new_optimizer_runs_as_a_program(monkeypatch, tmp_path, capsys, drawn):
    from sme.convergence.estimator import paired

    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extend" / "optimizer.md").read_text(encoding="utf-8"), re.S)
    short = code.replace("1 / 4, 1 / 8, 1 / 16, 1 / 32]", "1 / 4, 1 / 8], horizon=0.25")
    assert short != code
    exec(compile(short, "optimizer.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "order 2 by the one-step test" in printed
    assert "drift correction" in printed
    assert "lion-ballistic-quadratic" in printed
    assert (tmp_path / "lion.png").stat().st_size > 10_000


def test_every_number_in_a_pages_tables_stands_in_the_record(tmp_path):
    committed.results(tmp_path)
    named = fill_readme.blocks(tmp_path)
    texts = {page: page.read_text(encoding="utf-8") for page in fill_readme.PAGES}
    filled = {page: fill_readme.filled(text, named, fill_readme.up(page), tmp_path) for page, text in texts.items()}
    assert not [page.name for page, text in texts.items() if filled[page] != text], "python -m tests.docs.fill_readme"
    assert not [name for name in named if not any(f"<!-- {name} -->" in text for text in texts.values())]


@pytest.mark.parametrize("network", fill_readme.TODAY)
def test_order_2_is_closer_for_each_network_of_today(network):
    problem, names = fill_readme.TODAY[network]
    places = [fill_readme.folder(f"trajectories/{optimizer}-ballistic-{problem}-independent-{name}", ROOT)
              for optimizer, name in names.items()]
    tables = [pd.read_csv(place / "closer.csv") for place in places]
    ends = pd.concat([table[(table["observable"] == "loss") & (table["time"] == 1)] for table in tables])
    assert len(ends) == len(names)
    assert (ends["low"] > 1).any(), "the interval of the factor lies above 1 for one optimizer at least"


def test_a_place_is_filled_again():
    named = {"one": "| a |\n|---|\n| \\d |"}
    page = "<!-- one -->\n\n| old |\n|---|\n\nafter <!-- two -->\n"
    filled = fill_readme.filled(page, named)
    assert filled == "<!-- one -->\n\n| a |\n|---|\n| \\d |\n\nafter <!-- two -->\n"
    assert fill_readme.filled(filled, named) == filled
    picture = "<!-- picture one -->\n\n![p](../results/published/p.png)\n"
    for before in ("", "\n![old](../results/published/old.png)\n"):
        page = f"<!-- picture one -->\n{before}\nafter"
        assert fill_readme.filled(page, {"picture one": "![p](results/published/p.png)"}, "../") == f"{picture}\nafter"
    beside = "<!-- one -->\n\n![of its own](p.png)\n"
    assert fill_readme.filled(beside, named) == f"<!-- one -->\n\n{named['one']}\n\n![of its own](p.png)\n"


def test_sections_are_filled_again_and_lead_to_their_files(tmp_path):
    record = tmp_path / fill_readme.RECORD / "claims"
    record.mkdir(parents=True)
    (record / "c.md").write_text("# all\n\n| t |\n\n## one\n\n- [p](p.png) | \\d\n\n## two\n\n- b\n\nsme 1\n", encoding="utf-8")
    wanted = ("<!-- sections of claims/c.md -->\n\n### one\n\n- [p](../results/published/claims/p.png) | \\d\n\n"
              "### two\n\n- b\n\n<!-- end -->\n")
    for before in ("", "\n### old\n\n- x\n\n<!-- end -->\n"):
        page = f"<!-- sections of claims/c.md -->\n{before}after <!-- end -->\n"
        assert fill_readme.filled(page, {}, "../", tmp_path) == f"{wanted}after <!-- end -->\n"


def test_every_study_of_the_record_has_its_tables_and_none_its_points():
    listed = subprocess.run(["git", "ls-files", committed.RECORD], cwd=ROOT, capture_output=True, text=True, check=False)
    tracked = listed.stdout.split()
    if not tracked:
        pytest.skip("needs a git checkout")
    studies = {Path(path).parent.name for path in tracked if Path(path).match(f"{committed.RECORD}/*/spec.json")}
    assert not [path for path in tracked if {"points", "asked"} & set(Path(path).parts)]
    for study in studies:
        names = {Path(path).name for path in tracked if path.startswith(f"{committed.RECORD}/{study}/")}
        names -= {name for name in names if name.startswith("compare-")}
        tables = {f"{name}.{kind}" for name in ("errors", "slopes") for kind in ("csv", "tex")}
        assert names - {"obstruction.json", "errors.pdf"} == {"spec.json", "slopes.md", "errors.png", *tables}
