"""Formulas are those of the theory, letter by letter: here they are written by hand, in one dimension."""

import pytest
import sympy
from sympy import Rational, Symbol, sqrt, symbols

import sme
from sme.equations.formula.rule import GAIN, GAIN_SLOPE, GAMMA, GAMMA_SLOPE
from tests.support.few import few

HALF = Rational(1, 2)
g, H, T = (Symbol("f" + "'" * order, real=True) for order in (1, 2, 3))
S, S1 = (Symbol("S" + "'" * order, real=True) for order in (0, 1))
theta, m = symbols("theta m", real=True)
v, eps, c, c1, c2, decay = symbols("v eps c c1 c2 decay", positive=True)
P = 1 / (sqrt(v) + eps)
slope = sympy.diff(P, v)
var, dvar = S**2, 2 * S * S1


def rmsprop(regime, updated, memory):
    """Sections 2 and 3 of the theory; batch-equivalent with constant noise."""
    if regime == "ballistic":
        b_theta, b_v = -P * g, c * (g**2 + var - v)
        made = {"b, theta": b_theta, "b, v": b_v, "b1, theta": HALF * (slope * g * b_v + P * H * b_theta),
                "b1, v": -HALF * c * (2 * g * H * b_theta + dvar * b_theta - b_v), "G0, theta": -P * S, "G0, v": 2 * c * g * S}
        made["b1, theta"] += -c * slope * (g**3 + 3 * g * var - v * g) * int(updated)
    else:
        made = {"b, theta": -P * g, "b, v": c * (var - v), "b1, v": c * g**2 + HALF * c**2 * (var - v),
                "b1, theta": -HALF * (P * H * P * g - c * (var - v) * slope * g - HALF * P * P**2 * var * T), "G0, theta": -P * S,
                "G1, theta": -(HALF * P * H * P * S - HALF * c * slope * (var - v) * S), "G1, v": 2 * c * g * S}
        made["b1, theta"] += -c * slope * g * (3 * var - v) * int(updated)
        made["G1, theta"] += -c * slope * (3 * var - v) * S * int(updated)
    return made | ({"R, v": 2 * c * var} if memory else {"F, v": sqrt(2) * c * var})


def adam(regime, updated, memory):
    """The same with `Γ(t)`, `ε√γ₂` and any noise."""
    p = 1 / (sqrt(v) + eps * sqrt(GAMMA))
    dp, turn = sympy.diff(p, v), GAIN_SLOPE * p + GAIN * sympy.diff(p, GAMMA) * GAMMA_SLOPE
    b_theta, b_m = -GAIN * p * m, c1 * (g - m)
    b_v = c2 * (var - v + (g**2 if regime == "ballistic" else 0))
    made = {"b, theta": b_theta, "b, m": b_m, "b, v": b_v, "b1, m": -HALF * c1 * (H * b_theta - b_m),
            "b1, theta": HALF * (-GAIN * p * b_m + GAIN * dp * m * b_v + m * turn) - GAIN * m * dp * b_v * int(updated),
            "b1, v": -HALF * c2 * (dvar * b_theta - b_v), "G0, m": c1 * S}
    if regime == "ballistic":
        made |= {"G0, v": 2 * c2 * g * S}
        made["b1, v"] -= c2 * g * H * b_theta
    else:
        made |= {"G1, theta": -HALF * c1 * GAIN * p * S, "G1, m": HALF * c1 * (c1 * S - S1 * b_theta), "G1, v": 2 * c2 * g * S}
        made["b1, v"] += c2 * g**2
    return made | ({"R, v": 2 * c2 * var} if memory else {"F, v": sqrt(2) * c2 * var})


CASES = [(rule, regime, updated, memory) for rule in ("rmsprop", "adam") for regime in ("ballistic", "batch_equivalent")
         for updated in (False, True) for memory in (False, True)
         if not (rule == "rmsprop" and regime == "batch_equivalent" and memory)]  # that of any noise is compared by numbers


def asked(rule, regime, updated, memory):
    denominator = "updated" if updated else "previous"
    made = (sme.RMSProp(denominator=denominator) if rule == "rmsprop"
            else sme.Adam(denominator=denominator, bias_correction=True, t0=1.0))
    return sme.formula(made, regime, "step_memory" if memory else "independent")


def expanded(formula, key):
    """Down to the letters of this file, but for `Γ` and `γ₂`."""
    made = formula[key]
    for symbol, value in formula.parts.ground.items():
        made = made if symbol in (GAIN, GAMMA, GAIN_SLOPE, GAMMA_SLOPE) else made.subs(symbol, value)
    return made


@pytest.mark.parametrize(("rule", "regime", "updated", "memory"), few(CASES, 0, 3, 5, 7, 8, 10, 13))
def test_formulas_are_those_of_the_theory(rule, regime, updated, memory):
    formula = asked(rule, regime, updated, memory)
    wanted = {"rmsprop": rmsprop, "adam": adam}[rule](regime, updated, memory)
    assert set(wanted) == set(formula.terms) - {"T3"}
    for key, value in wanted.items():
        assert sympy.simplify(expanded(formula, key) - value) == 0, key


@pytest.mark.parametrize(("rule", "wanted"), [("rmsprop", c * P**2 * S**4 * Symbol("d_theta", real=True) ** 2),
                                              ("adam", c1**2 * c2 * S**4 * Symbol("d_m", real=True) ** 2)])
def test_the_obstruction_is_that_of_the_theory(rule, wanted):
    formula = asked(rule, "batch_equivalent", False, False)
    assert sympy.simplify(formula.expanded("T3") - wanted * Symbol("d_v", real=True)) == 0
    assert "T3" not in sme.formula(sme.Adam()).terms
    assert "T3" not in sme.formula(sme.Momentum(), "batch_equivalent").terms


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("regime", ["ballistic", "batch_equivalent"])
def test_the_drift_correction_of_adam_has_few_terms(regime, elementwise):
    for denominator in ("previous", "updated"):
        formula = sme.formula(sme.Adam(denominator=denominator), regime, elementwise=elementwise)
        count = [len(sympy.Add.make_args(sympy.expand(formula[f"b1, {field}"]))) for field in ("theta", "m", "v")]
        assert sum(count) <= 12, count


def test_third_moments_are_those_of_the_theory():
    """`−c P'∘κ` in the drift of an updated denominator, and `K dW` in the noise of `v`."""
    plain, any_law = (sme.formula(sme.RMSProp(denominator="updated"), elementwise=True, gaussian=law) for law in (True, False))
    kappa, skew = Symbol("kappa", real=True), Symbol("K_dW", real=True)
    assert sympy.simplify(any_law.expanded("b1, theta") - plain.expanded("b1, theta") + c * slope * kappa) == 0
    assert sympy.expand(any_law["G0, v"] - plain["G0, v"] - c * skew) == 0
    line = sme.formula(sme.RMSProp(denominator="updated"), gaussian=False)
    assert sympy.simplify(line.expanded("G0, v") - 2 * c * g * S - c * Symbol("K", real=True)) == 0
    fourth = sme.formula(sme.AdaBayesFilter(), gaussian=False)["b1, p"]  # p' has a square of q
    assert fourth.has(Symbol("mu", real=True))
