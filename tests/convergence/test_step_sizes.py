"""Step sizes in tables are those that were given, and studies are compared by their steps."""

import math
from functools import partial

import pandas as pd
import pytest

import sme
from sme.optimizers.grid import StepGrid
from tests.support import short
from tests.support.short import START

pytestmark = pytest.mark.usefixtures("tiny_runs")
study = partial(short.study, order=1, tau=[0.1, 0.05], horizon=0.6)


@pytest.mark.parametrize(("horizon", "tau"), [(0.7, 0.1), (0.6, 0.2), (1.1, 0.1), (2.3, 0.023), (0.3, 0.003), (1.0, 1 / 3),
                                              (0.35, 0.05), (4.0, 0.16), (1.0, 1 / 7), (2.0, 2**-9),
                                              (0.7, 1 / 30), (1.4, 1 / 15)])
def test_the_step_size_is_the_one_given(horizon, tau):
    assert StepGrid.near(horizon, tau).given == tau


def test_some_are_not_their_own_quotients():
    assert 0.7 / 7 != 0.1 == StepGrid(0.7, 7).given


def test_rows_are_found_by_the_step_size_that_was_given(tmp_path):
    made = study(results=tmp_path, tau=[0.2, 0.1, 0.05])
    for tau in (0.2, 0.1, 0.05):
        assert len(made.errors[made.errors["tau"] == tau]) == len(made.slopes)
    other = study(horizon=1.0, tau=[0.1])
    assert len(made.errors.merge(other.errors, on=["tau", "observable"])) == len(other.errors)
    assert set(pd.read_csv(made.folder / "errors.csv")["tau"]) == {0.2, 0.1, 0.05}
    assert {point.physical["tau"] for point in made.points} == {0.2, 0.1, 0.05}


def test_trajectories_plans_and_comparisons_have_them_too():
    made = sme.trajectories(sme.Quadratic(), sme.SGD(), tau=0.1, horizon=0.7, start=START, paths=16, processes=1, points=7)
    assert set(made.table["tau"]) == {0.1}
    compared = study(horizon=0.7, tau=[0.1]).compare(orders=(2, 1), paths=1, processes=1, backend="torchsde").table
    assert set(compared["tau"]) == {0.1}
    planned = sme.plan(sme.Quadratic(), sme.SGD(), order=1, tau=[0.1], horizon=0.7, start=START, paths=1, processes=1)
    assert set(planned.table["tau"]) == {0.1}


@pytest.mark.slow
def test_a_study_without_points_can_be_compared(tmp_path):
    made = study(results=tmp_path, order=[1, 2], tau=[0.1, 0.05])
    with_points = made.compare(orders=(2, 1), paths=1, processes=1, backend="torchsde")
    for path in (made.folder / "points").iterdir():
        path.unlink()
    bare = sme.load(made.folder)
    found = bare.compare(orders=(2, 1), tau=[0.1, 0.05], paths=1, processes=1, backend="torchsde")
    assert found.table["difference"].tolist() == with_points.table["difference"].tolist()
    assert all(math.isfinite(each) for each in found.table["stderr"])
    assert "±" in str(found)


@pytest.mark.slow
def test_two_studies_without_points_can_be_compared(tmp_path):
    made = [study(results=tmp_path, brownian=each) for each in ("independent", "none")]
    for each in made:
        for path in (each.folder / "points").iterdir():
            path.unlink()
    one, other = (sme.load(each.folder) for each in made)
    found = one.compare(other, orders=(1, 1), tau=[0.1], paths=1, processes=1, backend="torchsde")
    assert len(found.table)


@pytest.mark.slow
def test_an_order_that_was_not_measured_has_no_number_from_the_tables():
    made = study(order=1).compare(orders=(2, 1), paths=1, processes=1, backend="torchsde")
    assert made.table["z_tables"].isna().all()
    assert made.factors.empty
    assert "No factor between the two errors" in str(made)


def test_a_study_stays_where_it_began_whatever_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    made = short.study(results="there")
    monkeypatch.chdir(tmp_path / "elsewhere")
    made.extend(tau=1 / 16, paths=1)
    assert made.errors["tau"].nunique() == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sme.load(tmp_path / "there" / made.name).errors["tau"].nunique() == 3
