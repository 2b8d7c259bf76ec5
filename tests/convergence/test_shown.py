"""What an interactive session shows, and what is said of few paths and many observables."""

import base64
import warnings

import pandas as pd
import pytest
import torch

import sme
from sme.common.output import brief
from sme.common.process import progress as bars
from sme.convergence.cost import weight
from sme.convergence.runner import ready
from sme.convergence.spec import effort
from sme.convergence.spec.specification import Specification
from tests.support.tiny import tiny

START = {"theta": torch.tensor([0.9, -0.3], dtype=torch.float64)}


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch)
        return sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 4, 1 / 8], start=START, order=1, paths=32768)


def test_a_study_is_a_screen_and_a_page_with_a_table_and_a_picture(study, drawn):
    assert len(repr(study)) < 1000
    page = study._repr_html_()
    assert page.count("<tr") == 1 + len(study.slopes)
    inside = page.partition("data:image/png;base64,")[2].partition('"')[0]
    assert base64.b64decode(inside).startswith(b"\x89PNG")
    empty = sme.Study(study.outline)
    assert "img" not in empty._repr_html_()


def test_every_object_is_a_few_lines(study, tiny_runs):
    check = sme.check_order(sme.Quadratic(), sme.SGD())
    runs = sme.trajectories(sme.Quadratic(), sme.SGD(), tau=1 / 4, start=START, order=1, paths=16)
    shown = [study.compare(orders=(2, 1), paths=32768), check, runs, sme.stationary(sme.Quadratic(), sme.Adam(), 1 / 32),
             sme.Quadratic(), sme.Logistic(), sme.GaussianNoise(torch.eye(40)), sme.derive(sme.Quadratic(), sme.SGD())(1 / 4),
             sme.AdamW(), sme.IDE(sme.Quadratic(), "adagrad", 0.1)]
    for each in shown:
        assert len(repr(each)) < 2000, type(each)
        assert repr(each).count("\n") < 30, type(each)
    assert f"residuals=<{len(check.residuals)} rows: " in repr(check)


@pytest.mark.parametrize(("given", "said"), [
    (pd.DataFrame({"a": [1, 2]}), "<2 rows: a>"), (torch.zeros(3, 4), "<numbers (3, 4)>"), (torch.ones(2), "tensor([1., 1.])"),
    (list(range(99)), "<99 entries>"), ("x", "'x'"), (0.5, "0.5"), (None, "None")])
def test_a_value_is_told_in_one_line(given, said):
    assert brief.brief(given) == said


def test_paths_below_a_shard_are_said_to_be_a_shard():
    with pytest.warns(UserWarning, match=r"paths = 500 is less than a shard, and 32768 are run: give paths=32768"):
        study = sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 4, start=START, order=1, paths=500)
    assert set(study.errors["paths"]) == {32768}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.extend(tau=1 / 8, paths=32768)


def test_paths_between_two_shards_are_said_to_be_rounded_up():
    assert effort.shards(50_000, None, 1 / 4) == [0, 1]
    with pytest.warns(UserWarning, match=r"paths = 50000 are rounded up to 65536: they come in shards of 32768"):
        effort.warn_rounded(50_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for paths in (None, 32768, 98304):
            effort.warn_rounded(paths)


def test_a_warning_points_to_the_caller(tiny_runs):
    with pytest.warns(UserWarning, match="less than a shard") as seen:
        sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 4, start=START, order=1, paths=3)
    assert seen[0].filename == __file__


def test_many_observables_are_said_to_be_heavy(monkeypatch):
    def prepared(count):
        functions = {f"o{i}": lambda s, i=i: (s["theta"] ** 2 / (1 + i)).sum(-1) for i in range(count)}
        spec = Specification.of(sme.Quadratic(), sme.SGD(), "ballistic", None, 1.0, START, functions, None)
        return ready({(1, 2): spec.setup(1, 2)}, "torchsde")[1, 2]

    few, many = prepared(4), prepared(8)
    assert weight.point_mib(many) / weight.point_mib(few) == pytest.approx(4, rel=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight.warn([few, many])
    monkeypatch.setattr(weight, "HEAVY", weight.point_mib(few))
    with pytest.warns(UserWarning, match="8 observables at 1 times: a point takes up to"):
        weight.warn([few, many])


@pytest.mark.slow
def test_a_network_starts_where_it_is():
    network = sme.Network(torch.nn.Linear(2, 1), (torch.rand(6, 2), torch.rand(6, 1)), loss="mse", batch_size=2)
    kinds = {"tau": 1 / 2, "order": 1, "paths": 8, "observables": ["|theta|^2"]}
    own, given = (sme.trajectories(network, sme.SGD(), **kinds, **more) for more in ({}, {"start": dict(network.start)}))
    pd.testing.assert_frame_equal(own.table, given.table)
    with pytest.raises(sme.SMEError, match="start lacks the field 'theta'"):
        sme.trajectories(sme.Quadratic(), sme.SGD(), tau=1 / 2)


def test_check_order_has_a_bar(monkeypatch):
    told = []

    class Bar:
        def __init__(self, *given, **how):
            self.given, self.how = given, how
            told.append((how["desc"], how["disable"], how["leave"], how["delay"]))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            return iter(self.given[0])

        def update(self):
            told.append("step")

    monkeypatch.setattr(bars, "_kind", lambda: (Bar, None))
    sme.check_order(sme.Quadratic(), sme.SGD())
    assert told[0] == ("check of order 2", None, False, 1)
    assert told.count("step") >= 10
    assert told[-1] == ("residuals", None, False, 1)
