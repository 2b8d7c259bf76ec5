"""An update rule as expressions: its Taylor coefficients in the gradient's step and in τ."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from sme.common.errors import SMEError, reason
from sme.equations.formula.operations import NoFormError
from sme.equations.formula.stand_in import Run, StandIn, Watched, symbolic
from sme.optimizers.base import Optimizer
from sme.optimizers.bias import Correction
from sme.optimizers.regimes import Gradient
from sme.optimizers.signum import Signum

KEPT = ("memory", "v_floor", "t0")
"""settings that are no letters of a formula"""
TAKEN = frozenset({"tau", "t", "f", "g", "H", "S", "sigma", "kappa", "mu", "K", "P", "r", "b", "Gamma", "gamma1", "gamma2"})
"""letters of the formulas themselves: a setting or field of such a name gets a 0 beside it"""
TAU, T = sympy.Symbol("tau", positive=True), sympy.Symbol("t", positive=True)
S, Q = sympy.Symbol("s", real=True), sympy.Symbol("q", nonnegative=True)
GAIN, GAMMA = sympy.Symbol("Gamma", positive=True), sympy.Symbol("gamma2", positive=True)
GAIN_SLOPE, GAMMA_SLOPE = sympy.Symbol("Gamma_dot", real=True), sympy.Symbol("gamma2_dot", real=True)


@dataclass(frozen=True)
class Rule:
    """`U(t, x, s, q, τ) = x + A s + τ (B q + C) + s τ K(q) + ½ τ² Z(q) + ½ s² τ L(q) + ½ V s² + …`, by field.

    Attributes
    ----------
    fields
        the symbol of each field.
    clock
        what stands for the bias correction: its symbols and what they are.
    mixes
        the operations by which coordinates act on each other; empty if they do not.
    """

    fields: Mapping[str, Any]
    kick: Mapping[str, Any]
    square: Mapping[str, Any]
    still: Mapping[str, Any]
    cross: Mapping[str, Any]
    second: Mapping[str, Any]
    twice: Mapping[str, Any]
    bent: Mapping[str, Any]
    clock: Mapping[Any, Any]
    mixes: tuple[str, ...]


def read(optimizer: Optimizer) -> Rule:
    """The Taylor coefficients of one step, by running `update` with symbols.

    The floor under `v` is left out, as for all `v` above it; a setting that is 0 is off, and stays 0.

    Raises
    ------
    SMEError
        naming an operation that has no symbolic form; for a rule that moves at `τ = 0`, or takes the raw gradient apart.
    """
    name = type(optimizer).__name__
    if optimizer.signed or isinstance(optimizer, Signum):
        raise SMEError(f"{name} steps by signs, which cannot be expanded: in the ballistic regime with brownian='independent' "
                       "SignSGD has formulas for Gaussian noise, and Signum for any; others have none")
    if optimizer.memory != 1:
        raise SMEError(f"formulas are for memory = 1, 1 − β = c τ, and {name} has memory = {optimizer.memory:g}")
    numbers: dict[Any, Any] = {}
    run = Run(numbers, TAU)
    fields = {each: _symbol(each, positive=True if each in optimizer.nonnegative else None) for each in optimizer.fields}
    spelled = _spelled(optimizer, run, numbers)
    clock = _clock(optimizer, spelled, run)
    state: Any = {each: StandIn(symbol, run) for each, symbol in fields.items()}
    given: Any = Gradient(StandIn(S, run), StandIn(Q, run))  # type: ignore[arg-type]
    try:
        with Watched():
            new: Any = spelled.update(state, given, StandIn(TAU, run), StandIn(T, run))  # type: ignore[arg-type]
        ends = {each: sympy.sympify(symbolic(new[each])) for each in fields}
    except SMEError:
        raise
    except NoFormError as fault:
        raise SMEError(f"the update rule of {name} has no formula: `{fault}` has no symbolic form here") from fault
    except Exception as fault:
        raise SMEError(f"the update rule of {name} has no formula: it stops where symbols stand for tensors, with "
                       f"{reason(fault)}") from fault
    return _expanded(name, fields, ends, clock, tuple(dict.fromkeys(run.mixes)))


def _expanded(name: str, fields: Mapping[str, Any], ends: Mapping[str, Any], clock: Mapping[Any, Any],
              mixes: tuple[str, ...]) -> Rule:
    """The coefficients, and that no others matter."""
    parts: dict[str, dict[str, Any]] = {each: {} for each in ("kick", "square", "still", "cross", "second", "twice", "bent")}
    for field, end in ends.items():
        start = _at(end)
        _check_finite(name, start)
        if not zero(start - fields[field]):
            raise SMEError(f"{field} moves although τ is 0 in the update rule of {name}, so it has no formula: every change must "
                           "carry a factor gradient.step or tau")
        slope, flow = sympy.diff(end, S), sympy.diff(end, TAU)
        kick, rate = _at(slope), _at(flow)
        square = sympy.diff(rate, Q)
        both = sympy.diff(flow, S)
        parts["kick"][field], parts["square"][field], parts["still"][field] = kick, square, rate.subs(Q, 0)
        parts["cross"][field], parts["second"][field] = _at(both), _at(sympy.diff(flow, TAU))
        parts["twice"][field], parts["bent"][field] = _at(sympy.diff(both, S)), (bent := _at(sympy.diff(slope, S)))
        _check_finite(name, *(part[field] for part in parts.values()))
        if not zero(sympy.diff(square, Q)) or kick.has(Q) or bent.has(Q):
            raise SMEError(f"{field} of {name} is not affine in gradient.step and gradient.square at first order in τ, as in a "
                           "clip or a sign of the raw gradient, so it has no formula")
    return Rule(fields, clock=clock, mixes=mixes, **parts)


def _check_finite(name: str, *expressions: Any) -> None:
    if any(each.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo) for each in expressions):
        raise SMEError(f"the update rule of {name} is not a number at τ = 0, or has half powers of τ, so it has no formula: let "
                       "nothing be divided by τ, and leave √τ to gradient.step")


def _at(expression: Any) -> Any:
    """At `s = τ = 0`, where kinks are passed over."""
    return sympy.sympify(expression).subs({S: 0, TAU: 0}).replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)


def zero(expression: Any) -> bool:
    """Whether an expression is 0."""
    expanded = sympy.expand(expression)
    return bool(expanded == 0 or sympy.simplify(expanded) == 0)


def _symbol(name: str, positive: bool | None) -> Any:
    return sympy.Symbol(f"{name}0" if name in TAKEN else name, real=True, positive=positive)


def _spelled(optimizer: Optimizer, run: Run, numbers: dict[Any, Any]) -> Optimizer:
    """A copy whose settings are letters, `numbers` getting their values; 0, and what is no float, stays."""
    spelled, held = copy.copy(optimizer), dict[str, Any]()
    for kind in reversed(type(optimizer).__mro__):
        held |= {name: value for name, value in vars(kind).items() if isinstance(value, float)}
    for name, value in {**held, **vars(optimizer)}.items():
        several = isinstance(value, tuple | list) and bool(value) and all(isinstance(each, float) for each in value)
        if name in KEPT or not (isinstance(value, float) or several):
            continue
        letters = []
        for place, each in enumerate(value if several else (value,)):
            symbol = _symbol(name.strip("_") + (str(place + 1) if several else ""), positive=True if each > 0 else None)
            numbers[symbol] = each
            letters.append(StandIn(symbol, run) if each != 0 else each)
        object.__setattr__(spelled, name, type(value)(letters) if several else letters[0])
    if hasattr(spelled, "v_floor"):
        object.__setattr__(spelled, "v_floor", 0.0)
    return spelled


def _clock(optimizer: Any, spelled: Any, run: Run) -> dict[Any, Any]:
    """`Γ` and `γ₂` in place of the bias correction, and their values; `τ` stays in them (docs/theory/equations.md, section 3)."""
    if not getattr(optimizer, "bias_correction", False) or not hasattr(optimizer, "correction"):
        return {}
    known = Correction(StandIn(GAIN, run), StandIn(sympy.sqrt(GAMMA), run))  # type: ignore[arg-type]
    object.__setattr__(spelled, "correction", lambda *_: known)
    rates, gammas = (spelled.c1.value, spelled.c2.value), sympy.symbols("gamma1 gamma2", positive=True)
    averages = [1 - (1 - rate * TAU) ** (T / TAU + after) for rate, after in zip(rates, optimizer.clock, strict=True)]
    gain = sympy.sqrt(averages[1]) / averages[0]
    return {GAIN: sympy.sqrt(gammas[1]) / gammas[0], **dict(zip(gammas, averages, strict=True)),
            GAIN_SLOPE: sympy.diff(gain, T), GAMMA_SLOPE: sympy.diff(averages[1], T)}
