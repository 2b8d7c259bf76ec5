"""Continuous models by name: the own one, and those of the literature, each of which stands at the end of its file.

Every claim is tested by the one-step moment test (`scripts/check_order.py table=models`).
"""

from sme.common.errors import choose
from sme.equations.literature import averaged, backward, compagnoni, malladi, ode
from sme.equations.model import OWN, UNCLAIMED, Claim, Model
from sme.equations.registry import ORDERS, SKEWNESS, obstruction
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import Regime
from sme.problems.base import Problem

__all__ = ["MODELS", "OWN", "UNCLAIMED", "Claim", "Model", "model"]


def model(name: str) -> Model:
    """The model of that name.

    Raises
    ------
    SMEError
        if there is none.
    """
    return MODELS[choose("model", name, MODELS)]


def _registered(optimizer: Optimizer, regime: Regime) -> None:
    """The class that the registry has."""


def _own(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    way = obstruction(problem, optimizer, regime, brownian)
    return Claim(0.5 if way == SKEWNESS else 1 if way or brownian == "none" else 2)


MODELS = {each.name: each for each in (
    Model(OWN, _registered, "every rule", _own, ORDERS, ("independent", "step_memory", "none")),
    malladi.MODEL, compagnoni.MODEL, ode.MODEL, averaged.MODEL, backward.MODEL,
)}
