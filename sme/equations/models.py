"""Continuous models by name: the own one, those of the literature, each of which stands at the end of its file, and the caller's.

Every claim is tested by the one-step moment test (`scripts/check_order.py table=models`).
"""

from functools import partial
from typing import Any

from sme.common.errors import SMEError, choose
from sme.common.identity import recipe
from sme.common.inputs import short
from sme.equations.base import Equation
from sme.equations.drivers.names import DRIVERS
from sme.equations.literature import averaged, backward, compagnoni, malladi, ode
from sme.equations.literature.midpoint import equation as midpoint
from sme.equations.literature.model import OWN, UNCLAIMED, Claim, Model
from sme.equations.proposed.equation import Bound, Proposed
from sme.equations.registry import ORDERS, SKEWNESS, obstruction
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.problems.base import Problem

__all__ = ["MODELS", "OWN", "UNCLAIMED", "Claim", "Given", "Model", "model"]

Given = str | Proposed | type[Equation]
"""what `model=` takes: a name, what `sme.equation` made, a class of equations, or the dotted path of one of the two"""


def model(given: Given) -> Model:
    """The model of that name, or of the caller's own equation.

    Raises
    ------
    SMEError
        if there is none.
    """
    if isinstance(given, str) and "." in given:
        return proposed(recipe.located(given), given)
    if isinstance(given, str):
        return MODELS[choose("model", given, MODELS)]
    return proposed(given)


def proposed(given: Any, path: str = "") -> Model:
    """The model of the caller's own equation, or class of equations, which stands at this path if it has one.

    Raises
    ------
    SMEError
        for anything else.
    """
    if isinstance(given, Proposed):
        place = path or recipe.held(given, given.drift) or ""
        if given.name in MODELS:
            raise SMEError(f"an equation of your own is named {given.name!r}, as a model that is here: give it another name")
        return Model(given.name, partial(_bound, given), "every rule with its fields", partial(_claimed, given.order),
                     (given.order,), proposed=given, path=place)
    if isinstance(given, type) and issubclass(given, Equation):
        return Model(given.__name__, partial(_always, given), "every rule with its fields", partial(_claimed, 2), ORDERS,
                     ("independent", "step_memory", "none"), memory=given.exponent, proposed=given,
                     path=path or recipe.path(given) or "")
    shown = f"{path}, {short(given)}," if path else short(given)
    raise SMEError(f"model must be {', '.join(map(repr, MODELS))}, or an equation of your own, what sme.equation(drift=…, "
                   "diffusion=…, motions=…) makes, a subclass of sme.Equation, or the dotted path of one, as 'mine.paper'; "
                   f"got {shown}")


def _bound(given: Proposed, optimizer: Optimizer, regime: Regime) -> Bound:
    return Bound(given, regime == BALLISTIC)


def _always(given: type[Equation], optimizer: Optimizer, regime: Regime) -> type[Equation]:
    return given


def _claimed(order: float, problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    return Claim(order)


def _registered(optimizer: Optimizer, regime: Regime) -> None:
    """The class that the registry has."""


def _own(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    way = obstruction(problem, optimizer, regime, brownian)
    return Claim(0.5 if way == SKEWNESS else 1 if way or brownian in ("none", "poisson", "arrivals") else 2)


MODELS = {each.name: each for each in (
    Model(OWN, _registered, "every rule", _own, ORDERS, ("independent", *(each for each in DRIVERS if each != "independent"))),
    malladi.MODEL, compagnoni.MODEL, ode.MODEL, averaged.MODEL, backward.MODEL, midpoint.MODEL,
)}
