"""Letters for what a rule divides by and takes roots of, and the shortest way to write a term with them."""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import sympy
from sympy.core.function import AppliedUndef


class Letter(NamedTuple):
    """`symbol = base^power`."""

    symbol: Any
    base: Any
    power: Any


class Letters:
    """`P` for `1/(√v + ε)` and its like, `r` for roots of sums, `u` for those of the time alone.

    Attributes
    ----------
    moving
        what changes along a run: fields, others such as the time, letters.
    vectors
        of these, what has an entry for each parameter.
    slopes
        `P' = dP/dv` by its symbol, where it is one product and `P` depends on one of the `fields` alone: letter and product.
    """

    def __init__(self, fields: Collection[Any], others: Collection[Any] = ()) -> None:
        self.fields, self.vectors, self.moving, self.found = set(fields), set(fields), {*fields, *others}, list[Letter]()
        self.slopes: dict[Any, tuple[Any, Any]] = {}

    def write(self, expression: Any) -> Any:
        """The expression with its letters, sums multiplied out."""
        powers = [each for each in expression.atoms(sympy.Pow) if self._stands(each)]
        for base in sorted({each.base for each in powers}, key=lambda base: (sympy.count_ops(base), str(base))):
            known = base
            for letter in self.found:
                known = _replaced(known, letter)
            if not any(letter.base == known for letter in self.found):
                self._add(known, {each.exp for each in powers if each.base == base})
        for letter in self.found:
            expression = _replaced(expression, letter)
        return multiplied(expression.replace(sympy.DiracDelta, lambda *_: sympy.S.Zero))  # beside a kink, not on it

    def _stands(self, power: Any) -> bool:
        return bool(power.base.is_Add and power.exp.is_Rational and not (power.exp.is_Integer and power.exp > 0)
                    and power.base.free_symbols & self.moving)

    def _add(self, base: Any, exponents: set[Any]) -> None:
        power = sympy.Rational(-1 if all(each < 0 for each in exponents) else 1, math.lcm(*(each.q for each in exponents)))
        timed = not self.fields & self.expanded(base).free_symbols
        name = "u" if timed else "P" if power < 0 else "r"
        count = [letter.symbol.name[0] for letter in self.found].count(name)
        symbol = sympy.Symbol(name if not count else f"{name}{count + 1}", positive=True)
        self.found.append(Letter(symbol, base, power))
        self.moving.add(symbol)
        if not timed:
            self.vectors.add(symbol)
            self._note_slope(symbol)

    def _note_slope(self, symbol: Any) -> None:
        fields = self.expanded(symbol).free_symbols & self.fields
        if len(fields) != 1:
            return
        (field,) = fields
        slope = multiplied(self.slope(symbol, {field: sympy.S.One}))
        if not slope.is_Add:
            self.slopes[sympy.Symbol(f"{symbol.name}'", real=True)] = symbol, slope

    def slope(self, expression: Any, way: Mapping[Any, Any]) -> Any:
        """The change of an expression when each symbol changes as `way` says: letters as what they stand for does."""
        total = sympy.S.Zero
        for symbol in sorted(expression.free_symbols, key=str):
            change = way.get(symbol)
            if change is None:
                letter = next((each for each in self.found if each.symbol == symbol), None)
                if letter is None:
                    continue
                p = letter.power
                change = p * symbol ** ((p - 1) / p) * self.slope(letter.base, way)
            if change != 0:
                total += sympy.diff(expression, symbol) * change
        return total

    def expanded(self, expression: Any) -> Any:
        """Without letters."""
        expression = expression.subs({name: slope for name, (_, slope) in self.slopes.items()})
        for letter in reversed(self.found):
            expression = expression.subs(letter.symbol, letter.base**letter.power)
        return expression

    def primed(self, expression: Any) -> Any:
        """With `P'` for the product that it is, and one product for all whose functions of the time are all that differs."""
        whole: dict[Any, list[Any]] = {}
        for each in sympy.Add.make_args(multiplied(expression)):
            term = self._primed(each)
            timed = sympy.Mul(*(factor for factor in sympy.Mul.make_args(term) if self._timed(factor)))
            number, bare = (term / timed).as_coeff_Mul()
            whole.setdefault(bare, []).append(number * timed)
        return sympy.Add(*(bare * self._clocked(timed) for bare, timed in whole.items()))

    def _clocked(self, timed: list[Any]) -> Any:
        """A sum of functions of the time, as a product where it is one."""
        total = sympy.Add(*timed)
        if not total.is_Add:
            return total
        made = sympy.factor(total.subs({letter.symbol: letter.base**letter.power for letter in self.found}))
        for letter in self.found:
            made = _replaced(made, letter)
        return shortest((total, made))

    def _timed(self, factor: Any) -> bool:
        """Whether a factor is a function of the time alone."""
        symbols = factor.free_symbols
        return bool(symbols & self.moving) and not symbols & self.vectors and not factor.has(AppliedUndef)

    def _primed(self, term: Any) -> Any:
        for name, (letter, slope) in self.slopes.items():
            own, held = (each.as_coeff_Mul()[1].as_powers_dict() for each in (term, slope))
            if all(_holds(sympy.sympify(own[symbol]), power, symbol == letter) for symbol, power in held.items()):
                return term / slope * name
        return term


def _holds(own: Any, power: Any, letter: bool) -> bool:
    """Whether a power can be taken out of another, of what is no letter up to a whole positive power."""
    rest = own - power
    return bool(rest.is_Integer and (rest >= 0 or (not letter and power < 0 and own < 0)))


def _replaced(expression: Any, letter: Letter) -> Any:
    def fits(part: Any) -> bool:
        return bool(part.is_Pow and part.base == letter.base and (part.exp / letter.power).is_Integer)

    return expression.replace(fits, lambda part: letter.symbol ** (part.exp / letter.power))


def multiplied(expression: Any) -> Any:
    """Without sums in products; logarithms stay as they are."""
    return sympy.expand(expression, log=False)


def terms(expression: Any) -> int:
    """How many products an expression is the sum of."""
    return 0 if expression == 0 else len(sympy.Add.make_args(expression))


def shortest(candidates: Iterable[Any]) -> Any:
    """The one of the fewest terms, then operations."""
    return min(candidates, key=lambda each: (terms(each), sympy.count_ops(each)))


def smoothed(expression: Any) -> Any:
    """With `1 − cosh⁻²` for `tanh²`."""

    def fits(part: Any) -> bool:
        return bool(part.is_Pow and isinstance(part.base, sympy.tanh) and part.exp.is_Integer and part.exp > 1)

    def made(part: Any) -> Any:
        return part.base ** (part.exp % 2) * (1 - sympy.cosh(part.base.args[0]) ** -2) ** (part.exp // 2)

    return multiplied(expression.replace(fits, made))


def ways_out(expression: Any, relations: Iterable[tuple[Any, Any]]) -> list[Any]:
    """The expression, and what it is when one or two of the relations `(symbol, expression)` are put in."""
    known = list(relations)
    chosen = [(), *((each,) for each in known), *(two for two in itertools.permutations(known, 2) if two[0][0] != two[1][0])]
    found = []
    for some in chosen:
        made = expression
        for symbol, value in some:
            made = multiplied(made.subs(symbol, value))
        found.append(made)
    return found
