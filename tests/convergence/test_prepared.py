"""What a study keeps for its later runs: the same digits, nothing traced, tried or differentiated again, unless it is another."""

import pytest
import torch

import sme
from sme.common.storage.records import Records
from sme.convergence.estimator import paired
from sme.simulate import backend, stability
from sme.simulate.codegen.interpreter import NotLoweredError

START = {"theta": torch.tensor([1.0, 0.5])}
MADE = ((paired, "responses"), (paired, "halving"), (paired, "ordinary"), (backend, "source"), (backend, "agrees"),
        (stability, "stability"))


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Few pairs, and a folder in which records are kept."""
    monkeypatch.setenv("SME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Records, "kept", True)
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 32)
    return tmp_path / "cache"


@pytest.fixture
def count(monkeypatch):
    """How often each part is made, by name."""
    counts = {}

    def counting(name, real):
        def counted(*args, **kwargs):
            counts[name] = counts.get(name, 0) + 1
            return real(*args, **kwargs)

        return counted

    for module, name in MADE:
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    return counts


def energy(s):
    return s["theta"].square().sum(-1)


def run(**changes):
    arguments = {"tau": [1 / 2, 1 / 4], "order": 2, "start": START, "paths": 1, "backend": "compiled",
                 "observables": {"energy": energy, "mean": "mean theta"}, **changes}
    return sme.weak_error(sme.Quadratic(), sme.SGD(), **arguments)


def digits(study):
    return {point.key: ([(block.moments.mean.tobytes(), block.moments.comoment.tobytes()) for block in point.blocks],
                        point.halving.moves.tobytes()) for point in study.points}


def test_a_second_run_makes_nothing_again_and_has_the_same_digits(few, count, monkeypatch):
    monkeypatch.setattr(Records, "kept", False)
    bare = run()
    monkeypatch.setattr(Records, "kept", True)
    count.clear()
    fresh = run()
    made = dict(count)
    assert made == {"responses": 2, "halving": 2, "ordinary": 2, "source": 1, "agrees": 2, "stability": made["stability"]}
    count.clear()
    again = run()
    assert not count
    assert digits(bare) == digits(fresh) == digits(again)


def test_another_step_size_is_prepared_alone_and_plan_shares_what_is_kept(few, count):
    settings = {"order": 2, "start": START, "paths": 1, "backend": "compiled"}
    sme.plan(sme.Quadratic(), sme.SGD(), tau=[1 / 2], **settings)
    count.clear()
    sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], **settings)
    assert count["responses"] == count["agrees"] == 1
    assert "source" not in count


def test_other_code_of_the_users_other_names_and_another_version_are_prepared_anew(few, count, monkeypatch):
    run(tau=1 / 2)
    for change in ({"observables": {"energy": lambda s: 2 * energy(s), "mean": "mean theta"}},
                   {"observables": {"mean": "mean theta", "energy": energy}},  # of the same name on disk
                   {"horizon": 2.0}, {"start": {"theta": torch.tensor([1.0, 0.25])}}):
        count.clear()
        run(tau=1 / 2, **change)
        assert count["responses"] == count["source"] == count["agrees"] == count["stability"] == 1
    count.clear()
    run(tau=1 / 2)
    assert not count
    monkeypatch.setattr("sme.common.storage.records.environment", lambda: "another version")
    run(tau=1 / 2)
    assert count["responses"] == count["source"] == 1


def test_a_damaged_record_costs_time_alone(few, count):
    before = run(tau=1 / 2)
    for path in few.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:-7])
    count.clear()
    assert digits(run(tau=1 / 2)) == digits(before)
    assert count["responses"] == count["source"] == 1


def test_why_a_run_is_not_compiled_is_kept_too(few, monkeypatch, capsys):
    traced, said = [], []

    def refuse(setup):
        traced.append(setup.order)
        raise NotLoweredError("there is no such form")

    monkeypatch.setattr(backend, "source", refuse)
    monkeypatch.setattr(backend, "LEAST", 0)
    for _ in range(2):
        run(tau=1 / 2, backend="auto")
        said.append([line for line in capsys.readouterr().out.splitlines() if "there is no such form" in line])
    assert traced == [2]
    assert said[0] == said[1] != []
