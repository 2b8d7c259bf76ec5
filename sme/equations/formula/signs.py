"""The equation of signSGD, from the moments of the sign."""

import sympy

from sme.equations.formula.calculus import Calculus
from sme.equations.formula.rule import Rule
from sme.equations.formula.terms import Asked, Terms

REST = sympy.Symbol("rest_dW", real=True)
"""`(Cov ρ − G₀G₀ᵀ)^{1/2} dW²`, `ρ` the signs of the noisy gradient"""


def rule() -> Rule:
    """`θ' = θ − gradient.sign`, without a Taylor coefficient."""
    fields = {"theta": sympy.Symbol("theta", real=True)}
    none = {"theta": sympy.S.Zero}
    return Rule(fields, none, none, none, none, none, none, none, {}, ())


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
