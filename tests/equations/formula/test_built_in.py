"""The same of the rules of the package, closed forms too; and a formula that is a little wrong is seen."""

import dataclasses
import importlib

import pytest

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from tests.support import formulas, models

REGIMES = ("ballistic", "batch_equivalent")
BUILT_IN = [
    (sme.RMSProp(c=0.7, denominator="updated"), "step_memory"), (sme.AdaBayes(prior=0.4), "independent"),
    (sme.AdamW(c1=0.9, decay=0.3, denominator="updated"), "independent"), (sme.AdaGrad(), "step_memory"),
    (sme.AdaBayesFilter(c1=0.9, decay=0.2), "step_memory"), (sme.SGD(), "step_memory"), (sme.Nesterov(c=0.8), "independent"),
]


@pytest.mark.parametrize("place", REGIMES)
@pytest.mark.parametrize(("optimizer", "brownian"), BUILT_IN, ids=[each.name for each, _ in BUILT_IN])
def test_built_in_rules_have_the_numbers_of_their_equation(optimizer, place, brownian):
    problem = models.line()
    formulas.compare_line(optimizer, place, brownian, problem,
                          lambda tau: equation(problem, optimizer, regime(place), tau, 2, brownian))


BROKEN = [("letters", "Letters", "slope", lambda right: lambda self, expression, way: right(self, expression, way) * 1.0000001),
          ("calculus", "Line", "spread", lambda right: lambda *given: right(*given) * 2),
          ("calculus", "Calculus", "flow", lambda right: lambda *given: -right(*given))]


@pytest.mark.parametrize(("module", "kind", "method", "wrong"), BROKEN, ids=[each[2] for each in BROKEN])
def test_a_broken_term_is_seen(module, kind, method, wrong, monkeypatch):
    broken = getattr(importlib.import_module(f"sme.equations.formula.{module}"), kind)
    monkeypatch.setattr(broken, method, wrong(getattr(broken, method)))
    with pytest.raises(AssertionError, match="b1"):
        formulas.compare_line(dataclasses.replace(sme.RMSProp(), c=0.71), "batch_equivalent", "step_memory", models.line())
