"""Full Monte Carlo runs: python -m pytest -n 0 -m slow (about 30 minutes on 2 cores)."""

import inspect
import sys

import pandas as pd
import pytest
import torch

import sme
from sme.equations.closed import known
from tests.equations.test_mutation import ADAM, RMS

pytestmark = pytest.mark.slow
PATHS = 131_072
LADDER = [1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64]
START = {"theta": torch.tensor([1.0, 0.5])}


def default_job(optimizer, **changes):
    arguments = {"tau": LADDER, "start": START, "order": 2, "paths": PATHS, "processes": "auto", **changes}
    return sme.weak_error(sme.Quadratic(), optimizer, **arguments)


def test_ten_seeds_at_a_tenth_of_the_paths():
    slopes = pd.concat([default_job(optimizer, seed=seed, order=(1, 2), paths=PATHS // 10).slopes
                        for optimizer in (sme.RMSProp(), sme.Adam()) for seed in range(1, 11)])
    print(slopes.groupby("order")["verdict"].value_counts())
    covered = (slopes["slope_low"] <= slopes["order"]) & (slopes["order"] <= slopes["slope_high"])
    print("slope intervals that contain the order:", covered.groupby(slopes["order"]).mean())
    assert (slopes["verdict"] == "inconsistent").mean() <= 0.01
    assert covered.mean() >= 0.9


WRONG = [
    (RMS, "p.slope * g * b_v + p.value * h", "p.slope * g * b_v + 0.8 * p.value * h", sme.RMSProp()),
    (RMS, "2 * g * h - b_v", "2 * g * h - 0.8 * b_v", sme.RMSProp()),
    (RMS, "2 * self.problem.gradient(theta) * noise + skew", "self.problem.gradient(theta) * noise + skew", sme.RMSProp()),
    (RMS, "skew + second", "skew + 0 * second", sme.RMSProp()),
    (RMS, "-self._preconditioner(v).value * noise", "-0.8 * self._preconditioner(v).value * noise", sme.RMSProp()),
    (ADAM, "sign * p.slope * m * b_v - p.value * b_m", "sign * p.slope * m * b_v - 0.8 * p.value * b_m", sme.Adam()),
]


@pytest.mark.parametrize(("module", "right", "wrong", "optimizer"), WRONG, ids=[row[2] for row in WRONG])
def test_a_wrong_coefficient_is_inconsistent_at_default_effort(module, right, wrong, optimizer, monkeypatch):
    source = inspect.getsource(sys.modules[module])
    assert right in source
    mutant = type(sys)("mutant")
    exec(compile(source.replace(right, wrong), module, "exec"), mutant.__dict__)
    key = (type(optimizer), "ballistic")
    monkeypatch.setitem(known._CLOSED, key, getattr(mutant, known._CLOSED[key].__name__))
    slopes = default_job(optimizer, processes=1).slopes
    print(slopes.to_string())
    assert (slopes["verdict"] == "inconsistent").any()


def test_the_work_item_has_its_known_weak_errors():
    """RMSProp, τ = 1/16: E|θ|² −2.25e-4 ± 1.2e-6, E|v|² 2.65e-3 ± 5e-5, from an independent program."""
    errors = default_job(sme.RMSProp(), tau=1 / 16, paths=8 * PATHS).errors.set_index("observable")
    print(errors.to_string())
    for name, value, noise in (("|theta|^2", -2.25e-4, 1.2e-6), ("|v|^2", 2.65e-3, 5e-5)):
        row = errors.loc[name]
        assert abs(row["error"] - value) < 3 * (row["stderr"] ** 2 + noise**2 + row["integrator_bias"] ** 2) ** 0.5


def test_the_obstruction_of_the_batch_equivalent_regime():
    """f = ½θ² + 0.075 θ⁴: order 2 holds on v and fails on θ², by the constant that T₃ predicts (0.0028)."""
    study = sme.weak_error(sme.Polynomial(), sme.RMSProp(), regime="batch_equivalent", order=(1, 2), tau=LADDER,
                           start={"theta": torch.tensor([0.8]), "v": torch.tensor([0.6])}, paths=PATHS, processes="auto",
                           observables=["|theta|^2", "mean v"])
    print(study.slopes.to_string())
    slopes = study.slopes.set_index(["order", "observable"])
    assert (slopes.loc[1, "verdict"] == "consistent").all()
    assert slopes.loc[(2, "mean v"), "verdict"] == "consistent"
    assert slopes.loc[(2, "|theta|^2"), "verdict"] != "consistent"
    assert slopes.loc[(2, "|theta|^2"), "c1_low"] < 0.0028 < slopes.loc[(2, "|theta|^2"), "c1_high"]
    assert slopes["note"].loc[2].str.contains("obstructed: T₃").all()


def hard(brownian, tau, floor=0.04):
    """A noise of 0.7 and a short memory: an obstruction with a large constant, 0.2126 by another program."""
    return sme.weak_error(sme.Polynomial(noise=0.7), sme.RMSProp(c=2.0, v_floor=floor), regime="batch_equivalent", order=2,
                          brownian=brownian, tau=tau, start={"theta": torch.tensor([0.8]), "v": torch.tensor([0.6])},
                          paths=PATHS, processes="auto", observables=["|theta|^2", "mean v"])


def test_a_large_obstruction_is_seen_predicted_and_overcome_by_step_memory():
    fine = [1 / 32, 1 / 64, 1 / 128, 1 / 256]
    high, low = hard("independent", fine), hard("independent", fine[:2], floor=0.01)
    memory = hard("step_memory", [1 / 8, 1 / 16, 1 / 32, 1 / 64])
    for study in (high, low, memory):
        print(study)
    errors = {name: study.errors[study.errors["observable"] == "|theta|^2"].set_index("tau")
              for name, study in (("high", high), ("low", low), ("memory", memory))}
    for tau, was in zip(fine[:2], (0.0073, 0.0034), strict=True):
        one, other = errors["high"].loc[tau], errors["low"].loc[tau]
        noise = (one["stderr"] ** 2 + other["stderr"] ** 2 + one["integrator_bias"] ** 2) ** 0.5
        assert abs(one["error"] - other["error"]) < 4 * noise
        assert abs(one["error"] - was) < 4 * noise
    slopes = high.slopes.set_index("observable").loc["|theta|^2"]
    assert slopes["verdict"] == "inconsistent"
    assert "obstructed: T₃" in slopes["note"]
    assert abs(high.predicted.constants["|theta|^2 at end"][0] / 0.2126 - 1) < 0.1
    remembered = memory.slopes.set_index("observable")
    assert (remembered["slope_low"] < 2).all()
    assert (remembered["slope_high"] > 2).all()
    assert errors["memory"].loc[1 / 32, "error"] < errors["high"].loc[1 / 32, "error"] / 5
