"""What makes two studies the same study: all that the user's code reaches, and nothing that changes no number."""

import datetime
import decimal
import fractions
import importlib
import itertools
import sys

import pytest
import torch

import sme
from sme.common.identity.hashing import fingerprint
from sme.convergence.spec.specification import Specification

HELPERS = '''
import torch
GAIN = 1.5
UNUSED = 3
class Table:
    entries = [0.25, 0.5]
def pull(x):
    return 0.75 * x
def other(x):
    return 2 * x
'''
MINE = '''
import functools
from dataclasses import dataclass
from fractions import Fraction
import torch
import sme
import helpers
from helpers import pull

class Base(sme.Optimizer):
    fields = ("theta",)
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64)
    steps = [3, 4]
    share = Fraction(1, 3)

    def gain(self):
        return 1.25

    @property
    def pace(self):
        return 0.5

    @staticmethod
    def cut(x):
        return 0.875 * x

    @classmethod
    def lift(cls, x):
        return x + 0 * cls.steps[0]

@dataclass(frozen=True)
class Rule(Base):
    rate: float = 0.1

    def update(self, state, gradient, tau, t):
        s = self.cut(self.lift(gradient.step)) * self.gain() * self.pace * float(self.share)
        s = s * self.weights.sum() * helpers.Table.entries[0] / sum(self.steps)
        return {"theta": state["theta"] - helpers.GAIN * pull(s)}

class Bowl(sme.Problem):
    def gradient(self, theta):
        return 1.0 * super().gradient(theta)

class Noise(sme.GaussianNoise):
    def sample(self, *given, **named):
        return super().sample(*given, **named)

SLOPE = 0.625
def bent(theta, power=2):
    return SLOPE * (theta**power).sum()

def spread(state):
    return functools.reduce(torch.add, [state["theta"][:, 0], 0.25 * state["theta"][:, 0]])
'''
EDITS = [
    ("helpers", "GAIN = 1.5", "GAIN = 1.625"), ("helpers", "return 0.75 * x", "return 0.5 * x"),
    ("helpers", "[0.25, 0.5]", "[0.375, 0.5]"),
    ("mine", "tensor([1.0, 2.0]", "tensor([1.0, 2.5]"), ("mine", "steps = [3, 4]", "steps = [3, 5]"),
    ("mine", "Fraction(1, 3)", "Fraction(1, 5)"), ("mine", "return 1.25", "return 1.375"),
    ("mine", "return 0.5\n", "return 0.25\n"),
    ("mine", "0.875 * x", "0.75 * x"), ("mine", "x + 0 *", "x + 1 *"), ("mine", "rate: float = 0.1", "rate: float = 0.2"),
    ("mine", "- helpers.GAIN", "+ helpers.GAIN"), ("mine", "1.0 * super().gradient", "3.0 * super().gradient"),
    ("mine", "return super().sample(*given, **named)", "return 2 * super().sample(*given, **named)"),
    ("mine", "SLOPE = 0.625", "SLOPE = 0.75"), ("mine", "power=2", "power=4"), ("mine", "0.25 * state", "0.5 * state"),
    ("mine", "torch.add,", "torch.sub,"), ("mine", "torch.float64)", "torch.float32)"),
    ("mine", "from helpers import pull", "from helpers import other as pull"),
    ("mine", "class Rule(Base)", "class Rule(Base, Extra)"),
]
HARMLESS = [
    ("mine", "    def gain(self):\n", "    def gain(self):\n        # a comment\n"),
    ("mine", "GAIN * pull(s)", "GAIN  *  pull( s )"),
    ("mine", "    def gain(self):\n", '    def gain(self) -> float:\n        """How much."""\n'),
    ("mine", "def bent(theta, power=2):", "def bent(theta: torch.Tensor, power: int = 2):"),
    ("mine", "import torch\n", "import torch\n\n\nLATER = 1\n"), ("helpers", "UNUSED = 3", "UNUSED = 4"),
    ("helpers", "return 2 * x", "return 3 * x"), ("mine", "return 1.25", "return (1.25)"),
    ("mine", "class Bowl", "\n\n\nclass Bowl"), ("mine", "{\"theta\": state", "{'theta': state"),
]
COUNT = itertools.count()
EXTRA = "class Extra:\n    def pace_of(self):\n        return 1\n\nclass Base("


@pytest.fixture
def named(tmp_path, monkeypatch):
    """The study's name as the two modules, after some edits, make it."""
    count = itertools.count()

    def name(*edits):
        folder = tmp_path / str(next(count))
        folder.mkdir()
        sources = {"helpers": HELPERS, "mine": MINE.replace("class Base(", EXTRA)}
        for file, old, new in edits:
            assert old in sources[file], old
            sources[file] = sources[file].replace(old, new)
        for file, text in sources.items():
            (folder / f"{file}.py").write_text(text, encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            for file in sources:
                sys.modules.pop(file, None)
            importlib.invalidate_caches()
            mine = importlib.import_module("mine")
            problem = mine.Bowl(mine.bent, 1, mine.Noise([[0.3]]))
            found = Specification.of(problem, mine.Rule(), "ballistic", None, 1.0, {"theta": torch.tensor([0.75])},
                                     {"spread": mine.spread}, None).name
        for file in sources:
            sys.modules.pop(file, None)
        return found

    return name


def test_every_edit_of_what_a_study_reaches_gives_it_another_name(named):
    names = {(): named(), **{edit: named(edit) for edit in EDITS}}
    same = [edit for edit in EDITS if names[edit] == names[()]]
    assert not same
    assert len(set(names.values())) == len(names)


def test_comments_layout_annotations_and_what_is_not_reached_change_no_name(named):
    plain = named()
    assert [edit for edit in HARMLESS if named(edit) != plain] == []


@pytest.mark.parametrize("value", [
    torch.float32, torch.device("cpu"), torch.Size([2, 3]), fractions.Fraction(2, 7), decimal.Decimal("1.25"),
    datetime.date(2024, 5, 6), range(3), slice(1, 4), 1 + 2j, b"ab", frozenset({1, 2}),
], ids=repr)
def test_values_of_many_kinds_are_told(value):
    assert fingerprint(value) == fingerprint(value)
    kept = {repr(each): fingerprint(each) for each in (torch.float64, torch.float16, torch.Size([3, 2]), range(4), 2 + 1j, b"ba")}
    assert fingerprint(value) not in kept.values()


def test_what_cannot_be_told_is_refused(tmp_path):
    with (tmp_path / "open").open("w") as file, pytest.raises(sme.SMEError, match="cannot tell"):
        fingerprint(file)


class Scaled(torch.nn.Module):
    """A network with a number, a tensor and a function that are neither parameters nor printed."""

    def __init__(self, factor, shift, bend):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, dtype=torch.float64)
        torch.nn.init.ones_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)
        self.factor, self.shift, self.bend = factor, shift, bend
        self.register_buffer("hidden", shift * 2, persistent=False)

    def forward(self, x):
        return self.bend(self.factor * self.layer(x)) + self.shift + self.hidden


def network(factor=1.0, shift=0.25, bend=torch.tanh):
    x = torch.tensor([[0.5], [1.0], [-1.0]], dtype=torch.float64)
    module = Scaled(factor, torch.tensor(shift, dtype=torch.float64), bend)
    return sme.Network(module, (x, 2 * x), "mse", batch_size=1).describe()


def test_attributes_of_modules_are_part_of_a_networks_name():
    plain = network()
    assert plain == network()
    assert all(network(**change) != plain for change in ({"factor": 1.5}, {"shift": 0.5}, {"bend": torch.sin}))


def study(**changes):
    problem = sme.Problem(lambda theta: 0.5 * (theta**2).sum(), 1, sme.GaussianNoise([[0.3]]))
    given = {"tau": 1 / 2, "order": 1, "start": {"theta": torch.tensor([0.75])}, "paths": 32768, **changes}
    return sme.weak_error(problem, sme.SGD(), **given)


def test_a_start_that_is_written_over_later_changes_nothing():
    start = torch.tensor([0.75], dtype=torch.float64)
    made = study(start={"theta": start}, observables=["loss"])
    before = made.errors.copy()
    start.mul_(3)
    made.extend(tau=1 / 2, order=1, paths=32768)
    assert made.errors["error"].equals(before["error"])


@pytest.mark.parametrize(("observable", "word"), [
    (lambda s: s["theta"][:, 0] - s["theta"][:, 0].mean(), "mixes paths"),
    (lambda s: s["theta"][:, 0] + next(COUNT), "another value each time|cannot tell"),
])
def test_observables_that_cannot_be_reproduced_are_refused(observable, word):
    with pytest.raises(sme.SMEError, match=word):
        study(observables={"odd": observable})


def test_observables_of_one_last_name_are_both_there():
    from sme.cli.config import _observables

    found = _observables(["loss", "tests.common.test_identity.loss", "tests.common.test_identity.fold"], ["loss", "accuracy"])
    assert list(found) == ["loss", "tests.common.test_identity.loss", "fold"]
    assert found["tests.common.test_identity.loss"] is loss


def loss(state):
    """Of the same last name as the built-in."""
    return state["theta"][:, 0]


fold = loss


def test_a_function_in_place_of_a_built_in_is_said():
    with pytest.warns(UserWarning, match="of your own in place of the built-in"):
        study(observables={"loss": loss})




def _scaled_noise(problem):
    problem.noise = sme.GaussianNoise(0.5 * torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize(("made", "write"), [
    (sme.Quadratic, lambda p: p.a.mul_(2)), (sme.Quadratic, lambda p: setattr(p, "a", p.a + 1)), (sme.Quadratic, _scaled_noise),
    (sme.Quadratic, lambda p: p.noise.factor[0].mul_(3)), (lambda: sme.Logistic(examples=12), lambda p: p.features[3].zero_()),
    (lambda: sme.Polynomial(), lambda p: setattr(p, "noise", sme.GaussianNoise(torch.ones(1, 1, dtype=torch.float64)))),
    (lambda: sme.Autoencoder(hidden=2, examples=12), lambda p: p.inputs[0].add_(1)),
    (lambda: sme.Autoencoder(hidden=2, examples=12), lambda p: p.model.module[0].bias.data.add_(1)),
    (lambda: sme.Autoencoder(hidden=2, examples=12), lambda p: p.test[0][1].add_(1)),
])
def test_a_built_in_problem_that_was_written_over_goes_by_another_name(made, write):
    problem, same = made(), made()
    before = fingerprint(problem)
    assert before == fingerprint(same)
    assert "rewritten" not in before
    problem.gradient(torch.full((1, problem.dim), 0.3, dtype=torch.float64))  # use changes nothing
    assert fingerprint(problem) == before
    write(problem)
    after = fingerprint(problem)
    assert after["rewritten"]


def test_weights_that_are_tied_are_told():
    def net(*tied):
        layers = [torch.nn.Linear(3, 3) for _ in range(3)]
        for layer in layers:
            torch.nn.init.constant_(layer.weight, 0.25)
            torch.nn.init.zeros_(layer.bias)
        for one, other in tied:
            layers[other].weight = layers[one].weight
        return torch.nn.Sequential(*layers)

    told = [str(fingerprint(net(*tied))) for tied in ((), ((0, 1),), ((1, 2),), ((0, 2),), ((0, 1), (0, 2)))]
    assert len(set(told)) == 5
    assert str(fingerprint(net((0, 1)))) == told[1]
