"""Observables by name: what each is, by hand, and which there are."""

import pytest
import torch

import sme
from sme.simulate.observables import available, default, select

A = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
STATE = {"theta": torch.tensor([[2.0, 1.0], [0.0, -3.0]], dtype=torch.float64),
         "m": torch.zeros(2, 2, dtype=torch.float64), "v": torch.tensor([[4.0, 1.0], [0.25, 9.0]], dtype=torch.float64)}


def value(name, optimizer):
    return select(sme.Quadratic(), optimizer, [name])[name](STATE)


@pytest.mark.parametrize("name", ["gradient norm", "|gradient|"])
def test_the_gradient_norm_is_that_of_the_whole_loss(name):
    torch.testing.assert_close(value(name, sme.RMSProp()), (STATE["theta"] @ A).norm(dim=1))


@pytest.mark.parametrize("optimizer", [sme.RMSProp(eps=0.1, v_floor=0.0), sme.Adam(eps=0.1, v_floor=0.0),
                                       sme.AdaGrad(eps=0.1, v_floor=0.0)])
def test_the_effective_step_is_what_a_gradient_is_multiplied_by(optimizer):
    roots = STATE["v"].sqrt() + 0.1
    torch.testing.assert_close(value("effective step", optimizer), (1 / roots).mean(1))


def test_the_effective_step_of_adabayes_is_that_of_its_posterior():
    s = 1 / (0.5 + torch.sqrt(torch.tensor(0.25, dtype=torch.float64) + STATE["v"]))
    rule = sme.AdaBayes(prior=0.5, v_floor=0.0)
    torch.testing.assert_close(value("effective step", rule), s.mean(1))


def test_they_are_asked_for_by_name_and_none_is_a_default():
    problem = sme.Quadratic()
    named = default(problem, sme.RMSProp(), ("theta", "v"))
    assert not {"|gradient|", "effective step"} & set(named)
    assert "effective step" not in available(problem, sme.SGD())
    with pytest.raises(sme.SMEError, match="gradient norm"):
        select(problem, sme.SGD(), ["effective step"])
    with pytest.raises(sme.SMEError, match="unknown observable"):
        select(problem, sme.SGD(), ["smallest curvature"])  # of networks


def test_a_study_follows_them():
    made = sme.trajectories(sme.Quadratic(), sme.RMSProp(c=0.5, eps=0.1), tau=1 / 4, start={"theta": (1.0, 0.5)}, horizon=0.5,
                            paths=64, points=1, backend="torchsde", observables=["gradient norm", "effective step"])
    start = made.table[made.table["time"] == 0].groupby("observable")["mean"].first()
    assert start["gradient norm"] == pytest.approx(float((torch.tensor([1.0, 0.5], dtype=torch.float64) @ A).norm()))
    assert start["effective step"] == pytest.approx(1 / 1.1, rel=1e-3)
