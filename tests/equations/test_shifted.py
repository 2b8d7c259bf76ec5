"""Rules that take the raw gradient apart: mean and covariance of one step against sums and integrals of their own, and slopes."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.stats import norm

import sme
from sme.equations.registry import equation, is_raw
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT
from tests.support.few import few
from tests.support.paper_rules import WithMomentum

POINTS = np.random.default_rng(3).normal(size=(8, 2))
DEVIATION, CLIP, SHARE = 0.45, 0.6, 0.4


@dataclass(frozen=True)
class Clip(sme.Optimizer):
    """The norm is clipped within the rule."""

    def update(self, state, gradient, tau, t):
        norm_ = gradient.scaled.square().sum().clamp(min=1e-300).sqrt()
        return {"theta": state["theta"] - gradient.step * torch.clamp(CLIP / norm_, max=1.0)}


@dataclass(frozen=True)
class Sign(sme.Optimizer):
    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - gradient.unit * gradient.scaled.sign()}


@dataclass(frozen=True)
class Lion(WithMomentum):
    """Lion with a fixed first decay."""

    def update(self, state, gradient, tau, t):
        ahead = (1 - SHARE) * state["m"] + SHARE * gradient.scaled
        return {"theta": state["theta"] - gradient.unit * ahead.sign(),
                "m": state["m"] + 1.3 * (gradient.step - tau * state["m"])}


@dataclass(frozen=True)
class Yogi(sme.Optimizer):
    fields = ("theta", "m", "v")
    defaults = {"m": 0.0, "v": 1.0}  # noqa: RUF012
    nonnegative = ("v",)

    def update(self, state, gradient, tau, t):
        m = state["m"] + gradient.step - tau * state["m"]
        v = state["v"] - tau * 0.5 * torch.sign(state["v"] - gradient.square) * gradient.square
        return {"theta": state["theta"] - tau * m / (v.sqrt() + 0.1), "m": m, "v": v}


@dataclass(frozen=True)
class LARS(WithMomentum):
    def update(self, state, gradient, tau, t):
        ratio = state["theta"].norm() / gradient.scaled.norm()
        m = state["m"] + ratio * gradient.step - tau * state["m"]
        return {"theta": state["theta"] - tau * m, "m": m}


def own_step(name, x, g, tau):
    """The same rules once more, in numpy, for one state `(fields, d)`."""
    if name == "Clip":
        return np.stack([x[0] - tau * g * min(1.0, CLIP / np.linalg.norm(g))])
    if name == "Sign":
        return np.stack([x[0] - tau * np.sign(g)])
    if name == "Lion":
        return np.stack([x[0] - tau * np.sign(0.6 * x[1] + 0.4 * g), x[1] + 1.3 * tau * (g - x[1])])
    if name == "Yogi":
        m, v = x[1] + tau * (g - x[1]), x[2] - tau * 0.5 * np.sign(x[2] - g * g) * g * g
        return np.stack([x[0] - tau * m / (np.sqrt(v) + 0.1), m, v])
    m = x[1] + tau * (np.linalg.norm(x[0]) / np.linalg.norm(g) * g - x[1])
    return np.stack([x[0] - tau * m, m])


RULES = {each.__name__: each for each in (Clip, Sign, Lion, Yogi, LARS)}
STATES = {"theta": [0.5, -0.4], "m": [-0.35, 0.27], "v": [0.35, 0.5]}


def example(theta, x):
    return 0.5 * (theta - x).square().sum() + 0.1 * (theta @ x).square()


def own_gradients(theta):
    return theta - POINTS + 0.2 * (POINTS @ theta)[:, None] * POINTS


def batches(size):
    points = torch.from_numpy(POINTS)
    return sme.Problem(lambda theta: torch.stack([example(theta, x) for x in points]).mean(), 2,
                       sme.MinibatchNoise(example, (points,), size))


def quartic(varying):
    """One parameter, Gaussian noise."""
    def factor(theta):
        return DEVIATION * (1 + 0.3 * torch.sin(theta)).reshape(1, 1)

    constant = torch.tensor([[DEVIATION]], dtype=torch.float64)
    return sme.Problem(lambda theta: (0.5 * theta**2 + 0.075 * theta**4).sum(), 1,
                       sme.GaussianNoise(factor if varying else constant))


def own_by_batches(name, size):
    """Mean and covariance of `(x' − x)/τ` over all ordered batches."""
    def moments(x, tau):
        state = x.reshape(-1, 2)
        each = own_gradients(state[0])
        ends = [(own_step(name, state, each[list(i)].mean(0), tau) - state).ravel() / tau
                for i in itertools.product(range(8), repeat=size)]
        return np.mean(ends, 0), np.cov(np.array(ends).T, bias=True).reshape(len(x), len(x))

    return moments


def own_by_integrals(name, varying):
    """The same for one parameter, by integration between the places where a rule may jump."""
    def moments(x, tau):
        state = x.reshape(-1, 1)
        theta = state[0, 0]
        g, s = theta + 0.3 * theta**3, DEVIATION * (1 + 0.3 * np.sin(theta) * varying)
        places = [0.0, CLIP, -CLIP, *(-1.5 * state[1] if len(state) > 1 else []),
                  *(np.concatenate((np.sqrt(state[2]), -np.sqrt(state[2]))) if len(state) > 2 else [])]
        inside = sorted(z for z in ((float(p) - g) / s for p in places) if abs(z) < 9)

        z, w = np.polynomial.legendre.leggauss(80)
        points, weights = [], []
        for a, b in itertools.pairwise([-9, *inside, 9]):
            points += list(a + 0.5 * (b - a) * (1 + z))
            weights += list(0.5 * (b - a) * w)
        weights = np.array(weights) * norm.pdf(points)
        ends = np.array([(own_step(name, state, np.array([g + s * each]), tau) - state).ravel() / tau for each in points])
        first = weights @ ends
        return first, (ends * weights[:, None]).T @ ends - np.outer(first, first)

    return moments


def drift(model, x):
    return model.drift(0.0, torch.from_numpy(x)[None])[0].numpy()


def covariance(model, x):
    columns = torch.eye(model.motions, dtype=torch.float64)
    image = model.diffuse(0.0, torch.from_numpy(x).expand(len(columns), -1), columns).numpy()
    return image.T @ image / model.tau


def left(model, x, mean):
    """`E Δ` of the chain less that of the equation to `τ²`, `τ b + ½ τ² (b·∇) b`."""
    b, tau, h = drift(model, x), model.tau, 1e-4
    along = (drift(model, x + h * b) - drift(model, x - h * b)) / (2 * h)
    return np.abs(tau * mean - tau * b - 0.5 * tau**2 * along).max()


CASES = {
    **{f"{name}, batches of {size}": (name, lambda size=size: batches(size), lambda name=name, size=size:
                                      own_by_batches(name, size), 2) for name in RULES for size in (1, 2)},
    **{f"{name}, Gaussian{', S(θ)' * varying}": (name, lambda v=varying: quartic(v), lambda name=name, v=varying:
                                                 own_by_integrals(name, v), 1)
       for name in ("Clip", "Sign", "Lion", "Yogi") for varying in (False, True)},
}


@pytest.mark.parametrize("case", few(CASES, *(each for each in CASES if each not in ("Clip, Gaussian", "Yogi, Gaussian"))))
def test_one_step_has_the_moments_of_the_run_to_second_order(case):
    name, problem, moments, dim = CASES[case]
    optimizer, given, own = RULES[name](), problem(), moments()
    x = np.array([STATES[field][i] for field in optimizer.fields for i in range(dim)])
    assert is_raw(optimizer, dim)
    gaps = {1: [], 2: []}
    # E sign of few batches is piecewise constant: a small step does not meet its jumps
    for tau in (2.0**-9, 2.0**-10) if name in ("Sign", "Lion") and "batches" in case else (2.0**-5, 2.0**-6):
        mean, spread = own(x, tau)
        for order in gaps:
            model = equation(given, optimizer, BALLISTIC, tau, order)
            gaps[order].append(left(model, x, mean))
            assert covariance(model, x) == pytest.approx(spread, abs=1e-9)
        assert drift(equation(given, optimizer, BALLISTIC, tau, 1), x) == pytest.approx(mean, abs=1e-10)
    first, second = (math.log2(coarse / fine) if fine > 1e-12 else 3.0 for coarse, fine in gaps.values())
    if gaps[1][1] > 1e-10:
        assert first == pytest.approx(2, abs=0.3)
    assert second > 2.6


@pytest.mark.parametrize("name", few(["Clip", "LARS"], "LARS"))
def test_a_norm_in_two_dimensions_has_its_moments_along_rays(name):
    factor = np.array([[0.5, 0.1], [-0.2, 0.4]])
    problem = sme.Problem(lambda theta: 0.5 * theta.square().sum() + 0.1 * theta[0] * theta[1], 2,
                          sme.GaussianNoise(torch.from_numpy(factor)))
    optimizer, tau = RULES[name](), 2.0**-5
    x = np.array([STATES[field][i] for field in optimizer.fields for i in range(2)])
    model = equation(problem, optimizer, BALLISTIC, tau, 1)
    z = (np.arange(-700, 700) + 0.5) / 100
    z = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    weights = norm.pdf(z).prod(1) * 1e-4
    g = np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * x[0]]) + z @ factor.T
    size = np.linalg.norm(g, axis=1, keepdims=True)
    if name == "Clip":
        phi = -g * np.minimum(1, CLIP / size)
    else:
        rate = np.linalg.norm(x[:2]) / size * g - x[2:]
        phi = np.concatenate((-(x[2:] + tau * rate), rate), 1)
    mean = weights @ phi
    assert drift(model, x) == pytest.approx(mean, abs=2e-5)
    assert covariance(model, x) == pytest.approx((phi * weights[:, None]).T @ phi - np.outer(mean, mean), abs=5e-5)


def chebyshev(count, reach):
    """Nodes, and the matrices of differentiation and of interpolation at other points."""
    nodes = np.cos(np.pi * np.arange(count) / (count - 1))
    c = np.r_[2, np.ones(count - 2), 2] * (-1.0) ** np.arange(count)
    gap = nodes[:, None] - nodes + np.eye(count)
    d = np.outer(c, 1 / c) / gap
    d -= np.diag(d.sum(1))

    def at(points):
        angle = np.arccos(np.clip(points / reach, -1, 1))[..., None]
        basis = np.cos(angle * np.arange(count))
        return basis @ np.linalg.inv(np.cos(np.arccos(nodes)[:, None] * np.arange(count)))

    return reach * nodes, d / reach, at


@pytest.mark.parametrize("name", ["Sign", "Clip"])
def test_global_slopes_are_one_and_two(name):
    """Backward recursion of the run against `exp(T L)` of the equation, on polynomials: no Monte Carlo."""
    x, d, at = chebyshev(28, 2.0)
    problem, optimizer, start = quartic(varying=False), RULES[name](), np.array([0.8])
    z, w = np.polynomial.legendre.leggauss(40)
    g = x + 0.3 * x**3
    errors = {1: [], 2: []}
    for steps in (64, 128):
        tau = 1 / steps
        one = np.zeros((len(x), len(x)))
        for k in range(len(x)):
            places = np.clip(np.sort((np.array([0.0] if name == "Sign" else [-CLIP, CLIP]) - g[k]) / DEVIATION), -8.5, 8.5)
            for a, b in itertools.pairwise([-8.5, *places, 8.5]):
                points = a + 0.5 * (b - a) * (1 + z)
                seen = g[k] + DEVIATION * points
                moved = np.sign(seen) if name == "Sign" else np.clip(seen, -CLIP, CLIP)
                one[k] += 0.5 * (b - a) * (w * norm.pdf(points)) @ at(x[k] - tau * moved)
        run = np.linalg.matrix_power(one, steps) @ x**2
        for order in errors:
            model = equation(problem, optimizer, BALLISTIC, tau, order)
            wide = torch.from_numpy(x)[:, None]
            b = model.drift(0.0, wide)[:, 0].numpy()
            spread = sum(model.diffuse(0.0, wide, unit.expand(len(x), -1))[:, 0].numpy() ** 2
                         for unit in torch.eye(model.motions, dtype=torch.float64))
            found = expm(np.diag(b) @ d + 0.5 * np.diag(spread) @ d @ d) @ x**2
            errors[order].append(float((at(start) @ (run - found))[0]))
    slopes = {order: math.log2(abs(coarse / fine)) for order, (coarse, fine) in errors.items()}
    assert slopes[1] == pytest.approx(1, abs=0.12)
    assert slopes[2] == pytest.approx(2, abs=0.12)


@pytest.mark.slow
def test_global_slopes_in_two_dimensions_are_one_and_two():
    """By Monte Carlo: SGD on the clipped gradients of eight examples, one a batch."""
    points = torch.from_numpy(POINTS)

    def quartic_example(theta, x):
        return 0.5 * (theta - 0.3 * x).square().sum() + 0.1 * (theta**4).sum()

    law = sme.Clipped(sme.MinibatchNoise(quartic_example, (points,), batch_size=1), CLIP)
    problem = sme.Problem(lambda theta: torch.func.vmap(quartic_example, (None, 0))(theta, points).mean(), 2, law)
    found = sme.weak_error(problem, sme.SGD(), tau=["1/2", "1/4", "1/8", "1/16"], order=(1, 2), paths=2**15, horizon=1.0,
                           start={"theta": torch.tensor([0.9, -0.6], dtype=torch.float64)})
    for row in found.slopes.itertuples():
        assert row.slope == pytest.approx(row.order, abs=0.15)
        assert row.slope_low < row.order < row.slope_high
        assert row.order == 1 or row.slope_low > 1.4


def own_batch_equivalent(name, x, tau, varying, psi):
    """`E ψ(x' − x)` of one parameter by integration between the places where a rule jumps, `h = √τ` in gradient and step."""
    h, state = math.sqrt(tau), x.reshape(-1, 1)
    theta = state[0, 0]
    g, s = h * (theta + 0.3 * theta**3), DEVIATION * (1 + 0.3 * np.sin(theta) * varying)
    places = {"Sign": [0.0], "Clip": [CLIP, -CLIP], "Lion": [-1.5 * h * state[-1, 0]]}[name]
    z, w = np.polynomial.legendre.leggauss(80)
    total = 0.0
    for a, b in itertools.pairwise([-9, *sorted((each - g) / s for each in places), 9]):
        for each, weight in zip(a + 0.5 * (b - a) * (1 + z), 0.5 * (b - a) * w, strict=True):
            seen = g + s * each
            m = state[-1, 0]
            step = {"Sign": [-h * np.sign(seen)], "Clip": [-h * np.clip(seen, -CLIP, CLIP)],
                    "Lion": [-h * np.sign(0.6 * h * m + 0.4 * seen), 1.3 * (h * seen - tau * m)]}[name]
            total = total + weight * norm.pdf(each) * psi(np.array(step))
    return total


LARGE = [(name, varying) for name in ("Sign", "Clip", "Lion") for varying in (False, True)]


@pytest.mark.parametrize(("name", "varying"), few(LARGE, 0, 3, 5))
def test_batch_equivalent_one_step_is_that_of_the_run_to_first_order(name, varying):
    rule = sme.Lion(c=1.3, a=SHARE) if name == "Lion" else RULES[name]()
    x = np.array([0.5, -0.35][: len(rule.fields)])
    along = np.array([0.9, -0.6][: len(x)])
    left = []
    for tau in (2.0**-7, 2.0**-8, 2.0**-9):
        model = equation(quartic(varying), rule, BATCH_EQUIVALENT, tau, 1)
        b, spread = drift(model, x), covariance(model, x) * tau
        exact = own_batch_equivalent(name, x, tau, varying, lambda step: np.exp(along @ step) - 1)
        left.append(exact - tau * (b @ along + 0.5 * along @ spread @ along))
    assert left[0] / left[1] == pytest.approx(4, abs=0.25)
    assert left[1] / left[2] == pytest.approx(4, abs=0.15)


def test_batch_equivalent_signs_tend_to_their_limit_and_leave_third_and_fourth_moments():
    """`dx = −√(2/π) g/s dt + dW`, and `τ² (T₃ + T₄)`, `T₃ = −m/3 ∂³`, `T₄ = −1/12 ∂⁴`, beside terms of lower degree."""
    x, d, at = chebyshev(28, 2.0)
    place, rate, tau = np.array([0.7]), 1.3, 2.0**-9
    model = equation(quartic(varying=False), Sign(), BATCH_EQUIVALENT, tau, 1)
    g = place[0] + 0.3 * place[0]**3
    assert drift(model, place) == pytest.approx(-math.sqrt(2 / math.pi) * g / DEVIATION, rel=0.01)
    assert covariance(model, place) * tau == pytest.approx(1.0, abs=0.01)
    wide = torch.from_numpy(x)[:, None]
    m = model.drift(0.0, wide)[:, 0].numpy()
    spread = sum(model.diffuse(0.0, wide, unit.expand(len(x), -1))[:, 0].numpy() ** 2
                 for unit in torch.eye(model.motions, dtype=torch.float64))
    found = expm(tau * (np.diag(m) @ d + 0.5 * np.diag(spread) @ d @ d)) @ np.exp(rate * x)
    h, p = math.sqrt(tau), math.erf(math.sqrt(tau) * g / DEVIATION / math.sqrt(2))
    run = math.exp(rate * place[0]) * (math.cosh(rate * h) - p * math.sinh(rate * h))
    here, first, second = ((at(place) @ each)[0] for each in (m, d @ m, d @ d @ m))
    bare = here * rate + 0.5 * rate**2
    wanted = (rate**4 / 24 + here * rate**3 / 6 + 0.5 * here**2 * rate**2
              - 0.5 * (bare**2 + here * first * rate + first * rate**2 + 0.5 * second * rate))
    left = (run - (at(place) @ found)[0]) / tau**2 / math.exp(rate * place[0])
    assert left == pytest.approx(wanted, rel=0.02)


def test_the_sign_rule_of_the_package_has_the_same_equation():
    x, tau = np.array([0.4]), 2.0**-6
    own, theirs = (equation(quartic(varying=True), rule, BATCH_EQUIVALENT, tau, 1) for rule in (Sign(), sme.SignSGD()))
    assert drift(theirs, x) == pytest.approx(drift(own, x), abs=1e-12)
    assert covariance(theirs, x) == pytest.approx(covariance(own, x), abs=1e-9)


@dataclass(frozen=True)
class Positive(sme.Optimizer):
    """No odd function of the gradient."""

    def update(self, state, gradient, tau, t):
        return {"theta": state["theta"] - gradient.unit * torch.relu(gradient.scaled)}


@pytest.mark.parametrize(("rule", "order", "problem", "said"), [
    (Positive(), 1, quartic(varying=False), "grows without bound"),
    (Sign(), 1, batches(1), "noise with a density"),
    (Sign(), 2, quartic(varying=False), "third and fourth moments"),
    (sme.SignSGD(), 2, quartic(varying=False), "third and fourth moments"),
])
def test_what_has_no_limit_in_the_batch_equivalent_regime_says_so(rule, order, problem, said):
    with pytest.raises(sme.SMEError, match=said):
        equation(problem, rule, BATCH_EQUIVALENT, 0.1, order)


@pytest.mark.slow
@pytest.mark.parametrize("varying", [False, True])
def test_the_moment_test_proves_order_one_in_the_batch_equivalent_regime(varying):
    check = sme.check_order(quartic(varying), Sign(), regime="batch_equivalent", order=1)
    assert check.proved == 1
    assert check.decided


@pytest.mark.slow
def test_a_sign_of_a_batch_jumps_and_leaves_order_one():
    check = sme.check_order(batches(1), Sign(), order=2)
    assert check.proved == 1
    assert check.decided
    assert "torch.sign in the update rule makes the mean step jump" in check.obstacle


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Sign", "Lion", "Yogi", "Clip"])
def test_the_moment_test_proves_order_two_with_gaussian_noise(name):
    check = sme.check_order(quartic(varying=True), RULES[name](), order=2)
    assert check.proved == 2
    assert check.decided


def test_what_has_no_shifted_equation_says_so():
    wide = sme.Quadratic(dim=4)  # runs are sampled there
    with pytest.raises(sme.SMEError, match="one or two parameters"):
        sme.check_order(wide, Sign())


def test_the_raw_gradient_is_the_step_without_its_unit():
    seen = BALLISTIC.seen(torch.tensor([2.0, -3.0], dtype=torch.float64), 0.25)
    assert torch.equal(seen.unit * seen.scaled, seen.step)
    assert torch.equal(seen.scaled.square(), seen.square)


def test_the_description_says_how_far_a_step_is_from_its_limit():
    model = equation(quartic(varying=False), Sign(), BALLISTIC, 0.1, 2)
    said = model.describe({"theta": torch.tensor([0.3])}).title
    g, slope = 0.3 + 0.3 * 0.3**3, 1 + 0.9 * 0.3**2  # of −erf(g/(s√2))
    wanted = 0.1 * 2 * norm.pdf(g / DEVIATION) / DEVIATION * slope
    assert f"τ‖∇b‖ = {wanted:.3g}" in said
