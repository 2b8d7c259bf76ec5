"""How the errors are had: from random paths, or by quadrature; and where there is none."""

from collections.abc import Iterable, Sequence
from typing import Any

from sme.common.errors import SMEError, warn
from sme.equations.base import Equation
from sme.equations.registry import is_raw
from sme.simulate.setup import Setup

MONTE_CARLO, QUADRATURE = METHODS = ("monte_carlo", "quadrature")
LARGEST = 4
"""numbers of a whole state that polynomials are made of"""
MOST = 20_000
"""draws of one step that are summed over"""
MOTIONS = 1_000
"""columns of an equation's noise, of which one factor is made at each node"""
IDLE = {"paths": None, "shards": None, "tolerance": None, "seed": 0, "backend": "auto", "device": "auto"}
"""settings of the random paths, with the values at which they are not given"""


def lack(setup: Setup) -> str:
    """Why there is no quadrature, in a sentence that says what to change; empty if there is one."""
    fields, law = setup.optimizer.fields, setup.problem.noise
    if setup.problem.dim * len(fields) > LARGEST:  # said before an equation is made
        return _large(setup, fields)
    if not law.independent_steps:
        return "the batches of a reshuffled epoch depend on each other, so that a step is no function of the state"
    every = equations(setup)
    if any(each.remembers for each in every):
        return "an equation that remembers where its step began is no function of the state alone: give driver=fast_memory"
    if any(each.fades for each in every) and setup.problem.dim * (len(fields) + 1) > LARGEST:
        return _large(setup, (*fields, "the fading memory"))
    if any(each.jumps is not None and bool((each.jumps == 0).any()) for each in every):
        return "motions beside jumps have no rule of few nodes: give an equation of one or the other"
    summed = (getattr(law, "law", law) if law.transforms else law).exact
    if not summed and (law.transforms or is_raw(setup.optimizer, setup.problem.dim)):
        return ("a step is not smooth in its Gaussian noise, or may not be, where the gradient is clipped or otherwise "
                "transformed, so that no rule of few nodes integrates it")
    if setup.optimizer.signed:
        return "" if setup.problem.dim <= 2 else "the probabilities of more than two signs have no closed form"
    try:
        draws = len(next(iter(law.quadrature()))[0])
    except (SMEError, StopIteration) as fault:
        return f"the law of its noise has no rule of few nodes ({fault})"
    if draws > MOST:
        return f"one step has {draws} batches, and at most {MOST} are summed over: take fewer examples or a smaller batch"
    count = max(map(_columns, every))
    return "" if count <= MOTIONS else f"the equation's noise has {count} columns, and at most {MOTIONS} can be had"


def _large(setup: Setup, fields: Sequence[str]) -> str:
    """That the whole state has too many numbers."""
    return (f"its state has {setup.problem.dim * len(fields)} numbers, {setup.problem.dim} of each of {', '.join(fields)}, and "
            f"at most {LARGEST} can be had")


def equations(setup: Setup) -> list[Equation]:
    """The equation under test, and of order 2 what it is held against, which may be an ODE."""
    return [setup.equation()] if setup.order == 1 else [setup.equation(), setup.reference()]


def _columns(equation: Equation) -> int:
    return equation.first + (equation.first**2 if equation.bilinear else equation.second)


def check(setups: Iterable[Setup]) -> None:
    """Raise `SMEError` where there is no quadrature."""
    if why := next(filter(None, map(lack, setups)), ""):
        raise SMEError(f"method='quadrature' cannot be had of this study, since {why}. method='monte_carlo' has it")


def idle(given: dict[str, Any]) -> None:
    """Warn of settings that only random paths have."""
    named = [f"{name} = {given[name]}" for name, usual in IDLE.items() if given[name] != usual]
    if named:
        warn(f"{', '.join(named)}: of no use with method='quadrature', which draws no paths and refines until its numerical "
             "bound is small")
