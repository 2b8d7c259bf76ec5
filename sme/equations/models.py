"""Continuous models by name: which equation each has of which optimizer, and what order is claimed of it where.

Every claim is tested by the one-step moment test (`scripts/check_order.py --models`); a further model is a row of `MODELS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, several, short
from sme.equations.base import Equation
from sme.equations.closed.adam import BatchEquivalentAdam
from sme.equations.closed.rmsprop import BatchEquivalentRMSProp
from sme.equations.literature import averaged
from sme.equations.literature.backward import Backward, check_start
from sme.equations.literature.compagnoni import (
    BallisticCompagnoniAdam,
    BallisticCompagnoniRMSProp,
    BallisticCompagnoniSignSGD,
    BatchEquivalentCompagnoniAdam,
    BatchEquivalentCompagnoniRMSProp,
    BatchEquivalentCompagnoniSignSGD,
)
from sme.equations.literature.malladi import BallisticMalladiAdam, BallisticMalladiRMSProp
from sme.equations.literature.ode import BallisticODE, BatchEquivalentODE
from sme.equations.registry import BROWNIAN, ORDERS, SKEWNESS, obstruction
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer, State
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.rmspropw import RMSPropW
from sme.optimizers.signsgd import SignSGD
from sme.problems.base import Problem
from sme.problems.noise.diagonal import DiagonalNoise

OWN = "sme"
"""the model that is derived here"""
UNCLAIMED = "no order claimed"
ORTHOGONAL = 1e-12
"""a correlation of the noise below which it is rounding"""
Kind = type[Equation] | None


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

    def lack(self, problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> str:
        """That no order is claimed, and why; empty if one is."""
        lack = "" if self.name == OWN else self.claim(problem, optimizer, regime, brownian).lack
        return f"{UNCLAIMED}: {lack}" if lack else ""

    def described(self, optimizer: Optimizer) -> tuple[str, ...]:
        """The fields that it describes."""
        return tuple(name for name in optimizer.fields if self.fields is None or name in self.fields)

    def motion(self, given: str | None) -> str:
        """The Brownian motions asked for, the model's own by default.

        Raises
        ------
        SMEError
            for some that it has not.
        """
        if given is None:
            return self.brownian[0]
        if choose("brownian", given, BROWNIAN) not in self.brownian:
            raise SMEError(f"model='{self.name}' has brownian={' or '.join(map(repr, self.brownian))} alone, got {short(given)}: "
                           "leave brownian out")
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
            value = number("order", part) if str(part).strip() in map(str, self.orders) else None
            if value is None:
                of = "" if self.name == OWN else f" of model='{self.name}'"
                rest = "no equation of another order is known" if self.name == OWN else "leave order out"
                raise SMEError(f"order{of} must be {allowed}, got {short(part)}: {rest}")
            chosen.append(int(value))
        if not chosen:
            raise SMEError(f"order is empty: give {allowed}")
        return sorted(set(chosen))


def model(name: str) -> Model:
    """The model of that name.

    Raises
    ------
    SMEError
        if there is none.
    """
    return MODELS[choose("model", name, MODELS)]


def _table(kinds: Mapping[tuple[type[Optimizer], Regime], type[Equation]]) -> Callable[[Optimizer, Regime], Kind]:
    """Of these optimizers alone, `ε` outside the root."""

    def kind(optimizer: Optimizer, regime: Regime) -> Kind:
        outside = getattr(optimizer, "eps_mode", "outside") == "outside"
        return kinds.get((type(optimizer), regime)) if outside else None

    return kind


def _fixed(equation: type[Equation]) -> Callable[[Optimizer, Regime], Kind]:
    """Of the rules whose memory is slaved when their decays are fixed, in the ballistic regime."""
    return lambda optimizer, regime: equation if type(optimizer) in averaged.RULES and regime == BALLISTIC else None


def _skewed(problem: Problem, regime: Regime) -> Claim:
    """Order 1, but for skewed noise that is not small."""
    return Claim(0.5 if problem.noise.skewed and regime == BATCH_EQUIVALENT else 1)


def _own(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    way = obstruction(problem, optimizer, regime, brownian)
    return Claim(0.5 if way == SKEWNESS else 1 if way or brownian == "none" else 2)


def _ode(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    if regime == BATCH_EQUIVALENT:
        return Claim(0, "the ODE lacks the noise, which is not small in this regime")
    return Claim(1)


def _malladi(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    if regime == BALLISTIC:
        return Claim(0, "v lacks the gradient's square, which is not small in this regime")
    return _skewed(problem, regime)


def _compagnoni(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    if optimizer.signed and regime == BATCH_EQUIVALENT and _correlated(problem):
        return Claim(0, "the signs are taken to be as correlated as their noise, which is not small in this regime")
    return _skewed(problem, regime)


def _correlated(problem: Problem) -> bool:
    """Whether the noise of one parameter goes with that of another, at some points."""
    law, dim = problem.noise, problem.dim
    if isinstance(law, DiagonalNoise) or not law.paired:  # then every coordinate has a motion of its own
        return False
    points = torch.sin(torch.arange(1.0, 3 * dim + 1, dtype=torch.float64)).reshape(3, dim)
    units = torch.eye(law.motions, dtype=torch.float64)
    columns = torch.stack([law.diffuse(points, unit.expand(3, -1)) for unit in units], -1)
    covariance = columns @ columns.mT
    return bool((covariance - torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))).abs().max() > ORTHOGONAL)


_MALLADI = _table({
    (RMSProp, BALLISTIC): BallisticMalladiRMSProp,
    (RMSProp, BATCH_EQUIVALENT): BatchEquivalentRMSProp,
    (Adam, BALLISTIC): BallisticMalladiAdam,
    (Adam, BATCH_EQUIVALENT): BatchEquivalentAdam,
})
_COMPAGNONI = _table({
    (SignSGD, BALLISTIC): BallisticCompagnoniSignSGD,
    (SignSGD, BATCH_EQUIVALENT): BatchEquivalentCompagnoniSignSGD,
    **{(rule, BALLISTIC): BallisticCompagnoniRMSProp for rule in (RMSProp, RMSPropW)},
    **{(rule, BATCH_EQUIVALENT): BatchEquivalentCompagnoniRMSProp for rule in (RMSProp, RMSPropW)},
    **{(rule, BALLISTIC): BallisticCompagnoniAdam for rule in (Adam, AdamW)},
    **{(rule, BATCH_EQUIVALENT): BatchEquivalentCompagnoniAdam for rule in (Adam, AdamW)},
})
MODELS = {each.name: each for each in (
    Model(OWN, lambda optimizer, regime: None, "every rule", _own, ORDERS, ("independent", "step_memory", "none")),
    Model("malladi", _MALLADI, "RMSProp and Adam, with ε outside the root", _malladi),
    Model("compagnoni", _COMPAGNONI, "RMSProp, RMSPropW, Adam and AdamW, with ε outside the root, and SignSGD", _compagnoni),
    Model("ode", lambda optimizer, regime: BallisticODE if regime == BALLISTIC else BatchEquivalentODE, "every rule", _ode,
          brownian=("none",)),
    Model("averaged", _fixed(averaged.Averaged), "RMSProp, Adam and their W, ballistic with memory=0", _ode, brownian=("none",),
          fields=("theta",), memory=0.0),
    Model("backward", _fixed(Backward), "RMSProp, Adam and their W, ballistic with memory=0 and without noise",
          lambda *_: Claim(2), ORDERS, ("none",), ("theta",), 0.0, check_start),
)}
