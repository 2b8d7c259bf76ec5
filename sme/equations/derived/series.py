"""Truncated power series in one small variable: forward differentiation of any order in one pass."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp

Coefficient = Any
"""a tensor, a number, a series of an outer variable, or None for 0"""

ZERO = torch.zeros((), dtype=torch.float64)
_LEVELS = itertools.count(1)
LINEAR = frozenset({"neg", "contiguous", "clone"})
COMPARE = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "isfinite", "isnan"})
UNARY = frozenset({
    "atan", "clamp", "clamp_min", "clamp_max", "cos", "cosh", "erf", "relu", "sigmoid", "sign", "sin",
    "sinh", "softplus", "tan", "tanh", "maximum", "minimum"})


class UnsupportedError(TypeError):
    """An operation that series do not know; its caller differentiates another way."""


class Series:
    """`Σ_k coefficients[k] e^k`, cut after `len(coefficients) − 1`, through which torch functions pass.

    `level` tells variables apart: of two series the one with the higher level has the other as a constant.
    """

    def __init__(self, coefficients: list[Coefficient], level: int) -> None:
        self.coefficients, self.level = coefficients, level

    @classmethod
    def variable(cls, order: int) -> "Series":
        """A new variable `e`."""
        return cls([None, ZERO + 1] + [None] * (order - 1), next(_LEVELS))

    def map(self, function: Callable[[Any], Any]) -> "Series":
        """A linear function of every coefficient."""
        return Series([None if c is None else function(c) for c in self.coefficients], self.level)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        return apply(func.__name__.strip("_"), func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        function = getattr(torch, name, None)
        if name.startswith("_") or function is None:
            raise AttributeError(name)
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def __add__(self, other: Any) -> "Series":
        return _combine(self, other, _add)

    def __mul__(self, other: Any) -> "Series":
        return _combine(self, other, _multiply)

    def __neg__(self) -> "Series":
        return self.map(lambda c: -c)

    def __sub__(self, other: Any) -> "Series":
        return self + -other

    def __rsub__(self, other: Any) -> "Series":
        return -self + other

    def __truediv__(self, other: Any) -> "Series":
        return _combine(self, other, _divide)

    def __rtruediv__(self, other: Any) -> "Series":
        return _combine(other, self, _divide)

    def __pow__(self, exponent: Any) -> Any:
        return torch.pow(self, exponent)  # type: ignore[call-overload]

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> Tensor:
        return base(self) < base(other)

    def __le__(self, other: Any) -> Tensor:
        return base(self) <= base(other)

    def __gt__(self, other: Any) -> Tensor:
        return base(self) > base(other)

    def __ge__(self, other: Any) -> Tensor:
        return base(self) >= base(other)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b, "radd": lambda a, b: a + b, "sub": lambda a, b: a - b, "rsub": lambda a, b: b - a,
    "mul": lambda a, b: a * b, "rmul": lambda a, b: a * b, "multiply": lambda a, b: a * b, "subtract": lambda a, b: a - b,
    "div": lambda a, b: a / b, "truediv": lambda a, b: a / b, "true_divide": lambda a, b: a / b, "rtruediv": lambda a, b: b / a,
    "rdiv": lambda a, b: b / a,
}


def apply(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the torch function of that name does to series."""
    if name in BINARY and not kwargs:
        # the left operand is a tensor: turn the operation over to the series
        left, right = args
        if not isinstance(left, Series):
            left = Series([left] + [None] * (len(right.coefficients) - 1), right.level)
        return BINARY[name](left, right)
    if name in COMPARE:
        return func(*map(base, args), **kwargs)
    if name == "where":
        return _where(base(args[0]), *args[1:])
    if name in LINEAR:
        return args[0].map(func)
    if name in CLOSED and len(args) == 1 and not kwargs:
        return CLOSED[name](args[0])
    if name == "pow" and isinstance(args[0], Series) and isinstance(args[1], int) and 0 < args[1] <= 8:
        return math.prod([args[0]] * (args[1] - 1), start=args[0])
    if name in UNARY or name == "pow":
        if any(isinstance(other, Series) for other in (*args[1:], *kwargs.values())):
            raise UnsupportedError(name)
        return _unary(lambda z: func(z, *args[1:], **kwargs), args[0])
    raise UnsupportedError(name)


def base(value: Any) -> Any:
    """The value at `e = 0`, of every variable."""
    while isinstance(value, Series):
        value = ZERO if value.coefficients[0] is None else value.coefficients[0]
    return value


def _combine(a: Any, b: Any, operation: Callable[[list[Any], list[Any]], list[Any]]) -> Series:
    level = max(x.level for x in (a, b) if isinstance(x, Series))
    own = [isinstance(x, Series) and x.level == level for x in (a, b)]
    length = max(len(x.coefficients) for x, mine in zip((a, b), own, strict=True) if mine)
    parts = [x.coefficients if mine else [x] + [None] * (length - 1) for x, mine in zip((a, b), own, strict=True)]
    return Series(operation(*parts), level)


def _add(a: list[Any], b: list[Any]) -> list[Any]:
    return [y if x is None else x if y is None else x + y for x, y in zip(a, b, strict=True)]


def _sum(terms: list[Any]) -> Any:
    return None if not terms else sum(terms[1:], terms[0])


def _products(a: list[Any], b: list[Any], k: int, first: int, last: int) -> list[Any]:
    """The products `a_i b_{k−i}` that are not 0, `first ≤ i ≤ last`."""
    return [a[i] * b[k - i] for i in range(first, last + 1) if a[i] is not None and b[k - i] is not None]


def _multiply(a: list[Any], b: list[Any]) -> list[Any]:
    return [_sum(_products(a, b, k, 0, k)) for k in range(len(a))]


def _less(a: Any, terms: list[Any]) -> Any:
    total = _sum(terms)
    return a if total is None else -total if a is None else a - total


def _divide(a: list[Any], b: list[Any]) -> list[Any]:
    out: list[Any] = []
    inverse = 1.0 / b[0]
    for k in range(len(a)):
        rest = _less(a[k], _products(out, b, k, 0, k - 1))
        out.append(None if rest is None else rest * inverse)
    return out


def _sqrt(a: Series) -> Series:
    root: list[Any] = [torch.sqrt(_value(a.coefficients[0]))]
    half = 0.5 / root[0]
    for k in range(1, len(a.coefficients)):
        rest = _less(a.coefficients[k], _products(root, root, k, 1, k - 1))
        root.append(None if rest is None else rest * half)
    return Series(root, a.level)


def _exp(a: Series, start: Callable[[Any], Any] = torch.exp) -> Series:
    """`e_k = Σ_j j a_j e_{k−j} / k`, after `start(a₀)`."""
    begin, steps = _value(a.coefficients[0]), [None if c is None else j * c for j, c in enumerate(a.coefficients)]
    power: list[Any] = [torch.exp(begin)]
    for k in range(1, len(steps)):
        total = _sum(_products(steps, power, k, 1, k))
        power.append(None if total is None else total / k)
    return Series([start(begin), *power[1:]], a.level)


def _log(a: Series, more: float = 0.0) -> Series:
    """`l_k = (a_k − Σ_{j<k} j l_j a_{k−j} / k) / a₀` of `a + more`."""
    begin, steps = _value(a.coefficients[0]), [None]
    out: list[Any] = [torch.log1p(begin) if more else torch.log(begin)]
    for k in range(1, len(a.coefficients)):
        found = _sum(_products(steps, a.coefficients, k, 1, k - 1))
        rest = _less(a.coefficients[k], [] if found is None else [found / k])
        out.append(None if rest is None else rest / (begin + more))
        steps.append(None if rest is None else k * out[k])
    return Series(out, a.level)


CLOSED: dict[str, Callable[[Series], Series]] = {
    "reciprocal": lambda a: 1 / a, "square": lambda a: a * a, "sqrt": _sqrt, "rsqrt": lambda a: 1 / _sqrt(a), "exp": _exp,
    "expm1": lambda a: _exp(a, torch.expm1), "log": _log, "log1p": lambda a: _log(a, 1.0), "abs": lambda a: a * base(a).sign()}
"""functions whose coefficients have a recursion of their own; those of `UNARY` are differentiated one by one"""


def _where(condition: Tensor, a: Any, b: Any) -> Series:
    def pick(x: list[Any], y: list[Any]) -> list[Any]:
        pairs = zip(x, y, strict=True)
        return [None if p is None and q is None else torch.where(condition, _value(p), _value(q)) for p, q in pairs]

    return _combine(a, b, pick)


def _value(coefficient: Any) -> Any:
    """A coefficient in double precision: a bare number would be single in `torch.where`."""
    if isinstance(coefficient, float | int):
        return ZERO + coefficient
    return ZERO if coefficient is None else coefficient


def _unary(function: Callable[[Any], Any], a: Series) -> Series:
    """`Σ_k function^(k)(a₀) (a − a₀)^k / k!`."""
    start, order = _value(a.coefficients[0]), len(a.coefficients) - 1
    small = Series([None, *a.coefficients[1:]], a.level)
    total, power = Series([function(start)] + [None] * order, a.level), small
    for k in range(1, order + 1):
        function = _derivative(function)
        if all(c is None for c in power.coefficients):
            break
        total = total + power * (function(start) / math.factorial(k))
        power = power * small
    return total


def _derivative(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The derivative of an elementwise function, of tensors and of series."""

    def derivative(z: Any) -> Any:
        if isinstance(z, Series):
            return _unary(derivative, z)
        z = torch.as_tensor(z, dtype=torch.float64)
        return jvp(function, (z,), (torch.ones_like(z),))[1]

    return derivative
