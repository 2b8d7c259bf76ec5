"""Fast memory end to end, by exact moments that share no code with the package, and its kernel in substeps."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import sme
from sme.equations.drivers import names
from sme.equations.registry import equation
from sme.optimizers.regimes import BATCH_EQUIVALENT
from sme.simulate.integrators.schemes import scheme

STEADY, GROWTH, BEGIN = 0.5, 0.4, 0.7
"""S(θ) = STEADY + GROWTH θ"""
PROBLEM = sme.Problem(lambda theta: 0.5 * theta[0] ** 2, 1,
                      sme.GaussianNoise(lambda theta: (STEADY + GROWTH * theta).reshape(1, 1)))


def chain(tau):
    """`(E θ, E θ²)` of SGD at time 1."""
    one, two = BEGIN, BEGIN**2
    for _ in range(round(1 / tau)):
        two = (1 - tau) ** 2 * two + tau * (STEADY**2 + 2 * STEADY * GROWTH * one + GROWTH**2 * two)
        one *= 1 - tau
    return np.array([one, two])


def fast_memory(tau, rate, gain):
    """The same of the equation: its coefficients are linear in `(θ, ỹ)`, so that the moments up to degree 2 are closed."""
    eq = equation(PROBLEM, sme.SGD(), BATCH_EQUIVALENT, tau, 2, "fast_memory")
    x, one = torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64)
    (g0, g1), a = eq.diffuse(0.0, x, one)[:, 0].tolist(), float(eq.drift(0.0, x)[1])
    g1, r = g1 - g0, float(eq.recall(0.0, x, one, one)[0])
    (s0, s1), k = eq.kept(0.0, x, one)[:, 0].tolist(), rate / tau
    s1 -= s0
    flow = np.zeros((6, 6))  # of (1, θ, ỹ, θ², θỹ, ỹ²)
    flow[1, 1], flow[2, 2] = a, -k
    flow[3] = [g0 * g0, 2 * g0 * g1, 2 * g0 * r, 2 * a + g1 * g1, 2 * g1 * r, r * r]
    flow[4] = gain * np.array([g0 * s0, g0 * s1 + g1 * s0, r * s0, g1 * s1, r * s1, 0])
    flow[4, 4] += a - k
    flow[5] = gain**2 * np.array([s0 * s0, 2 * s0 * s1, 0, s1 * s1, 0, 0])
    flow[5, 5] -= 2 * k
    return (expm(flow) @ np.array([1, BEGIN, 0, BEGIN**2, 0, 0]))[[1, 3]]


def ratio(rate, gain):
    errors = [abs(chain(tau) - fast_memory(tau, rate, gain))[1] for tau in (2.0**-7, 2.0**-8)]
    return errors[0] / errors[1]


def test_multiplicative_noise_has_order_two_over_a_whole_run():
    assert 3.8 < ratio(names.RATE, names.GAIN) < 4.2


@pytest.mark.parametrize(("rate", "gain"), [(2.0, 1.0), (4.0, 1.0), (8.0, 2.0)])
def test_another_fading_average_has_order_one(rate, gain):
    assert ratio(rate, gain) < 2.6


@pytest.mark.parametrize("substeps", [1, 2, 4, 8, 32])
def test_the_integrals_of_the_kernel_are_exact_in_every_number_of_substeps(substeps):
    """What is left of one impulse after each substep; within one the Milstein part counts half."""
    eq = equation(sme.Polynomial(noise=0.7), sme.RMSProp(), BATCH_EQUIVALENT, 1.0, 2, "fast_memory")
    z, dt, kernel = torch.tensor([[0.3, 0.6, 0.0]], dtype=torch.float64), 1 / substeps, []
    impulse, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for k in range(40 * substeps):
        _, change = scheme(eq).step(eq, 0.0, dt, z, none if k else impulse, none)
        z = torch.cat((z[:, :2], z[:, 2:] + change[:, 2:]), -1)
        kernel.append(float(z[0, 2]) / 0.7)
    assert dt * (sum(kernel) + 0.5) == pytest.approx(0.5, abs=1e-9)
    assert dt * (sum(k * k for k in kernel) + 0.5) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("driver", ["fast_memory", "step_memory"])
def test_the_memory_within_a_substep_adds_no_mean(driver):
    """Its Milstein part takes off what the square of the increment has in the mean."""
    eq = equation(sme.Polynomial(noise=0.7), sme.RMSProp(), BATCH_EQUIVALENT, 0.2, 2, driver)
    x, dt = torch.tensor([[0.8, 0.6]] * 2, dtype=torch.float64), 0.05
    dW = dt**0.5 * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    past = torch.full((2, 1), 0.3, dtype=torch.float64)
    added = (eq.recollect if driver == "fast_memory" else eq.remember)(0.0, x, past, dW, dt)
    kept = past if driver == "fast_memory" else 0.7 * past
    assert float(eq.memory_trace(0.0, x).abs().max()) > 0.1
    assert added.mean(0).numpy() == pytest.approx(np.zeros(2), abs=1e-14)
    assert (added[0] - added[1]).numpy() / 2 == pytest.approx(eq.recall(0.0, x, kept, dW)[0].numpy(), abs=1e-12)
