"""The survey of models: what it measures is what single studies do, what it refuses it says, and its price is a ratio."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from sme import Adam, Polynomial, Quadratic, RMSProp, SMEError, weak_error
from sme.simulate.integrators.schemes import scheme
from sme.studies.models.cases import Case
from sme.studies.models.price import price
from sme.studies.models.run import label, survey
from tests.support.tiny import tiny

START = {"theta": torch.tensor([0.8], dtype=torch.float64), "v": torch.tensor([0.6], dtype=torch.float64)}
CASE = Case("polynomial", Polynomial(), RMSProp(), "ballistic", START, {"malladi": (1,), "sme": (1, 2)}, (1 / 4, 1 / 8), 0.5,
            ("loss",), 1)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    tiny(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch)
        return survey([CASE], results=tmp_path_factory.mktemp("survey"))


def test_the_errors_are_those_of_the_studies(made):
    study = weak_error(CASE.problem, CASE.optimizer, tau=CASE.tau, start=START, order=[1, 2], observables=["loss"], paths=1,
                       horizon=CASE.horizon)
    mine = made.errors[made.errors["model"] == "sme"]
    assert mine["error"].tolist() == study.errors["error"].tolist()
    assert mine["stderr"].tolist() == study.errors["stderr"].tolist()


def test_a_table_a_picture_and_the_studies_are_kept(made):
    assert {path.name for path in made.folder.iterdir()} == {
        "models.csv", "models.md", "slopes.csv", *(f"{name}.{kind}" for name in made.plots for kind in ("png", "pdf"))}
    assert "models_cost" in made.plots
    assert len(list(made.folder.parent.glob("rmsprop-ballistic-polynomial-*/errors.csv"))) == 2
    assert pd.read_csv(made.folder / "models.csv")["version"].notna().all()


def test_the_cost_is_the_price_of_all_evaluations(made):
    prices = made.slopes.set_index(["model", "order"])["price"]
    for row in made.errors.itertuples():
        setup = CASE.setup(row.model, row.order, row.tau)
        evaluations = setup.steps * setup.substeps(scheme(setup.equation()))
        assert row.cost == pytest.approx(prices[row.model, row.order] * evaluations)


def test_the_table_compares_with_the_least_error(made):
    shown = made.shown()
    assert list(shown["model"]) == ["malladi", "sme, order 1", "sme, order 2"]
    assert list(shown["τ"].unique()) == ["0.125"]
    assert "1" in set(shown["times the least"])
    sizes = made.errors[made.errors["tau"] == 1 / 8]["error"].abs().to_numpy()
    assert [float(each) for each in shown["times the least"]] == pytest.approx(sizes / sizes.min(), rel=5e-3)


def test_a_model_without_an_equation_is_named_with_the_reason():
    quiet = replace(CASE, models={"ode": (1,), "backward": (2,)})
    made = survey([quiet])
    assert made.refused[["model", "order"]].to_numpy().tolist() == [["backward", 2]]
    assert "Without an equation" in str(made)
    with pytest.raises(SMEError, match="none of the models has an equation"):
        survey([replace(quiet, models={"backward": (2,)})])


@pytest.mark.parametrize(("change", "message"), [
    ({"models": {"odee": (1,)}}, "did you mean 'ode'"), ({"models": {"ode": (1,), "sme": (3,)}}, "order must be 1 or 2"),
    ({"regime": "balistic"}, "did you mean 'ballistic'"), ({"tau": ()}, "tau of polynomial is empty"),
    ({"tau": (0.3,)}, "whole number of steps of tau = 0.3"), ({"observables": ("los",)}, "did you mean 'loss'"),
])
def test_bad_input_is_no_lack_of_an_equation(change, message):
    with pytest.raises(SMEError, match=message):
        survey([CASE, replace(CASE, **change)])


@pytest.mark.slow
def test_without_the_loss_the_first_observable_is_shown(tmp_path, drawn):
    made = survey([replace(CASE, models={"ode": (1,)}, observables=("mean v",))], results=tmp_path)
    assert len(made.shown()) == 1
    assert "in mean v at the horizon" in str(made)


def test_nothing_to_compare_is_told():
    with pytest.raises(SMEError, match="nothing to compare"):
        survey([])


def test_few_runs_are_followed():
    few = replace(CASE, models={"sme": (1, 2)}, tau=(1 / 8,), paths=16, few=True, substeps=4)
    made = survey([few])
    assert made.errors["order"].tolist() == [1, 2]
    assert made.errors["paths"].eq(16).all()
    assert made.slopes["slope"].isna().all()
    assert few.evaluations("sme", 2, 1 / 8) == 16


def test_fixed_decays_are_told_apart():
    assert replace(CASE, optimizer=RMSProp(memory=0.0)).names["regime"] == "ballistic, fixed β"
    assert replace(CASE, optimizer=Adam(memory=2.0)).names["regime"] == "ballistic, 1 − β ~ τ^2"
    assert (label("malladi", 1), label("sme", 2)) == ("malladi", "sme, order 2")


def test_order_2_costs_more_than_order_1():
    case = replace(CASE, problem=Quadratic(dim=20, seed=0), start={"theta": torch.ones(20, dtype=torch.float64)})
    assert price(case.setup("sme", 2), 512) > price(case.setup("ode", 1), 512) > 1


def test_a_price_is_of_drift_and_diffusion_at_ever_new_states():
    seen = []
    setup = CASE.setup("sme", 2)
    equation = SimpleNamespace(motions=1, drift=lambda t, x: seen.append(("drift", x)),
                               diffuse=lambda t, x, dW: seen.append(("diffuse", x)))
    price(SimpleNamespace(**vars(setup), equation=lambda: equation), 8, repeats=2)
    assert [name for name, _ in seen] == ["drift", "diffuse"] * 3
    assert len({id(x) for _, x in seen}) == 3
