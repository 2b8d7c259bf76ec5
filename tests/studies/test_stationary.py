"""Stationary laws: the linearised equation against closed forms, chains known exactly, and simulation."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import torch
from omegaconf import OmegaConf
from scipy.special import erf
from scipy.stats import t as student

import sme
from sme.cli import survey_config
from sme.equations.chain import Chain
from sme.optimizers.hyperparameters import Hyperparameters
from sme.optimizers.regimes import BALLISTIC
from sme.problems.polynomial import Polynomial
from sme.simulate.discrete import averages
from sme.studies.stationary import formulas as closed
from sme.studies.stationary import run, sign_picture
from tests.support import models
from tests.support.few import few

H, S = torch.tensor([1.0, 0.5], dtype=torch.float64), torch.tensor([2.0, 0.7], dtype=torch.float64)
DIAGONAL = sme.Problem(lambda theta: 0.5 * (H * theta * theta).sum(), 2, sme.DiagonalNoise(S))
A = torch.tensor([[1.0, 0.4], [0.4, 0.8]], dtype=torch.float64)
FACTOR = torch.tensor([[0.5, 0.2], [-0.1, 0.4]], dtype=torch.float64)
FULL = sme.Problem(lambda theta: 0.5 * theta @ (A @ theta), 2, sme.GaussianNoise(FACTOR))
TAU = 0.02
MEMORY = {"c1": 1.5, "c2": 0.3, "eps": 0.2}


@pytest.mark.parametrize(("optimizer", "form"), [
    (sme.SGD(), closed.sgd), (sme.Momentum(c=0.4), closed.sgd), (sme.Nesterov(), closed.sgd),
    (sme.SignSGD(), lambda tau, h, s: closed.signs(tau, h, math.sqrt(2 / math.pi) / s)),
    (sme.RMSProp(eps=0.2), lambda tau, h, s: closed.adaptive(tau, h, s, eps=0.2)),
    (sme.RMSPropW(eps=0.2, decay=0.7), lambda tau, h, s: closed.adaptive(tau, h, s, 0.7, eps=0.2)),
    (sme.Adam(**MEMORY), lambda tau, h, s: closed.adaptive(tau, h, s, eps=0.2)),
    (sme.AdamW(**MEMORY, decay=0.7), lambda tau, h, s: closed.adaptive(tau, h, s, 0.7, 1.5, 0.2)),
    (sme.Adam(**MEMORY, bias_correction=True, t0=1.0), lambda tau, h, s: closed.adaptive(tau, h, s, eps=0.2)),
], ids=lambda part: getattr(part, "name", ""))
def test_the_linearised_equation_gives_the_closed_forms(optimizer, form):
    found = sme.stationary(DIAGONAL, optimizer, TAU)
    wanted = torch.tensor([form(TAU, h, s) for h, s in zip(H.tolist(), S.tolist(), strict=True)], dtype=torch.float64)
    torch.testing.assert_close(found.covariance(), wanted.diag(), rtol=1e-9, atol=1e-14)
    assert float(found.mean["theta"].abs().max()) < 1e-12
    assert found.loss == pytest.approx(0.5 * float(H @ wanted), rel=1e-9)
    if "v" in optimizer.fields:
        torch.testing.assert_close(found.mean["v"], S**2)


def test_without_commuting_matrices_lyapunovs_equation_holds():
    sigma = FACTOR @ FACTOR.T
    p = (1 / (sigma.diagonal().sqrt() + 0.1)).diag()
    for optimizer, drift, noise in ((sme.SGD(), A, sigma), (sme.RMSProp(), p @ A, p @ sigma @ p), (sme.Adam(), p @ A, None)):
        c = sme.stationary(FULL, optimizer, TAU).covariance()
        if noise is not None:
            torch.testing.assert_close(drift @ c + c @ drift.T, TAU * noise, rtol=1e-8, atol=1e-14)
        assert abs(float(c[0, 1])) > 1e-4
    r = float(sigma[0, 1] / sigma.diagonal().prod().sqrt())
    b = math.sqrt(2 / math.pi) * sigma.diagonal().rsqrt().diag() @ A
    c = sme.stationary(FULL, sme.SignSGD(), TAU).covariance()
    q = 2 / math.pi * math.asin(r)
    torch.testing.assert_close(b @ c + c @ b.T, TAU * torch.tensor([[1, q], [q, 1]], dtype=torch.float64), rtol=1e-8, atol=1e-14)


def exact(optimizer, tau, problem=FULL):
    """The covariance of a linear chain."""
    chain, size = Chain(problem, optimizer, BALLISTIC, tau), 2 * len(optimizer.fields)

    def step(x, z):
        state = dict(zip(optimizer.fields, x.split(2, -1), strict=True))
        return torch.cat(list(chain.step(state, z, 0)[0].values()), -1).T.numpy()

    rest = torch.zeros(2, size, dtype=torch.float64)
    m = step(torch.eye(size, dtype=torch.float64), torch.zeros(size, 2, dtype=torch.float64))
    n = step(rest, torch.eye(2, dtype=torch.float64))
    return torch.from_numpy(scipy.linalg.solve_discrete_lyapunov(m, n @ n.T))[:2, :2]


@pytest.mark.parametrize("optimizer", [sme.SGD(), sme.Momentum(), sme.Nesterov()], ids=lambda each: each.name)
def test_the_error_of_the_variance_is_of_second_order(optimizer):
    errors = [float((sme.stationary(FULL, optimizer, tau).covariance() - exact(optimizer, tau)).norm()) for tau in (0.02, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[0] < 0.1 * float(exact(optimizer, 0.02).norm())


def test_the_batch_equivalent_law_is_of_size_one_and_the_physical_one_the_same():
    small, tau = sme.stationary(DIAGONAL, sme.Adam(eps=0.0), 1e-4, "batch_equivalent"), 1e-4
    torch.testing.assert_close(small.covariance().diagonal(), S / H / 2, rtol=1e-9, atol=0)
    again = sme.stationary(DIAGONAL, sme.Adam(eps=0.0), tau)
    torch.testing.assert_close(again.covariance(), tau * small.covariance(), rtol=1e-9, atol=1e-16)


def test_a_minibatch_rests_at_its_minimum_and_moves_with_its_covariance():
    made = sme.Problem(lambda theta: 0.5 * (theta**2).sum() + 0.1 * theta[0] ** 4, 2, sme.GaussianNoise(FACTOR))
    found = sme.stationary(made, sme.RMSProp(), TAU, start={"theta": torch.tensor([0.4, 0.3])})
    assert float(found.mean["theta"].norm()) < 1e-9
    data = torch.tensor([[1.0, 0.2], [-0.3, 0.9], [0.1, -0.6]], dtype=torch.float64)
    noise = sme.MinibatchNoise(lambda theta, x: 0.5 * ((theta - x) ** 2).sum(), (data,), 2)
    made = sme.Problem(lambda theta: 0.5 * ((theta - data) ** 2).sum(-1).mean(), 2, noise)
    found = sme.stationary(made, sme.RMSProp(), TAU)
    torch.testing.assert_close(found.mean["theta"], data.mean(0), rtol=1e-9, atol=0)
    sigma = torch.cov(data.T, correction=0) / 2
    p = (1 / (sigma.diagonal().sqrt() + 0.1)).diag()
    c = found.covariance()
    torch.testing.assert_close(p @ c + c @ p, TAU * p @ sigma @ p, rtol=1e-8, atol=1e-14)
    v = noise.square_variance(found.mean["theta"][None], torch.zeros(1, 2, dtype=torch.float64))[0]  # its own, and p. memory c
    torch.testing.assert_close(found.covariance("v").diagonal(), 0.5 * TAU * sme.RMSProp().c * v, rtol=1e-8, atol=0)
    assert "v" in set(found.table["field"])
    assert "mean loss above the minimum" in str(found)


def gaussian(g):
    return erf(g / (2 * math.sqrt(2)))


def test_signs_have_the_known_numbers():
    slope = math.sqrt(2 / math.pi) / 2
    assert closed.signs(0.02, 1, slope) == pytest.approx(0.02507, abs=5e-6)
    assert closed.signs_linear(0.02, 1, slope) == pytest.approx(0.02497, abs=5e-6)
    assert closed.signs_equation(0.02, 1, gaussian) == pytest.approx(0.0250446, abs=5e-8)
    assert closed.signs_chain(0.02, 1, gaussian) == pytest.approx(0.0251449, abs=5e-8)
    assert closed.signs_chain(0.02, 1, gaussian, 0.5) == pytest.approx(closed.signs_chain(0.02, 1, gaussian), rel=1e-9)
    assert closed.adaptive(0.01, 1, 2, 1, 1) == pytest.approx(0.0016667, abs=5e-8)
    assert run.slope(3) == pytest.approx(0.73511, abs=5e-6)
    g = torch.linspace(-3, 3, 7, dtype=torch.float64)
    law = problem_of(sme.StudentNoise(2, 1.0)).noise
    torch.testing.assert_close(law.sign_mean(g[:, None], g[:, None])[:, 0], g / (2 + g * g).sqrt(), rtol=1e-12, atol=1e-14)


def problem_of(law, h=1.0):
    return sme.Problem(lambda theta: 0.5 * h * theta[0] ** 2, 1, law)


def test_detailed_balance_is_the_law_that_the_chain_keeps():
    tau, h = 0.3, 0.8
    theta = tau * np.arange(-60, 61)
    up = (1 - gaussian(h * theta)) / 2
    matrix = np.diag(up[:-1], -1) + np.diag(1 - up[1:], 1)
    matrix[0, 0], matrix[-1, -1] = 1 - up[0], up[-1]
    values, vectors = np.linalg.eig(matrix)
    law = vectors[:, np.argmax(values.real)].real
    assert closed.signs_chain(tau, h, gaussian) == pytest.approx(float(law @ theta**2 / law.sum()), rel=1e-9)


@pytest.mark.parametrize("nu", [1, 3])
def test_signs_under_student_noise(nu):
    found = sme.stationary(problem_of(sme.StudentNoise(nu, 2.0), 0.5), sme.SignSGD(), TAU)
    slope = float(student.pdf(0, nu))
    assert float(found.covariance()) == pytest.approx(closed.signs(TAU, 0.5, slope), rel=1e-9)
    mean = [lambda g: 2 * student.cdf(g / 2, nu) - 1]
    forms = [[form(tau, 0.5, mean[0]) - closed.signs(tau, 0.5, slope) for tau in (0.02, 0.01)]
             for form in (closed.signs_chain, closed.signs_equation)]
    for coarse, fine in forms:
        assert coarse / fine == pytest.approx(4, rel=0.1)  # the closed form is right to O(τ²)


def test_long_runs_have_the_exact_variance_and_their_own_error():
    tau, steps, paths = 0.1, 60, 8192
    found = averages(Chain(Polynomial([0.0, 0.0, 0.5], noise=2.0), sme.SGD(), BALLISTIC, tau),
                     {"theta": torch.zeros(1, dtype=torch.float64)}, 60, steps, lambda state: state["theta"].square(), paths, 1)
    assert found.shape == (paths, 1)
    wanted, error = closed.sgd_chain(tau, 1, 2), float(found.std()) / paths**0.5
    assert abs(float(found.mean()) - wanted) < 4 * error
    lags = np.arange(1, steps)  # of θ², an autoregression's: squares of (1 − τ)^lag
    inflation = 1 + 2 * ((1 - lags / steps) * (1 - tau) ** (2 * lags)).sum()
    assert error == pytest.approx(wanted * math.sqrt(2 * inflation / steps / paths), rel=0.05)


def test_adamw_has_the_factor_of_its_momentum(monkeypatch):
    monkeypatch.setattr(run, "SETTLE", 0.5)
    monkeypatch.setattr(run, "AVERAGE", 1.0)
    case = next(each for each in run.cases() if each.name == "AdamW")
    law = sme.stationary(case.problem, case.optimizer, case.tau)
    assert float(law.covariance()) == pytest.approx(1 / 600, rel=1e-9)
    value, stderr = run.simulate(case, law, 2048, 0)
    assert abs(value - 1 / 600) < 4 * stderr + case.tau / 600
    assert stderr < 0.04 / 600
    assert abs(value - 1 / 300) > 20 * stderr


def scaled_loss(given, noise, place="ballistic"):
    optimizer, tau, factor, _ = given.uncorrected(place)
    law = sme.stationary(sme.Problem(DIAGONAL._loss, 2, sme.DiagonalNoise(factor * noise)), optimizer, tau, place)
    return law.loss


@pytest.mark.parametrize("delta", few([0.25, 4, 9], 1))
def test_the_square_root_rule_keeps_the_stationary_loss_and_not_without_the_decay(delta):
    given = Hyperparameters("adamw", 0.05, 0.99, 0.98, 1e-2, 0.4)
    made = sme.scale(given, delta, "square_root")
    assert made.lr == pytest.approx(math.sqrt(delta) * given.lr)
    assert made.weight_decay == pytest.approx(math.sqrt(delta) * given.weight_decay)
    loss = scaled_loss(given, S)
    for place in ("ballistic", "batch_equivalent"):
        assert scaled_loss(made, S / math.sqrt(delta), place) == pytest.approx(scaled_loss(given, S, place), rel=1e-8)
    kept = scaled_loss(replace(made, weight_decay=given.weight_decay), S / math.sqrt(delta))
    assert abs(kept / loss - 1) > 0.1
    root, tau = math.sqrt(delta), given.lr
    one = sme.RMSPropW(c=0.5, eps=0.1, decay=0.4)
    two = replace(one, c=root * one.c, eps=one.eps / root, decay=root * one.decay, v_floor=one.v_floor / delta)
    there = sme.Problem(DIAGONAL._loss, 2, sme.DiagonalNoise(S / root))
    assert sme.stationary(there, two, root * tau).loss == pytest.approx(sme.stationary(DIAGONAL, one, tau).loss, rel=1e-8)


SADDLE = sme.Problem(lambda theta: 0.5 * theta[0] ** 2 - 0.5 * theta[1] ** 2, 2, sme.DiagonalNoise(S))
BENT = sme.Problem(lambda theta: 0.5 * (theta**2).sum() + 0.1 * (theta**4).sum(), 2, sme.DiagonalNoise(S))


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda: sme.stationary(DIAGONAL, sme.AdaGrad(), TAU), "comes to rest"),
    (lambda: sme.stationary(DIAGONAL, sme.Signum(), TAU), "not smooth"),
    (lambda: sme.stationary(SADDLE, sme.SGD(), TAU), "positive Hessian"),
    (lambda: sme.stationary(DIAGONAL, sme.Signum(), TAU, "batch_equivalent"), "no equation is known"),
    (lambda: sme.stationary(BENT, sme.SGD(), TAU, "batch_equivalent"), "quadratic loss alone"),
    (lambda: sme.stationary(models.gaussian(True), sme.SGD(), TAU, "batch_equivalent"), "alone|comes to rest|settle"),
    (lambda: sme.stationary(DIAGONAL, sme.SGD(), -1), "tau must be positive"),
    (lambda: sme.stationary(DIAGONAL, sme.SGD(), TAU).covariance("v"), "no field 'v'"),
    (lambda: sme.stationary(DIAGONAL, sme.SGD, TAU), "optimizer must be"),
    (lambda: sme.stationary(DIAGONAL, sme.Adam(c1=100.0), TAU), "β = 1 − c1 τ"),
])
def test_bad_input_is_named(wrong, said):
    with pytest.raises(sme.SMEError, match=said):
        wrong()


def test_the_command_writes_every_case(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SETTLE", 0.01)
    monkeypatch.setattr(run, "AVERAGE", 0.02)
    monkeypatch.setattr(sign_picture, "draw", lambda provenance, path, paths: path.touch())
    said = survey_config.stationary(OmegaConf.create({"paths": 64, "processes": 1, "results": str(tmp_path)})).text
    table = pd.read_csv(tmp_path / "stationary.csv")
    assert list(dict.fromkeys(table["case"])) == [case.name for case in run.cases()]
    seen = table[table["source"] == "simulated"].set_index("case")
    assert (seen["stderr"] > 0).all()
    linear = table[table["source"] == "linearised equation"].set_index("case")["variance"]
    forms = table[table["source"] == "closed form"].set_index("case")["variance"]
    assert linear.to_dict() == pytest.approx(forms.to_dict(), rel=1e-5)
    same, kept = (forms[name] / forms["AdamW"] for name in forms.index if "× batch" in name)
    assert same == pytest.approx(1, rel=1e-5)
    assert kept > 1.5
    # begun in the predicted law, so few steps do: a wrong start or a wrong chain would show
    assert ((seen["variance"] / linear - 1).abs() < 6 * seen["stderr"] / linear + 0.02).all()
    assert {path.name for path in tmp_path.iterdir()} == {
        "stationary.csv", "stationary.md", "stationary.pdf", "stationary.png", "sign_phases.png"}
    assert "0.73511" in said


def test_a_number_of_paths_that_is_none_is_refused(tmp_path):
    with pytest.raises(sme.SMEError, match="paths must be a whole number"):
        survey_config.stationary(OmegaConf.create({"paths": 0, "processes": 1, "results": str(tmp_path)}))


def chain_at_rest(slope, tau, noise=1.0, width=6.0, cells=500):
    """Mean and variance of `x − τ (f′(x) + noise ξ)` at rest: the transition density on a grid, applied until it stays."""
    x = np.linspace(-width, width, cells)
    spread = tau * noise
    kernel = np.exp(-0.5 * ((x[:, None] - (x - tau * slope(x))[None]) / spread) ** 2)
    kernel /= kernel.sum(0)
    share = np.full(cells, 1 / cells)
    for _ in range(12):
        kernel = kernel @ kernel
    share = kernel @ share
    mean = float(share @ x)
    return mean, float(share @ (x - mean) ** 2)


def test_the_accuracy_that_is_printed_is_had():
    """`f = ½ x² + b x³ + c x⁴`: the variance is right to `O(τ²)`, the mean is off by `−½ τ f‴ C/f″` and more."""
    b, c = 0.3, 0.1
    problem = sme.Problem(lambda t: (0.5 * t * t + b * t**3 + c * t**4).sum(), 1, sme.GaussianNoise([[1.0]]))
    off = []
    for tau in (0.08, 0.04, 0.02):
        law = sme.stationary(problem, sme.SGD(), tau)
        mean, variance = chain_at_rest(lambda x: x + 3 * b * x**2 + 4 * c * x**3, tau, width=1.5)
        off.append((mean - float(law.mean["theta"]), variance - float(law.covariance())))
        assert "mean + offset is right to O(τ²), variance + change and the third cumulant to O(τ³)" in str(law)
    assert off[1][1] / off[2][1] == pytest.approx(4, rel=0.15)
    assert off[1][0] / off[2][0] == pytest.approx(2, rel=0.1)
    assert off[2][0] / 0.02 == pytest.approx(-0.5 * 6 * b * 0.5, rel=0.1)


def test_the_accuracy_in_the_batch_equivalent_regime_is_of_order_one():
    assert str(sme.stationary(sme.Quadratic(), sme.SGD(), 0.1, "batch_equivalent")).endswith("errors are O(τ)")


def test_the_optimizer_first_is_read_with_a_warning():
    with pytest.warns(UserWarning, match=r"write sme\.stationary\(problem, optimizer"):
        old = sme.stationary(sme.SGD(), DIAGONAL, TAU)
    assert torch.equal(old.covariance(), sme.stationary(DIAGONAL, sme.SGD(), TAU).covariance())
