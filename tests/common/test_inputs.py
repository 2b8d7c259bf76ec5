"""Numbers, flags, seeds and sizes as they are given: what is taken, and one line for what is not."""

import decimal
import fractions
from pathlib import Path

import numpy as np
import pytest
import torch

import sme
from sme.common import inputs
from sme.common.errors import LONGEST, choose, one_line
from sme.common.inputs import flag, number, room, seed_of, short, whole
from sme.convergence.spec import job
from sme.convergence.spec.specification import Specification
from sme.equations.models import model
from sme.studies.ide import lagrangian
from sme.studies.interpolation import run

START = {"theta": torch.tensor([0.7, -0.2])}
THETA = torch.zeros(4, dtype=torch.float64)
PAIR = torch.tensor([0.3, 0.4])
SGD = sme.Hyperparameters("sgd", 0.1, batch_size=1, steps=8)


class Headless(sme.SGD):
    """A rule whose parameters have another name."""

    fields = ("weights",)


def study(**changes):
    given = {"tau": 1 / 2, "start": START, "order": 1, "paths": 1, "backend": "torchsde", **changes}
    return sme.weak_error(given.pop("problem", None) or sme.Quadratic(), given.pop("optimizer", None) or sme.SGD(), **given)


def logistic():
    return sme.Logistic(examples=6, batch_size=1)


REFUSED = {  # by what is given: the call, and what its line must say
    "observables as numbers": (lambda: study(observables=[3, 4]), "named by a text"),
    "observables as an array": (lambda: study(observables=np.ones(2)), "named by a text"),
    "a complex observable": (lambda: study(observables={"z": lambda s: s["theta"].sum(-1) * 1j}), "must be real"),
    "a device that is an array": (lambda: study(device=np.array([1, 2])), "device"),
    "processes that are an array": (lambda: study(processes=np.array([1, 2])), "'auto' or a whole number"),
    "very many processes": (lambda: study(processes="3e21"), "processes must be"),
    "a folder with a null byte": (lambda: study(results="a\0b"), "results must be a folder"),
    "a tiny step size": (lambda: study(tau=1e-323), "more than can be counted"),
    "a huge horizon": (lambda: study(horizon=3e307, tau=1e-3), "more than can be counted"),
    "a rule without theta": (lambda: study(optimizer=Headless()), "none of them is theta"),
    "a start that is a number": (lambda: sme.stationary(sme.Quadratic(), sme.SGD(), 1 / 8, start=4), "start must map"),
    "a state that is a number": (lambda: sme.derive(sme.Quadratic(), sme.SGD())(1 / 16).describe(5), "start must map"),
    "no point to be important at": (lambda: sme.importance(logistic(), None), "theta must be a real tensor"),
    "a word to be important at": (lambda: sme.importance(logistic(), "here"), "theta must be a real tensor"),
    "a picture without a name": (lambda: study().plot(7), "name the file"),
    "hyperparameters that are a number": (lambda: sme.collapse(logistic(), 5, THETA, kappa=(1, 2)), "hyperparameters must be"),
    "a seed that is a word": (lambda: sme.collapse(logistic(), [SGD], THETA, kappa=(1,), seed="first"), "seed must be"),
    "a flag that is nothing": (lambda: sme.svag_study(logistic(), SGD, THETA, ell=1, steps=2, plain=None), "true or false"),
    "a matrix without end": (lambda: sme.Quadratic(dim=10**29), "dim must be a whole number"),
    "a matrix beyond the memory": (lambda: sme.Quadratic(dim=3 * 10**6), "GiB of memory"),
    "a seed beyond torch's": (lambda: sme.Quadratic(seed=2**64), "seed must be"),
    "layers beyond the memory": (lambda: sme.Digits(hidden=[10**11], examples=8, batch_size=2), "GiB of memory"),
    "channels beyond the memory": (lambda: sme.Digits(channels=10**8, examples=8, batch_size=2), "GiB of memory"),
    "a batch without end": (lambda: sme.Logistic(examples=6, batch_size=10**21), "batch_size must be"),
    "paths beyond the memory": (lambda: run.measure([1 / 4], 10**11), "GiB of memory"),
    "no step size": (lambda: run.measure([], 16), "tau is empty"),
    "a step size of no use": (lambda: run.measure([1e-300], 16), "tau must be finite"),
    "velocities that are none": (lambda: lagrangian.measure([0.05], [float("nan")], [15], 1.0), "velocities must be"),
    "substeps without end": (lambda: sme.trajectories(sme.Quadratic(), sme.SGD(), tau=1 / 4, start=START, backend="torchsde",
                                                      substeps=10**8), "substeps must be"),
    "steps without end": (lambda: sme.regime_report(sme.Quadratic(), SGD, PAIR, steps=10**27), "steps must be"),
    "cells beyond the memory": (lambda: sme.phases(sme.Quadratic(noise=0.0), PAIR, cells=10**6), "GiB of memory"),
    "very many observables": (lambda: study(observables={f"o{i}": lambda s: s["theta"][..., 0] for i in range(1001)}),
                              "at most 1000"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(what):
    call, words = REFUSED[what]
    with pytest.raises(sme.SMEError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "value"), [
    ("1/32", 1 / 32), (" 0.3 ", 0.3), (3, 3.0), (np.float32(0.5), 0.5), (torch.tensor(0.25), 0.25), ("2e-3", 0.002),
    (fractions.Fraction(3, 8), 0.375), (decimal.Decimal("0.125"), 0.125),
])
def test_a_number_may_be_written_in_many_ways(given, value):
    assert number("x", given) == value


@pytest.mark.parametrize("given", [
    None, "", "one", True, 1j, [], {}, {1}, object(), "1/0", "9" * 6000, 10**400, torch.tensor([0.1, 0.2]), np.ones((2, 3)), int,
    torch.tensor([1j]), "0x1f", "1,5", np.True_, torch.tensor(True), np.array([False]),
])
def test_what_is_no_number_is_named_in_one_short_line(given):
    with pytest.raises(sme.SMEError, match="x must be a number") as caught:
        number("x", given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_group_that_holds_itself_or_very_many_is_named_in_one_short_line():
    itself = {"a": 0.5}
    itself["b"] = itself
    assert short(itself) == "{'a': 0.5, 'b': {'a': 0.5, 'b': {'a': 0.5, 'b': {…}}}}"
    assert short(dict.fromkeys(range(10**4), 1)).endswith("19: 1, …}")
    assert short({"theta": torch.tensor([0.5, 2.0])}) == "{'theta': [0.5, 2.0]}"
    assert short({}) == "{}"


class Unwritten:
    """Has no text."""

    def __str__(self):
        return 3


def test_what_has_no_text_is_no_order():
    with pytest.raises(sme.SMEError, match="order must be 1 or 2"):
        model("sme").asked(Unwritten(), (2,))


@pytest.mark.parametrize("given", [1.5, "many", -3, 10**13, 1e300, float("inf"), float("nan"), "7/2", None, True, np.False_])
def test_what_is_no_whole_number_in_its_range_is_refused(given):
    with pytest.raises(sme.SMEError, match="n must be a whole number"):
        whole("n", given, 1)


def test_a_range_ends_where_it_says():
    assert whole("n", "12", 1, 12) == whole("n", 12.0, 1, 12) == 12
    with pytest.raises(sme.SMEError, match="from 1 to 12, got 13: give 12 or less"):
        whole("n", 13, 1, 12)
    assert seed_of(2**128 - 1) == 2**128 - 1
    with pytest.raises(sme.SMEError, match="seed"):
        seed_of(2**128)


def test_only_true_and_false_are_flags():
    assert flag("on", True) is True
    for given in (1, "true", None):
        with pytest.raises(sme.SMEError, match="on must be true or false"):
            flag("on", given)


def test_room_is_measured_by_the_machines_memory(monkeypatch):
    monkeypatch.setattr(inputs, "_memory", lambda: 8000.0)
    room("a table", 10, 100)
    with pytest.raises(sme.SMEError, match="a table would take"):
        room("a table", 10, 101)


def test_a_message_is_one_printable_line_that_is_not_endless():
    assert str(sme.SMEError("a\n  b\tc")) == "a b c"
    assert one_line("\x1b[31mred\0") == "\\x1b[31mred\\x00"
    assert len(one_line("word " * 10_000)) < LONGEST
    with pytest.raises(sme.SMEError) as caught:
        choose("name", "z" * 100_000, ["a", "b"])
    assert len(str(caught.value)) < 300


def test_many_observables_are_said_to_cost_much_before_they_do():
    many = {f"o{i}": lambda s: s["theta"][..., 1] for i in range(160)}
    spec = Specification.of(sme.Quadratic(), sme.SGD(), "ballistic", None, 1.0, START, many, None)
    asked = {"order": 1, "paths": 1, "shards": None, "tolerance": None, "budget_s": None, "seed": 0, "device": "cpu",
             "processes": 1, "backend": "torchsde"}
    with pytest.warns(UserWarning, match="160 observables at 1 time: each shard of each step size takes some 19 MiB"):
        job.Job.of(spec, tau=1 / 2, **asked)


def test_hyperparameters_may_come_one_after_the_other():
    with pytest.raises(sme.SMEError, match="points = 9"):  # past the list, at the next question
        sme.collapse(logistic(), iter([SGD]), THETA, kappa=(1,), points=9)


def test_a_single_batch_size_has_a_picture_without_distances(tmp_path):
    made = sme.collapse(logistic(), [SGD], THETA, kappa=(1,), points=2, runs=4, results=tmp_path)
    assert list(made.folder.glob("*.png"))


@pytest.mark.parametrize("given", [1, 2.0, np.int64(2), torch.tensor(1), np.array(2)])
def test_an_order_may_be_any_one_number(given):
    assert inputs.first_or_second(given)


@pytest.mark.parametrize("given", [True, 3, 1.5, None, "1", [1, 2], torch.tensor([1, 2]), np.array([1, 2]), np.ones((2, 2))])
def test_what_is_not_one_or_two_is_no_order(given):
    assert not inputs.first_or_second(given)


STUDY = Path(__file__).parents[2] / "results" / "published" / "adam-ballistic-quadratic-independent-44ed0b05"
FEW, START = torch.tensor([0.5, 0.25]), {"theta": torch.ones(2)}


@pytest.mark.parametrize(("call", "words"), [
    (lambda: sme.derive(sme.Quadratic(), sme.SGD(), order=FEW), "order must be 1 or 2"),
    (lambda: sme.formula(sme.Adam(), order=FEW), "order must be 1 or 2"),
    (lambda: sme.Quadratic(seed=FEW), "seed must be"),
    (lambda: sme.GaussianNoise(lambda theta: theta[:, None], motions=FEW), "motions must be a whole number"),
    (lambda: sme.ImportanceNoise([], lambda theta, x: x * theta.sum(), (torch.ones(2),)), "must be 2 finite numbers"),
    (lambda: sme.trajectories(sme.Quadratic(), sme.SGD(), tau=0.5, start=START, histogram={}), "histogram must be names"),
    (lambda: sme.trajectories(sme.Quadratic(), sme.SGD(), tau=0.5, start=START, histogram={"loss"}), "histogram must be names"),
    (lambda: sme.load("1" * 5000), "folder must be the path of one study's folder"),
    (lambda: sme.load(STUDY).text(np.ones(2)), "style must be|unknown style"),
], ids=["derive", "formula", "seed", "motions", "probabilities", "mapping", "set", "folder", "style"])
def test_several_numbers_or_a_group_where_one_is_meant_are_refused(call, words):
    with pytest.raises(sme.SMEError, match=words):
        call()
