"""Reading an equation: sizes against numbers worked out by hand, formulas against sizes, closed forms against derived ones."""

import math

import pandas as pd
import pytest
import torch
from torch.func import grad

import sme
from sme.common.identity import hashing
from sme.equations import registry
from sme.equations.closed import known
from sme.equations.closed.rmsprop import BallisticRMSProp
from sme.equations.formula.description import MOST
from sme.optimizers.regimes import regime
from tests.support import models

TAU, REGIMES = 0.05, ("ballistic", "batch_equivalent")
RATES = {"c1": 0.9, "c2": 0.6}
OPTIMIZERS = [sme.SGD(), *(sme.RMSProp(c=0.7, denominator=each) for each in ("previous", "updated")),
              *(sme.Adam(**RATES, denominator=each) for each in ("previous", "updated")),
              sme.Adam(**RATES, denominator="updated", bias_correction=True, t0=1.5),
              sme.AdamW(**RATES, denominator="updated", bias_correction=True, t0=1.5, decay=0.3)]
SIGNS = [sme.SignSGD(), sme.Signum(c=0.8)]


def loss(theta):
    return torch.cos(theta[0]) + 0.3 * theta[0] ** 4


def example_loss(theta, x):
    return torch.sin(x * theta[0]) + 0.1 * x * theta[0] ** 3


DATA = torch.tensor([0.5, -1.1, 1.7], dtype=torch.float64)
PROBLEMS = {
    "constant": sme.Problem(loss, 1, sme.GaussianNoise(torch.tensor([[0.4]], dtype=torch.float64))),
    "varying": sme.Problem(loss, 1, sme.GaussianNoise(lambda theta: 0.4 + 0.2 * torch.sin(theta)[:, None])),
    "minibatch": sme.Problem(lambda theta: sum(example_loss(theta, x) for x in DATA) / 3, 1,
                             sme.MinibatchNoise(example_loss, (DATA,), 2)),
}
STATE = {"theta": torch.tensor([0.7], dtype=torch.float64), "m": torch.tensor([0.004], dtype=torch.float64),
         "v": torch.tensor([0.6], dtype=torch.float64)}
CASES = [(optimizer, noise, scaling, brownian) for optimizer in OPTIMIZERS + SIGNS for noise in PROBLEMS
         for scaling in REGIMES for brownian in ("independent", "step_memory")
         if brownian == "independent" or noise == "constant"]


def state(optimizer, of):
    return {name: of[name] for name in optimizer.fields}


def closed(optimizer, problem, scaling, brownian="independent", order=2, tau=TAU):
    """The closed form; None where there is none."""
    if scaling == "batch_equivalent" and not problem.noise.constant and not isinstance(optimizer, sme.Adam):
        return None
    try:
        return registry.equation(problem, optimizer, regime(scaling), tau, order, brownian)
    except sme.SMEError:
        return None


def sizes(described):
    return {(row.term, row.field): row.size for row in described.terms.itertuples()}


@pytest.mark.parametrize("scaling", REGIMES)
@pytest.mark.parametrize("denominator", ["previous", "updated"])
def test_sizes_of_rmsprop_are_those_worked_out_by_hand(scaling, denominator):
    a, s, c, eps, theta, v, tau = 2.0, 0.5, 0.7, 0.1, 1.5, 0.64, 0.05
    quadratic = sme.Problem(lambda x: 0.5 * a * x[0] ** 2, 1, sme.GaussianNoise(torch.tensor([[s]], dtype=torch.float64)))
    eq = closed(sme.RMSProp(c=c, eps=eps, denominator=denominator), quadratic, scaling, tau=tau)
    g, p = 3.0, 1 / 0.9
    slope, updated = -0.5 * p * p / 0.8, denominator == "updated"
    second = math.sqrt(2 * tau) * c * s * s
    if scaling == "ballistic":
        b_v = c * (g * g + s * s - v)
        wanted = {
            ("leading drift", "theta"): p * g, ("leading drift", "v"): b_v,
            ("drift correction", "theta"): tau * (0.5 * (slope * g * b_v - p * a * p * g)
                                                  - updated * c * slope * (g**3 + 3 * g * s * s - v * g)),
            ("drift correction", "v"): 0.5 * tau * c * (2 * g * a * p * g + b_v),
            ("noise of the first motion", "theta"): math.sqrt(tau) * p * s,
            ("noise of the first motion", "v"): math.sqrt(tau) * c * 2 * g * s,
        }
    else:
        b_v, added = c * (s * s - v), updated * c * slope * (3 * s * s - v)
        wanted = {
            ("leading drift", "theta"): p * g, ("leading drift", "v"): b_v,
            ("drift correction", "theta"): tau * (0.5 * (slope * g * b_v - p * a * p * g) - added * g),
            ("drift correction", "v"): tau * c * (g * g + 0.5 * b_v),
            ("noise of the first motion", "theta"): p * s,
            ("noise correction", "theta"): tau * s * (0.5 * p * a * p - 0.5 * slope * b_v + added),
            ("noise correction", "v"): tau * 2 * c * g * s,
        }
    described = eq.describe({"theta": torch.tensor([theta]), "v": torch.tensor([v], dtype=torch.float64)})
    wanted["noise of the second motion", "v"] = second
    assert sizes(described) == pytest.approx({key: abs(value) for key, value in wanted.items()}, rel=1e-12)
    remembering = sizes(closed(eq.optimizer, quadratic, scaling, "step_memory", tau=tau).describe({"theta": torch.ones(1)}))
    assert remembering["step memory", "v"] == pytest.approx(second, rel=1e-12)
    assert ("noise of the second motion", "v") not in remembering


SYMBOLS = [
    (r"\partial_t(\Gamma\,P)", "turn"), (r"\nabla^2 g", "third"), (r"D_{\theta\theta}", "D"), (r"b_\theta", "b_theta"),
    (r"\partial\sigma", "sigma_slope"), (r"\partial S", "S_slope"), (r"P'", "P_slope"), (r"\operatorname{erf}(u)", "erf_u"),
    (r"\operatorname{Cov}\rho", "cov_rho"), (r"\operatorname{sign}", "sign"), (r"\nabla b", "b_slope"), (r"\varphi", "density"),
    (r"\lambda", "decay"),
    (r"^{1/2}", "**0.5"), (r"^\top", ""), (r"\,dW^1", ""), (r"\,dW^2", ""), (r"\,dW", ""), (r"\sqrt\tau", "tau**0.5"),
    (r"\sqrt\sigma", "sigma**0.5"), (r"\sqrt2", "2**0.5"), (r"\tfrac12", "0.5"), (r"\circ", "*"), (r"\,", "*"), (":", "*"),
    ("^", "**"), ("\\", ""),
]


def evaluate(formula, names):
    for symbol, name in SYMBOLS:
        formula = formula.replace(symbol, name)
    value = torch.as_tensor(eval(formula, {"__builtins__": {}}, names), dtype=torch.float64)
    return float(value) if value.dim() == 0 else value


def symbols(eq, x, t):
    """What the formulas name, in one dimension; `S` and `K` are rows, a motion each."""
    optimizer, law = eq.optimizer, eq.law
    fields = dict(zip(optimizer.fields, x[0].tolist(), strict=True))
    theta, one = x[:, :1], torch.ones(1, 1, dtype=torch.float64)
    unit, wide = torch.eye(eq.first, dtype=torch.float64), theta.repeat(eq.first, 1)
    noise, skew = law.diffuse_square(wide, unit)
    sigma, g = law.variance(theta).item(), eq.problem.gradient(theta).item()
    leading = type(eq)(eq.problem, optimizer, eq.tau, 1, eq.brownian)
    start = leading.drift(t, x)[0].tolist()
    if isinstance(optimizer, sme.Signum):  # b_θ with its shift under the sign
        start[0] = eq.drift(t, x)[0, 0].item()
    names = {"tau": eq.tau, "g": g, "H": eq.problem.hessian(theta, one).item(), "third": eq.problem.third(theta, one, one).item(),
             "sigma": sigma, "Sigma": sigma, "kappa": law.third(theta).item(), "S": noise[:, 0], "K": skew[:, 0],
             "sigma_slope": law.variance_slope(theta, one).item(), "S_slope": law.diffuse_slope(wide, wide**0, unit)[:, 0],
             "y": math.sqrt(eq.tau / 2), "sign": lambda z: math.copysign(1, z), **fields, **optimizer.rates()}
    names |= {"b_" + name: value for name, value in zip(optimizer.fields, start, strict=True)}
    names |= {"c_" + name[1]: value for name, value in optimizer.rates().items() if len(name) == 2}
    if "v" in fields:
        p = eq._at if isinstance(optimizer, sme.Adam) else lambda t, v: (None, eq._preconditioner(v))
        names["P"], names["P_slope"] = (part.item() for part in p(t, x[:, -1:])[1])
        names["D"] = names["P"] ** 2 * sigma
    if isinstance(optimizer, sme.Adam):
        gain = [eq._at(t + e, x[:, -1:]) for e in (-1e-4, 0, 1e-4)]
        names["Gamma"], change = gain[1][0].gain, [factor.gain * p.value.item() for factor, p in gain]
        names["turn"] = float(change[2] - change[0]) / 2e-4
    if isinstance(optimizer, sme.AdamW):
        names["decay"] = optimizer.decay
    if isinstance(optimizer, sme.SignSGD):
        u = g / math.sqrt(2 * sigma)
        names |= {"u": u, "erf_u": math.erf(u), "cov_rho": 1 - math.erf(u) ** 2, "b": -math.erf(u),
                  "density": lambda z: math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)}
        names["L"] = float(2 * names["density"](math.sqrt(2) * u) / math.sqrt(sigma) * noise[0, 0])
        names["b_slope"] = grad(lambda z: leading.drift(t, z[:, None])[0, 0])(theta[0]).item()
    return names


def test_formulas_evaluate_to_the_sizes():
    reached = {}
    for optimizer, noise, scaling, brownian in CASES:
        eq = closed(optimizer, PROBLEMS[noise], scaling, brownian)
        if eq is None:
            continue
        described = eq.describe(state(optimizer, STATE))
        x = torch.cat([STATE[name] for name in optimizer.fields])[None]
        names = symbols(eq, x, optimizer.t0)
        reached.setdefault(type(eq), set()).update(described.latex)
        for (term, field), size in sizes(described).items():
            key = f"{term}, {field}"
            value = sum(evaluate(formula, names) for name, formula in described.latex.items() if name.startswith(key))
            if "second" in term and noise == "minibatch":
                value *= math.sqrt(1 - 1 / 2)
            assert key in described.latex
            assert float(torch.as_tensor(value).norm()) == pytest.approx(size, rel=1e-6), (optimizer, noise, scaling, key)
    kinds = set(known._CLOSED.values())
    assert set(reached) == kinds
    assert all(reached[kind] == set(kind.latex) for kind in kinds)


def test_braces_of_formulas_balance():
    for kind in known._CLOSED.values():
        for formula in kind.latex.values():
            for opening, closing in ("{}", "()"):
                depth = [formula[:i].count(opening) - formula[:i].count(closing) for i in range(len(formula) + 1)]
                assert min(depth) == 0 == depth[-1], formula


@pytest.mark.parametrize("noise", ["gaussian", "minibatch"])
@pytest.mark.parametrize("scaling", REGIMES)
def test_derived_equations_give_the_same_sizes(scaling, noise):
    problem, compared = models.gaussian(False) if noise == "gaussian" else models.minibatch(2), 0
    for optimizer in OPTIMIZERS[2:4]:
        for brownian in ("independent", "step_memory"):
            eq = closed(optimizer, problem, scaling, brownian)
            if eq is not None:
                derived = sme.derive(problem, optimizer, scaling, 2, brownian)(TAU).describe(state(optimizer, models.STATES))
                pd.testing.assert_frame_equal(derived.terms, eq.describe(state(optimizer, models.STATES)).terms, rtol=1e-9)
                rows = {f"{term}, {field}" for term, field in zip(derived.terms["term"], derived.terms["field"], strict=True)}
                assert set(derived.latex) == rows | {"where"}
                compared += 1
    wanted = {("ballistic", "gaussian"): 4, ("ballistic", "minibatch"): 2, ("batch_equivalent", "gaussian"): 4}
    assert compared == wanted.get((scaling, noise), 0)


def drop_correction(eq):
    return lambda t, x: type(eq)(eq.problem, eq.optimizer, eq.tau, 1, eq.brownian).drift(t, x)


DROPPED = {"drift": drop_correction, "memory": lambda eq: lambda t, x, y, dW: torch.zeros_like(x)}


@pytest.mark.parametrize(("method", "term"), [("drift", "drift correction"), ("memory", "step memory")])
def test_a_dropped_term_is_missed(method, term, monkeypatch):
    eq = closed(OPTIMIZERS[1], models.gaussian(False), "ballistic", "step_memory")
    at = state(eq.optimizer, models.STATES)
    assert term in set(eq.describe(at).terms["term"])
    monkeypatch.setattr(eq, method, DROPPED[method](eq))
    assert term not in set(eq.describe(at).terms["term"])


def test_a_term_that_is_zero_here_is_still_listed():
    found = sizes(closed(sme.Adam(), sme.Quadratic(), "ballistic").describe({"theta": torch.tensor([1.0, 2.0])}))
    assert found["leading drift", "theta"] == 0
    assert ("noise of the first motion", "theta") not in found


def test_one_and_no_motion():
    first = closed(OPTIMIZERS[1], PROBLEMS["constant"], "ballistic", "none", order=1).describe(state(OPTIMIZERS[1], STATE))
    assert set(first.terms["term"]) == {"leading drift"}
    second = closed(OPTIMIZERS[1], PROBLEMS["constant"], "batch_equivalent", order=1).describe(state(OPTIMIZERS[1], STATE))
    assert set(second.terms["term"]) == {"leading drift", "noise of the first motion"}
    assert not second.obstruction


def test_what_is_printed():
    eq = closed(OPTIMIZERS[2], PROBLEMS["constant"], "batch_equivalent")
    text = str(eq.describe(state(eq.optimizer, STATE), t=0.25))
    title, _, header, *_ = text.splitlines()
    assert title == "rmsprop, batch-equivalent regime, order 2, brownian = independent, τ = 0.05, t = 0.25"
    assert header.split() == ["term", "symbol", "field", "size", "scaled"]
    assert "obstructed: T₃" in text
    assert "obstructed" not in str(closed(eq.optimizer, eq.problem, "ballistic").describe(state(eq.optimizer, STATE)))


def test_a_noise_of_too_many_motions_is_not_computed():
    d = MOST + 1
    flat = sme.Problem(lambda theta: theta[0] ** 2, 1, sme.GaussianNoise(torch.full((1, d), 0.01, dtype=torch.float64)))
    described = closed(sme.SGD(), flat, "ballistic").describe(state(sme.SGD(), STATE))
    assert math.isnan(sizes(described)["noise of the first motion", "theta"])
    assert "not computed" in str(described)


@pytest.mark.parametrize(("given", "word"), [
    ({"x": torch.ones(2)}, "unknown field"), ({}, "lacks the field 'theta'"), ({"theta": torch.ones(3)}, "has shape"),
    ({"theta": torch.ones(2), "v": -torch.ones(2)}, "negative"),
])
def test_bad_states_are_refused(given, word):
    with pytest.raises(sme.SMEError, match=word):
        BallisticRMSProp(sme.Quadratic(), sme.RMSProp(), TAU, 2, "independent").describe(given)


def test_an_observable_may_use_an_equation():
    one, two = (sme.derive(sme.Quadratic(), sme.SGD())(tau) for tau in (0.1, 0.2))
    prints = [hashing.fingerprint(lambda state, eq=eq: eq.drift(0.0, state["theta"])[:, 0]) for eq in (one, one, two)]
    assert prints[0] == prints[1] != prints[2]
