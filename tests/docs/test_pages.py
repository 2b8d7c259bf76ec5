"""The pages are whole: each script, public name and verdict has its place, what is made is up to date, what is shown runs."""

import re
from pathlib import Path

import pytest
import yaml

import sme
from sme.cli import main
from sme.convergence.fit import fits, slopes
from tests.docs import notebooks, settings
from tests.docs.notebooks import NOTEBOOKS
from tests.support.few import few

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LAYOUT = """\
tau: [1/4]          # step sizes
parts:
  small:   # few
    dim: 2
runs:    # all
  - {a: 1}
none: null
"""
NUMBER = r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?"


MADE = """\
| `step` | `[1/4]` | step sizes |
| `parts.small` | … | few |
| `parts.small.dim` | `2` |  |
| `runs` | `a list` | all |
| `none` | `null` |  |"""


def read(*parts):
    return DOCS.joinpath(*parts).read_text(encoding="utf-8")


def test_the_settings_are_those_of_conf():
    assert settings.made() == read("settings.md"), "make it again: python -m tests.docs.settings"


def test_a_setting_has_its_whole_name_its_default_and_its_words():
    assert "\n".join(settings.rows(LAYOUT.splitlines(), {"tau": "step"})) == MADE


@pytest.mark.parametrize("name", main.scripts())
def test_every_script_has_a_page_in_the_gallery(name):
    page = read("gallery", f"{name}.md")
    assert f"python scripts/{name}.py" in page
    assert f"../settings.md#{name})" in page
    assert "## How to read it" in page
    assert f"| [{name}]({name}.md) | {page.splitlines()[2]} |" in read("gallery", "index.md")


def test_every_public_name_is_in_the_api_once():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    assert sorted(re.findall(r"^::: sme\.(\w+)$", text, re.M)) == sorted(sme.__all__)


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {path.relative_to(DOCS).with_suffix(".md").as_posix() for path in (*DOCS.rglob("*.md"), *NOTEBOOKS)}
    assert set(re.findall(r"[\w/]+\.md", str(yaml.safe_load(text)))) == pages


def test_every_note_of_a_verdict_is_explained():
    notes = [slopes.FEW, slopes.FLOOR, slopes.BIAS, slopes.STEEP, slopes.STEEP_FIRST, slopes.LIMIT, slopes.FLAT, slopes.UNSEEN,
             slopes.UNYARDED, slopes.BARELY, fits.FRACTIONAL.partition(", or ")[2], "C₁ between its intervals", "paths diverged",
             "floor active"]
    page = read("verdicts.md")
    assert not [note for note in notes if note not in page]


def tiny(code):
    """With the first τ alone, and studies through torchsde: to trace and compile takes longer than so few pairs."""
    for full, short in ((r"\[(1 / \d+),[^]]*\](?=, .?start)", r"[\1]"), (r"\bpaths=64\b", "paths=4"),
                        ("steps=100, compared=20", "steps=10, compared=5"),
                        (r"(paths=\d+)\)", r'\1, backend="torchsde")'), (r'("paths": \d+)', r'\1, "backend": "torchsde"')):
        code = re.sub(full, short, code)
    return code


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_runs", "undrawn")
def test_the_worked_example_agrees_with_itself(capsys):
    """What is worked out by hand is printed as it stands there, and the tool finds it within its errors."""
    page = read("example.md")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))
    exec(compile(tiny(code), "example.md", "exec"), found := {"__name__": "example"})
    printed = capsys.readouterr().out
    by_hand, terms, *_ = re.findall(r"```text\n(.*?)```", page, re.S)
    assert by_hand in printed
    assert terms in printed
    assert "order 2 by the one-step test" in printed
    for row in found["study"].errors.itertuples():
        known = found["chain"](row.tau) - found["equation"](row.tau, row.order)
        assert abs(row.error - known) < 5 * row.stderr + 2 * abs(row.integrator_bias)


def printed(cell):
    """The words and the numbers that a cell has printed."""
    text = "".join("".join(output.get("text", "")) for output in cell.get("outputs", ()))
    return re.sub(NUMBER, "", text).split(), [float(each) for each in re.findall(NUMBER, text)]


@pytest.mark.parametrize("path", few(NOTEBOOKS, 0), ids=lambda path: path.stem)
@pytest.mark.usefixtures("tiny_runs", "undrawn")
def test_a_notebook_runs_from_its_first_cell_to_its_last(path, monkeypatch, tmp_path):
    """On few pairs; what is found without Monte Carlo is what the notebook shows, up to rounding."""
    monkeypatch.chdir(tmp_path)
    shown = notebooks.read(path)
    assert shown["nbformat"] == 4
    found = notebooks.ran(shown, tiny)
    exact = [(printed(one), printed(two)) for one, two in zip(shown["cells"], found["cells"], strict=True)
             if printed(one)[0] and not re.search("weak_error|regime_report", "".join(one["source"]))]  # which follow the fixture
    assert len(exact) >= 2
    for (words, numbers), (new_words, new_numbers) in exact:
        assert new_words == words, "python -m tests.docs.notebooks"
        assert new_numbers == pytest.approx(numbers, rel=0.02, abs=1e-4)
