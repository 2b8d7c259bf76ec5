"""The parts of an adaptive rule: the floor, the places of ε, the bias correction."""

import math

import pytest
import torch

from sme.optimizers.bias import correction, log_decay
from sme.optimizers.preconditioner import EPS_MODES, floor, places, preconditioner


def test_floor_is_the_identity_above_flat_below_and_smooth_between():
    v = torch.linspace(-0.02, 0.03, 2001, dtype=torch.float64)
    w = floor(v, 0.01)
    assert torch.equal(w[v >= 0.01], v[v >= 0.01])
    assert torch.equal(w[v <= 0], torch.full_like(w[v <= 0], 0.005))
    assert (w.diff() >= 0).all()
    fourth = w.diff(n=4) / (0.05 / 2000) ** 4  # a C⁴ function's fourth difference has no jump
    assert fourth.diff().abs().max() < 0.05 * fourth.abs().max()
    assert torch.equal(floor(v, 0.0), v)


@pytest.mark.parametrize("place", [*(places(0.1, mode, 0.8) for mode in EPS_MODES), (0.4, 0.16)],
                         ids=[*EPS_MODES, "adabayes"])
@pytest.mark.parametrize("v_floor", [0.01, 0.0])
def test_preconditioner_slope_is_its_derivative(place, v_floor):
    v = torch.linspace(-0.005 if v_floor else 0.001, 0.05, 300, dtype=torch.float64, requires_grad=True)
    p = preconditioner(v, place[0], v_floor, place[1])
    (derivative,) = torch.autograd.grad(p.value.sum(), v)
    torch.testing.assert_close(p.slope.detach(), derivative, rtol=1e-12, atol=1e-14)


def test_eps_has_one_place_in_the_preconditioner():
    v = torch.tensor(0.09, dtype=torch.float64)
    values = [preconditioner(v, outside, 0.01, inside).value.item()
              for outside, inside in (places(0.1, mode, 0.8) for mode in EPS_MODES)]
    assert values == pytest.approx([1 / (0.3 + 0.08), 1 / math.sqrt(0.09 + 0.064), 1 / 0.3], rel=1e-14)


def test_bias_correction_is_torchs_clock_and_differentiable():
    tau, c1, c2, k = 1 / 16, 1.0, 0.5, 24
    here = correction(k * tau, tau, c1, c2, (1, 1))
    gamma1, gamma2 = (1 - (1 - c * tau) ** (k + 1) for c in (c1, c2))
    assert float(here.gain) == pytest.approx(math.sqrt(gamma2) / gamma1, rel=1e-13)
    assert float(here.root) == pytest.approx(math.sqrt(gamma2), rel=1e-13)
    t = torch.tensor(k * tau, dtype=torch.float64, requires_grad=True)
    moving = correction(t, tau, c1, c2, (1, 1))
    for value, slope in ((moving.gain, here.gain_slope), (moving.root, here.root_slope)):
        assert float(torch.autograd.grad(value, t, retain_graph=True)[0]) == pytest.approx(float(slope), rel=1e-12)


def test_log_decay_is_smooth_in_the_step_size_at_zero():
    tau = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    value = log_decay(2.0, tau)
    assert value.item() == -2.0
    assert float(torch.autograd.grad(value, tau)[0]) == pytest.approx(-2.0)  # −c²/2
    for x in (0.00999, 0.01001):  # both sides of the switch
        assert float(log_decay(1.0, x)) == pytest.approx(math.log1p(-x) / x, rel=1e-14)
