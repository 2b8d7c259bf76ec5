"""What a study holds is its own: frames that are handed out, its place on disk, and a folder that goes as it is read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import sme
from sme.common.storage import files
from sme.convergence import collect

START = {"theta": torch.tensor([0.9, -0.3], dtype=torch.float64)}

pytestmark = pytest.mark.usefixtures("tiny_runs", "undrawn")


def begun(results):
    return sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], start=START, order=1, paths=1, horizon=0.5,
                          backend="torchsde", results=results)


@pytest.fixture
def gone(tmp_path, monkeypatch):
    """A working directory that is deleted under the program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    yield tmp_path
    os.chdir(tmp_path)


def test_frames_that_are_handed_out_are_copies(tmp_path):
    made = begun(tmp_path)
    errors, slopes = made.errors, made.slopes
    for name in ("errors", "slopes"):
        table = getattr(made, name)
        table[table.columns[4]] = 17.0
        table.drop(table.index, inplace=True)
    made.save()
    pd.testing.assert_frame_equal(made.errors, errors)
    pd.testing.assert_frame_equal(made.slopes, slopes)
    pd.testing.assert_frame_equal(sme.load(made.folder).slopes, slopes)


def test_a_working_directory_that_is_gone_stops_nothing_that_needs_none(gone):
    made = begun(gone / "results")
    pd.testing.assert_frame_equal(sme.load(made.folder).errors, made.errors)
    assert begun(None).errors.equals(made.errors)


def test_the_package_is_imported_where_the_working_directory_is_gone(gone):
    subprocess.run([sys.executable, "-c", "import sme"], check=True,
                   env={**os.environ, "PYTHONPATH": str(Path(sme.__file__).parents[1])})


def test_a_folder_that_goes_as_it_is_listed_holds_nothing(tmp_path, monkeypatch):
    made = begun(tmp_path)

    def goes(self, pattern):
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "glob", goes)
    assert files.listed(made.folder, "*") == []
    pd.testing.assert_frame_equal(sme.load(made.folder).slopes[["order", "at"]], made.slopes[["order", "at"]])  # of its tables
    assert collect.rebuild(tmp_path).empty


def test_a_study_that_goes_between_two_looks_is_named(tmp_path, monkeypatch):
    made = begun(tmp_path)
    found = collect._outlines(tmp_path)
    monkeypatch.setattr(collect, "_outlines", lambda _: found)
    shutil.rmtree(made.folder)
    assert collect.rebuild(tmp_path).empty
