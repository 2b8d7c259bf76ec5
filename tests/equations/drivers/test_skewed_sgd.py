"""SGD on skewed examples, batch-equivalent, over whole runs: moments up to the third are closed, in run and equations."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import BATCH_EQUIVALENT

BEGIN, CURVE = 0.6, 0.8
SHIFTS = {3: np.array([1.4, -0.3, -1.1]), 10: np.array([4.0, -1.0, -0.8, 0.2, 0.1, -0.4, -0.6, -0.1, -0.9, -0.5])}
TILTS = {3: np.array([0.5, -0.2, -0.3]), 10: np.array([0.6, -0.3, 0.1, 0.2, -0.4, 0.1, -0.1, 0.3, -0.2, -0.3])}
TAUS = 2.0 ** -np.arange(3, 10)


def problem(n, size, sampling):
    data = torch.tensor(TILTS[n]), torch.tensor(SHIFTS[n])

    def example(theta, tilt, shift):
        return 0.5 * (CURVE + tilt) * theta[0] ** 2 + shift * theta[0]

    law = sme.MinibatchNoise(example, data, size, sampling=sampling)
    return sme.Problem(lambda theta: torch.vmap(example, (None, 0, 0))(theta, *data).mean(), 1, law)


def power(line, k):
    """Coefficients of `(line₀ + line₁ θ)^k`, up to the third."""
    made = np.polynomial.polynomial.polypow(line, k) if k else np.ones(1)
    return np.pad(made, (0, 4 - len(made)))


def chain(n, size, sampling, tau):
    """`E θ, E θ², E θ³` at time 1, by the sum over all batches."""
    tilt, shift = TILTS[n] - TILTS[n].mean(), SHIFTS[n] - SHIFTS[n].mean()
    replaced = sampling == "with_replacement"
    drawn = itertools.product(range(n), repeat=size) if replaced else itertools.combinations(range(n), size)
    h, step = math.sqrt(tau), np.zeros((4, 4))
    g = np.array([SHIFTS[n].mean(), CURVE + TILTS[n].mean()])
    every = [list(batch) for batch in drawn]
    for batch in every:
        noise = np.array([shift[batch].mean(), tilt[batch].mean()])
        step += np.stack([power(np.array([0.0, 1.0]) - tau * g - h * noise, k) for k in range(4)]) / len(every)
    return np.linalg.matrix_power(step, round(1 / tau)) @ BEGIN ** np.arange(4)


def modelled(n, size, sampling, tau, driver):
    """The same of an equation, whose coefficients are lines."""
    eq = equation(problem(n, size, sampling), sme.SGD(), BATCH_EQUIVALENT, tau, 1, driver)
    places = torch.tensor([[0.0], [1.0]], dtype=torch.float64)

    def line(values):
        return np.array([values[0], values[1] - values[0]])

    units = torch.eye(eq.first, dtype=torch.float64)
    motions = [line(eq.diffuse(0.0, places, unit.expand(2, -1))[:, 0].tolist()) for unit in units]

    def product(one, other):
        return np.pad(np.polynomial.polynomial.polymul(one, other), (0, 4))[:4]

    flow, drift = np.zeros((4, 4)), line(eq.drift(0.0, places)[:, 0].tolist())
    theta = np.array([0.0, 1.0])
    for k in range(1, 4):
        flow[k] += k * product(drift, power(theta, k - 1))
        for each in motions:
            if driver == "poisson":
                flow[k] += eq.each / tau * (power(theta + each, k) - power(theta, k))
            elif k > 1:
                flow[k] += 0.5 * k * (k - 1) * product(power(each, 2), power(theta, k - 2))
    return expm(flow) @ BEGIN ** np.arange(4)


def errors(n, size, sampling, driver):
    return np.array([chain(n, size, sampling, tau) - modelled(n, size, sampling, tau, driver) for tau in TAUS])[:, 1:]


@pytest.mark.parametrize(("n", "size", "sampling"), [
    (3, 1, "with_replacement"), (3, 2, "with_replacement"), (3, 1, "without_replacement"), (10, 4, "without_replacement")])
def test_poisson_is_of_order_one_where_independent_motions_have_one_half(n, size, sampling):
    one, half = errors(n, size, sampling, "poisson"), errors(n, size, sampling, "independent")
    slopes = [np.log2(np.abs(each[:-1] / each[1:])) for each in (one, half)]
    assert np.abs(slopes[0][-1] - 1).max() < 0.1  # of θ, θ² and θ³
    assert abs(slopes[1][-1, 2] - 0.5) < 0.2
    at = list(TAUS).index(1 / 64)
    assert abs(half[at, 2]) > 1.5 * abs(one[at, 2])
