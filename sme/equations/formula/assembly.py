"""From an optimizer to the terms of its equation and the letters in them."""

from typing import Any, NamedTuple

import sympy

from sme.common.errors import SMEError
from sme.equations.formula import printing, signs
from sme.equations.formula.calculus import Calculus, Entries, Line
from sme.equations.formula.rule import GAIN_SLOPE, GAMMA_SLOPE, Rule, read
from sme.equations.formula.terms import K_LINE, K_NOISE, KAPPA, MU, Y_NOISE, Asked, Terms, ballistic, batch_equivalent
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.optimizers.signsgd import SignSGD
from sme.optimizers.signum import Signum

ORDER = ("b", "b1", "G0", "G1", "F", "R", "T3")


class Parts(NamedTuple):
    """What a `Formula` is made of."""

    terms: dict[str, Any]
    where: dict[Any, Any]
    """what the letters in them stand for"""
    ground: dict[Any, Any]
    """what all letters stand for, down to the rule's own"""
    vectors: tuple[Any, ...]
    """what has an entry for each parameter, in the order of a product"""
    many: bool
    constant: bool
    small: bool
    """whether entries are many, `Σ` constant, and the noise small"""


def assemble(optimizer: Optimizer, regime: Regime, asked: Asked) -> Parts:
    """The terms of the equation, those that are 0 left out.

    Raises
    ------
    SMEError
        for a rule that has none, and entry by entry for one that mixes coordinates.
    """
    name = type(optimizer).__name__
    ways = {SignSGD: signs.signs, Signum: signs.signum} if regime == BALLISTIC and not asked.memory else {}
    by_signs = ways.get(type(optimizer)) if asked.gaussian or type(optimizer) is Signum else None
    rule = signs.rule(tuple(optimizer.fields)) if by_signs else read(optimizer)
    if rule.mixes and not asked.line:
        raise SMEError(f"{name} mixes coordinates (through {', '.join(rule.mixes)}), so it has no formula entry by entry: leave "
                       "elementwise out for that of one dimension")
    constant = regime != BALLISTIC and rule.kick["theta"] != 0 and not (asked.memory and asked.line)
    calculus = (Line if asked.line else Entries)(rule, constant)
    if by_signs:
        made = by_signs(calculus, asked)
    else:
        made = (ballistic if regime == BALLISTIC else batch_equivalent)(rule, calculus, asked, name)
    still = {side: 0 for field, side in calculus.sides.items() if made.get(("b", field), 0) == 0}
    made = {key: sympy.sympify(value).subs(still) for key, value in made.items()} if still else made
    terms = {f"{term}, {field}" if field else term: calculus.letters.primed(made[term, field]) for term in ORDER
             for field in (*rule.fields, "") if made.get((term, field), 0) != 0}
    where, ground = _letters(rule, calculus, made, terms)
    return Parts(terms, where, ground, _vectors(calculus), not asked.line, constant, regime == BALLISTIC)


def _letters(rule: Rule, c: Calculus, made: Terms, terms: dict[str, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """What the letters that occur stand for, and all of them down to fields, settings, `f` and `S`."""
    primes = {symbol: slope for symbol, (_, slope) in c.letters.slopes.items()}
    own = {letter.symbol: letter.base**letter.power for letter in c.letters.found}
    used = set[Any]().union(*(value.free_symbols for value in terms.values()))
    for symbol, value in [*reversed(primes.items()), *reversed(own.items()), *rule.clock.items()]:
        used |= value.free_symbols if symbol in used else set()
    known = {**own, **primes, **rule.clock}
    where = {symbol: value for symbol, value in known.items() if symbol in used and symbol not in (GAIN_SLOPE, GAMMA_SLOPE)}
    sides = {c.sides[field]: made["b", field] for field in c.sides}
    return where, {**sides, **primes, **dict(reversed(own.items())), **c.squares(), **rule.clock}


def _vectors(c: Calculus) -> tuple[Any, ...]:
    """What has an entry for each parameter: letters, fields, gradient and noise, drifts."""
    return (*c.letters.slopes, *(letter.symbol for letter in c.letters.found), *c.rule.fields.values(), *c.known(), KAPPA, MU,
            *c.sides.values(), Y_NOISE, K_LINE, K_NOISE, c.second_factor, signs.REST)


def diffusion(parts: Parts) -> dict[str, Any]:
    """`D₁ = G₀G₁ᵀ + G₁G₀ᵀ + F Fᵀ` by pair of fields, in one dimension: `D = D₀ + τ D₁` of the batch-equivalent regime.

    Ballistic, `D = τ (G₀G₀ᵀ + F Fᵀ)` has no correction; entry by entry increments stand in the terms, and with step memory `R`
    is part of the noise: both have none here.
    """
    found = {name: {key.partition(", ")[2]: value for key, value in parts.terms.items() if key.partition(",")[0] == name}
             for name in ("b", "G0", "G1", "F", "R")}
    if parts.many or parts.small or found["R"] or not (found["G1"] or found["F"]):
        return {}
    fields, (g0, g1, f) = list(found["b"]), (found[name] for name in ("G0", "G1", "F"))
    made = {f"D1, {i}, {j}": g0.get(i, 0) * g1.get(j, 0) + g1.get(i, 0) * g0.get(j, 0) + f.get(i, 0) * f.get(j, 0)
            for place, i in enumerate(fields) for j in fields[place:]}
    s, sigma = (sympy.Symbol(name, real=True) for name in ("S", "sigma"))
    return {key: sympy.expand(value).subs(s**2, sigma) for key, value in made.items() if sympy.expand(value) != 0}


def latex_rows(parts: Parts) -> list[tuple[str, str]]:
    """The two sides of every line."""
    return printing.rows(parts.terms, parts.where, parts.vectors, parts.many)


def diffusion_rows(parts: Parts) -> list[tuple[str, str]]:
    """Those of the diffusion correction."""
    return printing.rows(diffusion(parts), {}, parts.vectors, parts.many)


def text_lines(parts: Parts) -> list[str]:
    """The same as text."""
    return printing.lines(parts.terms | diffusion(parts), parts.where, parts.many)
