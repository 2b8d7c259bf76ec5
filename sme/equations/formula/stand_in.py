"""What an update rule is run with in place of tensors: one entry of each, as a symbol."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sme.equations.formula.operations import NoFormError, evaluate

SIMPLE, SMALL = 10**6, 100
"""the largest denominator of a number that is read as a fraction, and of one times π or under a root"""
DIGITS = 9
"""of a number whose decimals are read as they stand"""


@dataclass
class Run:
    """One run of a rule: the values of its settings, by which it may branch, and what it did that mixes coordinates."""

    numbers: Mapping[Any, Any]
    tau: Any
    mixes: list[str] = field(default_factory=list)

    def decided(self, relation: Any) -> bool | None:
        """Whether a relation holds at the rule's own settings for all small `τ`; None if that depends on the state."""
        if relation in (sympy.true, sympy.false):
            return bool(relation)
        if not isinstance(relation, sympy.core.relational.Relational):  # as in `if self.decay:`
            number = relation.subs(self.numbers)
            return bool(number) if number.is_number else None
        gap = (relation.lhs - relation.rhs).subs(self.numbers)
        here = gap.subs(self.tau, 0)
        if not here.is_number or (here == 0 and gap != 0):
            return None
        return bool(relation.func(here, 0))


class StandIn:
    """A sympy expression that stands for one entry of a tensor, in operators and in torch functions."""

    dtype, device, ndim, requires_grad = torch.float64, torch.device("cpu"), 1, False

    def __init__(self, value: Any, run: Run) -> None:
        self.value, self.run = value, run

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func.__name__, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("shape", "T", "mT", "data", "grad", "real"):
            raise NoFormError(name)
        return lambda *args, **kwargs: call(name, (self, *args), kwargs)

    def __bool__(self) -> bool:
        known = self.run.decided(self.value)
        if known is None:
            raise NoFormError("if, a branch on data")
        return known

    def __float__(self) -> float:
        number = self.value.subs(self.run.numbers)
        if not number.is_number:
            raise NoFormError("float()")
        return float(number)

    def __getitem__(self, place: Any) -> Any:
        raise NoFormError("indexing")

    __hash__ = object.__hash__


def _operator(name: str) -> Any:
    return lambda self, *others: call(name, (self, *others), {})


for each in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "neg", "abs", "lt", "le", "gt",
             "ge", "eq", "ne", "matmul", "rmatmul", "iadd", "isub", "imul", "itruediv"):
    setattr(StandIn, f"__{each}__", _operator(f"__{each}__"))


class Watched(TorchFunctionMode):
    """Turns torch functions over to stand-ins where torch itself does not, as in `torch.as_tensor`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        held = (*args, *(kwargs or {}).values())
        if any(isinstance(part, StandIn) for each in held for part in (each if isinstance(each, list | tuple) else (each,))):
            return call(func.__name__, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def symbolic(given: Any) -> Any:
    """A stand-in, a number or a tensor of one number, as an expression."""
    if isinstance(given, StandIn):
        return given.value
    if isinstance(given, Tensor):
        if given.numel() != 1:
            raise NoFormError(f"a tensor of {given.numel()} numbers")
        given = given.item()
    if isinstance(given, bool):
        return sympy.true if given else sympy.false
    if isinstance(given, int | np.integer):
        return sympy.Integer(int(given))
    if isinstance(given, float | np.floating):
        return _number(float(given))
    raise NoFormError(f"a {type(given).__name__}")


def _number(given: float) -> Any:
    """A float as the simplest of fractions, fractions of π and their roots that rounds to it."""
    if not math.isfinite(given):
        return sympy.Float(given)
    simple, shown = Fraction(given).limit_denominator(SIMPLE), repr(abs(given))
    if float(simple) == given:
        return _rational(simple)
    if len(shown.partition("e")[0].replace(".", "").strip("0")) <= DIGITS:
        return _rational(Fraction(repr(given)))
    if (share := Fraction(given / math.pi).limit_denominator(SMALL)) and float(share) * math.pi == given:
        return _rational(share) * sympy.pi
    if (square := Fraction(given * given).limit_denominator(SMALL)) and math.copysign(math.sqrt(square), given) == given:
        return sympy.sqrt(_rational(square)) * (1 if given > 0 else -1)
    return sympy.Float(given, 17)


def _rational(given: Fraction) -> Any:
    return sympy.Rational(given.numerator, given.denominator)


def call(name: str, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What the torch function of that name makes of stand-ins; one that writes in place changes the first."""
    run = next(part.run for each in (*args, *kwargs.values())
               for part in (each if isinstance(each, list | tuple) else (each,)) if isinstance(part, StandIn))
    plain = name.strip("_")
    made = StandIn(evaluate(plain, run, args, kwargs, symbolic), run)
    if isinstance(args[0], StandIn) and (name.endswith("_") and not name.startswith("_")):
        args[0].value = made.value
        return args[0]
    return made
