"""The README's examples and tables; its commands are in test_commands.py."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs import fill_readme
from tests.support import committed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_python_example_runs(monkeypatch, tmp_path, drawn):
    from sme.convergence.estimator import paired

    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.chdir(tmp_path)
    code, _ = re.findall(r"```python\n(.*?)```", README, re.S)
    for full, short in (("paths=100_000", "paths=1"), (", 1 / 16, 1 / 32, 1 / 64]", "]"), ("horizon=1.0", "horizon=0.25")):
        assert full in code
        code = code.replace(full, short)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "errors.png").stat().st_size > 10_000


def test_the_new_optimizer_of_readme_and_docs_runs(monkeypatch, tmp_path, capsys, drawn):
    from sme.convergence.estimator import paired

    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.chdir(tmp_path)
    in_readme = re.findall(r"```python\n(.*?)```", README, re.S)[1]
    (in_docs,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extend" / "optimizer.md").read_text(encoding="utf-8"), re.S)
    assert strip(in_docs) == strip(in_readme)
    short = in_readme.replace("1 / 4, 1 / 8, 1 / 16, 1 / 32]", "1 / 4, 1 / 8], horizon=0.25")
    exec(compile(short, "README.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "order 2 by the one-step test" in printed
    assert "drift correction" in printed
    assert "lion-ballistic-quadratic" in printed
    assert (tmp_path / "lion.png").stat().st_size > 10_000


def strip(code):
    """The statements alone."""
    return [line.split("  #")[0].rstrip() for line in code.splitlines() if line.strip() and not line.strip().startswith('"""')]


def test_every_number_in_the_readmes_tables_stands_in_the_record(tmp_path):
    committed.results(tmp_path)
    assert fill_readme.filled(README, tmp_path) == README


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
