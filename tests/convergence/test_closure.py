"""Weak errors without paths: against the committed tables, moments of polynomials, and numbers that are known exactly."""


import numpy as np
import pytest
import torch
from scipy.linalg import expm

import sme
from sme.common.errors import SMEError
from sme.convergence.comparison.candidates import candidates
from sme.convergence.estimator.closure import closure, coupled, noise
from sme.convergence.estimator.closure.condensed import condensed
from sme.convergence.estimator.closure.rates import ChainRates, EquationRates
from sme.convergence.estimator.closure.stencils import Tensors, laplacian, twice_laplacian
from sme.convergence.spec.specification import Specification
from tests.support import committed

DEFAULT = ("adam-ballistic-quadratic-independent-44ed0b05", "rmsprop-ballistic-quadratic-independent-fe85ca90")
OTHERS = ("adabayes-ballistic-quadratic-independent-353ac7cc", "momentum-ballistic-quadratic-independent-ca080a1b",
          "nesterov-ballistic-quadratic-independent-c019a0ee", "adamw-ballistic-quadratic-independent-d86f8a63",
          "rmsprop_inside-ballistic-quadratic-independent-a603ee03", "rmsprop-ballistic-logistic-independent-6c086ee0")


ROUNDED = 5e-6
"""of a number of six digits"""


def predicted(spec, order, tau):
    """The weak errors of one equation."""
    setup = spec.setup(order, spec.steps(tau))
    return closure.error(closure.of_chain(setup), closure.of_equation(setup))


def beside(study, taus=None):
    """How many of the table's standard errors the closure is off, of each row behind the gate; and which rows are not."""
    spec, errors = study.specification(), study.errors
    chains, off, beyond = {}, [], 0
    for (order, tau), rows in errors.groupby(["order", "tau"]):
        if taus and tau not in taus:
            continue
        setup = spec.setup(int(order), spec.steps(tau))
        chains[tau] = chains.get(tau) or closure.of_chain(setup)
        found = closure.error(chains[tau], closure.of_equation(setup))
        rows = rows[rows["time"] == spec.horizon].set_index("observable").loc[list(spec.observables)]
        if found.doubt:
            beyond += len(rows)
            continue
        wide = np.hypot(rows["stderr"], rows["integrator_bias"]).to_numpy() + ROUNDED * rows["error"].abs().to_numpy()
        off.append((np.abs(found.error - rows["error"].to_numpy()) - (found.half if taus is None else 0)) / wide)
    return np.concatenate(off), beyond


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return committed.results(tmp_path_factory.mktemp("record"))


def test_the_default_jobs_are_as_their_tables_say(tables):
    """At most 8 % of all observables, orders and step sizes are two standard errors off, and none four."""
    off = np.concatenate([beside(sme.load(tables / name), taus=[2.0**-k for k in range(2, 7)])[0] for name in DEFAULT])
    assert len(off) == 2 * 5 * (6 + 5)
    assert (off > 2).mean() <= 0.08
    assert off.max() < 4


@pytest.mark.parametrize("name", [pytest.param(DEFAULT[0], marks=pytest.mark.slow), DEFAULT[1]])
def test_leading_constants_have_four_digits(tables, name):
    study = sme.load(tables / name)
    spec, slopes = study.specification(), study.slopes
    known = slopes[slopes["order"] == 1].set_index("observable").loc[list(spec.observables)]
    one, two, four = (n * predicted(spec, 1, spec.horizon / n).error for n in (32, 64, 128))
    found = (8 * four - 6 * two + one) / 3
    own = (known["c1_high"] - known["c1_low"]).to_numpy() / 2
    assert (np.abs(found - known["c1_order1"].to_numpy()) <= 5e-5 * np.abs(found) + own).all()
    assert np.abs(found / known["c1_order1"].to_numpy() - 1).max() < 3e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_six_other_jobs_are_as_their_tables_say(tables, name):
    off, beyond = beside(sme.load(tables / name))
    assert (off > 2).mean() <= 0.08
    assert off.max() < 4
    assert beyond <= 0.25 * (len(off) + beyond)


def begin(**fields):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in fields.items()}


def example(theta, x):
    """`½ |θ − x|² + 0.05 Σ x θ³`: its gradient's law changes with θ."""
    return 0.5 * (theta - x).square().sum() + 0.05 * (x * theta**3).sum()


def sampled(data, size, sampling="with_replacement"):
    """Minibatches of these examples."""
    data = torch.tensor(data, dtype=torch.float64)
    return sme.Problem(lambda theta: torch.stack([example(theta, x) for x in data]).mean(), data.shape[1],
                       sme.MinibatchNoise(example, (data,), size, sampling=sampling))


CASES = {
    "minibatch, rmsprop": (lambda: sampled([[-0.2], [0.1], [0.4]], 2), sme.RMSProp(c=0.4), "ballistic", 2, None,
                           begin(theta=[0.9], v=[0.8])),
    "without replacement, adam": (lambda: sampled([[-0.2], [0.1], [0.4], [0.2]], 2, "without_replacement"), sme.Adam(),
                                  "ballistic", 1, None, begin(theta=[0.7], m=[0.1], v=[0.8])),
    "S(θ), momentum": (lambda: sme.Polynomial(noise=0.2, law="affine", growth=0.1), sme.Momentum(c=1.5), "ballistic", 2, None,
                       begin(theta=[0.7], m=[0.2])),
    "the default": (sme.Quadratic, sme.RMSProp(), "ballistic", 2, None, begin(theta=[1.0, 0.5])),
    "updated denominator": (sme.Polynomial, sme.RMSProp(c=0.8, denominator="updated"), "ballistic", 2, None,
                            begin(theta=[0.9], v=[1.2])),
    "bias correction": (lambda: sme.Polynomial(noise=0.2), sme.Adam(bias_correction=True, t0=1.0), "ballistic", 2, None,
                        begin(theta=[0.9], v=[0.5])),
    "derived": (lambda: sme.Polynomial(noise=0.2), sme.AdamW(c1=1.2, decay=0.2, bias_correction=False), "ballistic", 2, None,
                begin(theta=[0.9], v=[0.7])),
    "batch-equivalent": (lambda: sme.Polynomial(noise=0.2), sme.RMSProp(c=0.3), "batch_equivalent", 2, "independent",
                         begin(theta=[0.8], v=[1.0])),
}


DEAR = ("the default", "S(θ), momentum", "minibatch, rmsprop", "without replacement, adam", "bias correction", "derived")
"""those whose moments take more than a second"""


@pytest.mark.parametrize("which", [pytest.param(each, marks=[pytest.mark.slow] * (each in DEAR)) for each in CASES])
def test_moments_of_polynomials_give_the_same(which):
    make, optimizer, regime, order, brownian, start = CASES[which]
    spec = Specification.of(make(), optimizer, regime, brownian, 0.5, start, None, None)
    found = predicted(spec, order, 0.25)
    drawn = sme.weak_error(make(), optimizer, regime=regime, order=order, brownian=brownian, tau=0.25, horizon=0.5, start=start,
                           method="quadrature").errors
    assert not found.doubt
    assert list(drawn["observable"]) == list(spec.observables)
    wide = found.half + drawn["stderr"].to_numpy() + drawn["integrator_bias"].abs().to_numpy()
    assert (np.abs(found.error - drawn["error"].to_numpy()) <= wide + 1e-12).all()
    assert (found.half <= 0.05 * np.abs(found.error) + 1e-6).all()


COEFFICIENTS, RISE, BEGUN, STEPS = (0.0, 0.0, 0.5, 0.2, 0.1, -0.05, 0.04), 0.6, 0.5, 3
"""of a loss without a derivative that is 0, and of `S = s (1 + RISE sin θ)`"""


def rough(size):
    """That problem."""
    def loss(theta):
        return sum(c * theta[0] ** k for k, c in enumerate(COEFFICIENTS))

    return sme.Problem(loss, 1, sme.GaussianNoise(lambda theta: size * (1 + RISE * torch.sin(theta)).reshape(1, 1)))


def of_run(size, tau):
    """`E θ²` of the discrete run, by a product of quadratures over all its noise."""
    slope = np.polynomial.Polynomial(COEFFICIENTS).deriv()
    z, w = np.polynomial.hermite_e.hermegauss(20)
    theta, weight = np.array([BEGUN]), np.ones(1)
    for _ in range(STEPS):
        theta = (theta[:, None] - tau * (slope(theta)[:, None] + size * (1 + RISE * np.sin(theta))[:, None] * z)).ravel()
        weight = (weight[:, None] * w / w.sum()).ravel()
    return weight @ theta**2


def of_diffusion(size, tau):
    """The same of `dθ = −f' dt + √τ S dW`, by the exponential of its generator on polynomials."""
    count, reach = 26, 1.0
    nodes = np.cos(np.pi * np.arange(count) / (count - 1))
    c = np.r_[2, np.ones(count - 2), 2] * (-1.0) ** np.arange(count)
    d = np.outer(c, 1 / c) / (nodes[:, None] - nodes + np.eye(count))
    d = (d - np.diag(d.sum(1))) / reach
    x = reach * nodes
    slope, noise = np.polynomial.Polynomial(COEFFICIENTS).deriv()(x), size * (1 + RISE * np.sin(x))
    flow = expm(STEPS * tau * (np.diag(-slope) @ d + 0.5 * tau * np.diag(noise**2) @ d @ d))
    at = np.polynomial.chebyshev.chebvander(BEGUN / reach, count - 1) @ np.linalg.inv(
        np.polynomial.chebyshev.chebvander(nodes, count - 1))
    return (at @ flow @ x**2).item()


@pytest.mark.parametrize(("exact", "closed"), [(of_run, closure.of_chain), (of_diffusion, closure.of_equation)])
def test_what_is_left_out_is_of_third_order_in_the_variance_of_the_noise(exact, closed):
    """On halving the noise it falls 64-fold; a term of the second order that is wrong falls 16-fold."""
    tau, left = 0.2, []
    for size in (0.4, 0.2):
        spec = Specification.of(rough(size), sme.SGD(), "ballistic", "independent", STEPS * tau, begin(theta=[BEGUN]),
                                ["|theta|^2"], None)
        left.append(closed(spec.setup(1, STEPS)).parts.sum() - exact(size, tau))
    assert left[0] / left[1] == pytest.approx(64, rel=0.2)


def test_linear_gaussian_runs_have_no_second_order():
    """Without curvature of the gradient the first order is all, and step memory has nothing to add."""
    spec = Specification.of(sme.Quadratic(noise=0.5), sme.Momentum(), "ballistic", None, 1.0, begin(theta=[1.0, 0.5]), None, None)
    setup = spec.setup(2, 8)
    chain = closure.of_chain(setup)
    assert np.abs(chain.parts[2]).max() < 1e-8 * np.abs(chain.parts[1]).max()
    moments, cov = setup.whole(1)[0].numpy(), np.zeros((4, 4))
    step = torch.func.jacrev(lambda x: torch.cat(list(setup.chain.mean_step(setup.fields(x), 0.0).values())))(setup.whole(1)[0])
    factor = 0.5 * torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64).numpy()
    kick = np.concatenate([-setup.tau * spec.optimizer.c * factor, spec.optimizer.c * factor]) * setup.tau
    for _ in range(8):
        moments, cov = step.numpy() @ moments, step.numpy() @ cov @ step.numpy().T + kick @ kick.T
    assert chain.parts.sum(0)[0] == pytest.approx(moments[:2] @ moments[:2] + np.trace(cov[:2, :2]), rel=1e-9)


def test_step_memory_has_the_third_cumulants_of_the_step():
    """Its law over one step is the discrete run's up to that order: `κ₃` of both, per step."""
    spec = Specification.of(sme.Quadratic(noise=0.4), sme.RMSProp(), "ballistic", "step_memory", 1.0,
                            begin(theta=[1.0, 0.5], v=[1.0, 1.2]), None, None)
    setup = spec.setup(2, 2**10)
    x = setup.whole(1)
    equation, chain = EquationRates(setup.equation()), ChainRates(setup.chain, x, 0.0)
    one, other = equation.third(x, 0.0), setup.tau**2 * chain.third(x, 0.0)
    assert torch.allclose(one, other, rtol=1e-8, atol=1e-12 * float(other.abs().max()))
    assert float(other.abs().max()) > 0


@pytest.mark.parametrize(("size", "sampling"), [(1, "with_replacement"), (2, "with_replacement"), (2, "without_replacement"),
                                                (3, "without_replacement")])
def test_joint_moments_of_a_batch_are_those_of_all_batches(size, sampling):
    problem = sampled([[-0.5, 0.3], [0.1, 0.9], [0.8, -0.2], [0.2, 0.4], [-0.9, 0.1]], size, sampling)
    theta = torch.tensor([[0.4, -0.3], [1.1, 0.6]], dtype=torch.float64)
    z, weights = next(iter(problem.noise.quadrature()))
    for point, *found in zip(theta, *noise.joint(problem.noise, theta), strict=True):
        n = problem.noise.sample(point.expand(len(z), -1), z)
        square = n * n - weights @ (n * n)
        for a, b, there in ((n, n, found[0]), (n, square, found[1]), (square, square, found[2])):
            assert torch.allclose((weights[:, None] * a).mT @ b, there, atol=1e-12)


def test_a_condensed_noise_has_the_equation_s_covariance():
    problem = sampled(np.linspace(-1, 1, 14).reshape(7, 2).tolist(), 2)
    spec = Specification.of(problem, sme.RMSProp(), "ballistic", None, 1.0, begin(theta=[0.4, -0.3]), None, None)
    setup = spec.setup(2, 4)
    x = torch.tensor([[0.4, -0.3, 0.5, 0.7], [0.1, 0.6, 0.9, 0.4]], dtype=torch.float64)
    short = EquationRates(type(setup.equation())(condensed(problem), spec.optimizer, setup.tau, 2, "independent"))
    assert short.equation.motions < setup.equation().motions
    assert torch.allclose(short.covariance(x, 0.0), EquationRates(setup.equation()).covariance(x, 0.0), atol=1e-11)


def test_derivatives_are_those_of_the_function():
    def function(states, part):
        a, b, c = states.unbind(-1)
        return torch.stack((a.exp() * b.sin() * c, (1 + a * a) / c), -1)

    x, scale = np.array([[0.3, 0.7, 1.1], [-0.4, 0.2, 0.8]]), np.array([[0.5, 0.5, 0.5], [0.4, 0.5, 0.3]])
    found, roots = Tensors(function, x, scale, 3), np.random.default_rng(0).standard_normal((2, 3, 2))
    for p, point in enumerate(torch.from_numpy(x)):
        deep = [lambda at: function(at, None)]
        for _ in range(4):
            deep.append(torch.func.jacfwd(deep[-1]))
        first, second, third, fourth = (each(point).numpy() for each in deep[1:])
        cov = roots[p] @ roots[p].T
        assert np.allclose(found.first[p], first, rtol=1e-8)
        assert np.allclose(found.second[p], second, rtol=1e-7, atol=1e-9)
        assert np.allclose(found.third[p], third, rtol=1e-5, atol=1e-6)
        assert np.allclose(laplacian(function, x, scale, roots)[p], np.einsum("oij,ij->o", second, cov), rtol=1e-6)
        assert np.allclose(twice_laplacian(function, x, scale, roots)[p],
                           np.einsum("oijkl,ij,kl->o", fourth, cov, cov), rtol=1e-4)


def test_the_gate_shuts_where_the_second_moment_spreads():
    spec = Specification.of(sme.Polynomial(noise=1.5), sme.RMSProp(c=1.0), "ballistic", None, 1.0, begin(theta=[0.8], v=[0.6]),
                            None, None)
    assert "spreads" in predicted(spec, 1, 0.25).doubt
    calm = Specification.of(sme.Polynomial(noise=0.1), sme.RMSProp(c=1.0), "ballistic", None, 1.0, begin(theta=[0.8], v=[0.6]),
                            None, None)
    assert not predicted(calm, 1, 0.25).doubt


@pytest.mark.parametrize(("optimizer", "words"), [(sme.SignSGD(), "by signs"), (sme.Adam(c1=0.3), "27 numbers")])
def test_what_has_no_closure_says_why(optimizer, words):
    dim = 9 if isinstance(optimizer, sme.Adam) else 2
    spec = Specification.of(sme.Quadratic(dim=dim, noise=0.5), optimizer, "ballistic", None, 1.0,
                            begin(theta=[0.5] * dim), None, None)
    with pytest.raises(SMEError, match=words):
        closure.of_chain(spec.setup(1, 4))


def test_few_coupled_paths_find_what_the_closure_finds():
    """Of a small model both are to be had; noise that the pairs see is a part of the difference of the size of their interval."""
    every = candidates(sme.Quadratic(dim=3, noise=0.5), sme.RMSProp(c=0.4), "ballistic", 1.0,
                       begin(theta=[1.0, 0.5, -0.4]), ["loss", "mean v"], 0.125, ["sme", "ode"])
    found = coupled.errors([each.setup for each in every], seed=3, pairs=64)
    chain = closure.of_chain(every[0].setup)
    known = [closure.error(chain, closure.of_equation(each.setup)) for each in every]
    for few, exact in zip(found, known, strict=True):
        assert (np.abs(few.error - exact.error) <= few.half + 0.05 * np.abs(exact.error) + 2e-5).all()
    assert any((few.half > 0).all() for few in found)


