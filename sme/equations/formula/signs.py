"""The equations of signSGD and Signum, from the moments of the sign."""

from collections.abc import Sequence

import sympy

from sme.equations.formula.calculus import Calculus
from sme.equations.formula.rule import Rule
from sme.equations.formula.terms import Asked, Terms

REST = sympy.Symbol("rest_dW", real=True)
"""`(Cov ρ − G₀G₀ᵀ)^{1/2} dW²`, `ρ` the signs of the noisy gradient"""


def rule(fields: Sequence[str]) -> Rule:
    """A rule by signs of these fields, without a Taylor coefficient."""
    none = dict.fromkeys(fields, sympy.S.Zero)
    return Rule({each: sympy.Symbol(each, real=True) for each in fields}, none, none, none, none, none, none, none, {}, ())


def signs(calculus: Calculus, asked: Asked) -> Terms:
    """Ballistic, Gaussian: `b = −erf(u)`, `u = g/√(2σ)`, `b₁ = −½ ∇b b`, noise `√τ (G₀ dW − (Cov ρ − G₀G₀ᵀ)^{1/2} dW²)`."""
    c = calculus
    u = c.gradient / sympy.sqrt(2 * c.sigma)
    b = -sympy.erf(u)
    linear = sympy.sqrt(2 / sympy.pi) * sympy.exp(-u * u)
    made: Terms = {("b", "theta"): b}
    if asked.line:
        made |= {("G0", "theta"): -linear, ("F", "theta"): -sympy.sqrt(1 - sympy.erf(u) ** 2 - linear**2)}
    else:
        made |= {("G0", "theta"): -linear * c.noise / sympy.sqrt(c.sigma), ("F", "theta"): -REST}
    if asked.order == 2:
        made["b1", "theta"] = c.tidy(-c.flow(b) / 2)
    return made


def signum(calculus: Calculus, asked: Asked) -> Terms:
    """Ballistic, any law: `b_θ = −sign(m)`, `b_m = c (g − m)`, `b₁_θ = −δ(m) b_m`, `b₁_m = −½ (∂_t + b·∇) b_m`, `√τ c S dW` on m.

    The sign is that of the *new* momentum: together `b_θ + τ b₁_θ = −sign(m + ½ τ b_m)`, the form that can be integrated.
    """
    c, rate, m = calculus, sympy.Symbol("c", positive=True), calculus.rule.fields["m"]
    made: Terms = {("b", "theta"): -sympy.sign(m), ("b", "m"): c.tidy(rate * (c.gradient - m)),
                   ("G0", "m"): rate * c.noise}
    if asked.order == 2:
        made["b1", "theta"] = -sympy.DiracDelta(m) * c.sides["m"]
        made["b1", "m"] = c.tidy(rate * (c.sides["m"] - c.along(c.gradient, c.sides)) / 2)
    return made
