"""What an obstruction leaves is predicted by compiled chains as by PyTorch, and as by an earlier program."""

import pytest
import torch

import sme
from sme.convergence.estimator import paired
from sme.convergence.fit import kicked, predicted
from sme.convergence.spec.job import Job
from sme.convergence.spec.specification import Specification
from sme.simulate.codegen.interpreter import NotLoweredError

BEFORE = {"|theta|^2 at t=0.5": (0.000897071386296214, 0.0008960569625127814),
          "mean v at t=0.5": (0.010688233798644378, 0.007752508704906243),
          "|theta|^2 at end": (0.0016012014743924036, 0.0012099563812547462),
          "mean v at end": (0.010687518641386128, 0.006857855474569237)}
"""by four chains stepped side by side in PyTorch, which was all that there was before chains were compiled"""


def job(backend, optimizer=None):
    start = {"theta": torch.tensor([1.0, 0.5])}
    spec = Specification.of(sme.Quadratic(), optimizer or sme.RMSProp(), "batch_equivalent", "independent", 1.0, start,
                            ["|theta|^2", "mean v"], [0.5, 1.0])
    return Job.of(spec, tau=[1 / 8], order=[2], paths=65536, shards=None, tolerance=None, budget_s=None, seed=0, device="cpu",
                  processes=1, backend=backend)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 256)


def constants(asked, processes=1):
    with torch.no_grad():
        return predicted.predict(asked, asked.obstructed, 2, processes).constants


def near(found, wanted):
    return all(found[name] == pytest.approx(each, rel=1e-9) for name, each in wanted.items())


def test_by_pytorch_it_is_as_before():
    assert near(constants(job("torchsde")), BEFORE)


@pytest.mark.slow
def test_compiled_it_is_the_same_in_threads_too(monkeypatch):
    sources = []
    monkeypatch.setattr(predicted, "compiled", lambda *given: sources.append(kicked.compiled(*given)) or sources[-1])
    asked = job("auto")
    assert near(constants(asked), BEFORE)
    assert constants(asked, 2) == constants(asked)
    assert all(each.source for each in sources)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [sme.Adam(), sme.RMSProp(v_floor=0.9), sme.RMSProp(denominator="updated")],
                         ids=["adam", "floor", "updated"])
def test_other_rules_are_compiled_and_agree(optimizer):
    slow, fast = job("torchsde", optimizer), job("auto", optimizer)
    assert kicked.compiled(kicked.kicked(fast.obstructed, 1.0), fast.records).source
    assert near(constants(fast), constants(slow))


def test_what_has_no_form_in_c_goes_through_pytorch(monkeypatch):
    def none(*given, **named):
        raise NotLoweredError("no form")

    monkeypatch.setattr(kicked, "source", none)
    assert near(constants(job("auto")), BEFORE)


def test_code_that_takes_other_steps_is_not_used(monkeypatch):
    monkeypatch.setattr(kicked, "source", lambda *given, **named: "other code")
    monkeypatch.setattr(kicked, "load", lambda found: None)
    monkeypatch.setattr(kicked, "_agrees", lambda setup, found: False)
    assert near(constants(job("auto")), BEFORE)
