"""Fast memory in two dimensions, whose motions do not commute: second moments over a run, closed there and in the equation."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import sme
from sme.equations.drivers import names
from sme.equations.registry import equation
from sme.optimizers.regimes import BATCH_EQUIVALENT

CURVE, BEGIN = np.array([[0.9, 0.3], [0.3, 0.5]]), np.array([0.8, -0.5])
STEADY = np.array([[0.4, 0.1], [-0.2, 0.3]])
GROWTH = np.array([[[0.3, -0.2], [0.1, 0.2]], [[0.0, 0.25], [-0.3, 0.1]]])
"""`S(θ) = STEADY + Σ_k θ_k GROWTH[k]`"""


def factor(theta):
    return torch.from_numpy(STEADY) + (theta[:, None, None] * torch.from_numpy(GROWTH)).sum(0)


PROBLEM = sme.Problem(lambda theta: 0.5 * theta @ torch.from_numpy(CURVE) @ theta, 2, sme.GaussianNoise(factor))


def after(slope, steady, columns, begin, horizon):
    """`E z zᵀ` of `dz = (slope z + steady) dt + Σ_j (G_j z + c_j) dW_j`, from `z` known."""
    n = len(begin) + 1  # with 1 beside z the coefficients are linear
    drift = np.block([[slope, steady[:, None]], [np.zeros((1, n))]])
    flow = np.kron(drift, np.eye(n)) + np.kron(np.eye(n), drift)
    for matrix, constant in columns:
        noise = np.block([[matrix, constant[:, None]], [np.zeros((1, n))]])
        flow = flow + np.kron(noise, noise)
    z = np.append(begin, 1.0)
    return (expm(horizon * flow) @ np.kron(z, z)).reshape(n, n)[:2, :2]


def chain(tau):
    step, z = np.eye(2) - tau * CURVE, np.append(BEGIN, 1.0)
    whole = np.block([[step, np.zeros((2, 1))], [np.zeros((1, 2)), np.ones((1, 1))]])
    flow = np.kron(whole, whole)
    for j in range(2):
        noise = np.block([[tau**0.5 * GROWTH[:, :, j].T, tau**0.5 * STEADY[:, j : j + 1]], [np.zeros((1, 3))]])
        flow = flow + np.kron(noise, noise)
    return (np.linalg.matrix_power(flow, round(1 / tau)) @ np.kron(z, z)).reshape(3, 3)[:2, :2]


def fast_memory(tau, rate, gain):
    """Its coefficients are linear in `(θ, ỹ)`, and are taken at 0 and at the unit vectors."""
    eq = equation(PROBLEM, sme.SGD(), BATCH_EQUIVALENT, tau, 2, "fast_memory")
    x = torch.cat((torch.zeros(1, 2), torch.eye(2))).double()

    def line(values):
        values = values.numpy()
        return (values[1:] - values[0]).T, values[0]

    (slope, steady), columns = line(eq.drift(0.0, x)), []
    for unit in torch.eye(2).double():
        dW = unit.expand(3, -1)
        (moved, still), (kept, first) = line(eq.diffuse(0.0, x, dW)), line(eq.kept(0.0, x, dW))
        past = line(eq.recall(0.0, torch.zeros_like(x), x, dW))[0]
        columns.append((np.block([[moved, past], [gain * kept, np.zeros((2, 2))]]), np.append(still, gain * first)))
    zero = np.zeros((2, 2))
    return after(np.block([[slope, zero], [zero, -rate / tau * np.eye(2)]]), np.append(steady, np.zeros(2)), columns,
                 np.append(BEGIN, np.zeros(2)), 1.0)


def errors(rate, gain):
    return [np.abs(chain(tau) - fast_memory(tau, rate, gain)).max() for tau in (2.0**-6, 2.0**-7, 2.0**-8)]


def test_noise_that_does_not_commute_has_order_two_over_a_whole_run():
    found = errors(names.RATE, names.GAIN)
    assert np.log2(found[1] / found[2]) == pytest.approx(2, abs=0.06)


@pytest.mark.parametrize(("rate", "gain"), [(2.0, 1.0), (8.0, 2.0)])
def test_another_fading_average_has_order_one(rate, gain):
    wrong, right = errors(rate, gain), errors(names.RATE, names.GAIN)
    assert np.log2(wrong[1] / wrong[2]) == pytest.approx(1, abs=0.2)
    assert right[2] < 0.1 * wrong[2]
