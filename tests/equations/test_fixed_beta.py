"""Memory exponents, and the two models of fixed decays: the averaged field, and backward error analysis."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import sme
from sme.common.identity import recipe
from sme.convergence.estimator import paired
from sme.equations.chain import Chain
from sme.equations.literature import averaged
from sme.equations.literature.averaged import Averaged
from sme.equations.literature.backward import Backward, check_start
from sme.equations.registry import equation
from sme.optimizers.regimes import BALLISTIC, regime
from sme.simulate.control_variates import controls
from sme.simulate.control_variates.controls import responses

THETA = torch.tensor([1.0, -0.7], dtype=torch.float64)
A = torch.tensor([[1.0, 0.4], [0.4, 1.2]], dtype=torch.float64)
STEPS = 40


class Quartic(sme.Problem):
    """`½ θᵀAθ + 0.1 Σ θ⁴`, without noise."""

    def __init__(self):
        super().__init__(lambda theta: 0.5 * theta @ A @ theta + 0.1 * (theta**4).sum(), 2, sme.GaussianNoise(torch.zeros(2, 2)))

    def gradient(self, theta):
        return theta @ A + 0.4 * theta**3

    def hessian(self, theta, u):
        return u @ A + 1.2 * theta * theta * u


def slope_problem(g, deviation):
    """The gradient is `g` everywhere, the noise's standard deviation `deviation`."""
    g, deviation = (torch.as_tensor(part, dtype=torch.float64).reshape(-1) for part in (g, deviation))
    return sme.Problem(lambda theta: g @ theta, len(g), sme.GaussianNoise(deviation.diag()))


def velocity(problem, optimizer, theta=None):
    theta = torch.zeros(problem.dim, dtype=torch.float64) if theta is None else theta
    return Averaged(problem, optimizer, 0.1, 1, "none").velocity(theta[None])[0]


# memory exponents

@pytest.mark.parametrize("scaling", ["ballistic", "batch_equivalent"])
@pytest.mark.parametrize(("make", "theirs"), [
    (lambda memory: sme.RMSProp(c=0.8, denominator="updated", v_floor=0, memory=memory),
     lambda p, h: torch.optim.RMSprop(p, lr=h["lr"], alpha=h["beta"], eps=h["eps"])),
    (lambda memory: sme.AdamW(c1=0.6, c2=0.3, denominator="updated", bias_correction=True, v_floor=0, memory=memory),
     lambda p, h: torch.optim.AdamW(p, h["lr"], (h["beta1"], h["beta2"]), h["eps"], h["weight_decay"])),
])
@pytest.mark.parametrize("memory", [0, 0.5])
def test_a_fresh_optimizer_takes_torchs_steps(make, theirs, scaling, memory):
    optimizer, place, tau = make(memory), regime(scaling), 1 / 16
    hyper = optimizer.physical(place, tau)
    c = optimizer.rates().get("c", optimizer.rates().get("c2"))
    assert hyper.get("beta", hyper.get("beta2")) == pytest.approx(1 - c * (1 if memory == 0 else 0.25))
    noise = 0.5 * torch.randn(STEPS, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    state = {"theta": THETA, "m": 0 * THETA, "v": 0 * THETA}
    state = {name: state[name] for name in optimizer.fields}
    theta = THETA.clone().requires_grad_()
    other = theirs([theta], hyper)
    for k in range(STEPS):
        gradient = place.gradient(state["theta"], tau ** (place.mean_power / 2) * noise[k], tau)
        state = optimizer.update(state, gradient, tau, k * tau)
        theta.grad = theta.detach() + noise[k]
        other.step()
    torch.testing.assert_close(state["theta"], theta.detach(), rtol=1e-10, atol=1e-12)


def test_a_memory_beyond_one_stays_and_one_below_follows():
    gradient = BALLISTIC.gradient(THETA, 0 * THETA, 2.0**-10)
    start = {"theta": THETA, "m": 0 * THETA, "v": 0 * THETA + 1}
    ends = {}
    for memory in (0.5, 1.0, 2.0):
        optimizer, state = sme.Adam(memory=memory), start
        for _ in range(2**8):  # to t = 1/4
            state = optimizer.update({**state, "theta": THETA}, gradient, 2.0**-10, 0.0)
        ends[memory] = state["m"] / THETA
    assert (ends[0.5] > 0.999).all()
    assert (ends[2.0] < 1e-3).all()
    torch.testing.assert_close(ends[1.0], torch.full_like(THETA, 1 - math.exp(-0.25)), rtol=1e-3, atol=0)


def test_only_another_memory_is_told():
    assert "memory" not in sme.RMSPropW().describe()
    assert "memory" not in sme.Adam(memory=1).describe()
    assert sme.Adam(memory=2).describe()["memory"] == 2.0


@pytest.mark.parametrize("memory", [0, 0.5, 1])
def test_torchs_settings_are_kept_by_every_memory(memory):
    given = sme.Hyperparameters("adam", lr=0.01, beta1=0.9, beta2=0.95)
    scaled = given.scaled("batch_equivalent", memory=memory)
    found = sme.Hyperparameters.physical(scaled.optimizer, "batch_equivalent", scaled.tau)
    assert (found.beta1, found.beta2) == (pytest.approx(0.9), pytest.approx(0.95))


def test_responses_differentiate_the_rule_with_its_memory():
    optimizer, tau = sme.Adam(memory=0.5, bias_correction=True, denominator="updated"), 1 / 16
    start = {"theta": THETA[:1], "m": 0.1 + 0 * THETA[:1], "v": 0.6 + 0 * THETA[:1]}
    chain = Chain(sme.Polynomial(), optimizer, BALLISTIC, tau)
    weights = responses(chain, start, (3,), {"theta": lambda s: s["theta"][:, 0]})

    def end(step, square):
        state = start
        for k in range(3):
            mean = chain.expected(state["theta"], chain.problem.gradient(state["theta"][None])[0])
            kicked = mean._replace(step=mean.step + (k == 1) * step, square=mean.square + (k == 1) * square)
            state = optimizer.update(state, kicked, tau, k * tau)
        return float(state["theta"])

    state = chain.mean_step(start, 0.0)
    twice = 2 * float(chain.problem.gradient(state["theta"][None]))  # ĝ∘ĝ gains 2 ∇f∘n
    by_square = (end(0, 1e-5) - end(0, -1e-5)) / 2e-5
    assert float(weights.quadratic[1, 0, 0]) == pytest.approx(by_square, rel=1e-5)
    by_step = (end(1e-5, 0) - end(-1e-5, 0)) / 2e-5
    assert float(weights.linear[1, 0, 0]) == pytest.approx(tau * by_step + twice * by_square, rel=1e-5)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: sme.RMSProp(memory=-1), ["memory", "≥ 0", "-1"]),
    (lambda: sme.Adam(memory="long"), ["memory must be a number", "long"]),
    (lambda: sme.Adam(memory=0), ["memory = 0", "β = 1 − c1", "c1 must be < 1", "got 1"]),
    (lambda: sme.RMSProp(c=8, memory=0.5).check(1 / 16), ["c τ^0.5 = 8", "= 2", "τ < 0.015625"]),
    (lambda: sme.Adam(memory=2, bias_correction=True), ["t0 > 0"]),
    (lambda: sme.Adam(c1=0.1, memory=0, bias_correction=True, clock=(1, 0)), ["clock", "γ = 0"]),
    (lambda: sme.derive(Quartic(), sme.RMSProp(memory=0)), ["memory = 0", "'averaged'", "'backward'"]),
    (lambda: sme.check_order(Quartic(), sme.RMSProp(memory=2)), ["memory = 2", "no equation"]),
    (lambda: sme.check_order(Quartic(), sme.RMSProp(memory=0), model="backward"), ["one step", "'backward'", "sme.weak_error"]),
    (lambda: equation(Quartic(), sme.Adam(memory=0.5), BALLISTIC, 0.1, 1), ["memory = 0.5", "no equation"]),
    (lambda: velocity(Quartic(), sme.RMSProp()), ["memory = 0", "memory = 1", "c = 1 − β"]),
    (lambda: velocity(Quartic(), sme.SGD()), ["averaged models RMSProp, Adam", "sgd"]),
    (lambda: velocity(sme.Logistic(), sme.RMSProp(memory=0)), ["GaussianNoise"]),
    (lambda: velocity(Quartic(), sme.RMSProp(c=1e-5, memory=0)), ["0.99999", "memory=1"]),
    (lambda: Averaged(Quartic(), sme.RMSProp(memory=0), 0.1, 2, "none"), ["order 1"]),
    (lambda: Backward(sme.Quadratic(), sme.RMSProp(memory=0), 0.1, 2, "none"), ["full batch", "'averaged'"]),
])
def test_refusals(make, words):
    with pytest.raises(sme.SMEError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


# the averaged field

@pytest.mark.parametrize("optimizer", [
    sme.RMSProp(c=0.3, memory=0), sme.Adam(c1=0.3, c2=0.1, memory=0, eps_mode="inside"),
    sme.AdamW(c1=0.3, c2=0.1, memory=0, eps_mode="average", decay=0.7),
])
def test_without_noise_the_field_is_that_of_the_gradient(optimizer):
    g = Quartic().gradient(THETA[None])[0]
    p = 1 / ((g * g + 0.1).sqrt() if optimizer.eps_mode != "outside" else g.abs() + 0.1)
    expected = -g * p - getattr(optimizer, "decay", 0.0) * THETA
    torch.testing.assert_close(velocity(Quartic(), optimizer, THETA), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize(("denominator", "share"), [("updated", 0.5), ("previous", 0.25)])
def test_the_field_of_a_short_memory_is_a_quadrature(denominator, share):
    """With `β₁ = ½`, `β₂ = 0` the root is of one gradient, whose share in the momentum is ½ or, a step ago, ¼."""
    g, deviation, eps = 0.3, 0.5, 0.2
    optimizer = sme.Adam(c1=0.5, c2=1 - 1e-12, eps=eps, denominator=denominator, memory=0, v_floor=0)

    def integrand(z):
        seen = g + deviation * z
        return (share * seen + (1 - share) * g) / (abs(seen) + eps) * stats.norm.pdf(z)

    exact = sum(integrate.quad(integrand, *ends)[0] for ends in ((-10, -g / deviation), (-g / deviation, 10)))
    assert float(velocity(slope_problem(g, deviation), optimizer)) == pytest.approx(-exact, abs=3e-5)


@pytest.mark.parametrize("optimizer", [
    sme.Adam(c1=0.2, c2=0.1, memory=0), sme.Adam(c1=0.1, c2=0.3, memory=0, denominator="updated", v_floor=0, eps=0.02),
    sme.RMSProp(c=0.2, memory=0, denominator="updated", eps_mode="inside"),
])
def test_the_field_is_the_mean_step_of_the_stationary_memory(optimizer):
    problem, tau, paths = slope_problem([0.05, 0.3, 1.0], [0.3, 0.4, 0.2]), 1 / 16, 2**13
    chain, generator = Chain(problem, optimizer, BALLISTIC, tau), torch.Generator().manual_seed(1)
    state = {name: torch.full((paths, 3), 0.2, dtype=torch.float64) for name in optimizer.fields}
    for k in range(61):
        old, z = state["theta"], torch.randn(paths, 3, generator=generator, dtype=torch.float64)
        state, _ = chain.step(state, z, k)
    moved = (state["theta"] - old) / tau
    assert ((moved.mean(0) - velocity(problem, optimizer)).abs() < 3.5 * moved.std(0) / paths**0.5).all()


def test_what_the_pool_cuts_off_has_its_mean():
    a, b, c = averaged._pool(0.8, 0.9, 1)
    assert float(c.mean()) == pytest.approx(1, abs=5e-5)
    assert float((a * a).mean()) == pytest.approx(0.2 / 1.8, rel=1e-3)
    assert float((a * b).mean()) == pytest.approx(0.2 * 0.1 * 0.8 / (1 - 0.72), rel=3e-3)  # one step apart


# backward error analysis

def converge(optimizer, start, *orders, kind=Backward):
    """The slopes of the error of `θ` at `t = 1` between `τ = 1/100` and `1/200`, without any noise."""
    problem, errors = Quartic(), []
    for steps in (100, 200):
        chain, state = Chain(problem, optimizer, BALLISTIC, 1 / steps), start
        for k in range(steps):
            state = chain.mean_step(state, k / steps)
        for order in orders:
            ode = kind(problem, optimizer, 1 / steps, order, "none")
            solved = integrate.solve_ivp(lambda t, x, ode=ode: ode.velocity(torch.from_numpy(x)[None])[0].numpy(), (0, 1),
                                         start["theta"].numpy(), "DOP853", rtol=1e-7, atol=1e-9)
            errors.append(np.abs(state["theta"].numpy() - solved.y[:, -1]).max())
    return [math.log2(coarse / fine) for coarse, fine in zip(errors, errors[len(orders):], strict=False)]


def settled(optimizer, m=1.0, v=1.0):
    """The memory's manifold, or shares of it."""
    g = Quartic().gradient(THETA[None])[0]
    square = g * g + (optimizer.eps if optimizer.eps_mode == "average" else 0.0)
    return {name: field for name, field in {"theta": THETA, "m": m * g, "v": v * square}.items() if name in optimizer.fields}


FRESH = {"theta": THETA, "m": 0 * THETA, "v": 0 * THETA}
TORCHS = sme.Adam(c1=0.5, c2=0.4, memory=0, denominator="updated", bias_correction=True, v_floor=0)


@pytest.mark.parametrize("denominator", ["previous", "updated"])
@pytest.mark.parametrize("optimizer", [
    lambda **given: sme.Adam(c1=0.5, c2=0.4, memory=0, **given),
    lambda **given: sme.Adam(c1=0.5, c2=0.4, memory=0, eps_mode="inside", **given),
    lambda **given: sme.RMSPropW(c=0.4, memory=0, eps_mode="average", decay=0.7, **given),
])
def test_the_backward_equation_is_of_order_2(optimizer, denominator):
    rule = optimizer(denominator=denominator)
    start = settled(rule)
    check_start(Quartic(), rule, start)
    assert converge(rule, start, 1, 2) == [pytest.approx(1, abs=0.3), pytest.approx(2, abs=0.15)]


def test_of_order_2_from_a_fresh_start_with_bias_correction():
    check_start(Quartic(), TORCHS, FRESH)
    assert converge(TORCHS, FRESH, 2) == [pytest.approx(2, abs=0.15)]


@pytest.mark.parametrize(("optimizer", "start", "words"), [
    (sme.Adam(c1=0.5, c2=0.4, memory=0), FRESH, ["start.m=[1.12", "start.v=[", "bias_correction=True"]),
    (sme.RMSProp(c=0.4, memory=0), {"theta": THETA, "v": 0 * THETA + 1}, ["start.v=[", "order=1"]),
    (sme.Adam(c1=0.5, c2=0.4, memory=0, bias_correction=True, v_floor=0), FRESH, ["denominator='updated'"]),
])
def test_any_other_start_leaves_a_shift_of_order_1(optimizer, start, words):
    with pytest.raises(sme.SMEError) as caught:
        check_start(Quartic(), optimizer, start)
    assert all(word in str(caught.value) for word in words)
    assert 0.8 < converge(optimizer, start, 2)[0] < 1.5


@pytest.mark.parametrize("given", [{"v_floor": 1.0}, {"t0": 0.5}, {"clock": (2, 1)}])
def test_bias_correction_is_of_order_2_for_torchs_clock_alone(given):
    optimizer = recipe.make({**recipe.of(TORCHS), **given}, sme.Optimizer)
    with pytest.raises(sme.SMEError, match="fresh start"):
        check_start(Quartic(), optimizer, FRESH)


@pytest.mark.parametrize("wrong", ["late", "decay", "betas"])
def test_a_wrong_term_is_seen(wrong):
    class Wrong(Backward):
        @property
        def late(self):
            return super().late - (wrong == "late")

        @property
        def betas(self):
            beta1, beta2 = super().betas
            return (beta1, beta1) if wrong == "betas" else (beta1, beta2)

        def velocity(self, theta):
            right = super().velocity(theta)
            return right - 0.5 * self.tau * self.decay**2 * theta if wrong == "decay" else right

    optimizer = sme.AdamW(c1=0.5, c2=0.4, memory=0, decay=0.7)
    assert converge(optimizer, settled(optimizer), 2, kind=Wrong)[0] < 1.5


def test_it_is_the_stationary_equation_of_the_literature():
    """arXiv 2309.00079: `ε` inside the root, the updated denominator, a penalty on the one-norm of the gradient."""
    beta, rho, eps, h = 0.7, 0.9, 0.2, 0.1
    optimizer = sme.Adam(c1=1 - beta, c2=1 - rho, eps=eps, eps_mode="inside", denominator="updated", v_floor=0, memory=0)
    g = Quartic().gradient(THETA[None])[0]
    penalty = torch.func.grad(lambda theta: (Quartic().gradient(theta).square() + eps).sqrt().sum())(THETA)
    first, second = (1 + beta) / (1 - beta), (1 + rho) / (1 - rho)
    bias = 0.5 * h * (first - second + second * eps / (g * g + eps)) * penalty
    expected = -(g + bias) / (g * g + eps).sqrt()
    got = Backward(Quartic(), optimizer, h, 2, "none").velocity(THETA[None])[0]
    torch.testing.assert_close(got, expected, rtol=1e-13, atol=0)


def test_a_root_of_nothing_is_no_obstacle():
    optimizer = sme.Adam(c1=0.5, c2=0.4, memory=0, v_floor=0)
    ode = Backward(slope_problem([0.0, 1.0], [0.0, 0.0]), optimizer, 0.1, 2, "none")
    assert ode.velocity(torch.zeros(1, 2, dtype=torch.float64)).tolist() == [[0.0, pytest.approx(-1 / 1.1)]]


# both in a study

@pytest.fixture
def tiny(monkeypatch):
    """Few paths, and a coarser quadrature."""
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 64)
    monkeypatch.setattr(averaged, "POINTS", 10)
    averaged._pool.cache_clear()
    yield
    averaged._pool.cache_clear()


ONE = {"theta": torch.tensor([0.8], dtype=torch.float64)}


def test_the_averaged_field_is_of_order_1_and_its_bars_are_narrower_by_control_variates(tiny, monkeypatch):
    def measured():
        study = sme.weak_error(sme.Polynomial(noise=0.4), sme.Adam(c1=0.5, c2=0.5, memory=0), model="averaged", horizon=0.25,
                               tau=[1 / 16, 1 / 32], start=ONE, paths=1)
        return study, study.errors.query("observable == 'mean theta'").sort_values("tau")

    study, errors = measured()
    assert study.folder is None
    assert "averaged" in str(study)
    assert set(study.errors["observable"]) == {"|theta|^2", "mean theta", "loss"}
    error, bar = errors["error"].to_numpy(), errors["stderr"].to_numpy()
    assert (error > 20 * bar).all()  # m starts at 0: behind by some 1/c₁ steps
    assert error[1] / error[0] == pytest.approx(2, abs=0.4)
    monkeypatch.setattr(controls, "LONGEST", 0)
    _, plain = measured()
    other, wide = plain["error"].to_numpy(), plain["stderr"].to_numpy()
    assert (np.abs(other - error) < 4 * wide).all()
    assert (wide > 1.5 * bar).all()


@pytest.mark.slow
def test_the_backward_equation_is_of_order_2_in_a_study(tiny):
    start = {**ONE, "m": 0 * ONE["theta"], "v": 0 * ONE["theta"]}
    study = sme.weak_error(sme.Polynomial(noise=0), TORCHS, model="backward", horizon=0.25, tau=[1 / 32, 1 / 64], start=start,
                           paths=1)
    assert study.orders == (2,)
    fine, coarse = study.errors.query("observable == 'mean theta'").sort_values("tau")["error"]
    assert coarse / fine == pytest.approx(4, abs=0.8)
    assert (study.errors["stderr"] == 0).all()


@pytest.mark.parametrize(("given", "words"), [
    ({"observables": "|v|^2"}, ["'|v|^2'", "'v'", "the equation has theta alone: model='averaged'"]),
    ({"observables": {"m": lambda s: s["m"].sum(-1)}}, ["'m'", "theta alone"]),
    ({"order": 2}, ["order of model='averaged' must be 1"]),
    ({"regime": "batch_equivalent"}, ["model='averaged'", "batch_equivalent", "memory=0"]),
    ({"optimizer": sme.SGD()}, ["model='averaged'", "RMSProp, Adam and their W"]),
    ({"optimizer": sme.Adam()}, ["fixed decays, memory = 0", "memory = 1"]),
    ({"model": "sme"}, ["memory = 0", "'averaged'", "'backward'"]),
    ({"model": "ode"}, ["memory = 0", "'averaged'", "'backward'"]),
    ({"model": "backward"}, ["noise of 0"]),
    ({"model": "backward", "problem": sme.Polynomial(noise=0)}, ["start.m=[0.95", "order=1"]),
])
def test_studies_refuse(tiny, given, words):
    parts = {"problem": sme.Polynomial(), "optimizer": sme.Adam(c1=0.5, c2=0.5, memory=0), "model": "averaged", "tau": [1 / 16],
             "start": ONE, "paths": 1, **given}
    with pytest.raises(sme.SMEError) as caught:
        sme.weak_error(parts.pop("problem"), parts.pop("optimizer"), **parts)
    for word in words:
        assert word in str(caught.value)
