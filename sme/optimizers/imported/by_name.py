"""An optimizer of torch.optim from its name and hyperparameters, as the command line has them."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from sme.common.errors import SMEError, choose, reason
from sme.optimizers.base import Optimizer
from sme.optimizers.imported.forms import FORMS, REFUSED
from sme.optimizers.imported.from_torch import from_torch
from sme.optimizers.library.muon import Muon
from sme.optimizers.parts.clipping import clipping


def by_name(kind: str, regime: str = "ballistic", tau: float | None = None, t0: float | None = None, clip: Any = None,
            **given: Any) -> Optimizer:
    """`sme.from_torch` of `torch.optim.<kind>` with hyperparameters as torch calls them; those that are None are torch's own.

    Raises
    ------
    SMEError
        for a class or hyperparameter that there is not, and what `from_torch` refuses.
    """
    shape = (2, 2) if kind == "Muon" else (1,)
    rule = from_torch(library(kind, [torch.nn.Parameter(torch.zeros(shape))], given), regime=regime, tau=tau, t0=t0)
    whole = replace(rule, shapes=()) if isinstance(rule, Muon) else rule  # square, of as many numbers as θ has
    return clipping(whole, clip, regime)


def library(kind: str, parameters: Iterable[Any], given: Mapping[str, Any]) -> torch.optim.Optimizer:
    """`torch.optim.<kind>` of these parameters, with those hyperparameters that are not None.

    Raises
    ------
    SMEError
        for a class or hyperparameter that there is not.
    """
    made_by = getattr(torch.optim, choose("optimizer of torch", kind, [*FORMS, *REFUSED]))
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None}
    allowed = [name for name in inspect.signature(made_by).parameters if name != "params"]
    for name in settings:
        choose(f"hyperparameter of torch.optim.{kind}", name, allowed)
    try:
        made: torch.optim.Optimizer = made_by(parameters, **settings)
    except (TypeError, ValueError, LookupError) as fault:  # of betas that are not two
        raise SMEError(f"torch.optim.{kind} refuses its hyperparameters: {reason(fault)}") from fault
    return made
