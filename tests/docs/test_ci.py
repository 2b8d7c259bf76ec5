"""CI runs the README's own lines, and notices when one of them lacks something."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


@pytest.mark.slow
@nested
def test_ci_fails_without_the_package_itself(tmp_path):
    done = ci(tmp_path, "job", " -e . ", " ")
    assert done.returncode != 0
    assert "requirement" in done.stderr


@nested
@pytest.mark.slow
def test_ci_fails_without_the_test_extra(tmp_path):
    done = ci(tmp_path, "test", "'.[test]'", ".")
    assert done.returncode != 0
    assert "No module named pytest" in done.stderr
