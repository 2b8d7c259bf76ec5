"""Formulas are the derived numbers, and the formulas of the theory."""

import dataclasses
import itertools

import numpy as np
import pytest
import sympy
import torch

import sme
from sme.equations.formula import terms
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from tests.support import formulas, models, paper_rules

REGIMES, BROWNIAN, TAU = ("ballistic", "batch_equivalent"), ("independent", "step_memory"), 0.037
BUILT_IN = {"sgd": sme.SGD(), "momentum": sme.Momentum(c=0.8), "adagrad": sme.AdaGrad(denominator="updated"),
            "rmsprop": sme.RMSProp(c=0.7), "rmsprop-updated": sme.RMSProp(c=0.7, denominator="updated"), "adam": sme.Adam(c1=0.9),
            "adam-updated": sme.Adam(c1=0.9, denominator="updated"), "adamw": sme.AdamW(c1=0.9, decay=0.3),
            "rmsprop-inside": sme.RMSProp(eps_mode="inside"), "adabayes": sme.AdaBayes(prior=0.4),
            "filter": sme.AdaBayesFilter(c1=0.9, decay=0.2)}


def state(optimizer, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: 2 * torch.rand(dim, generator=generator, dtype=torch.float64) - 1 for name in optimizer.fields}
    return {name: value.abs() + 0.3 if name in optimizer.nonnegative else value for name, value in drawn.items()}


def close(found, wanted, what):
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=1e-12, atol=2e-12, err_msg=what)


def compare_line(optimizer, place, brownian, problem, make=None):
    """Every term of one dimension with those of the equation, at random states."""
    formula = sme.formula(optimizer, place, brownian)
    eq = (make or (lambda tau: sme.derive(problem, optimizer, place, 2, brownian)(tau)))(TAU)
    leading, one = type(eq)(problem, optimizer, TAU, 1, brownian), torch.ones(1, 1, dtype=torch.float64)
    root = TAU**0.5 if place == "ballistic" else 1.0
    for seed in range(3):
        at, t = state(optimizer, 1, seed), optimizer.t0 + 0.4 * seed
        x = torch.cat(list(at.values()))[None]
        dW = torch.zeros(1, eq.motions, dtype=torch.float64)
        dW[0, 0] = 1
        first, small = eq.diffuse(t, x, dW)[0], leading.diffuse(t, x, dW[:, : leading.motions])[0]
        wanted = {"b": leading.drift(t, x)[0], "b1": (eq.drift(t, x) - leading.drift(t, x))[0] / TAU, "G0": small / root,
                  "G1": (first - small) / TAU}
        if eq.second:
            wanted["F"] = eq.diffuse(t, x, 1 - dW)[0] / TAU**0.5
        if eq.remembers:
            wanted["R"] = eq.memory(t, x, one, one)[0]
        for (term, values), (i, field) in itertools.product(wanted.items(), enumerate(optimizer.fields)):
            close(formulas.line(formula, f"{term}, {field}", optimizer, problem, at, t, TAU), values[i],
                  f"{term}, {field} = {formula.terms.get(f'{term}, {field}')}")


@pytest.mark.parametrize("brownian", BROWNIAN)
@pytest.mark.parametrize("place", REGIMES)
@pytest.mark.parametrize("name", ["tanh-lion", "nadam", "adabelief"])
def test_rules_of_papers_have_the_derived_numbers(name, place, brownian):
    optimizer = paper_rules.of(place)[name]
    problem = models.line()
    if (name, place, brownian) == ("nadam", "batch_equivalent", "independent"):  # no equation with noise that depends on θ
        problem = sme.Problem(problem.loss, 1, sme.GaussianNoise([[0.6]]))
    compare_line(optimizer, place, brownian, problem)
