"""The integrator's bias is an upper estimate, also where the difference of two levels changes sign."""

import json

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import sme
from sme.convergence.estimator import paired
from sme.convergence.spec.specification import Specification
from sme.convergence.store.points import Point
from sme.simulate.ensemble import LEVELS, ExtrapolatedPath
from sme.simulate.halving import TWICE, Halving, halving
from sme.simulate.integrators.schemes import Euler, SmallNoise
from tests.support.few import few


def one_level(a, q, h, count, start, euler):
    """Mean and covariance of a linear equation's scheme after `count` substeps, by doubling."""
    unit = np.eye(2)
    step, stage = (unit + h * a, unit) if euler else (unit + h * a + h * h * a @ a / 2, unit + h * a / 2)
    whole, spread, covariance, mean = step, h * stage @ q @ stage.T, np.zeros((2, 2)), start
    while count:
        if count & 1:
            covariance, mean = whole @ covariance @ whole.T + spread, whole @ mean
        spread, whole, count = whole @ spread @ whole.T + spread, whole @ whole, count >> 1
    return mean, covariance


def exact(a, q, time, start):
    halvings = max(0, int(np.ceil(np.log2(np.abs(a).sum() * time * 4))))
    block = expm(np.block([[-a, q], [np.zeros((2, 2)), a.T]]) * time / 2**halvings)
    flow = block[2:, 2:].T
    spread = flow @ block[:2, 2:]
    for _ in range(halvings):
        spread, flow = flow @ spread @ flow.T + spread, flow @ flow
    return flow @ start, spread


def seen(mean, covariance):
    return np.concatenate((mean, mean**2 + np.diag(covariance)))


def cases(rng, count):
    """Momentum of either order on quadratics, stable ones, in either regime: drift, covariance rate, `τ`, time, start, scheme."""
    while count:
        euler, tau = rng.random() < 0.3, 2.0 ** -rng.integers(1, 7)
        curvature, c = np.exp(rng.uniform(np.log(0.1), np.log(60))), np.exp(rng.uniform(np.log(0.2), np.log(4)))
        first, second = np.array([[0, -1.0], [c * curvature, -c]]), np.array([[-c * curvature, c], [0, 0]])
        if np.abs(np.linalg.eigvals(np.eye(2) + tau * first + tau**2 * second)).max() > 1:
            continue
        kick = c * np.exp(rng.uniform(np.log(1e-3), np.log(2)))
        order2 = rng.random() < 0.5
        drift = first + tau * (second - first @ first / 2) * order2
        noise = np.array([-tau * kick / 2 * order2, kick])
        start = (np.array([1.0, 0.0]), rng.standard_normal(2), np.zeros(2))[rng.choice(3, p=(0.4, 0.35, 0.25))]
        time = tau * rng.integers(max(1, round(0.25 / tau)), max(2, round(4 / tau)) + 1)
        yield drift, np.outer(noise, noise) * (1 if euler else tau), tau, time, start, euler
        count -= 1


@pytest.mark.slow
def test_no_bias_of_a_linear_equation_is_larger_than_what_is_printed():
    """4 × 1500 moments with closed forms: of |D(h)| alone, more than 20 are, and up to hundreds of times too small."""
    before, after, wide = [], [], []
    for drift, rate, tau, time, start, euler in cases(np.random.default_rng(4), 1500):
        scheme = Euler() if euler else SmallNoise()
        count, steps = scheme.substeps(tau), round(time / tau)
        levels = [one_level(drift, rate, tau / count * each, steps * count // each, start, euler) for each in (1, 2, 4, 8)]
        whole, still = ([torch.from_numpy(seen(m, v * noisy)) for m, v in levels] for noisy in (1, 0))
        best, move = (part.numpy() for part in scheme.extrapolate(*whole[:3]))
        bias = np.abs(Halving(scheme.powers[1], scheme.extrapolate(*still[1:])[1].numpy()).bias(move))
        truth = seen(*exact(drift, rate, time, start))
        left = np.abs(best - truth) - 1e-9 * np.abs(truth) - 1e-13
        before.append(left > np.abs(move))
        after.append(left > bias)
        wide.append(bias[np.abs(move) > 0] / np.abs(move)[np.abs(move) > 0])
    assert np.sum(before) > 20
    assert np.sum(after) <= 4  # in 60 000 moments 14, for 384 of |D(h)| alone
    assert np.median(np.concatenate(wide)) == 1
    assert np.quantile(np.concatenate(wide), 0.9) < 1.5


@pytest.mark.parametrize("c", few([0.7, 1.2], 1))
def test_where_the_difference_of_two_levels_changes_sign(c):
    """Momentum on 18 θ² at all times of a noiseless run: everything is linear."""
    curvature, tau = 36.0, 1 / 8
    problem = sme.Polynomial([0, 0, curvature / 2], noise=1e-5)
    given = Specification.of(problem, sme.Momentum(c=c), "ballistic", None, 3.0, {"theta": torch.tensor([1.0])},
                             ["mean theta", "mean m"], [tau * k for k in range(1, 25)]).setup(2, 24)
    first = np.array([[0, -1.0], [c * curvature, -c]])
    drift = first + tau * (np.array([[-c * curvature, c], [0, 0]]) - first @ first / 2)
    equation, off, alone = given.equation(), [], []
    ladder, still = ExtrapolatedPath(equation, given.whole(1)), torch.zeros(given.substeps(SmallNoise()), 1, equation.motions)
    with torch.no_grad():
        found = halving(given, equation)
        for k in range(24):
            ladder.step(k, given.chain.time(k), still.double())
            value, move = (part[0].numpy() for part in ladder.values(lambda x: given.observe(given.fields(x))))
            left = np.abs(value - expm(drift * tau * (k + 1)) @ [1.0, 0.0])
            off.append(left / np.abs(Halving(found.power, found.moves.reshape(24, 2)[k]).bias(move)))
            alone.append(left / np.abs(move))
    assert np.max(alone) > 1.5
    assert np.max(off) < 0.3


def test_it_is_the_noiseless_move_on_substeps_twice_as_long():
    given = Specification.of(sme.Quadratic(noise=1e-9), sme.Adam(), "ballistic", None, 1.0,
                             {"theta": torch.tensor([1.0, 0.5])}, None, [0.5, 1.0]).setup(2, 4)
    with torch.no_grad():
        found = halving(given, given.equation())
        ladder, count = ExtrapolatedPath(given.equation(), given.whole(2)), given.substeps(SmallNoise()) // 2
        dW = torch.zeros(count, 2, given.equation().motions, dtype=torch.float64)
        for k in range(4):
            ladder.step(k, given.chain.time(k), dW)
    wanted = ladder.values(lambda x: given.observe(given.fields(x)))[1][0]
    np.testing.assert_allclose(found.moves[len(wanted) :], wanted, rtol=1e-6, atol=1e-14)
    assert TWICE[-1] == 2 * LEVELS[-1]
    assert found.power == 3


def test_the_larger_of_both_moves_is_taken_with_the_sign_of_the_first():
    one = Halving(3, np.array([8.0, 0.0, -4.0, np.nan]))
    np.testing.assert_allclose(one.bias(np.array([1.0, -0.07, -0.5, 2.0])), [1.0, -0.08, -0.5, 2.0])
    assert one.bias(np.array([0.0, 1, 1, 1]))[0] == pytest.approx(8 / 7)
    np.testing.assert_allclose(one.less(Halving(3, np.ones(4))).moves[:3], [7, -1, -5])


def test_points_without_it_are_read_and_print_the_first_move(tmp_path, monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 16)
    study = sme.weak_error(sme.Quadratic(), sme.RMSProp(), tau=1 / 2, start={"theta": torch.tensor([1.0, 0.5])}, paths=1, order=1,
                           results=tmp_path, observables=["loss"], backend="torchsde")
    path = next((study.folder / "points").glob("*.json"))
    assert Point.load(path, study.name).halving.moves.tolist() == study.points[0].halving.moves.tolist()
    assert "halving" in json.loads(path.read_text())
    for point in study.points:
        object.__setattr__(point, "halving", None)
        point.save(study.folder / "points")
    assert "halving" not in json.loads(path.read_text())
    again = sme.load(study.folder)
    assert (again.errors["error"] == study.errors["error"]).all()
    assert (again.errors["integrator_bias"].abs() <= study.errors["integrator_bias"].abs()).all()
