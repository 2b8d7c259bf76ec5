"""What a continuous model is: which equation it has of which optimizer, and what order is claimed of it where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, several, short, word
from sme.equations.base import Equation
from sme.equations.base import Kind as Made
from sme.equations.drivers.names import DRIVERS
from sme.optimizers.base import Optimizer, State
from sme.optimizers.regimes import BATCH_EQUIVALENT, Regime
from sme.problems.base import Problem

OWN = "sme"
"""the model that is derived here"""
UNCLAIMED = "no order claimed"
Kind = Made | None


@dataclass(frozen=True)
class Claim:
    """The highest order that is claimed, and what stands in the way of order 1; empty if nothing does."""

    order: float
    lack: str = ""


@dataclass(frozen=True)
class Model:
    """A continuous model.

    Attributes
    ----------
    kind
        from the optimizer and the regime to the class of its equation; None where it has none.
    covers
        the optimizers that it has, in words.
    orders, brownian
        what may be asked for, the default of `brownian` first.
    claim
        from the problem, the optimizer, the regime and `brownian` to what is claimed.
    fields
        those of the optimizer's that it describes; None: all.
    memory
        the memory exponent of the optimizers that it is for: at 0, their memory is slaved, and no one-step test applies.
    start
        raises `SMEError` for a start from which it is not of order 2; None: there is no such.
    proposed
        the caller's own equation or class of them, of which nothing is claimed here; None for a model of the package's.
    path
        the dotted path of that one; empty where it has none.
    """

    name: str
    kind: Callable[[Optimizer, Regime], Kind]
    covers: str
    claim: Callable[[Problem, Optimizer, Regime, str], Claim]
    orders: tuple[int, ...] = (1,)
    brownian: tuple[str, ...] = ("independent",)
    fields: tuple[str, ...] | None = None
    memory: float = 1.0
    start: Callable[[Problem, Optimizer, State], None] | None = None
    proposed: object = None
    path: str = ""

    def check(self, optimizer: Optimizer, regime: Regime) -> Kind:
        """The class of the equation; None for that of the registry.

        Raises
        ------
        SMEError
            if the model has none.
        """
        mode = getattr(optimizer, "eps_mode", "outside")
        found = self.kind(optimizer, regime)
        if found is None and self.name != OWN:
            raise SMEError(f"model='{self.name}' has no equation of {type(optimizer).__name__}"
                           f"{'' if mode == 'outside' else f' with eps_mode={mode!r}'} in the {regime.name} regime: it has "
                           f"{self.covers}"
                           f"{f'. Use model={OWN!r}, which has one of every smooth rule' if self.memory == 1 else ''}")
        return found

    @property
    def origin(self) -> str:
        """Whose the equation is, where it is not of this package; empty if it is."""
        if self.proposed is None:
            return ""
        given = " or ".join(map(str, self.orders))
        return (f"The equation {self.path or repr(self.name)} is the caller's: it is held against order {given}, with which it "
                "was given, and nothing is claimed of it here.")

    def lack(self, problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> str:
        """That no order is claimed, and why; empty if one is."""
        lack = "" if self.name == OWN else self.claim(problem, optimizer, regime, brownian).lack
        return f"{UNCLAIMED}: {lack}" if lack else ""

    def counts(self, problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> bool:
        """Whether it is the caller's own, and driven by jumps, which have the third moment that a diffusion lacks."""
        kind = None if self.proposed is None else self.check(optimizer, regime)
        try:
            return kind is not None and kind(problem, optimizer, 2.0**-10, min(self.orders), brownian).jumps is not None
        except SMEError:  # it has no equation of so small a step size
            return False

    def described(self, optimizer: Optimizer) -> tuple[str, ...]:
        """The fields that it describes."""
        return tuple(name for name in optimizer.fields if self.fields is None or name in self.fields)

    def motion(self, given: str | None) -> str:
        """The driver asked for, the model's own by default.

        Raises
        ------
        SMEError
            for some that it has not.
        """
        if given is None:
            return self.brownian[0]
        if choose("driver", given, DRIVERS) not in self.brownian:
            raise SMEError(f"model='{self.name}' has driver={' or '.join(map(repr, self.brownian))} alone, got {short(given)}: "
                           "leave driver out")
        return given

    def asked(self, given: object, default: tuple[int, ...]) -> list[int]:
        """The orders asked for, without repeats; by default these.

        Raises
        ------
        SMEError
            for an order that the model has not.
        """
        if given is None:
            return list(default)
        chosen = []
        allowed = " or ".join(map(str, self.orders)) + (" (or both)" if len(self.orders) > 1 else "")
        for part in several(given):
            value = number("order", part) if word(part) in map(str, self.orders) else None
            if value is None:
                of = "" if self.name == OWN else f" of model='{self.name}'"
                rest = "no equation of another order is known" if self.name == OWN else "leave order out"
                raise SMEError(f"order{of} must be {allowed}, got {short(part)}: {rest}")
            chosen.append(int(value))
        if not chosen:
            raise SMEError(f"order is empty: give {allowed}")
        return sorted(set(chosen))


def table(kinds: Mapping[tuple[type[Optimizer], Regime], type[Equation]]) -> Callable[[Optimizer, Regime], Kind]:
    """Of these optimizers alone, `ε` outside the root."""
    return partial(_listed, kinds)


def _listed(kinds: Mapping[tuple[type[Optimizer], Regime], type[Equation]], optimizer: Optimizer, regime: Regime) -> Kind:
    outside = getattr(optimizer, "eps_mode", "outside") == "outside"
    return kinds.get((type(optimizer), regime)) if outside else None


def skewed(problem: Problem, regime: Regime) -> Claim:
    """Order 1, but for skewed noise that is not small."""
    return Claim(0.5 if problem.noise.skewed and regime == BATCH_EQUIVALENT else 1)
