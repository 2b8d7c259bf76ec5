"""Random streams, schemes, and torchsde in integer time."""

import math

import pytest
import torch

import sme
from sme.common.random.increments import Increments, coarsen
from sme.equations.chain import Chain
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from sme.simulate.ensemble import LEVELS
from sme.simulate.integrators.schemes import Euler, SmallNoise, scheme
from sme.simulate.integrators.torchsde import integrate
from tests.support import models

CPU = torch.device("cpu")


class Counting(Euler):
    def __init__(self):
        self.times = []

    def rates(self, equation, t, dt, x, dW, y):
        self.times.append((t, dt))
        return super().rates(equation, t, dt, x, dW, y)


@pytest.mark.parametrize("tau", [0.1, 0.05, 1 / 3, 1 / 7])
def test_torchsde_takes_exactly_the_substeps_of_an_exact_grid(tau):
    eq = equation(models.gaussian(False), sme.RMSProp(), regime("ballistic"), tau, 2)
    steps, r, counting = round(1 / tau), 4, Counting()
    x = torch.ones(3, 4, dtype=torch.float64)
    for k in range(steps):
        x = integrate(eq, counting, x, torch.zeros(r, 3, eq.motions, dtype=torch.float64), k, k * tau)
    assert len(counting.times) == steps * r
    expected = [k * tau + j * (tau / r) for k in range(steps) for j in range(r)]
    assert [t for t, _ in counting.times] == expected
    assert {dt for _, dt in counting.times} == {tau / r}


def test_torchsde_hands_out_each_increment_once_and_in_order():
    eq = equation(models.gaussian(False), sme.SGD(), regime("batch_equivalent"), 0.1, 1)
    dW = torch.arange(1.0, 9.0, dtype=torch.float64).reshape(4, 1, 2)
    x = torch.zeros(1, 2, dtype=torch.float64)
    by_hand = x
    for j in range(4):
        by_hand = by_hand + 0.025 * eq.drift(0.0, by_hand) + eq.diffuse(0.0, by_hand, dW[j])
    torch.testing.assert_close(integrate(eq, Euler(), x, dW, 7, 0.7), by_hand, rtol=1e-14, atol=0)


def test_long_runs_stay_on_the_grid():
    eq = equation(models.gaussian(False), sme.SGD(), regime("ballistic"), 1e-6, 2)
    counting = Counting()
    integrate(eq, counting, torch.ones(1, 2, dtype=torch.float64), torch.zeros(4, 1, 2, dtype=torch.float64), 10**9, 1000.0)
    assert len(counting.times) == 4


@pytest.mark.parametrize(("kind", "order"), [(Euler(), 1), (SmallNoise(), 2)])
def test_schemes_have_their_order_and_extrapolation_two_more(kind, order):
    """On the ODE: bias `dt^powers[0]`, and the extrapolation removes two terms."""
    eq = equation(models.gaussian(True), sme.Adam(bias_correction=True, t0=1.0), regime("ballistic"), 0.25, 1, "none")
    start = models.state(eq.optimizer)[None]

    def end(r):
        return integrate(eq, kind, start, torch.zeros(r, 1, 0, dtype=torch.float64), 0, 1.0)

    exact = SmallNoise().extrapolate(*(integrate(eq, SmallNoise(), start, torch.zeros(r, 1, 0, dtype=torch.float64), 0, 1.0)
                                       for r in (256, 128, 64)))[0]
    plain = [(end(r) - exact).norm() for r in (8, 16)]
    both = [kind.extrapolate(end(4 * r), end(2 * r), end(r)) for r in (8, 16)]
    best = [(value - exact).norm() for value, _ in both]
    once = [(value - moved / (2 ** kind.powers[1] - 1) - exact).norm() for value, moved in both]
    assert all(moved.norm() > value for value, (_, moved) in zip(best, both, strict=True))
    assert math.log2(plain[0] / plain[1]) == pytest.approx(order, abs=0.2)
    assert math.log2(once[0] / once[1]) > order + 0.7
    assert math.log2(best[0] / best[1]) > order + 1.6


def test_substeps_depend_on_the_step_size_alone():
    eq = equation(models.gaussian(False), sme.RMSProp(), regime("ballistic"), 0.1, 2)
    assert [scheme(eq).substeps(tau) for tau in (1.0, 1 / 4, 1 / 8, 1 / 16, 1 / 64)] == [16, 16, 8, 8, 8]
    assert all(scheme(eq).substeps(tau) % max(LEVELS) == 0 for tau in (1.0, 0.1, 1e-4))


def test_increments_are_functions_of_their_key_and_place():
    def draw(numbers, k=3):
        return Increments(numbers, 5, 4, 0.25, CPU).first(k, 2)

    assert torch.equal(draw((0, 16, 0, 1)), draw((0, 16, 0, 1)))
    others = [draw(key) for key in [(1, 16, 0, 1), (0, 32, 0, 1), (0, 16, 1, 1), (0, 16, 0, 2)]] + [draw((0, 16, 0, 1), 4)]
    assert all(not torch.equal(draw((0, 16, 0, 1)), other) for other in others)


def test_increments_are_antithetic_of_the_right_variance_and_add_up():
    increments = Increments((0, 4, 0, 0), 50_000, 4, 0.25, CPU)
    dW = increments.first(0, 2)
    assert torch.equal(dW[:, :50_000], -dW[:, 50_000:])
    assert float(dW.var()) == pytest.approx(0.25 / 4, rel=0.02)
    torch.testing.assert_close(coarsen(dW, 4)[0], dW.sum(0))


def test_chain_steps_the_optimizers_own_update_path_by_path():
    problem, optimizer = models.gaussian(True), sme.Adam()
    chain = Chain(problem, optimizer, regime("batch_equivalent"), 0.1)
    theta = torch.randn(5, 2, dtype=torch.float64)
    state = {"theta": theta, "m": torch.zeros_like(theta), "v": torch.ones_like(theta)}
    z = torch.randn(5, 2, dtype=torch.float64)
    after, noise = chain.step(state, z, 3)
    for i in range(5):
        g = problem.gradient(theta[i : i + 1])[0]
        seen = models.varying(theta[i]) @ z[i]
        alone = optimizer.update({name: field[i] for name, field in state.items()},
                                 regime("batch_equivalent").gradient(g, seen, 0.1), 0.1, 0.3)
        torch.testing.assert_close(noise[i], seen)
        for name in optimizer.fields:
            torch.testing.assert_close(after[name][i], alone[name], rtol=1e-13, atol=1e-15)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu_in_law():
    table = [sme.weak_error(sme.Quadratic(), sme.RMSProp(), tau=1 / 8, start={"theta": torch.tensor([1.0, 0.5])},
                            paths=1, device=device).errors for device in ("cpu", "cuda")]
    gap = (table[0]["error"] - table[1]["error"]).abs()
    assert (gap < 5 * (table[0]["stderr"] ** 2 + table[1]["stderr"] ** 2) ** 0.5).all()
