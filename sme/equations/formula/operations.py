"""The torch functions that have a symbolic form."""

from collections.abc import Callable, Mapping
from typing import Any

import sympy


class NoFormError(TypeError):
    """An operation without a symbolic form; the message is its name."""


ROOT2 = sympy.sqrt(2)
PLAIN: dict[str, Callable[..., Any]] = {
    "neg": lambda a: -a, "negative": lambda a: -a, "mul": lambda a, b: a * b, "multiply": lambda a, b: a * b,
    "div": lambda a, b: a / b, "divide": lambda a, b: a / b, "true_divide": lambda a, b: a / b, "truediv": lambda a, b: a / b,
    "radd": lambda a, b: b + a, "rsub": lambda a, b: b - a, "rmul": lambda a, b: b * a, "rtruediv": lambda a, b: b / a,
    "pow": lambda a, b: a**b, "float_power": lambda a, b: a**b, "rpow": lambda a, b: b**a, "square": lambda a: a * a,
    "iadd": lambda a, b: a + b, "isub": lambda a, b: a - b, "imul": lambda a, b: a * b, "itruediv": lambda a, b: a / b,
    "sqrt": sympy.sqrt, "rsqrt": lambda a: 1 / sympy.sqrt(a), "reciprocal": lambda a: 1 / a, "abs": sympy.Abs,
    "absolute": sympy.Abs, "sign": sympy.sign, "sgn": sympy.sign, "exp": sympy.exp, "exp2": lambda a: 2**a,
    "expm1": lambda a: sympy.exp(a) - 1, "log": sympy.log, "log1p": lambda a: sympy.log(1 + a),
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "asin": sympy.asin, "arcsin": sympy.asin, "acos": sympy.acos,
    "arccos": sympy.acos, "atan": sympy.atan, "arctan": sympy.atan, "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh,
    "asinh": sympy.asinh, "arcsinh": sympy.asinh, "erf": sympy.erf, "erfc": lambda a: 1 - sympy.erf(a),
    "sigmoid": lambda a: 1 / (1 + sympy.exp(-a)), "softplus": lambda a: sympy.log(1 + sympy.exp(a)),
    "softsign": lambda a: a / (1 + sympy.Abs(a)), "silu": lambda a: a / (1 + sympy.exp(-a)),
    "gelu": lambda a: a * (1 + sympy.erf(a / ROOT2)) / 2, "hypot": lambda a, b: sympy.sqrt(a * a + b * b),
    "lerp": lambda a, b, share: a + share * (b - a), "maximum": sympy.Max, "minimum": sympy.Min,
    "relu": lambda a: sympy.Max(a, 0), "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b, "less": lambda a, b: a < b, "greater": lambda a, b: a > b,
    "eq": lambda a, b: sympy.Eq(a, b), "ne": lambda a, b: sympy.Ne(a, b),
    "zeros_like": lambda _: sympy.S.Zero, "ones_like": lambda _: sympy.S.One, "full_like": lambda _, fill: fill,
}
SAME = frozenset({"clone", "contiguous", "positive", "pos", "to", "double", "tensor", "as_tensor", "type_as", "expand_as"})
"""what gives back what it is given"""
ONE: dict[str, Callable[..., Any]] = {
    "sum": lambda a: a, "mean": lambda a: a, "norm": sympy.Abs, "vector_norm": sympy.Abs, "linalg_vector_norm": sympy.Abs,
    "dot": lambda a, b: a * b, "inner": lambda a, b: a * b, "amax": lambda a: a, "amin": lambda a: a,
}
"""what mixes the coordinates, as it is of a single one"""
ARGUMENTS = {"dot": 2, "inner": 2}
DROPPED = frozenset({"dtype", "device", "requires_grad", "memory_format", "layout", "copy", "non_blocking", "inplace"})


def _add(run: Any, a: Any, b: Any, alpha: Any = 1) -> Any:
    return a + alpha * b


def _sub(run: Any, a: Any, b: Any, alpha: Any = 1) -> Any:
    return a - alpha * b


def _addcmul(run: Any, a: Any, b: Any, c: Any, value: Any = 1) -> Any:
    return a + value * b * c


def _addcdiv(run: Any, a: Any, b: Any, c: Any, value: Any = 1) -> Any:
    return a + value * b / c


def _clamp(run: Any, a: Any, min: Any = None, max: Any = None) -> Any:
    a = a if min is None else sympy.Max(a, min)
    return a if max is None else sympy.Min(a, max)


def _where(run: Any, condition: Any, a: Any, b: Any) -> Any:
    known = run.decided(condition)
    if known is None:
        raise NoFormError("where, a branch on data")
    return a if known else b


OTHERS: dict[str, Callable[..., Any]] = {
    "add": _add, "sub": _sub, "subtract": _sub, "addcmul": _addcmul, "addcdiv": _addcdiv, "clamp": _clamp, "clip": _clamp,
    "clamp_min": lambda run, a, min: _clamp(run, a, min), "clamp_max": lambda run, a, max: _clamp(run, a, max=max),
    "where": _where,
}


def evaluate(name: str, run: Any, args: Any, kwargs: Mapping[str, Any], symbolic: Callable[[Any], Any]) -> Any:
    """The expression that the torch function of that name makes of arguments that `symbolic` turns into expressions.

    Raises
    ------
    NoFormError
        naming one without a symbolic form.
    """
    if name in SAME:
        return symbolic(args[0])
    if name in ONE:
        run.mixes.append(name)
        return ONE[name](*map(symbolic, args[: ARGUMENTS.get(name, 1)]))
    given = {key: None if value is None else symbolic(value) for key, value in kwargs.items() if key not in DROPPED}
    if name in PLAIN and not given:
        return PLAIN[name](*map(symbolic, args))
    if name in OTHERS:
        return OTHERS[name](run, *(None if each is None else symbolic(each) for each in args), **given)
    raise NoFormError(name)
