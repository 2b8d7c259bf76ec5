"""Update rules: torch.optim's steps to rounding, the floor, the bias correction."""

import math

import pytest
import torch

import sme
from sme.optimizers.bias import correction, log_decay
from sme.optimizers.preconditioner import floor, preconditioner
from sme.regimes import regime

STEPS, TAU = 50, 1 / 16
START = torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64)


def physical_gradients(scaling):
    """Gradients as torch sees them, and their noise as the scaled rule sees it."""
    generator = torch.Generator().manual_seed(3)
    noise = 0.5 * torch.randn(STEPS, 3, generator=generator, dtype=torch.float64)
    return noise, noise / TAU ** (regime(scaling).mean_power / 2)


def mean(theta):
    return torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64) * theta


def ours(optimizer, scaling, v):
    noise, _ = physical_gradients(scaling)
    state = {"theta": START, "m": torch.zeros(3, dtype=torch.float64), "v": torch.full((3,), v, dtype=torch.float64)}
    state = {name: state[name] for name in optimizer.fields}
    for k in range(STEPS):
        gradient = regime(scaling).gradient(mean(state["theta"]), noise[k], TAU)
        state = optimizer.update(state, gradient, TAU, optimizer.t0 + k * TAU)
    return state["theta"]


def theirs(make, scaling, preset=None):
    _, noise = physical_gradients(scaling)
    theta = START.clone().requires_grad_()
    torch_optimizer = make([theta])
    if preset:
        torch_optimizer.state[theta] = preset
    for k in range(STEPS):
        theta.grad = mean(theta.detach()) + noise[k]
        torch_optimizer.step()
    return theta.detach()


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
def test_sgd_takes_torchs_steps(scaling):
    hyper = sme.SGD().physical(regime(scaling), TAU)
    # in the batch-equivalent regime the noise of SGD is ĝ's divided by √τ, the mean ∇f itself
    torch.testing.assert_close(ours(sme.SGD(), scaling, 1.0), theirs(lambda p: torch.optim.SGD(p, lr=hyper["lr"]), scaling),
                               rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
def test_rmsprop_takes_torchs_steps(scaling):
    optimizer = sme.RMSProp(c=0.8, denominator="updated")
    hyper = optimizer.physical(regime(scaling), TAU)
    v = 0.9 / TAU ** regime(scaling).mean_power
    preset = {"step": torch.tensor(0.0), "square_avg": torch.full((3,), v, dtype=torch.float64)}
    reference = theirs(lambda p: torch.optim.RMSprop(p, lr=hyper["lr"], alpha=hyper["beta"], eps=hyper["eps"]), scaling, preset)
    torch.testing.assert_close(ours(optimizer, scaling, 0.9), reference, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
def test_adam_takes_torchs_steps(scaling):
    done = 8  # torch's step counter at t0
    optimizer = sme.Adam(c1=1.0, c2=0.5, denominator="updated", bias_correction=True, t0=done * TAU)
    hyper = optimizer.physical(regime(scaling), TAU)
    v = 0.9 / TAU ** regime(scaling).mean_power
    preset = {"step": torch.tensor(float(done)), "exp_avg": torch.zeros(3, dtype=torch.float64),
              "exp_avg_sq": torch.full((3,), v, dtype=torch.float64)}
    reference = theirs(lambda p: torch.optim.Adam(p, lr=hyper["lr"], betas=(hyper["beta1"], hyper["beta2"]), eps=hyper["eps"]),
                       scaling, preset)
    torch.testing.assert_close(ours(optimizer, scaling, 0.9), reference, rtol=1e-12, atol=1e-14)


def test_old_denominator_differs_from_torchs():
    new, old = (ours(sme.RMSProp(denominator=which), "ballistic", 0.9) for which in ("updated", "previous"))
    assert (new - old).abs().max() > 1e-3


def test_floor_is_the_identity_above_flat_below_and_smooth_between():
    v = torch.linspace(-0.02, 0.03, 2001, dtype=torch.float64)
    w = floor(v, 0.01)
    assert torch.equal(w[v >= 0.01], v[v >= 0.01])
    assert torch.equal(w[v <= 0], torch.full_like(w[v <= 0], 0.005))
    assert (w.diff() >= 0).all()
    fourth = w.diff(n=4) / (0.05 / 2000) ** 4  # a C⁴ function's fourth difference has no jump
    assert fourth.diff().abs().max() < 0.05 * fourth.abs().max()
    assert torch.equal(floor(v, 0.0), v)


def test_preconditioner_slope_is_its_derivative():
    v = torch.linspace(-0.005, 0.05, 300, dtype=torch.float64, requires_grad=True)
    p = preconditioner(v, 0.1, 0.01)
    (derivative,) = torch.autograd.grad(p.value.sum(), v)
    torch.testing.assert_close(p.slope.detach(), derivative, rtol=1e-12, atol=1e-14)


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
