"""What each elementwise operation of PyTorch is in C."""

import math
from collections.abc import Callable
from typing import Any

from sme.simulate.codegen.scalars import CHOICE, Program, Value, add, call, divide, multiply, negate, power, subtract

Number = float | Value
Operation = Callable[..., Number]


def _compare(sign: str) -> Operation:
    fold = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__, "==": float.__eq__, "!=": float.__ne__}

    def apply(program: Program, a: Number, b: Number) -> Number:
        if isinstance(a, Value) or isinstance(b, Value):
            return program.make(f"{{0}} {sign} {{1}}", a, b, truth=True)
        return float(fold[sign](float(a), float(b)))

    return apply


def _logical(sign: str) -> Operation:
    def apply(program: Program, a: Number, b: Number) -> Number:
        return program.make(f"({{0}} != 0) {sign} ({{1}} != 0)", a, b, truth=True)

    return apply


def _where(program: Program, condition: Number, a: Number, b: Number) -> Number:
    if not isinstance(condition, Value):
        return a if condition else b
    return a if a is b else program.make(CHOICE, condition, a, b)


def _either(program: Program, b: Number, a: Number, sign: str) -> Number:
    """Whether `b` is to be taken for `a`: it is beyond it, or not a number."""
    if not isinstance(b, Value):
        return _compare(sign)(program, b, a)
    return program.make(f"{{0}} {sign} {{1}} || {{0}} != {{0}}", b, a, truth=True)


def _least(program: Program, a: Number, b: Number) -> Number:
    return _where(program, _either(program, b, a, "<"), b, a)


def _greatest(program: Program, a: Number, b: Number) -> Number:
    return _where(program, _either(program, b, a, ">"), b, a)


def _clamp(program: Program, a: Number, low: Number | None = None, high: Number | None = None) -> Number:
    a = a if low is None else _greatest(program, a, low)
    return a if high is None else _least(program, a, high)


def _sign(program: Program, a: Number) -> Number:
    above, below = _compare(">")(program, a, 0.0), _compare("<")(program, a, 0.0)
    return _where(program, above, 1.0, _where(program, below, -1.0, 0.0))


def _sigmoid(program: Program, a: Number) -> Number:
    return divide(program, 1.0, add(program, 1.0, _EXP(program, negate(program, a))))


def _softplus(program: Program, a: Number, beta: float = 1.0, threshold: float = 20.0) -> Number:
    scaled = multiply(program, a, beta)
    soft = divide(program, _LOG1P(program, _EXP(program, scaled)), beta)
    return _where(program, _compare(">")(program, scaled, threshold), a, soft)


def _add(program: Program, a: Number, b: Number, alpha: float = 1.0) -> Number:
    return add(program, a, multiply(program, b, alpha))


def _subtract(program: Program, a: Number, b: Number, alpha: float = 1.0) -> Number:
    return subtract(program, a, multiply(program, b, alpha))


def _same(program: Program, a: Number, *ignored: Any) -> Number:
    return a


def _divide(program: Program, a: Number, b: Number) -> Number:
    return divide(program, a, b)


_EXP, _LOG1P = call("exp", math.exp), call("log1p", math.log1p)

POINTWISE: dict[str, Operation] = {
    "add": _add, "sub": _subtract, "rsub": lambda p, a, b, alpha=1.0: _subtract(p, b, a, alpha),
    "mul": multiply, "div": _divide, "neg": negate, "pow": power,
    "reciprocal": lambda p, a: divide(p, 1.0, a), "square": lambda p, a: multiply(p, a, a),
    "sqrt": call("sqrt", math.sqrt), "rsqrt": lambda p, a: divide(p, 1.0, call("sqrt", math.sqrt)(p, a)),
    "exp": _EXP, "expm1": call("expm1", math.expm1), "log": call("log", math.log), "log1p": _LOG1P,
    "sin": call("sin", math.sin), "cos": call("cos", math.cos), "tanh": call("tanh", math.tanh),
    "asin": call("asin", math.asin), "acos": call("acos", math.acos), "atan": call("atan", math.atan),
    "erf": call("erf", math.erf), "abs": call("fabs", abs), "sign": _sign, "sigmoid": _sigmoid, "softplus": _softplus,
    "where": _where, "clamp": _clamp, "clamp_min": _clamp, "clamp_max": lambda p, a, high: _clamp(p, a, None, high),
    "maximum": _greatest, "minimum": _least,
    "lt": _compare("<"), "le": _compare("<="), "gt": _compare(">"), "ge": _compare(">="),
    "eq": _compare("=="), "ne": _compare("!="),
    "logical_and": _logical("&&"), "logical_or": _logical("||"), "bitwise_and": _logical("&&"), "bitwise_or": _logical("||"),
    "logical_not": lambda p, a: _compare("==")(p, a, 0.0), "bitwise_not": lambda p, a: _compare("==")(p, a, 0.0),
    "clone": _same, "detach": _same, "alias": _same, "_to_copy": _same, "lift_fresh_copy": _same, "copy": lambda p, a, b, *_: b,
}
"""By the name of the ATen operation; each takes the program and one number for every tensor."""
