"""A fault in code of the caller's is one line that says where it is; a lack of memory is none of anybody's code."""

import pytest
import torch

import sme
from sme.common.process.blame import causes, place, scarce, theirs
from sme.convergence.estimator import paired
from tests.support.tiny import tiny

START = {"theta": torch.tensor([0.7, -0.4], dtype=torch.float64)}


class Touchy:
    """Any look at what it has not is a fault of its own."""

    def __getattr__(self, name):
        raise LookupError(f"no {name} to be had")


class Rule(Touchy, sme.SGD):
    """Takes plain steps."""


class Loss(Touchy, sme.Quadratic):
    """Has curvature."""


class Law(Touchy, sme.GaussianNoise):
    """Has a covariance."""


class Observed(Touchy):
    """Reads the sum."""

    def __call__(self, state):
        return state["theta"].sum(-1)


def half(theta):
    return 0.5 * theta.square().sum()


@pytest.mark.parametrize("given", [
    lambda: (sme.Quadratic(), Rule()), lambda: (Loss(), sme.SGD()),
    lambda: (sme.Problem(half, 2, Law(0.2 * torch.eye(2))), sme.SGD()),
    lambda: (sme.Quadratic(), sme.SGD(), {"sum": Observed()}),
], ids=["rule", "problem", "law", "observable"])
def test_a_part_that_raises_at_any_look_is_one_line_that_names_its_words(given, monkeypatch):
    tiny(monkeypatch)

    def begin():
        problem, rule, *observables = given()
        return sme.weak_error(problem, rule, tau=1 / 2, start=START, order=1, paths=1, backend="torchsde",
                              observables=observables[0] if observables else None)

    with pytest.raises(sme.SMEError, match=r"no [a-z_]+ to be had") as told:
        begin()
    assert told.value.__cause__ is not None


def test_code_of_the_callers_is_named_with_its_place():
    words = r"code of yours fails: ZeroDivisionError: .* \(test_blame.py, line \d+, in <lambda>\)"
    with pytest.raises(sme.SMEError, match=words), theirs():
        (lambda: 1 / 0)()


def test_a_fault_of_an_installed_package_is_whose_code_called_it():
    with pytest.raises(sme.SMEError, match=r"code of yours fails: RuntimeError: .*\(test_blame.py"), theirs():
        torch.ones(2) @ torch.ones(3)


def test_a_fault_of_ours_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(paired, "chunk", None)  # a fault in the package's own code, in a run that the user began
    with pytest.raises(TypeError):
        sme.weak_error(sme.Quadratic(), sme.SGD(), tau=1 / 2, start=START, order=1, paths=1, backend="torchsde")


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("can't allocate memory"),
                                   ImportError("libx.so: failed to map segment from shared object"),
                                   RuntimeError("can't start new thread")])
def test_memory_that_lacks_is_no_fault_of_any_code(fault):
    with pytest.raises(type(fault)), theirs():
        raise fault
    wrapped = sme.SMEError("the loss cannot be differentiated")
    wrapped.__cause__ = fault
    assert scarce(wrapped) is fault
    assert scarce(sme.SMEError("the loss")) is None
    assert scarce(None) is None


def test_without_a_traceback_nobody_is_blamed():
    assert place(ValueError()) is None


def test_a_fault_that_has_come_to_be_its_own_cause_is_read_once():
    def looped():
        try:
            try:
                raise ValueError("inner")
            except ValueError as inner:
                raise OSError("outer") from inner
        except OSError as outer:
            raise outer.__cause__ from None  # whose context is the outer one now

    with pytest.raises(ValueError, match="inner") as caught:
        looped()
    assert [str(each) for each in causes(caught.value)] == ["inner", "outer"]
    assert scarce(caught.value) is None
