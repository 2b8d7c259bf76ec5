"""The README's lines are what CI runs, and CI notices when one of them lacks something."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import fill_readme

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def lines(word):
    return [line for block in re.findall(r"```\w*\n(.*?)```", README, re.S) for line in block.splitlines()
            if "python -m venv" in line and word in line]


def test_the_readme_has_one_line_to_run_and_one_to_test():
    assert len(lines("scripts/weak_error.py")) == 1
    assert len(lines("pytest")) == 1


def test_the_readmes_python_example_runs(monkeypatch, tmp_path):
    from sme import paired

    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    for full, short in (("paths=100_000", "paths=1"), (", 1 / 16, 1 / 32, 1 / 64]", "]")):
        assert full in code
        code = code.replace(full, short)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "errors.png").stat().st_size > 10_000


def ci(tmp_path, which, old, new):
    """`.ci/run` on a clone whose README has `old` replaced by `new`."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    clone = tmp_path / "clone"
    environment = {**os.environ, "SME_NESTED": "1"}
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    assert old in README
    (clone / "README.md").write_text(README.replace(old, new), encoding="utf-8")
    for name in (".ci/run", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, clone / name)
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-am", "Change"],
                   cwd=clone, check=True)
    return subprocess.run(["bash", ".ci/run", which], cwd=clone, env=environment, capture_output=True, text=True,
                          timeout=600, check=False)


nested = pytest.mark.skipif("SME_NESTED" in os.environ, reason="already inside such a run")


@nested
def test_ci_fails_without_the_package_itself(tmp_path):
    done = ci(tmp_path, "job", " -e . ", " ")
    assert done.returncode != 0
    assert "requirement" in done.stderr


@nested
def test_ci_fails_without_the_test_extra(tmp_path):
    done = ci(tmp_path, "test", "'.[test]'", ".")
    assert done.returncode != 0
    assert "No module named pytest" in done.stderr


def test_every_number_in_the_readmes_tables_stands_in_results():
    assert fill_readme.filled(README) == README


def test_every_study_in_results_has_its_tables_and_none_its_points():
    tracked = subprocess.run(["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("needs a git checkout")
    studies = {Path(path).parts[1] for path in tracked if len(Path(path).parts) > 2}
    for study in studies:
        names = {Path(path).name for path in tracked if path.startswith(f"results/{study}/")}
        assert names == {"spec.json", "errors.csv", "slopes.csv", "slopes.md", "errors.png"}
