"""One step size, one answer; the other reading of a run; and the blind protocol on a tiny scale."""

import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.common.errors import SMEError
from sme.studies.certificate import blind as protocol
from sme.studies.certificate.configurations import drawn, made
from sme.studies.certificate.other import Reading, other
from sme.studies.certificate.score import SAME, scored

START = {"theta": torch.tensor([1.0, 0.5], dtype=torch.float64), "v": torch.tensor([0.8, 1.1], dtype=torch.float64)}


@pytest.fixture(scope="module")
def both():
    return sme.certify(sme.Quadratic(noise=0.2), sme.RMSProp(c=0.6, eps=0.2), tau="1/8", start=START, scalings="both",
                       observables=["loss", "mean v"], tolerance=0.02)


def test_the_table_says_how_each_number_was_had(both):
    assert list(both.table.columns) == ["regime", "model", "order", "driver", "observable", "predicted", "low", "high", "basis",
                                        "cost"]
    assert set(both.table["basis"]) == {"closure"}
    assert (both.table["low"] < both.table["predicted"]).all()
    assert (both.table["predicted"] < both.table["high"]).all()
    assert both.seeds == ()


def test_both_readings_are_one_run(both):
    """Malladi's equation in ballistic variables is the batch-equivalent one of order 1, and so is Compagnoni's its own."""
    rows = both.table.set_index(["regime", "model", "order", "driver", "observable"])["predicted"]
    for observable in ("loss", "mean v"):
        one = rows["ballistic", "malladi", 1, "independent", observable]
        assert rows["batch_equivalent", "sme", 1, "independent", observable] == pytest.approx(one, rel=1e-6)
        one = rows["ballistic", "compagnoni", 1, "independent", observable]
        assert rows["batch_equivalent", "compagnoni", 1, "independent", observable] == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize(("optimizer", "regime"), [(sme.RMSProp(c=0.7), "ballistic"), (sme.AdamW(decay=0.3), "ballistic"),
                                                   (sme.Adam(c1=0.8), "batch_equivalent"), (sme.Momentum(), "ballistic"),
                                                   (sme.SGD(), "batch_equivalent")])
def test_the_other_reading_takes_the_same_steps(optimizer, regime):
    from sme.equations.chain import Chain
    from sme.optimizers.base import initial
    from sme.optimizers.regimes import regime as named

    problem = sme.Quadratic(noise=0.3)
    start = initial(optimizer, {name: field for name, field in START.items() if name in optimizer.fields}, 2)
    one = Reading(problem, optimizer, named(regime), 1 / 16, 0.5, start, {"v": lambda state: state["v"].sum(-1)})
    two = other(one)
    z, ends = torch.tensor([[0.7, -1.2]], dtype=torch.float64), []
    for each in (one, two):
        chain = Chain(each.problem, each.optimizer, each.regime, each.tau)
        state = {name: field[None] for name, field in each.start.items()}
        for k in range(3):
            state = chain.run(state, z, k)
        ends.append(state)
    assert torch.allclose(ends[0]["theta"], ends[1]["theta"], rtol=1e-12)
    if "v" in optimizer.fields:
        assert torch.allclose(one.observables["v"](ends[0]), two.observables["v"](ends[1]), rtol=1e-12)
    back = other(two)
    assert (back.tau, back.horizon, back.regime) == (pytest.approx(one.tau), pytest.approx(one.horizon), one.regime)


def test_a_rule_that_torch_has_not_has_one_reading():
    with pytest.raises(SMEError, match="scalings='both' reads a run as torch takes it"):
        sme.certify(sme.Polynomial(), sme.AdaBayes(), tau=0.25, models=["sme"], scalings="both",
                    start={"theta": torch.tensor([0.8], dtype=torch.float64)})


def test_it_is_a_report(both, drawn, tmp_path):
    text = str(both)
    assert "Predicted weak errors at τ = 0.125" in text
    assert both.choice.reason in both.words
    assert both.words in text
    assert "<table" in both._repr_html_()
    assert both.plot(tmp_path / "certificate.png").stat().st_size > 1000


def test_select_says_none_with_the_smallest():
    found = sme.select(sme.Polynomial(), sme.SGD(), tau=0.25, tolerance=1e-9, start={"theta": torch.tensor([0.8])})
    assert not found.choice.good
    assert found.choice.row["order"].iloc[0] == 2
    with pytest.raises(SMEError, match="tolerance must be positive"):
        sme.select(sme.Polynomial(), sme.SGD(), tau=0.25, tolerance=0, start={"theta": torch.tensor([0.8])})
    with pytest.raises(SMEError, match="one step size"):
        sme.certify(sme.Polynomial(), sme.SGD(), tau=[0.25, 0.5], start={"theta": torch.tensor([0.8])})


def test_configurations_are_fixed_before_anything_is_known():
    assert drawn(3) == drawn(5)[:3]
    assert drawn(2, seed=1) != drawn(2)
    every = drawn(100)
    assert {each["problem"] for each in every} == {"quadratic", "quartic", "logistic", "network"}
    assert {each["rule"] for each in every} == {"sgd", "momentum", "rmsprop", "adam"}
    for each in every[:4]:
        problem, _, how = made(each)
        assert len(how["start"]["theta"]) == problem.dim


def test_the_score_counts_misses_and_wrong_choices():
    keys = [(0, "ballistic", model, order, "independent", "loss") for model, order in (("sme", 1), ("sme", 2))]
    predictions = pd.DataFrame(keys, columns=SAME).assign(predicted=[0.05, 0.002], low=[0.049, 0.0019], high=[0.051, 0.0021],
                                                          basis="closure", cost=[3, 7], spread=0.1, doubt="", cpu=1.0)
    truth = pd.DataFrame(keys, columns=SAME).assign(error=[0.0505, 0.02], stderr=1e-4, integrator_bias=0.0, diverged=0.0, cpu=9.0)
    found = scored(predictions, truth, 1, 0, None)
    assert found.table["covered"].tolist() == [True, False]
    choices = found.choices.set_index("tolerance")
    assert choices.loc[0.1, ["model", "order", "right"]].tolist() == ["sme", 1, True]
    assert choices.loc[0.01, ["order", "right", "wrong"]].tolist() == [2, False, True]  # said to be good, and it is not
    assert choices.loc[0.001, ["model", "right"]].tolist() == ["none", True]
    assert np.isnan(choices.loc[0.001, "dear"])


@pytest.fixture
def calls(monkeypatch):
    """The numbers of the configurations that are worked on, in order, each in no time."""
    calls = []

    def rows(given, *_):
        calls.append(given["number"])
        return pd.DataFrame([{"number": given["number"], "regime": "ballistic", "model": "sme", "order": 1,
                              "driver": "independent", "observable": "loss",
                              "predicted": 0.1, "low": 0.09, "high": 0.11, "cost": 1, "spread": 0.0,
                              "doubt": "", "error": 0.1 + 1e-17, "stderr": 1e-3, "integrator_bias": 0.0, "cpu": 1.0}])

    said, seen = ["predicted", "low", "high", "cost", "spread", "doubt"], ["error", "stderr", "integrator_bias"]
    monkeypatch.setattr(protocol, "_predicted", lambda given: rows(given).drop(columns=seen))
    monkeypatch.setattr(protocol, "_measured", lambda given, paths: rows(given).drop(columns=said))
    return calls


def test_the_protocol_is_resumed(tmp_path, calls):
    protocol.blind(count=2, results=tmp_path)
    assert calls == [0, 1, 0, 1]  # all predictions, then what is measured
    found = protocol.blind(count=3, results=tmp_path)
    assert calls[4:] == [2, 2]
    assert len(found.table) == 3
    with pytest.raises(SMEError, match="holds other configurations"):
        protocol.blind(count=2, seed=5, results=tmp_path)


def test_a_protocol_that_is_killed_halfway_has_each_configuration_whole_or_not(tmp_path, calls, monkeypatch):
    whole, measured = protocol.blind(count=3, results=tmp_path / "one").table, protocol._measured

    def killed(given, paths):
        if given["number"] == 1:
            raise KeyboardInterrupt
        return measured(given, paths)

    monkeypatch.setattr(protocol, "_measured", killed)
    with pytest.raises(KeyboardInterrupt):
        protocol.blind(count=3, results=tmp_path)
    monkeypatch.setattr(protocol, "_measured", measured)
    del calls[:]
    pd.testing.assert_frame_equal(protocol.blind(count=3, results=tmp_path).table, whole)
    assert calls == [1, 2]


def test_damaged_files_of_the_protocol_are_named(tmp_path, calls):
    protocol.blind(count=2, results=tmp_path)
    place = tmp_path / "blind"
    del calls[:]
    path = place / "points" / "truth-1.json"
    good = path.read_text()
    for content in (good.replace("0.001", "0.007"), good[:60], "", "[" * 5000, (place / "points" / "truth-0.json").read_text()):
        path.write_text(content)
        with pytest.warns(UserWarning, match=r"truth-1\.json is not what was written .* computed again"):
            assert protocol.blind(count=2, results=tmp_path).table["stderr"].tolist() == [1e-3, 1e-3]
    assert calls == [1] * 5
    (place / "configurations.json").write_text("[1, 2")
    with pytest.raises(SMEError, match=r"configurations\.json is no list of configurations \(JSONDecodeError"):
        protocol.blind(count=2, results=tmp_path)


def test_tables_of_before_are_read_and_other_paths_are_measured_again(tmp_path, calls):
    protocol.blind(count=2, results=tmp_path)
    place, before = tmp_path / "blind", (tmp_path / "blind" / "truth.csv").read_bytes()
    for point in (place / "points").iterdir():
        point.unlink()
    del calls[:]
    protocol.blind(count=2, results=tmp_path)
    assert calls == []
    assert (place / "truth.csv").read_bytes() == before
    protocol.blind(count=2, paths=65536, results=tmp_path)
    assert calls == [0, 1]  # what is measured alone: predictions have no paths
    protocol.blind(count=2, results=tmp_path)  # by more paths than asked
    assert calls == [0, 1]
    (place / "predictions.csv").write_text('number,"')
    with pytest.raises(SMEError, match=r"predictions\.csv is no table of the blind protocol"):
        protocol.blind(count=2, results=tmp_path)


def one(**more):
    """One equation of one parameter: no time."""
    given = {"tau": 1 / 4, "horizon": 0.5, "start": {"theta": torch.ones(1)}, "models": ["ode"], "observables": ["loss"], **more}
    return sme.certify(sme.Polynomial([0, 0, 0.4]), sme.SGD(), **given)


@pytest.mark.parametrize("path", [None, 3, "a\0.png", ["a.png"], b"a.png"])
def test_a_report_is_drawn_to_a_file_alone(path, both):
    with pytest.raises(SMEError, match="path must name the file to draw to"):
        both.plot(path)


@pytest.mark.parametrize("given", [3, 1.5, object(), {"ode": 1}, [None], [["ode"]]])
def test_models_that_are_none_are_named(given):
    with pytest.raises(SMEError, match="model must be"):
        one(models=given)


def test_each_model_is_taken_once():
    pd.testing.assert_frame_equal(one(models=["ode", "ode"]).table, one().table)

    def own(k):
        return sme.equation(drift=lambda state, tau, t: {"theta": -k * state["theta"]}, order=1, name="mine")

    with pytest.raises(SMEError, match="two equations among models are named 'mine'"):
        one(models=[own(1.0), own(2.0)])


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"a,b\n1,2\n", b"FIFO",
                                     b"problem,optimizer,regime,model,order,tau,observable,error,stderr,integrator_bias\n"
                                     b"polynomial,sgd,ballistic,ode,1,abc,loss,1,1,1\n"])
def test_a_measured_table_that_is_none_is_named_before_anything_is_computed(content, tmp_path, monkeypatch):
    import os

    monkeypatch.setattr("sme.studies.certificate.run.predict", None)
    path = tmp_path / "models.csv"
    if content == b"FIFO":
        os.mkfifo(path)
    elif content is not None:
        path.write_bytes(content)
    for given in (path, 3, {"a": 1}) if content is None else (path,):
        with pytest.raises(SMEError, match=r"measured must be the path of a models\.csv"):
            one(measured=given)


def test_certificates_by_other_paths_have_another_name(monkeypatch):
    from sme.studies.certificate import run

    predict = run.predict
    assert one(seed=1).name == one(seed=2).name  # by the closure: no chance

    def by_paths(*given, **more):
        found = predict(*given, **more)
        found.table["basis"] = "paired"
        return found

    monkeypatch.setattr(run, "predict", by_paths)
    assert len({one(seed=1).name, one(seed=2).name, one(seed=2, paths=65536).name}) == 3


@pytest.mark.slow
def test_a_tenth_of_the_protocol(tmp_path):
    found = protocol.blind(count=10, results=tmp_path)
    inside = found.table[found.table["admitted"]]
    assert inside["covered"].mean() >= 0.95
    assert found.choices["right"].mean() >= 0.95
