"""The midpoint equation: its order, its law at rest and its stability, its two ways to solve, and its errors at large steps."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

import sme
from sme.common.errors import SMEError
from sme.equations.literature.midpoint import solve
from sme.equations.models import MODELS
from sme.equations.registry import equation
from sme.optimizers.parts.schedules import Exponential
from sme.optimizers.regimes import BALLISTIC
from tests.support import models

SLOW = pytest.mark.slow
GAUSSIAN, BATCHES = models.gaussian(True), models.minibatch(2)


@dataclasses.dataclass(frozen=True)
class Frozen(sme.Optimizer):
    """Adam with a second moment that stands still, and its momentum read late."""

    c: float
    share: float
    p: tuple[float, ...]

    fields = ("theta", "m")
    memories = ("c",)
    defaults: ClassVar = {"m": 0.0}

    def update(self, state, gradient, tau, t):
        m = state["m"] + self.c * (gradient.step - tau * state["m"])
        p = torch.tensor(self.p, dtype=torch.float64)
        return {"theta": state["theta"] - tau * p * ((1 - self.share) * state["m"] + self.share * m), "m": m}


def random_case(rng):
    """A rule, its step size, and the matrix and noise of one step, written down in numpy."""
    d, kind = rng.integers(2, 4), rng.integers(0, 4)
    root = rng.standard_normal((d, d))
    h = root @ root.T / d + 0.1 * np.eye(d)
    s = rng.standard_normal((d, rng.integers(1, d + 1)))
    tau, c = rng.uniform(0.05, 0.9), 0.9 if kind == 2 else 0.4  # few rules: a new one is looked at for long
    eye, zero = np.eye(d), np.zeros((d, d))
    p, share = np.array([0.5, 1.7, 0.8])[:d], 0.6
    edge = 2.0 if kind == 0 else 2 * (2 - c * tau) / (c * tau)
    h = h * rng.uniform(0.1, 1.5) * edge / (tau * np.linalg.eigvalsh(h).max())  # below the edge of stability and beyond
    late = np.block([[tau * c * h, (1 - tau * c) * eye]])                # m' = (1 − cτ) m + cτ (H θ + S z)
    if kind == 0:
        return sme.SGD(), tau, h, s, eye - tau * h, -tau * s
    if kind == 1:
        top, noise = np.block([[eye, zero]]) - tau * late, -tau * tau * c * s
        rule = sme.Momentum(c=float(c))
    elif kind == 2:
        top = np.block([[eye - tau * tau * c * h, zero]]) - tau * (1 - c * tau) * late
        noise = -tau * tau * c * s - tau * (1 - c * tau) * tau * c * s
        rule = sme.Nesterov(c=float(c))
    else:
        top = np.block([[eye, zero]]) - tau * p[:, None] * (share * late + (1 - share) * np.block([[zero, eye]]))
        noise = -tau * p[:, None] * share * tau * c * s
        rule = Frozen(float(c), share, tuple(p))
    return rule, tau, h, s, np.vstack([top, late]), np.vstack([noise, tau * c * s])


def linear(rule, tau, h, s):
    """Drift matrix and noise covariance of the equation."""
    matrix = torch.from_numpy(h)
    problem = sme.Problem(lambda theta: 0.5 * theta @ matrix @ theta, len(h), sme.GaussianNoise(torch.from_numpy(s)))
    one = equation(problem, rule, BALLISTIC, tau, 2, "independent", MODELS["midpoint"].check(rule, BALLISTIC))
    n = len(h) * len(rule.fields)
    unit = torch.eye(n, dtype=torch.float64)
    g = one.diffuse(0.0, torch.zeros(one.motions, n, dtype=torch.float64), torch.eye(one.motions, dtype=torch.float64)).numpy()
    return one.drift(0.0, unit).numpy().T, g.T @ g


@pytest.mark.parametrize("count", [15, pytest.param(200, marks=SLOW)])
def test_law_at_rest_and_stability_are_the_optimizers_on_every_linear_problem(count):
    rng, worst, stable, other = np.random.default_rng(count), 0.0, 0, 0
    for _ in range(count):
        rule, tau, h, s, step, noise = random_case(rng)
        drift, diffusion = linear(rule, tau, h, s)
        holds, z = abs(np.linalg.eigvals(step)).max() < 1, np.linalg.eigvals(step) - 1
        assert holds == (np.linalg.eigvals(drift).real.max() < 0), (rule, tau)
        other += holds != ((z - 0.5 * z * z).real.max() < 0)
        if holds:
            chain = solve_discrete_lyapunov(step, noise @ noise.T)
            found = solve_continuous_lyapunov(drift, -diffusion)
            worst, stable = max(worst, abs(found - chain).max() / abs(chain).max()), stable + 1
    assert count / 5 < stable < 4 * count / 5
    assert other > count / 10  # the equation of order 2 says the wrong thing often
    assert worst < 1e-10


RULES = {"sgd": sme.SGD(), "momentum": sme.Momentum(), "rmsprop": sme.RMSProp(), "adam": sme.Adam()}
LATER = {"adam, corrected": sme.Adam(bias_correction=True, t0=2.0), "rmsprop, new v": sme.RMSProp(denominator="updated"),
         "nesterov": sme.Nesterov(), "adamw": sme.AdamW(), "signsgd": sme.SignSGD(), "adagrad": sme.AdaGrad()}


@pytest.mark.parametrize(("rule", "problem"), [
    pytest.param(RULES["momentum"], models.line(), marks=SLOW),
    (sme.Scheduled(sme.SGD(), Exponential(1.5)), models.line()),  # whose mean step moves with the time
    *[pytest.param(rule, noisy, marks=SLOW) for rule in RULES.values() for noisy in (GAUSSIAN, BATCHES)],
    *[pytest.param(rule, GAUSSIAN, marks=SLOW) for rule in LATER.values()],
], ids=lambda each: each.name if isinstance(each, sme.Optimizer) else type(each.noise).__name__)
def test_it_is_of_order_two(rule, problem):
    found = sme.check_order(problem, rule, model="midpoint")
    assert (found.proved, found.decided, found.obstacle) == (2, True, None)
    assert found.resolution < 1e-3


def test_without_the_half_it_is_of_order_one(monkeypatch):
    right = solve.eliminate
    monkeypatch.setattr("sme.equations.literature.midpoint.equation.eliminate",
                        lambda columns, right_: right(0.9 * columns + 0.1 * torch.eye(len(columns))[:, None].double(), right_))
    assert sme.check_order(models.line(), sme.SGD(), model="midpoint").proved == 1


def matrices(paths, size, scale):
    generator = torch.Generator().manual_seed(3)
    made = scale * torch.randn(paths, size, size, generator=generator, dtype=torch.float64)
    return made, torch.randn(paths, size, generator=generator, dtype=torch.float64)


def test_elimination_exchanges_rows_where_it_must():
    a, b = matrices(5, 4, 1.0)
    a[:, 0, 0] = 0.0
    found = solve.eliminate(a.permute(2, 0, 1), b)
    torch.testing.assert_close(found, torch.linalg.solve(a, b), rtol=1e-10, atol=1e-12)


def test_second_derivatives_of_a_solution_are_right_forward_over_forward():
    (one, other), b = matrices(2, 3, 0.4)[0], torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)

    def solution(e):
        a = torch.eye(3, dtype=torch.float64) + one + e * other
        return solve.eliminate(a.T[:, None], b[None])[0]

    inverse = torch.linalg.inv(torch.eye(3, dtype=torch.float64) + one + 0.3 * other)
    exact = 2 * inverse @ other @ inverse @ other @ inverse @ b
    twice = torch.func.jacfwd(torch.func.jacfwd(solution))(torch.tensor(0.3, dtype=torch.float64))
    torch.testing.assert_close(twice, exact, rtol=1e-9, atol=1e-11)


def test_krylov_solves_as_elimination_does(monkeypatch):
    rule, problem, x = sme.Adam(), sme.Quadratic(), models.state(sme.Adam()).expand(3, -1) * torch.tensor([[1.0], [1.1], [0.7]])
    kind = MODELS["midpoint"].check(rule, BALLISTIC)
    one = equation(problem, rule, BALLISTIC, 0.4, 2, "independent", kind)
    dW = torch.ones(3, one.motions, dtype=torch.float64)
    direct = one.drift(0.0, x), one.diffuse(0.0, x, dW)
    monkeypatch.setattr("sme.equations.literature.midpoint.equation.DIRECT", 0)
    for found, wanted in zip((one.drift(0.0, x), one.diffuse(0.0, x, dW)), direct, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


def test_krylov_of_a_spectrum_at_the_edge():
    values = torch.linspace(-1.9, -0.01, 300, dtype=torch.float64)
    b = torch.ones(2, 300, dtype=torch.float64)
    found = solve.krylov(lambda u: u + 0.5 * values * u, b)
    assert float((found * (1 + 0.5 * values) - b).norm() / b.norm()) < 1e-3


@pytest.mark.parametrize(("rule", "regime", "said"), [
    (sme.Signum(), "ballistic", "no equation of Signum"), (sme.RMSProp(), "batch_equivalent", "in the batch_equivalent regime")])
def test_what_has_none_says_so(rule, regime, said):
    with pytest.raises(SMEError, match=said):
        sme.weak_error(sme.Quadratic(), rule, regime=regime, model="midpoint", tau=[1 / 4], start={"theta": torch.ones(2)})


TABLE = {  # |θ|², mean θ, mean v: by closed recursions, without paths
    (sme.RMSProp(), 1 / 2): (-9.6e-3, -1.5e-2, 2.3e-2), (sme.RMSProp(), 1 / 4): (-2.2e-3, -2.5e-3, 4.6e-3),
    (sme.Adam(), 1 / 4): (3.6e-3, 2.8e-3, 2.9e-3)}


@SLOW
@pytest.mark.parametrize(("rule", "tau"), TABLE, ids=lambda each: getattr(each, "name", None))
def test_errors_at_large_steps(rule, tau):
    study = sme.weak_error(sme.Quadratic(), rule, model="midpoint", tau=[tau], start={"theta": torch.tensor([1.0, 0.5])},
                           paths=65536, observables=["|theta|^2", "mean theta", "mean v"])
    for (_, row), wanted in zip(study.errors.iterrows(), TABLE[rule, tau], strict=True):
        digit = 0.6 * 10 ** (math.floor(math.log10(abs(wanted))) - 1)  # of the two that are written
        assert abs(row["error"] - wanted) < digit + 3 * math.hypot(row["stderr"], row["integrator_bias"]), row["observable"]


def test_a_path_that_is_not_finite_spoils_no_other():
    matrix = torch.eye(3, dtype=torch.float64) + 0.1 * torch.arange(9, dtype=torch.float64).reshape(3, 3)
    right, broken = torch.tensor([[1.0, 2.0, 3.0]] * 3, dtype=torch.float64), torch.tensor([[1.0], [math.nan], [1.0]])
    right[2, 0] = math.inf
    found = solve.krylov(lambda u: u @ matrix.T * broken, right)
    torch.testing.assert_close(found[0], torch.linalg.solve(matrix, right[0]), rtol=1e-9, atol=0)
    assert found[1:].isnan().all()
