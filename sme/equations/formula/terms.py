"""The coefficients of the modified equation, by term and field, from the Taylor coefficients of a rule."""

import itertools
from dataclasses import dataclass
from typing import Any

import sympy

from sme.common.errors import SMEError
from sme.equations.formula.calculus import Calculus, Vector
from sme.equations.formula.letters import multiplied, shortest, smoothed, ways_out
from sme.equations.formula.rule import Q, Rule, zero

KAPPA, MU = sympy.Symbol("kappa", real=True), sympy.Symbol("mu", real=True)
"""third and fourth moment of a noise that is not Gaussian"""
K_NOISE, Y_NOISE = sympy.Symbol("K_dW", real=True), sympy.Symbol("S_y", real=True)
"""`K dW`, `(K Sᵀ)_ij = κ_iij`; `S y`"""
K_LINE = sympy.Symbol("K", real=True)
"""`K` of one dimension, `κ/S`"""
N = sympy.Dummy("n")
Terms = dict[tuple[str, str], Any]


@dataclass(frozen=True)
class Asked:
    """Which equation: `line` for one dimension, `memory` for step memory."""

    order: int
    memory: bool
    gaussian: bool
    line: bool


def ballistic(rule: Rule, calculus: Calculus, asked: Asked, name: str) -> Terms:
    """`b`, `b₁ = E bend − ½ (∂_t b + ∇b b)`, `G`, `F` and `R` of the ballistic regime."""
    c, g, sigma = calculus, calculus.gradient, calculus.sigma
    kappa, mu = (sympy.S.Zero, 3 * sigma**2) if asked.gaussian else (KAPPA, MU)
    powers = [1, g, g**2 + sigma, g**3 + 3 * g * sigma + kappa, g**4 + 6 * g**2 * sigma + 4 * g * kappa + mu]
    b = {each: c.tidy(rule.kick[each] * g + rule.square[each] * powers[2] + rule.still[each]) for each in rule.fields}
    made: Terms = {("b", each): b[each] for each in b}
    skew = sympy.S.Zero if asked.gaussian else K_LINE if asked.line else K_NOISE
    for each in b:
        push = c.tidy(rule.square[each])
        made["G0", each] = c.tidy(rule.kick[each] * c.noise + push * (2 * g * c.noise + skew))
        if asked.memory:
            made["R", each] = _remembered(c, push, asked)
        else:
            made["F", each] = c.tidy(sympy.sqrt(2) * push * c.second_factor)
    if asked.order == 1:
        return made
    a, rules = sympy.Dummy("a"), _relations(rule, c, made, g**2)
    for each in b:
        bend = multiplied(c.tidy(rule.cross[each] * a + (rule.second[each] + rule.bent[each] * a**2) / 2))
        mean = sympy.S.Zero
        for (i, j), factor in _polynomial(bend, (a, Q)).items():
            if i + j > 2:
                raise SMEError(f"the increment of {name} at second order in τ is not quadratic in gradient.step and "
                               "gradient.square, so it has no formula of order 2")
            mean += factor * powers[i + 2 * j]
        made["b1", each] = _chosen(c, c.tidy(mean), -c.flow(b[each]) / 2, rules)
    return made


def batch_equivalent(rule: Rule, calculus: Calculus, asked: Asked, name: str) -> Terms:
    """`b`, `b₁`, `G₀`, `G₁` with `F`, or with `R`, of the batch-equivalent regime."""
    c, g, sigma, noise = calculus, calculus.gradient, calculus.sigma, calculus.noise
    if not all(zero(each) for each in rule.bent.values()):
        raise SMEError(f"{name} multiplies gradient.step by itself, which is as large as τ ĝ∘ĝ in the batch-equivalent regime: "
                       "let the product be τ gradient.square there, or use regime='ballistic'")
    kick = {each: c.tidy(rule.kick[each]) for each in rule.fields}
    push = {each: c.tidy(rule.square[each]) for each in rule.fields}
    b = {each: c.tidy(kick[each] * g + push[each] * sigma + rule.still[each]) for each in rule.fields}
    leading = {each: c.tidy(kick[each] * noise) for each in rule.fields}
    made: Terms = {("b", each): b[each] for each in b} | {("G0", each): leading[each] for each in b}
    if asked.order == 1:
        return made
    turn = {each: c.tidy(c.along(kick[each], kick)) for each in b}  # ∂_{G₀y}(G₀ w) without what S itself turns by
    still = c.constant or zero(kick["theta"])
    additive = still and all(map(zero, turn.values()))
    if not additive and not (asked.memory and asked.line):
        raise SMEError(f"the leading noise of {name} depends on what it moves, so " + (
            "its equation with step memory has a formula in one dimension alone: leave elementwise out" if asked.memory else
            "no order-2 equation of it has independent motions: use brownian='step_memory', which is of order 2"))
    rules = _relations(rule, c, made, sympy.S.Zero)
    for each in b:
        third, fourth = _increments(rule, c, each, name)
        odd = c.tidy(sum(factor * (noise if power == 1 else 3 * sigma * noise) for power, factor in third.items()))
        even = c.tidy(sum(factor * (1, sigma, 3 * sigma**2)[power // 2] for power, factor in fourth.items()))
        made["b1", each] = _chosen(c, even, -c.flow(b[each]) / 2 - c.spread(b[each], kick) / 4, rules)
        rest = -c.along(b[each], leading) / 2 - c.flow(leading[each]) / 2 - c.spread(leading[each], kick) / 4
        if asked.memory:
            made["R", each] = _remembered(c, push[each], asked)
            if not additive:
                made["R", each] = c.tidy(made["R", each] - c.along(leading[each], leading))
            if asked.line:
                rest -= c.along(made["R", each], leading) / 2
            else:  # Σ_j ∂_{G₀e_j} of 2 B (S e_j)∘(S dW)
                rest -= c.along(push[each], kick) * sigma * noise
        else:
            made["F", each] = c.tidy(sympy.sqrt(2) * push[each] * c.second_factor)
        made["G1", each] = _chosen(c, odd, rest, rules)
    if not asked.memory:
        made["T3", ""] = _obstruction(c, push, kick, asked)
    return made


def _remembered(c: Calculus, push: Any, asked: Asked) -> Any:
    """`2 B (S y)∘(S dW)`."""
    return c.tidy(2 * push * (c.sigma if asked.line else Y_NOISE * c.noise))


def _increments(rule: Rule, c: Calculus, field: str, name: str) -> tuple[dict[int, Any], dict[int, Any]]:
    """`δ₃` and `δ₄` as polynomials in the noise `n = S z` of one entry."""
    g, push = c.gradient, rule.square[field]
    cross, second, twice = (c.tidy(each[field]) for each in (rule.cross, rule.second, rule.twice))
    at = {Q: N**2}
    third = 2 * push * N * g + N * cross.subs(at)
    fourth = (push * g**2 + g * cross.subs(at) + 2 * N**2 * g * sympy.diff(cross, Q).subs(at) + second.subs(at) / 2
              + N**2 * twice.subs(at) / 2)
    found = [{power: factor for (power,), factor in _polynomial(c.tidy(each), (N,)).items()} for each in (third, fourth)]
    if max(found[0], default=0) > 3 or max(found[1], default=0) > 4:
        raise SMEError(f"the increments of {name} at second order in τ are of too high a degree in gradient.step and "
                       "gradient.square, so it has no formula of order 2")
    return found[0], found[1]


def _polynomial(expression: Any, variables: tuple[Any, ...]) -> dict[tuple[int, ...], Any]:
    """Its coefficients by powers."""
    found: dict[tuple[int, ...], Any] = {}
    for term in sympy.Add.make_args(expression):
        powers = term.as_powers_dict()
        key = tuple(int(powers[each]) for each in variables)
        found[key] = found.get(key, 0) + term / sympy.Mul(*(each**power for each, power in zip(variables, key, strict=True)))
    return {key: factor for key, factor in found.items() if factor != 0}


def _relations(rule: Rule, c: Calculus, made: Terms, mean: Any) -> list[tuple[Any, Any]]:
    """What each field's `b` says of the gradient, or of the variance where the square enters."""
    found = []
    for each, side in c.sides.items():
        kick, push, still = (c.tidy(part[each]) for part in (rule.kick, rule.square, rule.still))
        if push != 0 and not push.free_symbols & c.letters.moving:
            found.append((c.sigma, c.tidy((side - still - kick * c.gradient) / push - mean)))
        elif push == 0 and kick != 0 and not kick.free_symbols & c.letters.moving:
            found.append((c.gradient, c.tidy((side - still) / kick)))
    return found


def _chosen(c: Calculus, mean: Any, rest: Any, relations: list[tuple[Any, Any]]) -> Any:
    """The shortest of what a mean may be written as, with the rest added."""
    rest = c.tidy(rest)
    whole = [c.tidy(each) + rest for each in ways_out(mean, relations)]
    return shortest(c.letters.primed(each) for each in (*whole, *(smoothed(each) for each in whole if each.has(sympy.tanh))))


def _obstruction(c: Calculus, push: Vector, kick: Vector, asked: Asked) -> Any:
    """`T₃ = ½ Σ R_i G₀_a G₀_b ∂_i ∂_a ∂_b`; of many, what stands under `Σ_ijk`."""
    total = sympy.S.Zero
    for field, a, b in itertools.product(push, kick, kick):
        if asked.line:
            total += push[field] * kick[a] * kick[b] * c.sigma**2 * slope_of(field) * slope_of(a) * slope_of(b)
        else:
            total += (_entry(c, push[field], "k") * _entry(c, kick[a], "i") * _entry(c, kick[b], "j") * sympy.Symbol("Sigma_ik")
                      * sympy.Symbol("Sigma_jk") * slope_of(f"{a}_i") * slope_of(f"{b}_j") * slope_of(f"{field}_k"))
    return multiplied(total)


def _entry(c: Calculus, expression: Any, place: str) -> Any:
    """One entry of a vector."""
    settings = expression.free_symbols - c.letters.moving
    return expression.subs({symbol: sympy.Symbol(f"{symbol.name}_{place}") for symbol in expression.free_symbols - settings})


def slope_of(field: str) -> Any:
    """`∂_field` as a symbol."""
    return sympy.Symbol(f"d_{field}", real=True)
