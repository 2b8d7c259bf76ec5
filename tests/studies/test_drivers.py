"""One problem under every noise, with every driver that it has."""

import math

import pandas as pd
import pytest
import torch

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import BATCH_EQUIVALENT
from sme.studies.drivers import run
from tests.support.tiny import tiny


def test_every_noise_has_the_same_covariance():
    theta = torch.tensor([[0.3]], dtype=torch.float64)
    for name, problem in run.problems().items():
        assert abs(float(problem.noise.variance(theta)) - run.SIZE**2) < 1e-12, name
        assert abs(float(problem.gradient(theta)) - 0.3 - 0.3 * 0.3**3) < 1e-12


def test_the_table_has_the_drivers_of_each_noise(monkeypatch, tmp_path):
    tiny(monkeypatch, 8)
    found = sme.drivers("sgd", ["without_replacement"], ["batch_equivalent"], [1 / 2], horizon=0.5, paths=1, backend="torchsde",
                        results=tmp_path)
    assert set(found.table["driver"]) == {"independent", "poisson"}
    assert set(found.table["order"]) == {1}
    assert "slope over τ" in str(found)
    assert {each.suffix for each in found.folder.iterdir()} >= {".csv", ".md", ".png"}
    assert len(pd.read_csv(found.folder / "drivers.csv", comment="#")) == len(found.table)


def test_what_is_there_is_not_computed_again_and_other_settings_have_another_folder(monkeypatch, tmp_path, capsys):
    tiny(monkeypatch, 8)
    given = {"rule": "sgd", "noises": ["gaussian"], "regimes": ["ballistic"], "tau": [1 / 2, 1 / 4], "horizon": 0.5, "paths": 1,
             "backend": "torchsde", "results": tmp_path}
    first = sme.drivers(**given)
    capsys.readouterr()
    again, other = sme.drivers(**given), sme.drivers(**{**given, "seed": 1})
    assert "2 of 2 points found" in capsys.readouterr().out
    assert again.folder == first.folder
    pd.testing.assert_frame_equal(again.table, first.table)
    assert other.folder != first.folder
    assert {each.parent for each in (first.folder, other.folder)} == {tmp_path / "drivers"}
    assert all(each.folder.name.startswith("sgd-") and each.name == f"drivers-{each.folder.name}" for each in (first, other))


@pytest.mark.slow
def test_without_paths_the_slopes_are_those_of_the_theory():
    found = sme.drivers("sgd", ["with_replacement"], ["batch_equivalent"], [1 / 32, 1 / 64], method="quadrature")
    table = found.table[found.table["observable"] == "theta^3"]
    assert not table["paths"].any()
    assert "numerical bound" in str(found)
    assert set(table["driver"]) == {"independent", "poisson"}
    for driver, order in (("independent", 0.5), ("poisson", 1)):
        one, two = table.loc[table["driver"] == driver, "error"]
        assert math.log2(one / two) == pytest.approx(order, abs=0.2), driver


def test_reshuffled_epochs_have_a_flow_and_arrivals():
    problem = run.problems()["reshuffled"]
    for driver, name in (("none", "EpochFlow"), ("arrivals", "Arrivals"), ("poisson", "Poissonised")):
        assert type(equation(problem, run.RULES["rmsprop"], BATCH_EQUIVALENT, 0.1, 1, driver)).__name__ == name


@pytest.mark.parametrize(("given", "words"), [
    ({"tau": "abc"}, "tau must be a number"), ({"tau": []}, "tau is empty"), ({"paths": -1}, "paths must be"),
    ({"seed": "x"}, "seed must be"), ({"backend": "z"}, "unknown backend"), ({"noises": []}, "noises or regimes is empty"),
    ({"processes": 0}, "processes must be")])
def test_what_is_wrong_is_named_and_not_taken_for_a_driver_that_there_is_not(given, words):
    with pytest.raises(sme.SMEError, match=words):
        sme.drivers(**{"rule": "sgd", "noises": ["gaussian"], "regimes": ["ballistic"], "tau": [1 / 2], "paths": 1, **given})
