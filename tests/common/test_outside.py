"""What code looks at from where no description reaches: told where it can be, else refused, or said."""

import functools
import inspect
import sys
import types

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

import sme
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import several, short
from sme.convergence.spec.specification import Specification

BOWL = sme.Quadratic()
PAIR = torch.tensor([0.3, -0.6], dtype=torch.float64)


def noted(value, **attributes):
    for name, each in attributes.items():
        setattr(value, name, each)
    return value


def holding(value):
    return lambda theta: (value, theta)


def scaled(gain):
    def loss(theta):
        return theta.square().sum()
    loss._gain = gain
    return loss


@torch.jit.script
def triple(x: torch.Tensor):
    return 3 * x


@torch.jit.script
def fivefold(x: torch.Tensor):
    return 5 * x


def in_module(source):
    module = types.ModuleType("elsewhere")
    exec(source, module.__dict__)
    return module.loss


DIFFERENT = {
    "attributes of a tensor": (noted(torch.ones(2), gain=3.0), noted(torch.ones(2), gain=4.0)),
    "a tensor with and without attributes": (noted(torch.ones(2), gain=3.0), torch.ones(2)),
    "private attributes of a function": (scaled(3.0), scaled(4.0)),
    "scripts": (triple, fivefold),
    "aliases of types": (list[int], list[str]),
    "a module's own dunder names": (in_module("__gain__ = 3\ndef loss(t): return globals()['__gain__'] * t"),
                                    in_module("__gain__ = 4\ndef loss(t): return globals()['__gain__'] * t")),
    "frames of data": (pd.DataFrame({"x": [1.5]}), pd.DataFrame({"x": [2.5]})),
    "frozen distributions": (scipy.stats.norm(0, 3), scipy.stats.norm(0, 4)),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_is_told_apart(one, other):
    assert fingerprint(holding(one)) == fingerprint(holding(one))
    assert fingerprint(holding(one)) != fingerprint(holding(other))


def test_what_torch_notes_on_buffers_is_no_attribute_of_the_users():
    assert fingerprint(torch.nn.Buffer(torch.ones(2))) == fingerprint(torch.nn.Buffer(torch.ones(2), persistent=False))


def documented(theta):
    return float(triple_of.__doc__) * theta


def triple_of():
    """3"""


def annotated(theta):
    return len(documented.__annotations__) * theta


def through_globals(theta):
    return documented.__globals__["PAIR"] * theta


def through_modules(theta):
    return sys.modules["sme"].gain * theta


def through_inspect(theta):
    return inspect.getmodule(noted).PAIR * theta


@pytest.mark.parametrize(("loss", "what"), [
    (documented, "a docstring"), (annotated, "annotations"), (through_globals, "all names of a module"),
    (through_modules, "a module by a name made as it runs"), (through_inspect, "a module by a name"),
], ids=lambda each: getattr(each, "__name__", ""))
def test_what_leads_out_of_a_description_is_refused(loss, what):
    with pytest.raises(sme.SMEError, match=f"reads {what}"):
        fingerprint(loss)


@functools.cache
def from_file():
    return float(np.load("gain.npy"))


def test_a_file_that_is_read_as_code_runs_is_said():
    with pytest.warns(UserWarning, match=r"from_file → .* reads a file \(numpy.load\)"):
        fingerprint(lambda theta: from_file() * theta)


class Mute:
    """Cannot be printed."""

    def __repr__(self):
        raise RuntimeError("no words")


class Grudging:
    """Has no attribute, and no list."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")


def named(**changes):
    given = {"problem": BOWL, "optimizer": sme.SGD(), "regime_name": "ballistic", "brownian": None, "horizon": 1.0,
             "start": {"theta": PAIR}, "observables": None, "times": None, **changes}
    return Specification.of(**given).name


@pytest.mark.parametrize("odd", [Mute, Grudging])
@pytest.mark.parametrize("what", ["problem", "optimizer", "regime_name", "brownian", "horizon", "start", "observables", "times",
                                  "model_name"])
def test_an_object_that_cannot_be_printed_is_refused_in_words(what, odd):
    with pytest.raises(sme.SMEError, match=r"got|unknown"):
        named(**{what: odd()})


def test_an_object_that_cannot_be_printed_is_called_by_its_type():
    assert short(Mute()) == "an object of Mute that cannot be printed"
    assert len(several(Grudging())) == 1


@pytest.mark.parametrize("call", [
    lambda odd: sme.phases(odd, PAIR), lambda odd: sme.importance(odd, PAIR), lambda odd: sme.collapse(odd, [], PAIR, kappa=(1,)),
    lambda odd: sme.svag_study(odd, sme.Hyperparameters("sgd", 0.1), PAIR), lambda odd: sme.IDE(odd, "adam", 0.1),
    lambda odd: sme.derive(odd, sme.SGD()), lambda odd: sme.check_order(odd, sme.SGD()),
    lambda odd: sme.stationary(odd, sme.SGD(), 0.1),
], ids=("phases", "importance", "collapse", "svag_study", "IDE", "derive", "check_order", "stationary"))
@pytest.mark.parametrize("odd", [None, 3, Mute(), torch.ones(2), sme.SGD(), sme.Quadratic], ids=lambda each: type(each).__name__)
def test_what_is_no_problem_is_refused_everywhere(call, odd):
    with pytest.raises(sme.SMEError, match=r"problem must be an sme\.Problem"):
        call(odd)
