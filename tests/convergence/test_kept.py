"""Tables without their points: judged again from errors.csv, nothing measured anew."""

import shutil
import warnings

import pandas as pd
import pytest
import torch

import sme
from sme.convergence import collect
from tests.support.tiny import tiny

START = {"theta": torch.tensor([1.2, -0.4])}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch, 64)
        study = sme.weak_error(sme.Quadratic(), sme.Momentum(), order=(1, 2), tau=[1 / 2, 1 / 4, 1 / 8], times=[0.5, 1],
                               start=START, paths=512, observables=["mean theta", "|m|^2"],
                               results=tmp_path_factory.mktemp("kept"))
    shutil.rmtree(study.folder / "points")
    shutil.rmtree(study.folder / "sums")  # as in a folder of before
    return study.folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / made.name)


def test_slopes_are_made_again_from_the_errors(folder):
    before = {name: (folder / name).read_text(encoding="utf-8") for name in ("errors.csv", "slopes.csv", "slopes.md")}
    old = pd.read_csv(folder / "slopes.csv")
    old.assign(verdict="inconsistent", note="").drop(columns=["c0_low", "c0_high"]).to_csv(folder / "slopes.csv", index=False)
    table = collect.rebuild(folder.parent)
    assert (folder / "errors.csv").read_text(encoding="utf-8") == before["errors.csv"]
    new = pd.read_csv(folder / "slopes.csv")
    assert list(new.columns) == list(old.columns)
    signed = old["at"] != "max"  # the sign that other shards gave it is not in a file
    for name in ("slope", "slope_low", "slope_high", "c1", "c1_low", "c1_high", "c1_ode", "c0_low"):
        assert new[name].to_numpy()[signed] == pytest.approx(old[name].to_numpy()[signed], rel=2e-3, abs=2e-6, nan_ok=True), name
    assert new["verdict"].tolist() == old["verdict"].tolist()
    assert len(table) == len(new)
    made, kept = ((text.split("\n\n")) for text in ((folder / "slopes.md").read_text(encoding="utf-8"), before["slopes.md"]))
    assert made[:3] == kept[:3]  # title, and what torch.optim calls it
    assert made[-1] == kept[-1]  # code and seeds


def test_a_study_is_loaded_with_its_tables(folder):
    study = sme.load(folder)
    assert len(study.errors) == len(pd.read_csv(folder / "errors.csv"))
    assert len(study.slopes) == len(pd.read_csv(folder / "slopes.csv"))
    assert "no points" not in str(study)


def test_tables_that_cannot_be_read_are_named_and_left(folder):
    text = (folder / "errors.csv").read_text(encoding="utf-8")
    (folder / "errors.csv").write_text(text.replace("order,tau", "order,step"), encoding="utf-8")
    slopes = (folder / "slopes.csv").read_text(encoding="utf-8")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        collect.rebuild(folder.parent)
    assert any("cannot be read" in str(each.message) and str(folder) in str(each.message) for each in seen)
    assert (folder / "slopes.csv").read_text(encoding="utf-8") == slopes
