"""Long reshuffled epochs, ballistic, SGD on lines: the run by all orders of its batches, the bridge to second order in its
noise.
"""

import numpy as np
import pytest
import torch

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC
from tests.equations.drivers.test_arrivals import EPOCHS, KINDS, LENGTH, chain, problem
from tests.equations.drivers.test_skewed_sgd import BEGIN

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


def expected(copies, size, tau, driver):
    """`E θ, E θ²` half an epoch before the end, and there: exact but for `O(τ²)`, as the noise is `O(√τ)`.

    With `f_l(s) = Φ(t, s) (c_l + d_l x̄_s)` of every motion the variance is `Σ_l ∫f² − (∫f)²/T` over each epoch of length `T`, and
    what `d_l` adds to the mean `−Σ_l d_l ∫ (t − s) f ds/T`; without a bridge there is no `1/T`.
    """
    sampling = "reshuffled" if driver == "bridge" else "without_replacement"
    eq = equation(problem(copies, size, sampling), sme.SGD(), BALLISTIC, tau, 2, driver)
    places, n = torch.tensor([[0.0], [1.0]], dtype=torch.float64), copies * KINDS

    def line(values):
        return np.array([values[0], values[1] - values[0]])

    (a0, a), tied = line(eq.drift(0.0, places)[:, 0].tolist()), 1 / LENGTH if driver == "bridge" else 0.0
    motions = [line(eq.diffuse(0.0, places, unit.expand(2, -1))[:, 0].tolist()) for unit in torch.eye(n, dtype=torch.float64)]
    c, d = np.array(motions).T[..., None]

    def mean(t):
        return -a0 / a + (BEGIN + a0 / a) * np.exp(a * t)

    found = []
    for t in (LENGTH * (EPOCHS - 0.5), LENGTH * EPOCHS):
        variance = shift = 0.0
        for begin in np.arange(0, t - 1e-9, LENGTH):
            end = min(begin + LENGTH, t)
            s, w = begin + (NODES + 1) / 2 * (end - begin), WEIGHTS / 2 * (end - begin)
            f = np.exp(a * (t - s)) * (c + d * mean(s))
            variance += ((f**2) @ w - tied * (f @ w) ** 2).sum()
            shift -= tied * (d * f * (end - s) * w).sum()
        found.append([mean(t) + shift, (mean(t) + shift) ** 2 + variance])
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "copies"), [(1, (4, 8)), (2, (8, 16)), (4, (16, 32))])
def test_the_bridge_is_of_order_two_over_long_epochs_and_independent_steps_of_order_one(size, copies):
    bridge, other = [], []
    for count in copies:
        tau = LENGTH * size / (KINDS * count)
        run = chain(count, size, tau, tau)[:, :2]
        bridge.append(run - expected(count, size, tau, "bridge"))
        other.append(run - expected(count, size, tau, "independent"))
    slopes = [np.log2(np.abs(each[0] / each[1])) for each in (bridge, other)]
    assert np.log2(np.abs(bridge[0]).max() / np.abs(bridge[1]).max()) == pytest.approx(2, abs=0.25)  # one may pass through 0
    assert np.abs(slopes[1] - 1).max() < 0.2
    assert (np.abs(other[1]) > 20 * np.abs(bridge[1]).max(0)).all()
