"""Reshuffled epochs over whole runs: the discrete run by numpy, its order and the reversed one as a pair, against the moments of
the equation, mean and covariance, which are exact up to `O(τ²)` as its noise is small.
"""

import math

import numpy as np
import pytest
import torch

import sme
from sme.equations.order.one_step import Generator
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC

RULES = {"sgd": sme.SGD(), "rmsprop": sme.RMSProp(c=1.4, eps=0.2, denominator="previous"),
         "adam": sme.Adam(c1=1.3, c2=0.9, eps=0.2, bias_correction=False)}
START = {"theta": 0.9, "m": 0.3, "v": 0.8}


def data(n):
    k = np.arange(1, n + 1)
    return 1 + 0.7 * np.sin(2.4 * k), np.cos(1.7 * k * k) + 0.9 * (k % 4 == 0)


def slopes(theta, a, b):
    return a * theta[:, None] + b + 0.2 * theta[:, None] ** 3


def problem(n, size, sampling):
    def example(theta, a, b):
        return 0.5 * a * theta[0] ** 2 + b * theta[0] + 0.05 * theta[0] ** 4

    a, b = map(torch.tensor, data(n))
    return sme.Problem(lambda theta: (0.5 * a * theta[0] ** 2 + b * theta[0] + 0.05 * theta[0] ** 4).mean(), 1,
                       sme.MinibatchNoise(example, (a, b), size, sampling=sampling))


def move(rule, x, g, tau):
    if rule == "sgd":
        return [x[0] - tau * g]
    if rule == "adam":
        m, v = x[1] + 1.3 * tau * (g - x[1]), x[2] + 0.9 * tau * (g * g - x[2])
        return [x[0] - tau * m / (np.sqrt(v if RULES[rule].denominator == "updated" else x[2]) + 0.2), m, v]
    return [x[0] - tau * g / (np.sqrt(x[1]) + 0.2), x[1] + 1.4 * tau * (g * g - x[1])]


def look(x):
    """Test functions of states `(paths, fields)`."""
    return np.stack([x[:, 0] ** 2, np.exp(0.7 * x[:, 0] - 0.4 * x[:, -1]), x[:, -1] ** 2 + x[:, 0] * x[:, -1]], -1)


def chain(rule, n, size, tau, epochs, pairs, seed=0):
    """Means of `look` at the end and half an epoch before, with their standard errors: `(place, function)`."""
    rng, (a, b), steps = np.random.default_rng(seed), data(n), n // size
    x = [np.full(2 * pairs, START[field]) for field in RULES[rule].fields]
    for epoch in range(epochs):
        order = rng.permuted(np.tile(np.arange(n), (pairs, 1)), axis=1)
        order = np.concatenate([order, order[:, ::-1]])
        for k in range(steps):
            if epoch == epochs - 1 and k == steps // 2:
                inside = np.stack(x, -1)
            batch = order[:, k * size : (k + 1) * size]
            x = move(rule, x, slopes(x[0], a[batch], b[batch]).mean(1), tau)
    found = [(values[:pairs] + values[pairs:]) / 2 for values in (look(inside), look(np.stack(x, -1)))]
    return np.stack([each.mean(0) for each in found]), np.stack([each.std(0) for each in found]) / pairs**0.5


def expected(rule, n, size, tau, epochs, sampling, steps, e=2e-4):
    """The same of the equation, by mean and covariance, in so many steps of Runge and Kutta an epoch."""
    eq = equation(problem(n, size, sampling), RULES[rule], BALLISTIC, tau, 2)
    generator, dim, h = Generator(eq, lambda z: z), len(RULES[rule].fields), n // size * tau / steps
    units = np.eye(dim)
    near = np.array([np.zeros(dim), *(s * e * u for u in units for s in (1, -1)),
                     *(e * (s * u + r * w) for i, u in enumerate(units) for w in units[:i] for s in (1, -1) for r in (1, -1))])

    def rates(mean, cov):
        if not eq.motions:  # an ODE
            return eq.drift(0.0, torch.from_numpy(mean[None]))[0].numpy(), cov
        places = torch.from_numpy(mean + near)
        b, g = eq.drift(0.0, places).numpy(), generator.noise(0.0, places[:1])[:, 0].numpy()
        slope = np.stack([(b[1 + 2 * i] - b[2 + 2 * i]) / (2 * e) for i in range(dim)], -1)
        bend, at = np.zeros(dim), 1 + 2 * dim
        for i in range(dim):
            bend += 0.5 * cov[i, i] * (b[1 + 2 * i] + b[2 + 2 * i] - 2 * b[0]) / e**2
            for j in range(i):
                bend += cov[i, j] * (b[at] - b[at + 1] - b[at + 2] + b[at + 3]) / (4 * e**2)
                at += 4
        return b[0] + bend, slope @ cov + cov @ slope.T + g.T @ g

    x, seen = [np.array([START[field] for field in RULES[rule].fields]), np.zeros((dim, dim))], []
    for k in range(epochs * steps):
        if k == epochs * steps - steps // 2:
            seen.append(_mean_of_look(*x))
        k1 = rates(*x)
        k2 = rates(*(u + 0.5 * h * v for u, v in zip(x, k1, strict=True)))
        k3 = rates(*(u + 0.5 * h * v for u, v in zip(x, k2, strict=True)))
        k4 = rates(*(u + h * v for u, v in zip(x, k3, strict=True)))
        x = [u + h / 6 * (p + 2 * q + 2 * r + s) for u, p, q, r, s in zip(x, k1, k2, k3, k4, strict=True)]
    return np.stack([*seen, _mean_of_look(*x)])


def _mean_of_look(mean, cov, e=1e-3):
    values, vectors = np.linalg.eigh(cov)
    found = look(mean[None])[0]
    for value, u in zip(values, vectors.T, strict=True):
        found = found + 0.5 * value * (look((mean + e * u)[None]) + look((mean - e * u)[None]) - 2 * look(mean[None]))[0] / e**2
    return found


PAIRS = 100_000
RUNS = [("sgd", 8, 1, 8), ("rmsprop", 8, 1, 8), ("adam", 8, 1, 8), ("rmsprop", 48, 1, 4), ("sgd", 48, 4, 4)]
"""rule, examples, batch, epochs; and twice as many"""


def distances(rule, n, size, epochs):
    """Run less equation in `E θ²` for both numbers of epochs: `(epochs, equation, place)`, and their standard errors."""
    off, errors = [], []
    for count in (epochs, 2 * epochs):
        tau = size / (n * count)
        mean, stderr = chain(rule, n, size, tau, count, PAIRS)
        steps = max(2, 16 // count)
        off.append([(mean - expected(rule, n, size, tau, count, sampling, steps))[:, 0]
                    for sampling in ("reshuffled", "without_replacement")])
        errors.append(stderr[:, 0])
    return np.array(off), np.array(errors)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "n", "size", "epochs"), RUNS)
def test_runs_of_epochs_are_of_order_two_and_independent_steps_of_order_one(rule, n, size, epochs):
    off, errors = distances(rule, n, size, epochs)
    known, independent = np.log2(np.abs(off[0] / off[1]))
    assert (np.abs(off[1]) > 5 * errors[1]).all()
    assert (known > 1.5).all()
    assert (known < 2.2).all()
    assert (np.abs(independent - 1) < 0.2).all()
    assert (np.abs(off[1][1]) > 5 * np.abs(off[1][0])).all()


def main():
    """Print the table of docs/theory/drivers.md, section 21: `python -m tests.equations.drivers.test_epoch_runs`."""
    print("| rule, $n$, $B$, epochs | (21.1): half an epoch in, at the end | independent steps | times farther at the end |")
    print("|---|---|---|---|")
    for rule, n, size, epochs in RUNS:
        off, errors = distances(rule, n, size, epochs)
        slopes = np.log2(np.abs(off[0] / off[1]))
        spread = 1.96 / math.log(2) * np.sqrt(((errors[:, None] / off) ** 2).sum(0))
        shown = [", ".join(f"{slope:.2f} ± {bar:.2f}" for slope, bar in zip(*each, strict=True))
                 for each in zip(slopes, spread, strict=True)]
        farther = abs(off[1][1][1] / off[1][0][1])
        print(f"| {rule}, {n}, {size}, {2 * epochs} | {shown[0]} | {shown[1]} | {farther:.0f} |", flush=True)


if __name__ == "__main__":
    main()
