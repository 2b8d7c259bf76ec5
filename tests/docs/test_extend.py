"""The pages of docs/extend: their skeletons run as they stand, and the files that they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "extend").glob("*.md"))
SHORT = (("[[0.5, 0.1], [-0.2, 0.4]]", "[[0.5]]"), ("theta.pow(4).sum(), 2, noise", "theta.pow(4).sum(), 1, noise"),
         ("check_order(sme.Quadratic(), ", "check_order(sme.Quadratic(dim=1), "), ("paths=64", "paths=2"),
         ("horizon=1.0", "horizon=0.25"))
"""what takes a page less"""
SECTIONS = ("Where it lives", "Tests", "Checklist", "When to raise NUMERICS")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.usefixtures("tiny_runs", "undrawn")
def test_a_skeleton_runs_as_it_stands(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:  # what a page runs as a program is run by tests/docs/test_readme.py
        for full, short in SHORT:
            block = block.replace(full, short)
        exec(compile(block, page.name, "exec"), {"__name__": "skeleton"})
    if page.stem == "study":
        assert {each.name for each in Path("results/decay").iterdir()} == {"decay.csv", "decay.md", "decay.pdf", "decay.png"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_where_it_lives_what_tests_it_and_what_to_check(page):
    text = page.read_text(encoding="utf-8")
    assert [title for title in SECTIONS if f"\n## {title}\n" in text] == list(SECTIONS)
    named = set(re.findall(r"`((?:sme|tests|conf|docs|scripts)/[\w./]*\w)`", text))
    assert not [each for each in named if not (ROOT / each).exists()]
