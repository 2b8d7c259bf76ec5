"""Long reshuffled epochs, batch-equivalent, SGD: the run by all orders of its batches, every example's arrival by its own law."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import BATCH_EQUIVALENT
from tests.equations.drivers.test_skewed_sgd import BEGIN, CURVE, SHIFTS, TILTS, power

TILT, SHIFT = TILTS[3], SHIFTS[3]
LENGTH, EPOCHS = 0.5, 2
"""of an epoch, whatever the number of its steps, and how many"""
KINDS = len(SHIFT)
"""of examples, of each of which there are as many as there are copies"""


def problem(copies, size, sampling="reshuffled"):
    data = torch.tensor(TILT).repeat(copies), torch.tensor(SHIFT).repeat(copies)

    def example(theta, tilt, shift):
        return 0.5 * (CURVE + tilt) * theta[0] ** 2 + shift * theta[0]

    law = sme.MinibatchNoise(example, data, size, sampling=sampling)
    return sme.Problem(lambda theta: torch.vmap(example, (None, 0, 0))(theta, *data).mean(), 1, law)


def moved(line):
    """What a map of `θ` on a line makes of `(1, θ, θ², θ³)`."""
    return np.stack([power(line, k) for k in range(4)])


def left(copies):
    """Of every kind how many have not come, for every state of an epoch."""
    return np.indices((copies + 1,) * KINDS)


def taken(values, batch):
    """The values at the states that a batch leads to."""
    found = np.zeros_like(values)
    found[tuple(slice(0, values.shape[i] - b) for i, b in enumerate(batch))] = values[tuple(slice(b, None) for b in batch)]
    return found


def chain(copies, size, tau, h):
    """`E θ, E θ², E θ³` half an epoch before the end, and there, of steps `τ ∇f + h n`."""
    tilt, shift, counts = TILT - TILT.mean(), SHIFT - SHIFT.mean(), left(copies)
    batches = [b for b in itertools.product(range(size + 1), repeat=KINDS) if sum(b) == size]
    mean, steps = np.array([SHIFT.mean(), CURVE + TILT.mean()]), copies * KINDS // size
    maps = [moved(np.array([0.0, 1.0]) - tau * mean - h * np.array([shift @ b, tilt @ b]) / size) for b in batches]
    choose = np.vectorize(math.comb)
    now, seen = BEGIN ** np.arange(4), []
    for epoch in range(EPOCHS):
        every = np.zeros((*counts.shape[1:], 4))
        every[(copies,) * KINDS] = now
        for k in range(steps):
            if epoch == EPOCHS - 1 and k == steps // 2:
                seen.append(every.sum((0, 1, 2)))
            total = math.comb(copies * KINDS - k * size, size)
            every = sum(taken(np.prod([choose(counts[i], b[i]) for i in range(KINDS)], 0)[..., None] / total * every @ one.T, b)
                        for b, one in zip(batches, maps, strict=True))
        now = every.sum((0, 1, 2))
    return np.array([*seen, now])[:, 1:]


def coefficients(copies, size, tau, driver):
    """The drift, and what a jump or a motion of each kind does, as lines in `θ`."""
    eq = equation(problem(copies, size), sme.SGD(), BATCH_EQUIVALENT, tau, 1, driver)
    places = torch.tensor([[0.0], [1.0]], dtype=torch.float64)

    def line(values):
        return np.array([values[0], values[1] - values[0]])

    units = torch.eye(eq.first, dtype=torch.float64)[:KINDS]
    return (line(eq.drift(0.0, places)[:, 0].tolist()),
            [line(eq.diffuse(0.0, places, unit.expand(2, -1))[:, 0].tolist()) for unit in units], eq)


def slopes(drift):
    """`d/dt (1, θ, θ², θ³)` along a drift that is a line."""
    flow = np.zeros((4, 4))
    for k in range(1, 4):
        flow[k] = k * np.pad(np.polynomial.polynomial.polymul(drift, power(np.array([0.0, 1.0]), k - 1)), (0, 4))[:4]
    return flow


def arrivals(copies, size, tau):
    """The same of the equation; in `u = −log(1 − t/length)` every example that is left comes at the rate 1."""
    drift, jumps, eq = coefficients(copies, size, tau, "arrivals")
    assert eq.epoch * tau == pytest.approx(LENGTH)
    flow, maps, counts = slopes(drift).T, [moved(np.array([0.0, 1.0]) + each).T for each in jumps], left(copies)[..., None]

    def rates(u, values):
        every = values.reshape(*counts.shape[1:-1], 4)
        found = LENGTH * np.exp(-u) * every @ flow
        for i, one in enumerate(maps):
            come = counts[i] * every
            found += taken(come @ one, np.eye(KINDS, dtype=int)[i]) - come
        return found.ravel()

    now, seen = BEGIN ** np.arange(4), []
    for epoch in range(EPOCHS):
        every = np.zeros((*counts.shape[1:-1], 4))
        every[(copies,) * KINDS] = now
        at = [math.log(2), 22.0] if epoch == EPOCHS - 1 else [22.0]
        run = solve_ivp(rates, (0, 22.0), every.ravel(), t_eval=at, rtol=1e-8, atol=1e-11)
        seen = [part.reshape(-1, 4).sum(0) for part in run.y.T]
        now = seen[-1]
    return np.array(seen)[:, 1:]


def independent(copies, size, tau):
    drift, motions, _ = coefficients(copies, size, tau, "independent")
    flow = slopes(drift)
    for each in motions:
        for k in (2, 3):
            both = np.polynomial.polynomial.polymul(power(each, 2)[:3], power(np.array([0.0, 1.0]), k - 2)[:2])
            flow[k] += 0.5 * k * (k - 1) * copies * np.pad(both, (0, 4))[:4]
    return (expm(LENGTH * EPOCHS * flow) @ BEGIN ** np.arange(4))[1:]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "copies"), [(1, (4, 8)), (2, (8, 16))])
def test_arrivals_are_of_order_one_for_long_epochs(size, copies):
    """Of skewed examples, inside the last epoch and at its end; independent steps have no order there."""
    errors, others = [], []
    for count in copies:
        tau = LENGTH * size / (KINDS * count)
        run = chain(count, size, tau, math.sqrt(tau))
        errors.append(run - arrivals(count, size, tau))
        others.append(run[-1] - independent(count, size, tau))
    found = np.log2(np.abs(np.array(errors)[:-1] / np.array(errors)[1:]))
    assert np.abs(found - 1).max() < 0.15
    assert (np.abs(others[1]) > 10 * np.abs(errors[1][-1])).all()
    assert (np.abs(others[1]) > 0.9 * np.abs(others[0])).all()
