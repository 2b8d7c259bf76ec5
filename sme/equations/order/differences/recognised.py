"""What a number is in the letters of an equation: a product of powers that it equals at many states, or nothing."""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass, replace
from fractions import Fraction
from functools import cache, reduce
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from sme.common.errors import SMEError
from sme.equations.order.differences.cumulants import Differences
from sme.equations.order.moments.agreement import Agreement
from sme.equations.order.tested import Point, Tested
from sme.equations.order.visited import standing, whole
from sme.equations.proposed.equation import ProposedEquation
from sme.optimizers.layout import Layout
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import BALLISTIC

SMALL, FURTHER = 2, 4
"""parameters up to which what is off is looked for in the letters of the rule, and further states at which it is"""
MOST = 6
"""letters in a product, with repeats"""
CONSTANTS, STILL = 4, 2
"""constants of the rule, and letters that stand still, in a factor"""
FEWEST = 4
"""samples from which a product is recognised"""
SAME = 1e-12
"""relative difference within which a letter is the same at two samples"""
SPREAD = 1e-5
"""relative difference of a product from what it is to equal"""
NUMBERS = sorted({Fraction(p, q) for q in (1, 2, 3, 4, 6, 8) for p in range(1, 7)},
                 key=lambda each: (each.denominator + each.numerator, each))
"""factors, the simplest first"""
DIGITS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SHORT = {Fraction(1, 2): "½", Fraction(1, 4): "¼", Fraction(3, 4): "¾", Fraction(1, 3): "⅓", Fraction(1, 8): "⅛"}


class Samples(NamedTuple):
    """Differences at some states, with the letters there, and the constants of the rule."""

    there: Differences
    letters: list[list[dict[str, float]]]
    """by state and coordinate"""
    constants: list[dict[str, float]]
    """by state"""

    def of(self, fields: str, power: float) -> list[tuple[float, dict[str, float], dict[str, float]]]:
        """The cumulant of these fields at every coordinate where it is seen, beside its letters and constants."""
        return [(value, self.letters[state][i], self.constants[state]) for state, i, value in self.there.samples(fields, power)]


def lettered(asked: Tested, off: pd.DataFrame, times: Sequence[float],
             agreement: Callable[[Tested, list[Point]], Agreement]) -> pd.DataFrame:
    """The differences with what those of the lowest power are in the letters of the rule, from some further states.

    Where the equation reads the optimizer, at others with other constants too, which tell these from numbers.
    """
    if asked.problem.dim > SMALL:
        return off
    states = standing(asked.optimizer, asked.problem.dim, 2 * FURTHER)
    points = [(times[i % len(times)], whole(asked.optimizer, each, asked.problem.dim)) for i, each in enumerate(states)]
    try:
        here = _samples([(asked, point) for point in points[:FURTHER]], agreement)
        rules = varied(asked)
        others = _samples(list(zip(rules, points[FURTHER:], strict=True)), agreement) if rules else None
    except SMEError:
        return off
    first = off[(off["power of τ"] == off["power of τ"].min()) & (off["note"] == "")]
    for row, fields, power in zip(first.index, first["fields"], first["power of τ"], strict=True):
        if len({re.sub(r"^\w+", "", name) for name in fields.split()}) == 1:  # of one coordinate
            off.loc[row, "formula"] = recognised(here.of(fields, power), [] if others is None else others.of(fields, power))
    return off


def varied(asked: Tested) -> list[Tested]:
    """The same with other constants of the rule, if the equation reads them from it; else nothing."""
    made, rule = asked.make(asked.largest)[1], asked.optimizer
    reads = isinstance(made, ProposedEquation) and all("optimizer" in each for each in made.asks.values())
    if not reads or not is_dataclass(rule):
        return []
    names = [name for name in (*rule.rates(), "eps", "decay") if getattr(rule, name, 0)]
    return [replace(asked, optimizer=replace(rule, **{name: getattr(rule, name) * (0.6 + 0.9 * math.sin(1 + 5 * i + 3 * k) ** 2)
                                                      for k, name in enumerate(names)})) for i in range(FURTHER)]


def _samples(at: list[tuple[Tested, Point]], agreement: Callable[[Tested, list[Point]], Agreement]) -> Samples:
    found = [agreement(each, [point]) for each, point in at]
    named = [letters(*each) for each in at]
    return Samples(Differences(reduce(Agreement.beside, found)), named, [constants(each) for each, _ in at])


def letters(asked: Tested, point: Point) -> list[dict[str, float]]:
    """The letters at a state for each coordinate, `P` and `Γ` where the rule has them, products of `H` with vectors beside it."""
    problem, optimizer, law = asked.problem, asked.optimizer, asked.problem.noise
    t, x = point
    state = Layout(optimizer.fields, problem.dim).named(x.unsqueeze(0))
    theta, one = state["theta"], torch.ones_like(state["theta"])
    g, sigma = problem.gradient(theta), law.variance(theta)
    found = {"g": g, "σ": sigma, **{name: field for name, field in state.items() if name != "theta"}}
    if "m" in state:
        found["(g − m)"] = g - state["m"]
    if "v" in state:
        eps, mean = getattr(optimizer, "eps", 0.0), sigma + (g * g if asked.regime == BALLISTIC else 0)
        if getattr(optimizer, "bias_correction", False):
            factor = optimizer.correction(t, 2.0**-40)  # type: ignore[attr-defined]
            found.update({"Γ": one * factor.gain, "∂ₜ√γ₂": one * factor.root_slope})
            eps = eps * factor.root
        if getattr(optimizer, "eps_mode", "outside") == "outside":
            found["P"] = preconditioner(state["v"], eps, optimizer.v_floor).value
        found["(g² + σ − v)" if asked.regime == BALLISTIC else "(σ − v)"] = mean - state["v"]
        found["v⁻¹ᐟ²"] = state["v"] ** -0.5
    with suppress(Exception):  # a loss without so many derivatives
        if problem.dim == 1:
            found.update({"H": problem.hessian(theta, one), "f‴": problem.third(theta, one, one)})
        else:
            vectors = {name: field for name, field in found.items() if name in ("g", "m")}
            vectors |= {f"P∘{name}": found["P"] * field for name, field in vectors.items() if "P" in found}
            found.update({f"H({name})": problem.hessian(theta, vector) for name, vector in vectors.items()})
    if not law.constant and problem.dim == 1:
        with suppress(Exception):
            first = jvp(law.variance, (theta,), (one,))[1]
            second = jvp(lambda at: jvp(law.variance, (at,), (one,))[1], (theta,), (one,))[1]
            found.update({"σ′": first, "σ″": second})
    found["θ"] = theta
    return [{name: float(values[0, i]) for name, values in found.items()} for i in range(problem.dim)]


def constants(asked: Tested) -> dict[str, float]:
    """The rule's numbers by their letters, and the sums with 1 in which they come."""
    optimizer = asked.optimizer
    found = {name.translate(LOW): float(value) for name, value in optimizer.rates().items()}
    found |= {f"(1 − {name})": 1 - value for name, value in found.items()}
    for name, letter in (("eps", "ε"), ("decay", "λ")):
        if hasattr(optimizer, name):
            found |= {letter: float(getattr(optimizer, name)), f"(1 + {letter})": 1 + float(getattr(optimizer, name))}
    return found


Sample = tuple[float, Mapping[str, float], Mapping[str, float]]
"""a value, its letters and its constants"""


def recognised(values: Sequence[Sample], others: Sequence[Sample]) -> str:
    """The simplest product of letters, constants and a number that equals the values at all samples; empty if there is none.

    A letter that is the same at all of them is a constant. The `others` have other constants: without them a factor is a simple
    number, or in digits.
    """
    if len(values) < FEWEST:
        return ""
    samples = [each for _, each, _ in values]
    still = {name: each for name, each in samples[0].items() if all(abs(one[name] - each) <= SAME * abs(each) for one in samples)}
    names = [name for name in samples[0] if name not in still and all(one[name] for one in samples)]
    found = _product([value for value, *_ in values], samples, names, MOST)
    if found is None:
        return ""
    (factor, product), constant = found, dict[str, int]()
    if others:  # of a rule with other constants, what is left of the product is made of these
        fixed = {name: each for name, each in others[0][2].items() if each}
        rest = [value / math.prod(one[name] ** power for name, power in product.items()) for value, one, _ in others]
        made = _product(rest, [each for *_, each in others], list(fixed), CONSTANTS)
        if made is not None:
            factor, constant = made
    number, resting = _named(factor, still)
    powers = {**constant, **resting, **product}
    if not powers:
        return ""
    return f"{number} {' '.join(_raised(*each) for each in powers.items())}".replace("−1 ", "−").removeprefix("1 ")


def _product(values: Sequence[float], samples: Sequence[Mapping[str, float]], names: Sequence[str],
             most: int) -> tuple[float, dict[str, int]] | None:
    """The factor and the powers of the shortest product that is as the values are."""
    there = torch.tensor([[one[name] for name in names] for one in samples], dtype=torch.float64).reshape(len(values), -1)
    wanted, powers = torch.tensor(values, dtype=torch.float64), _powers(len(names), most)
    left = wanted.abs().log()[:, None] - there.abs().log() @ powers.T
    turned = ((wanted < 0)[:, None] + (there < 0).to(wanted) @ powers.T) % 2
    alike = ((left - left.mean(0)).abs().amax(0) < SPREAD) & (turned == turned[0]).all(0)
    if not bool(alike.any()):
        return None
    best = int(alike.nonzero()[0])  # the products are in the order of their lengths
    factor = math.exp(float(left[:, best].mean())) * (-1 if turned[0, best] else 1)
    return factor, {name: int(power) for name, power in zip(names, powers[best].tolist(), strict=True) if power}


@cache
def _powers(count: int, most: int) -> Float[Tensor, "products letters"]:
    """The exponents of all products of so many letters, the shortest first."""
    rows = []
    for length in range(most + 1):
        for each in itertools.combinations_with_replacement(range(count), length):
            rows.append([each.count(i) for i in range(count)])
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), count)


def _named(factor: float, fixed: Mapping[str, float]) -> tuple[str, dict[str, int]]:
    """A number as a simple one, and the powers of letters that stand still beside it; in digits if it is none."""
    there = {name: abs(each) for name, each in fixed.items() if each and abs(each) != 1 and math.isfinite(each)}
    sign = "−" if factor < 0 else ""
    for length in range(STILL + 1):
        for each in itertools.combinations_with_replacement(there, length):
            rest = abs(factor) / math.prod(there[name] for name in each)
            number = next((one for one in NUMBERS if abs(float(one) - rest) < SPREAD * rest), None)
            if number is not None:
                return sign + SHORT.get(number, str(number)), {name: each.count(name) for name in each}
    return f"{sign}{abs(factor):.6g}", {}


def _raised(name: str, power: int) -> str:
    return name if power == 1 else f"{name}{str(power).translate(DIGITS)}"
