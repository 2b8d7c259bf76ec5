"""Rounds of a scaling rule: their gaps by hand, what is kept, and the prediction of where a collapse ends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.common.errors import SMEError
from sme.common.storage.records import Records
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.scaling_rules import scale
from sme.studies.scaling import rounds as module
from sme.studies.scaling import run
from sme.studies.scaling.doubling import beside, rounded
from sme.studies.scaling.legs import leg
from sme.studies.scaling.rounds import rounds

RECORD = Path(__file__).parents[2] / "results" / "published" / "scaling"
START = torch.full((2,), 0.5, dtype=torch.float64)
GIVEN = Hyperparameters("adam", 0.02, 0.95, 0.97, 1e-6, steps=32)


def line():
    """Twelve examples on a line, whose gradients are closed forms."""
    return sme.Logistic(features=1, batch_size=1, examples=12)


def found(**more):
    return rounds(line(), GIVEN, START, **{"rates": (0.02, 0.01), "trained": (0, 5), "kappa": 4, "points": 4, "runs": 6, **more})


def test_legs_take_the_same_examples_one_after_the_other_or_at_once():
    problem, given = line(), replace(GIVEN, batch_size=1)
    law = problem.noise
    legs = [leg(problem, law, given, START), replace(leg(problem, law, scale(replace(given, steps=None), 4), START), kappa=4)]
    seen = []

    class Watched:
        count = law.examples.count

        def batch(self, theta, chosen):
            seen.append(chosen.clone())
            return law.examples.batch(theta, chosen)

    values = beside(Watched(), ("with_replacement", 1), legs, [0, 4, 8], lambda state: state["theta"], 4, 0)
    assert values.shape == (2, 3, 4, 2)
    ones, four = [each for each in seen if each.shape[1] == 1], [each for each in seen if each.shape[1] == 4]
    assert torch.equal(torch.cat(ones[:4], 1), four[0])
    assert torch.equal(torch.cat(ones[4:], 1), four[1])
    theta = torch.nn.Parameter(START.clone())
    optimizer = scale(replace(given, steps=None), 4).torch([theta])
    for chosen in four:
        theta.grad = law.examples.batch(theta.detach()[None], chosen[:1])[0]
        optimizer.step()
    np.testing.assert_allclose(values[1, -1, 0], theta.detach(), rtol=1e-10)
    assert rounded(10, 2, 4) == [0, 4, 8]


def test_gap_and_spread_are_those_of_the_runs(tmp_path, drawn):
    made = found(results=tmp_path)
    assert {path.name for path in made.folder.iterdir()} == {"rounds.csv", "gaps.csv", "rounds.md", "rounds.pdf", "rounds.png"}
    table = made.table.set_index(["trained", "lr", "kappa"]).sort_index()
    for _, row in made.gaps.iterrows():
        ends = {(lr, kappa): table.loc[(row["trained"], lr, kappa), "mean"].iloc[-1] for lr in (0.02, 0.01) for kappa in (1, 4)}
        assert row["gap"] == pytest.approx(ends[row["lr"], 4] - ends[row["lr"], 1])
        assert row["spread"] == pytest.approx(abs(ends[0.02, 1] - ends[0.01, 1]))
        assert row["share"] == pytest.approx(abs(row["gap"]) / row["spread"])
        assert row["low"] <= row["share"] <= row["high"]
    first = made.gaps.iloc[0]
    g, law = line().gradient(START[None]), line().noise
    assert first["noise_scale"] == pytest.approx(float(law.variance(START[None]).sum() / g.square().sum()))
    assert made.gaps["loss"].nunique() == 2
    assert "gap/spread" in str(made)


@pytest.mark.parametrize(("change", "said"), [
    ({"rates": (0.1, 0.1)}, "two or more different"), ({"kappa": 5}, "must divide"), ({"kappa": 32, "points": 1}, "kappa < 20"),
    ({"trained": (-1,)}, "trained"), ({"points": 64}, "points = 64")])
def test_bad_rounds_are_named(change, said):
    with pytest.raises(SMEError, match=said):
        found(**change)
    with pytest.raises(SMEError, match="rmsprop, adam or adamw"):
        rounds(line(), Hyperparameters("sgd", 0.1, steps=32), START, rates=(0.1, 0.2), trained=(0,))


def test_what_was_run_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Records, "kept", True)
    monkeypatch.setenv("SME_CACHE", str(tmp_path / "cache"))
    one = found()
    curves = sme.collapse(line(), [replace(GIVEN, beta1=0.9)], START, kappa=(1, 2), points=4, runs=4)

    def never(*given, **options):
        raise AssertionError("it is run again")

    monkeypatch.setattr(module, "beside", never)
    monkeypatch.setattr(run, "beside", never)
    monkeypatch.setattr(run, "_runs", never)
    assert found().gaps.equals(one.gaps)
    again = sme.collapse(line(), [replace(GIVEN, beta1=0.9)], START, kappa=(1, 2), points=4, runs=4)
    assert again.leaves.equals(curves.leaves)
    assert again.table.equals(curves.table)
    with pytest.raises(SMEError, match="run again"):
        found(seed=1)


def test_the_end_of_the_collapse_is_predicted_within_a_factor_of_one_and_a_half():
    """In the committed record of the digits: `python scripts/scaling.py` measures and predicts it."""
    (path,) = RECORD.glob("digits-*/leaves.csv")
    table = pd.read_csv(path)
    seen = table[table["observable"] == "train loss"].set_index(["optimizer", "rule", "part"])
    assert {("adam", "square_root", "early"), ("rmsprop", "square_root", "late"), ("sgd", "linear", "whole")} <= set(seen.index)
    assert (seen["predicted"] / seen["kappa"]).between(1 / 1.5, 1.5).all()


def test_on_mnist_the_test_loss_collapses_late_alone():
    """As published of language models, whose largest batches lie above the others early."""
    (path,) = RECORD.glob("mnist-*/distances.csv")
    table = pd.read_csv(path)
    large = table[(table["observable"] == "test loss") & (table["kappa"] >= 32)]
    assert len(large) == 4
    assert (large["early"] - 2 * large["early_stderr"] > 0.1).all()
    assert (large["late"] + 2 * large["late_stderr"] < 0.1).all()
