"""Straight-line C for the numbers of one path: every value is a constant, an input or an operation on such."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CHOICE, PRODUCT = "{0} ? {1} : {2}", "{0} * {1}"


@dataclass(frozen=True, eq=False)
class Value:
    """A number that is known when the program runs."""

    code: str
    """what C calls it"""
    index: int
    """the statement that makes it; −1 for an input"""
    uniform: bool
    """whether it is the same for all paths"""
    truth: bool = False
    """whether it is the result of a comparison"""


class Program:
    """Statements, each made once: an operation on the same operands is the same value.

    Constants are folded, and what no output needs is left out.
    """

    def __init__(self, letter: str = "v") -> None:
        self._letter = letter
        self._lines: list[tuple[str, tuple[Value, ...], Value]] = []
        self._made: list[tuple[str, tuple[float | Value, ...]]] = []
        self._known: dict[tuple[object, ...], Value] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def input(self, code: str, uniform: bool = False) -> Value:
        """A number handed in."""
        return Value(code, -1, uniform)

    def make(self, form: str, *operands: "float | Value", truth: bool = False) -> Value:
        """The value of a C expression in which `{0}`, `{1}`, … are the operands."""
        key = (form, *((type(each), each if isinstance(each, Value) else repr(each)) for each in operands))  # 0.0 is not -0.0
        if key not in self._known:
            values = tuple(each for each in operands if isinstance(each, Value))
            index = len(self._lines)
            value = Value(f"{self._letter}{index}", index, all(each.uniform for each in values), truth)
            self._lines.append((form.format(*map(literal, operands)), values, value))
            self._made.append((form, operands))
            self._known[key] = value
        return self._known[key]

    def scaled(self, value: "float | Value") -> tuple[Value, float] | None:
        """The `x` and `c` of which the value is `c x`, if `c` is -1 or a power of two: such products are exact, in any order."""
        if not isinstance(value, Value) or value.index < 0:
            return None
        form, operands = self._made[value.index]
        if form == "-{0}" and isinstance(operands[0], Value):
            return operands[0], -1.0
        if form == PRODUCT and isinstance(operands[0], Value) and not isinstance(operands[1], Value):
            fraction, exponent = math.frexp(operands[1])
            return (operands[0], float(operands[1])) if abs(fraction) == 0.5 and abs(exponent) < 64 else None
        return None

    def needed(self, outputs: Sequence["float | Value"]) -> set[int]:
        """The numbers of the lines that the outputs need."""
        needed: set[int] = set()
        waiting = [each for each in outputs if isinstance(each, Value)]
        while waiting:
            value = waiting.pop()
            if value.index >= 0 and value.index not in needed:
                needed.add(value.index)
                waiting += self._lines[value.index][1]
        return needed

    def statements(self, outputs: Sequence["float | Value"]) -> tuple[list[str], list[str]]:
        """The lines that the outputs need: those that are the same for all paths, and the others."""
        return self._written({index: self._lines[index][0] for index in self.needed(outputs)})

    def _written(self, codes: dict[int, str]) -> tuple[list[str], list[str]]:
        uniform: list[str] = []
        others: list[str] = []
        for index, code in sorted(codes.items()):
            value = self._lines[index][2]
            line = f"const {'int' if value.truth else 'double'} {value.code} = {code};"
            (uniform if value.uniform else others).append(line)
        return uniform, others

    def usual(self, outputs: Sequence["float | Value"], level: float, other: str) -> tuple[list[str], list[str], list[str]]:
        """`statements` where no number is below a `level` that it is held against, and the names of the comparisons that say so.

        All that is computed is computed from the same operations, and rounded alike: a compiler may neither fold a constant
        that was chosen nor add to a product that was chosen in one operation. So the constant is hidden behind `other`, some
        finite number, and the product's choice stays.
        """
        codes, above = dict[int, str](), dict[str, None]()
        waiting = [each for each in outputs if isinstance(each, Value)]
        while waiting:
            value = waiting.pop()
            if value.index < 0 or value.index in codes:
                continue
            (form, operands), codes[value.index] = self._made[value.index], self._lines[value.index][0]
            if form == CHOICE and isinstance(operands[0], Value) and self._held(operands[0], level):
                codes[value.index] = self._chosen(operands, other)
                above[operands[0].code] = None
                operands = operands[:2]
            waiting += [each for each in operands if isinstance(each, Value)]
        return *self._written(codes), list(above)

    def _chosen(self, operands: tuple["float | Value", ...], other: str) -> str:
        condition, value = operands[:2]
        if not isinstance(value, Value):
            return f"({other} - {other} + 1.0) * {literal(value)}"
        rounded = value.index < 0 or self._made[value.index][0] not in (PRODUCT, "-{0}")
        return literal(value) if rounded else CHOICE.format(literal(condition), literal(value), other)

    def _held(self, condition: Value, level: float) -> bool:
        form, operands = self._made[condition.index] if condition.index >= 0 else ("", ())
        return form == "{0} >= {1}" and not condition.uniform and not isinstance(operands[1], Value) and operands[1] == level


def literal(value: "float | Value") -> str:
    """A constant with every bit, or the name of a value."""
    if isinstance(value, Value):
        return value.code
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    return f"({float(value)!r})" if value < 0 else repr(float(value))


def add(program: Program, a: "float | Value", b: "float | Value") -> "float | Value":
    """`a + b`, nothing for 0."""
    if not isinstance(a, Value):
        a, b = b, a
    if not isinstance(a, Value):
        return a + b  # type: ignore[operator]
    return a if b == 0 else program.make("{0} + {1}", a, b)


def multiply(program: Program, a: "float | Value", b: "float | Value") -> "float | Value":
    """`a b`, nothing for 1 and 0 for 0; a power of two goes to the factor that all paths share, which is multiplied once."""
    if not isinstance(a, Value):
        a, b = b, a
    if not isinstance(a, Value):
        return a * b  # type: ignore[operator]
    for one, other in ((a, b), (b, a)):
        if _shared(other) and not _shared(one) and (found := program.scaled(one)):
            return multiply(program, found[0], multiply(program, other, found[1]))
    if isinstance(b, Value):
        return program.make(PRODUCT, a, b)
    if b == 0:
        return 0.0
    return a if b == 1 else negate(program, a) if b == -1 else program.make(PRODUCT, a, b)


def _shared(value: "float | Value") -> bool:
    return not isinstance(value, Value) or value.uniform


def negate(program: Program, a: "float | Value") -> "float | Value":
    """`−a`."""
    return program.make("-{0}", a) if isinstance(a, Value) else -a


def subtract(program: Program, a: "float | Value", b: "float | Value") -> "float | Value":
    """`a − b`."""
    if not isinstance(b, Value):
        return add(program, a, -b)
    return negate(program, b) if not isinstance(a, Value) and a == 0 else program.make("{0} - {1}", a, b)


def divide(program: Program, a: "float | Value", b: "float | Value") -> "float | Value":
    """`a / b`."""
    if not isinstance(b, Value) and b != 0:
        return multiply(program, a, 1 / b) if isinstance(a, Value) else a / b  # a product is many times faster
    if isinstance(b, Value) and b.uniform and not (isinstance(a, Value) and a.uniform):
        return multiply(program, a, program.make("1.0 / {0}", b))
    return program.make("{0} / {1}", a, b)


def power(program: Program, a: "float | Value", b: "float | Value") -> "float | Value":
    """`a^b`, by products for small whole `b` and by roots for halves."""
    if not isinstance(a, Value) and not isinstance(b, Value):
        return float(a) ** float(b)
    if isinstance(a, Value) and not isinstance(b, Value) and abs(b) <= 16 and 2 * b == int(2 * b):
        result: float | Value = 1.0
        for _ in range(int(abs(b))):
            result = multiply(program, result, a)
        if abs(b) % 1:
            result = multiply(program, result, program.make("sqrt({0})", a))
        return divide(program, 1.0, result) if b < 0 else result
    return program.make("pow({0}, {1})", a, b)


def call(name: str, exact: Callable[[float], float]) -> Callable[[Program, "float | Value"], "float | Value"]:
    """A function of C's mathematical library, folded by `exact`."""

    def apply(program: Program, a: "float | Value") -> "float | Value":
        return program.make(f"{name}({{0}})", a) if isinstance(a, Value) else exact(float(a))

    return apply
