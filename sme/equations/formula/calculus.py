"""How gradient and noise change along a direction of the state: in one dimension, and entry by entry in many."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import sympy

from sme.equations.formula.letters import Letters, multiplied
from sme.equations.formula.rule import GAIN, GAIN_SLOPE, GAMMA, GAMMA_SLOPE, TAU, Rule, T

DEEP = 5
"""derivatives of `f` that have a symbol"""
Vector = Mapping[str, Any]
"""an expression by field"""


class Calculus(ABC):
    """Derivatives of expressions in the fields, the gradient `g`, the variance `σ` and the noise `S dW`.

    Attributes
    ----------
    gradient, sigma, noise
        `∇f`, `diag Σ`, `S dW` as symbols.
    second_factor
        what carries the second motion's increment in the noise of `gradient.square/√2`.
    """

    gradient: Any
    sigma: Any
    noise: Any
    second_factor: Any

    def __init__(self, rule: Rule, constant: bool) -> None:
        self.rule, self.constant = rule, constant
        self.letters = Letters(rule.fields.values(), (T, GAIN, GAMMA))
        self.sides = {name: sympy.Symbol(f"b_{symbol.name}", real=True) for name, symbol in rule.fields.items()}

    def along(self, expression: Any, direction: Vector, time: Any = 0) -> Any:
        """`∂expression[direction]`, and `∂_t` times `time`."""
        way = {symbol: direction.get(name, sympy.S.Zero) for name, symbol in self.rule.fields.items()}
        way |= {T: time, GAIN: GAIN_SLOPE * time, GAMMA: GAMMA_SLOPE * time, TAU: 0}
        return self.letters.slope(expression, way | self.images(direction.get("theta", sympy.S.Zero)))

    def flow(self, expression: Any) -> Any:
        """`(∂_t + b·∇) expression`, in the symbols of `b`."""
        return self.along(expression, self.sides, sympy.S.One)

    @abstractmethod
    def images(self, theta: Any) -> dict[Any, Any]:
        """What gradient and noise change by where the parameters change by this."""

    @abstractmethod
    def spread(self, expression: Any, kick: Vector) -> Any:
        """`Σ_j ∂²expression[G₀e_j, G₀e_j]`, `G₀e_j = kick∘S e_j`."""

    def known(self) -> list[Any]:
        """The symbols of gradient and noise."""
        return [self.gradient, self.sigma, self.noise]

    def squares(self) -> dict[Any, Any]:
        """What `σ` and its derivatives are of `S`, where that can be said."""
        return {}

    def tidy(self, expression: Any) -> Any:
        """Letters in, sums multiplied out."""
        return self.letters.write(sympy.sympify(expression))

    def _frozen(self, kick: Vector) -> dict[str, Any]:
        return {name: sympy.Dummy(name) if value != 0 else sympy.S.Zero for name, value in kick.items()}


class Line(Calculus):
    """One dimension: `f', f'', …`, `σ, σ', …` and `S, S', …`, with `σ = S²`; increments are left out."""

    def __init__(self, rule: Rule, constant: bool) -> None:
        super().__init__(rule, constant)
        self.slopes = {letter: [sympy.Symbol(letter + "'" * order, real=True) for order in range(DEEP)] for letter in "fS"}
        self.slopes["sigma"] = [sympy.Symbol("sigma" + "'" * order, real=True) for order in range(DEEP)]
        self.gradient, self.sigma, self.noise = self.slopes["f"][1], self.slopes["sigma"][0], self.slopes["S"][0]
        self.second_factor = self.sigma

    def images(self, theta: Any) -> dict[Any, Any]:
        still = self.constant
        return {lower: sympy.S.Zero if still and letter != "f" else upper * theta
                for letter, known in self.slopes.items() for lower, upper in itertools.pairwise(known)}

    def spread(self, expression: Any, kick: Vector) -> Any:
        frozen = self._frozen(kick)
        twice = self.along(self.along(expression, frozen), frozen)
        return self.tidy(twice.subs({symbol: kick[name] * self.noise for name, symbol in frozen.items() if symbol != 0}))

    def known(self) -> list[Any]:
        return [symbol for known in self.slopes.values() for symbol in known]

    def squares(self) -> dict[Any, Any]:
        s, sigma = self.slopes["S"], self.slopes["sigma"]
        return {sigma[0]: s[0] ** 2, sigma[1]: 2 * s[0] * s[1], sigma[2]: 2 * s[1] ** 2 + 2 * s[0] * s[2]}

    def tidy(self, expression: Any) -> Any:
        """And `σ` for `S²`."""
        made = super().tidy(expression)
        s = self.noise
        return made.replace(lambda part: part.is_Pow and part.base == s and part.exp.is_Integer and part.exp > 1,
                            lambda part: self.sigma ** (part.exp // 2) * s ** (part.exp % 2))


class Entries(Calculus):
    """Many dimensions: products are those of entries, `H(u)` is `∇²f u`, `dsigma(u)` and `dS(u)` are `∂σ u` and `∂S u dW`.

    With constant noise where the leading noise moves the parameters.
    """

    H, D_SIGMA, D_S = sympy.Function("H"), sympy.Function("dsigma"), sympy.Function("dS")
    CURVE = sympy.Function("third")
    """`Σ_j ∇³f[u∘S e_j, u∘S e_j]`"""

    def __init__(self, rule: Rule, constant: bool) -> None:
        super().__init__(rule, constant)
        self.gradient, self.sigma = sympy.Symbol("g", real=True), sympy.Symbol("sigma", positive=True)
        self.noise, self.second_factor = sympy.Symbol("S_dW", real=True), sympy.Symbol("root_dW", real=True)

    def images(self, theta: Any) -> dict[Any, Any]:
        if theta == 0:
            return {}
        size, u = self.tidy(theta).as_coeff_Mul()
        noisy = {} if self.constant else {self.sigma: size * self.D_SIGMA(u), self.noise: size * self.D_S(u)}
        return {self.gradient: size * self.H(u), **noisy}

    def spread(self, expression: Any, kick: Vector) -> Any:
        frozen, (column, row, curve) = self._frozen(kick), (sympy.Dummy(each) for each in ("column", "row", "curve"))
        way = {self.rule.fields[name]: symbol * column for name, symbol in frozen.items()}
        if frozen.get("theta", 0) != 0:
            way |= {self.gradient: row, row: curve}
        twice = self.letters.slope(self.letters.slope(expression, way), way)
        twice = self.tidy(twice.subs({symbol: kick[name] for name, symbol in frozen.items() if symbol != 0}))
        size, u = self.tidy(kick.get("theta", sympy.S.Zero)).as_coeff_Mul()
        # what has `column` and `row` is g times the turn of the leading noise, which is 0 where there is an order-2 equation
        made = twice.subs(column * row, 0).subs(column**2, self.sigma)
        return multiplied(made.subs(curve, size**2 * self.CURVE(u)))
