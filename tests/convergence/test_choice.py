"""The cheapest equation that is good enough, and what is chosen before a run."""

import pandas as pd
import pytest
import torch

import sme
from sme.common.errors import SMEError
from sme.convergence.comparison import automatic
from sme.convergence.comparison.candidates import candidates, cost
from sme.convergence.comparison.choice import choose
from sme.convergence.comparison.predictions import COLUMNS, predict

START = {"theta": torch.tensor([0.8], dtype=torch.float64)}


def table(*rows):
    """Equations with (model, order, low, high, cost) in one observable after another."""
    return pd.DataFrame([dict(zip(COLUMNS, ("ballistic", model, order, "independent", f"φ{i}", (low + high) / 2, low, high,
                                            "closure", price), strict=True))
                         for i in range(2) for model, order, low, high, price in rows])


def test_the_cheapest_below_the_tolerance_is_chosen():
    found = choose(table(("sme", 2, 1e-4, 2e-4, 70), ("sme", 1, -5e-3, -4e-3, 30), ("ode", 1, 0.01, 0.02, 20)), 6e-3)
    assert found.good
    assert found.row[["model", "order"]].iloc[0].tolist() == ["sme", 1]
    assert len(found.row) == 2
    assert "ode, order 1 errs by up to 0.02" in found.reason


def test_the_interval_counts_not_the_number():
    rows = table(("sme", 2, 1e-4, 2e-4, 70), ("ode", 1, -0.02, 0.02, 20))  # a prediction of 0, but nobody knows
    assert choose(rows, 0.01).row["model"].iloc[0] == "sme"
    assert choose(rows, 0.03).row["model"].iloc[0] == "ode"


def test_of_two_as_cheap_the_nearer_one():
    assert choose(table(("ode", 1, 2e-3, 3e-3, 20), ("malladi", 1, 1e-3, 2e-3, 20)), 0.1).row["model"].iloc[0] == "malladi"


def test_none_is_good_enough_and_the_least_error_is_named():
    found = choose(table(("sme", 1, -5e-3, -4e-3, 30), ("ode", 1, 0.01, 0.02, 20)), 1e-3)
    assert not found.good
    assert found.row["model"].iloc[0] == "sme"
    assert found.reason.startswith("None is good enough: the least error is that of sme, order 1")


def test_an_equation_without_a_number_is_not_chosen():
    rows = table(("ode", 1, float("nan"), float("nan"), 20), ("sme", 2, 1e-4, 2e-4, 70))
    assert choose(rows, 0.1).row["model"].iloc[0] == "sme"
    with pytest.raises(SMEError, match="none of the equations has a predicted error"):
        choose(table(("ode", 1, float("nan"), float("nan"), 20)), 0.1)


def test_costs_are_gradients_of_a_path():
    """Of one substep of the two-stage scheme: two drifts and one diffusion, and each Hessian product counts twice."""
    every = candidates(sme.Polynomial(), sme.SGD(), "ballistic", 0.5, START, None, 0.25, ["sme", "ode"])
    costs = {each.name: each.cost for each in every}
    substeps = 2 * 16
    assert costs == {"sme, order 1": 2 * substeps, "sme, order 2": 6 * substeps, "ode": 2 * substeps}
    assert cost(every[1].setup) == 6 * substeps


def test_every_model_is_a_candidate_that_has_an_equation():
    found = candidates(sme.Polynomial(), sme.RMSProp(), "batch_equivalent", 0.5, START, None, 0.25, None)
    assert {each.name for each in found} >= {"sme, order 1", "sme, order 2", "sme, order 2, step memory", "malladi", "compagnoni",
                                             "ode"}
    assert all(each.spec.brownian == "none" for each in found if each.model == "ode")
    with pytest.raises(SMEError, match="no equation of SGD"):
        candidates(sme.Polynomial(), sme.SGD(), "ballistic", 0.5, START, None, 0.25, ["malladi"])


def test_a_second_moment_that_spreads_is_left_to_moments():
    start = {"theta": torch.tensor([0.9]), "v": torch.tensor([0.4])}
    every = candidates(sme.Polynomial(noise=0.3), sme.RMSProp(c=0.8), "ballistic", 0.5, start, ["loss"], 0.25, ["sme"])
    found = predict(every[:1])
    assert "spreads" in found.doubt
    assert list(found.table["basis"]) == ["moments"]
    assert found.table["predicted"].notna().all()
    assert predict(every[:1], fallback=False).table["predicted"].isna().all()


def test_auto_is_the_equation_that_select_chooses(capsys):
    problem, how = sme.Polynomial(noise=0.2), {"tau": 0.25, "horizon": 0.5, "start": START, "observables": ["loss"]}
    chosen = sme.select(problem, sme.RMSProp(), tolerance=0.01, **how).choice
    study = sme.weak_error(problem, sme.RMSProp(), model="auto", order="auto", tolerance=0.01, shards=0, backend="torchsde",
                           **how)
    assert chosen.good
    assert study.orders == (int(chosen.row["order"].iloc[0]),)
    assert study.specification().model.name == chosen.row["model"].iloc[0]
    assert "The choice is" in capsys.readouterr().out
    predicted, measured = chosen.row.iloc[0], study.errors.iloc[0]
    wide = 4 * (measured["stderr"] + abs(measured["integrator_bias"])) + (predicted["high"] - predicted["low"]) / 2
    assert abs(predicted["predicted"] - measured["error"]) < wide


def test_auto_keeps_what_is_given():
    how = {"tau": [0.25, 0.125], "regime": "ballistic", "horizon": 0.5, "start": START, "observables": ["loss"]}
    problem, given = sme.Polynomial(noise=0.2), automatic.Asked("auto", 1, None, 0.1)
    assert automatic.resolved(problem, sme.SGD(), given, **how).order == 1
    plain = automatic.Asked("sme", 2, None, 0.05)
    assert automatic.resolved(problem, sme.SGD(), plain, **how) is plain
    with pytest.warns(UserWarning, match="None is good enough"):
        assert automatic.resolved(problem, sme.SGD(), automatic.Asked("sme", "auto", None, 1e-9), **how).order == 2
    with pytest.raises(SMEError, match="give one, such as tolerance"):
        automatic.resolved(problem, sme.SGD(), automatic.Asked("auto", None, None, None), **how)
    with pytest.raises(SMEError, match="tolerance must be positive"):
        automatic.resolved(problem, sme.SGD(), automatic.Asked("auto", None, None, -1), **how)


def test_trajectories_choose_too():
    found = sme.trajectories(sme.Polynomial(noise=0.2), sme.SGD(), model="auto", order="auto", tolerance=1e-2, tau=0.25,
                             horizon=0.5, start=START, paths=16, observables=["loss"], backend="torchsde")
    assert "ode" in found.name or "independent" in found.name
    with pytest.raises(SMEError, match="has a use with model='auto'"):
        sme.trajectories(sme.Polynomial(), sme.SGD(), tolerance=0.1, tau=0.25, horizon=0.5, start=START, paths=16)
