"""Rules whose classes say odd things of themselves, and tensors of odd kinds: taken, or refused in one line."""

import pytest
import torch

import sme
from sme.convergence.spec.specification import Specification

PAIR = torch.tensor([0.25, -0.5], dtype=torch.float64)


def name(optimizer, start=PAIR, factor=None):
    noise = sme.GaussianNoise(0.5 * torch.eye(2, dtype=torch.float64) if factor is None else factor)
    problem = sme.Problem(lambda t: t.square().sum(), 2, noise)
    return Specification.of(problem, optimizer, "ballistic", None, 1.0, {"theta": start}, None, None).name


def rule(**members):
    def update(self, state, gradient, tau, t):
        m = state["m"] + gradient.step - tau * state["m"]
        return {"theta": state["theta"] - tau * m, "m": m}
    return type("Odd", (sme.Optimizer,), {"fields": ("theta", "m"), "defaults": {"m": 0.0}, "update": update, **members})()


ODD = {
    "a name that is a number": ({"name": 7}, "Odd.name names folders, got 7"),
    "a name that fails": ({"name": property(lambda self: {}["x"])}, "Odd.name fails: KeyError: 'x'"),
    "a name with a slash": ({"name": "x/y"}, "Odd.name names folders"),
    "a name with a line break": ({"name": "x\ny"}, "Odd.name names folders"),
    "no name": ({"name": ""}, "Odd.name names folders"),
    "a clock that is a word": ({"t0": "noon"}, "Odd.t0 must be a number"),
    "a clock without end": ({"t0": float("inf")}, "Odd.t0 must be finite"),
    "a memory that is nothing": ({"memory": None}, "Odd.memory must be a number"),
    "a negative floor": ({"v_floor": -0.5}, "Odd.v_floor must be finite and ≥ 0"),
    "fields that are a number": ({"fields": 4}, "Odd.fields must be a tuple"),
    "a field twice": ({"fields": ("theta", "m", "m")}, "Odd.fields must be a tuple of different names"),
    "a field that is a number": ({"fields": ("theta", 5)}, "Odd.fields must be a tuple"),
    "defaults that are a list": ({"defaults": [("m", 0.0)]}, "Odd.defaults must map"),
    "a default that is a tensor": ({"defaults": {"m": torch.ones(2)}}, r"Odd.defaults\['m'\] must be a number"),
    "rates that are nothing": ({"rates": lambda self: None}, r"Odd.rates\(\) must map"),
    "a rate that is a word": ({"rates": lambda self: {"c": "fast"}}, r"Odd.rates\(\)\['c'\] must be a number"),
    "a description that fails": ({"describe": lambda self: [][3]}, "Odd.describe fails: IndexError"),
}


@pytest.mark.parametrize(("members", "said"), ODD.values(), ids=ODD)
def test_what_a_rule_says_of_itself_is_checked(members, said):
    with pytest.raises(sme.SMEError, match=said):
        name(rule(**members))
    if "describe" not in members:
        with pytest.raises(sme.SMEError, match=said):
            sme.derive(sme.Quadratic(), rule(**members))


def test_what_a_rule_may_say_is_taken():
    assert name(rule(name="größer als 2")).startswith("größer als 2-")
    assert name(rule(defaults={"m": False})) != name(rule(defaults={"m": 0.5}))
    assert name(rule(t0=1)) == name(rule(t0=1))


def test_sparse_tensors_count_as_their_numbers():
    factor = torch.tensor([[0.5, 0.0], [0.125, 0.25]], dtype=torch.float64)
    plain = name(sme.SGD(), factor=factor)
    assert {name(sme.SGD(), factor=each) for each in (factor.to_sparse(), factor.to_sparse_csr())} == {plain}
    assert name(sme.SGD(), PAIR.to_sparse()) == name(sme.SGD(), PAIR)


def test_tensors_without_numbers_are_refused():
    with pytest.raises(sme.SMEError, match=r"the noise factor has no numbers of its own .on the device meta"):
        name(sme.SGD(), factor=torch.eye(2, device="meta"))
    with pytest.raises(sme.SMEError, match=r"start\['theta'\] has no numbers of its own"):
        name(sme.SGD(), torch.ones(2, device="meta"))


@pytest.mark.parametrize("odd", [lambda x: x.to_sparse(), lambda x: x.to("meta")], ids=("sparse", "meta"))
def test_an_observable_of_an_odd_layout_is_refused(odd):
    with pytest.raises(sme.SMEError, match="got a tensor of layout"):
        Specification.of(sme.Quadratic(), sme.SGD(), "ballistic", None, 1.0, {"theta": PAIR},
                         {"x": lambda s: odd(s["theta"].sum(-1))}, None)
