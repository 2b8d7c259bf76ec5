"""LaTeX and text: balanced, in the order of a reader, and by the rows of a description."""

import pytest
import sympy

import sme
from sme.equations.formula.printing import Latex, Text, label
from tests.support import models, paper_rules

P, M, C, EPS = sympy.symbols("P m c1 eps", positive=True)
D, NOISE = sympy.Symbol("d_theta_i", real=True), sympy.Symbol("S_dW", real=True)


@pytest.mark.parametrize(("expression", "many", "wanted"), [
    (-C * P * M / 2, True, r"- \frac{c_{1}}{2}\,P\circ m"), (-C * P * M / 2, False, r"- \frac{c_{1}}{2}\,P\,m"),
    (P * NOISE * M, True, r"P\circ m\circ S\,dW"), (P**2 / (2 * sympy.sqrt(M)), True, r"\frac{P^{2}}{2\,\sqrt{m}}"),
    (M / C, False, r"\frac{m}{c_{1}}"), (EPS * C, True, r"c_{1} \varepsilon"),
    (sympy.Symbol("P_i") * D * C, True, r"c_{1}\,P_{i}\,\partial_{\theta_{i}}"),
    (M * sympy.Function("H")(P * NOISE), True, r"m\circ H\,(P\circ S\,dW)"),
    (sympy.Function("third")(sympy.S.One), True, r"{\textstyle\sum_j}\nabla^3f[S_j, S_j]"),
    (P * (M + C), True, r"P\circ \left(c_{1} + m\right)"), (sympy.Symbol("width") * M, False, r"\mathrm{width}\,m"),
    (-P, True, "- P"), (sympy.Rational(1, 2) * C, True, r"\frac{c_{1}}{2}"),
])
def test_products_are_written_as_they_are_read(expression, many, wanted):
    vectors = [P, M, NOISE]
    assert Latex(vectors, many).doprint(expression) == wanted


def test_labels_and_text():
    assert label("b1, theta", True) == r"b_{1,\theta}"
    assert label("G0, m", True) == r"G_{0,m}\,dW"
    assert label("T3", False) == "T_{3}"
    assert Text().doprint(EPS * sympy.Symbol("b_theta") * sympy.Symbol("P'")) == "P'*b_θ*ε"


RULES = [*paper_rules.of("ballistic").values(), sme.RMSProp(), sme.Adam(bias_correction=True, t0=1.0), sme.AdaBayesFilter()]


@pytest.mark.parametrize("optimizer", [pytest.param(each, id=each.name, marks=[pytest.mark.slow] * (each.name == "nadam"))
                                       for each in RULES])
def test_everything_printed_is_balanced_and_has_all_terms(optimizer):
    formula = sme.formula(optimizer, elementwise=True)
    assert formula._repr_latex_() == f"$${formula.latex}$$"
    assert formula.latex.count("&=") == len(formula.terms) + len(formula.where)
    for opening, closing in ("{}", "()"):
        assert formula.latex.count(opening) == formula.latex.count(closing)
    assert str(formula).count("\n") == 2 + len(formula.terms) + len(formula.where) + len(formula.diffusion)
    used = {symbol for value in (*formula.terms.values(), *formula.where.values()) for symbol in value.free_symbols}
    assert {each.name for each in used} & {"P", "P'", "r", "u", "Gamma", "gamma1"} <= {each.name for each in formula.where}
    assert set(formula.where) <= used
    with pytest.raises(sme.SMEError, match="unknown term of a formula"):
        formula["b2, theta"]


def test_a_description_has_the_formulas_of_a_derived_equation():
    eq = sme.derive(models.gaussian(False), paper_rules.AdaBelief())(0.1)
    found = eq.describe({name: models.STATES[name] for name in eq.optimizer.fields})
    rows = {f"{term}, {field}" for term, field in zip(found.terms["term"], found.terms["field"], strict=True)}
    assert set(found.latex) == rows | {"where"}
    wanted = r"- \frac{1}{2}\,P\circ b_{m} - \frac{1}{2}\,P'\circ m\circ b_{v}"
    assert found.latex["drift correction, theta"] == rf"\tau\,({wanted})"
    assert found.latex["noise of the first motion, m"] == r"\sqrt\tau\,(c_{1}\,S\,dW)"
    assert r"P' = - \frac{P^{2}}{2\,\sqrt{v}}" in found.latex["where"]


@pytest.mark.parametrize(("given", "head"), [
    ({"optimizer": sme.Adam()}, "dx = (b + τ b₁) dt + √τ G₀ dW + √τ F dW²"),
    ({"optimizer": sme.SGD(), "order": 1, "regime": "batch_equivalent"}, "dx = b dt + G₀ dW"),
    ({"optimizer": sme.RMSProp(), "regime": "batch_equivalent", "brownian": "step_memory"},
     "dx = (b + τ b₁) dt + (G₀ + τ G₁) dW + R y dW"),
])
def test_the_text_begins_with_the_equation(given, head):
    assert str(sme.formula(**given)).splitlines()[:3][1:] == ["", head]
