"""Cases with closed moments on both sides: the weak error is known, the run must find it."""

import numpy as np
import pytest
import scipy.linalg
import torch

import sme
from sme.convergence.estimator import linear
from sme.convergence.spec.specification import Specification

A, S = np.array([[1.0, 0.5], [0.5, 1.0]]), 0.25 * np.array([[1.0, 0.5], [0.5, 1.0]])
START, LADDER = np.array([1.0, 0.5]), [1 / 4, 1 / 8, 1 / 16]


def second_moment(mean, covariance):
    return float(mean @ mean + np.trace(covariance))


def chain(tau, noise):
    """`E|θ|²` of `θ' = θ − τAθ − noise z` at time 1."""
    mean, covariance = START, np.zeros((2, 2))
    step = np.eye(2) - tau * A
    for _ in range(round(1 / tau)):
        mean, covariance = step @ mean, step @ covariance @ step.T + noise @ noise.T
    return second_moment(mean, covariance)


def diffusion(drift, noise):
    """`E|θ|²` of `dθ = −drift θ dt + noise dW` at time 1."""
    decay = scipy.linalg.expm(-drift)
    # Van Loan: ∫₀¹ e^{−Bs} N Nᵀ e^{−Bᵀs} ds
    block = scipy.linalg.expm(np.block([[-drift, noise @ noise.T], [np.zeros((2, 2)), drift.T]]))
    return second_moment(decay @ START, block[:2, 2:] @ decay.T)


def exact(tau, scaling, order):
    if scaling == "ballistic":
        drift = A + (tau / 2 * A @ A if order == 2 else 0)
        return chain(tau, tau * S) - diffusion(drift, np.sqrt(tau) * S)
    drift, noise = (A, S) if order == 1 else (A + tau / 2 * A @ A, S + tau / 2 * A @ S)
    return chain(tau, np.sqrt(tau) * S) - diffusion(drift, noise)


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize("order", [1, 2])
def test_closed_moments_have_the_order(scaling, order):
    ratio = exact(1 / 256, scaling, order) / exact(1 / 512, scaling, order)
    assert ratio == pytest.approx(2**order, rel=0.02)


def setup(problem, optimizer, scaling="ballistic", order=2, start=START):
    spec = Specification.of(problem, optimizer, scaling, "independent", 1.0, {"theta": torch.tensor(start)}, None, None)
    return spec.setup(order, 8)


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize("order", [1, 2])
def test_the_packages_closed_moments_are_these(scaling, order):
    found = linear.exact(setup(sme.Quadratic(), sme.SGD(), scaling, order))
    assert found["|theta|^2"] == pytest.approx(exact(1 / 8, scaling, order), rel=1e-11)


def test_what_is_not_linear_has_no_closed_moments():
    one = np.array([0.8])
    for problem, optimizer, start in ((sme.Quadratic(), sme.RMSProp(), START), (sme.Polynomial(), sme.SGD(), one),
                                      (sme.Wells(noise="gaussian"), sme.SGD(), one)):
        with pytest.raises(sme.SMEError, match="closed form"):
            linear.exact(setup(problem, optimizer, start=start))


@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
def test_the_run_finds_the_closed_weak_error(scaling):
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), regime=scaling, order=(1, 2), tau=LADDER,
                           start={"theta": torch.tensor(START)}, observables=["|theta|^2"], paths=1)
    assert len(study.errors) == 6
    for row in study.errors.itertuples():
        wanted = exact(row.tau, scaling, row.order)
        assert abs(row.error - wanted) < 5 * row.stderr + 1.5 * abs(row.integrator_bias) + 1e-12, row
        assert row.stderr < 0.1 * abs(wanted), row
