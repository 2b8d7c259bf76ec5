"""The same of the rules of the package, closed forms too; and a formula that is a little wrong is seen."""

import dataclasses
import importlib

import pytest
import sympy
import torch

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from tests.support import formulas, models
from tests.support.few import few

REGIMES = ("ballistic", "batch_equivalent")
BUILT_IN = [
    (sme.RMSProp(c=0.7, denominator="updated"), "step_memory"), (sme.AdaBayes(prior=0.4), "independent"),
    (sme.AdamW(c1=0.9, decay=0.3, denominator="updated"), "independent"), (sme.AdaGrad(), "step_memory"),
    (sme.AdaBayesFilter(c1=0.9, decay=0.2), "step_memory"), (sme.SGD(), "step_memory"), (sme.Nesterov(c=0.8), "independent"),
    (sme.Adam(c1=0.9, bias_correction=True, t0=1.5, clock=(1, 0)), "independent"),
]


PLACED = [(*each, place) for each in BUILT_IN for place in REGIMES]


@pytest.mark.parametrize(("optimizer", "brownian", "place"), few(PLACED, 1, 4, 7, 14),
                         ids=[f"{each.name}-{place}" for each, _, place in PLACED])
def test_built_in_rules_have_the_numbers_of_their_equation(optimizer, place, brownian):
    problem = models.line()
    formulas.compare_line(optimizer, place, brownian, problem,
                          lambda tau: equation(problem, optimizer, regime(place), tau, 2, brownian))


@pytest.mark.parametrize("order", [1, 2])
def test_signs_have_the_numbers_of_their_equation(order):
    problem, optimizer = models.line(), sme.SignSGD()
    formulas.compare_line(optimizer, "ballistic", "independent", problem,
                          lambda tau: equation(problem, optimizer, regime("ballistic"), tau, 2, "independent"))
    eq = equation(problem, optimizer, regime("ballistic"), 0.1, order)
    assert set(eq.formula().terms) == {"b, theta", "G0, theta", "F, theta"} | ({"b1, theta"} if order == 2 else set())
    with pytest.raises(sme.SMEError, match="steps by signs"):
        sme.formula(optimizer, "batch_equivalent")
    with pytest.raises(sme.SMEError, match="Signum for any"):
        sme.formula(sme.Signum(), brownian="step_memory")


def test_signum_has_the_numbers_of_its_equation_away_from_0_and_the_shift_at_0():
    problem, optimizer, tau, t = models.line(), sme.Signum(c=0.6), 0.05, 0.3
    at = {"theta": torch.tensor([0.4], dtype=torch.float64), "m": torch.tensor([-0.7], dtype=torch.float64)}
    eq = equation(problem, optimizer, regime("ballistic"), tau, 2)
    drift, formula = eq.drift(t, torch.cat(list(at.values()))[None])[0], eq.formula()
    for place, field in enumerate(("theta", "m")):
        leading = formulas.line(formula, f"b, {field}", optimizer, problem, at, t, tau)
        rest = 0.0 if field == "theta" else formulas.line(formula, "b1, m", optimizer, problem, at, t, tau)
        assert float(drift[place]) == pytest.approx(float(leading + tau * rest), rel=1e-13)
    m, b_m, h = *sympy.symbols("m b_m", real=True), sympy.Symbol("h", real=True)
    assert formula["b1, theta"] == sympy.diff(-sympy.sign(m + h * b_m / 2), h).subs(h, 0)


@pytest.mark.parametrize("optimizer", [sme.RMSProp(c=0.7), sme.Adam(c1=0.9, c2=0.4)], ids=["rmsprop", "adam"])
def test_the_diffusion_correction_is_that_of_the_equation(optimizer):
    """`D(τ) − D₀ = τ D₁ + O(τ²)` of the closed form, its columns from unit increments."""
    problem = sme.Polynomial(coefficients=[0.0, 0.3, 0.5, 0.2], noise=0.4)
    at, t, place = formulas.state(optimizer, 1, 3), 1.3, regime("batch_equivalent")
    x, fields = torch.cat(list(at.values()))[None], list(optimizer.fields)
    found = sme.formula(optimizer, place)

    def diffusion(tau, order):
        eq = equation(problem, optimizer, place, tau, order)
        columns = torch.eye(eq.motions, dtype=torch.float64)
        made = eq.diffuse(t, x.expand(eq.motions, -1), columns)
        return made.T @ made

    tau = 1e-5
    correction = (diffusion(tau, 2) - diffusion(tau, 1)) / tau
    for i, one in enumerate(fields):
        for j, other in enumerate(fields[i:], i):
            key = f"D1, {one}, {other}"
            value = 0.0
            if key in found.diffusion:
                whole = dataclasses.replace(found, parts=found.parts._replace(terms={key: found.diffusion[key]}))
                value = float(formulas.line(whole, key, optimizer, problem, at, t, tau))
            assert float(correction[i, j]) == pytest.approx(value, abs=1e-4)
    assert {f"D1, {fields[-1]}, {fields[-1]}"} < set(found.diffusion)


@pytest.mark.slow
def test_a_derived_bias_correction_agrees_to_second_order():
    """Which the derived equation expands in τ, and a formula does not: what is left of the drift falls like τ²."""
    problem, optimizer = models.line(), sme.AdamW(c1=0.9, decay=0.3, bias_correction=True, t0=1.5)
    at, formula = formulas.state(optimizer, 1, 0), sme.formula(optimizer)
    left = []
    for tau in (0.04, 0.02, 0.01):
        drift = sme.derive(problem, optimizer)(tau).drift(1.9, torch.cat(list(at.values()))[None])[0, 0]
        leading, correction = (formulas.line(formula, f"{term}, theta", optimizer, problem, at, 1.9, tau) for term in ("b", "b1"))
        left.append(abs(float(drift) - leading - tau * correction))
    assert left[0] > 1e-6
    assert left[0] / left[1] == pytest.approx(4, rel=0.15)
    assert left[1] / left[2] == pytest.approx(4, rel=0.08)


BROKEN = [("letters", "Letters", "slope", lambda right: lambda self, expression, way: right(self, expression, way) * 1.0000001),
          ("calculus", "Line", "spread", lambda right: lambda *given: right(*given) * 2),
          ("calculus", "Calculus", "flow", lambda right: lambda *given: -right(*given))]


@pytest.mark.parametrize(("module", "kind", "method", "wrong"), BROKEN, ids=[each[2] for each in BROKEN])
def test_a_broken_term_is_seen(module, kind, method, wrong, monkeypatch):
    broken = getattr(importlib.import_module(f"sme.equations.formula.{module}"), kind)
    monkeypatch.setattr(broken, method, wrong(getattr(broken, method)))
    with pytest.raises(AssertionError, match="b1"):
        formulas.compare_line(dataclasses.replace(sme.RMSProp(), c=0.71), "batch_equivalent", "step_memory", models.line())
