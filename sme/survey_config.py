"""From a configuration to the cases of a survey of models."""

from typing import Any

import torch
from omegaconf import DictConfig

from sme.cases import Case
from sme.config import build, repeated, values_of
from sme.errors import SMEError, choose
from sme.inputs import number, several
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.regimes import BALLISTIC
from sme.survey import Survey, survey

EFFORT = ("tau", "horizon", "observables", "paths")
GROUPS = ("problems", "optimizers", "models", "networks")
SETTINGS = (*GROUPS, "regimes", *EFFORT, "seed", "processes", "results")
FEW = (*EFFORT, "substeps")
"""what a network may be given of its own"""


def compare_models(config: DictConfig) -> Survey:
    """The survey that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    values = values_of(config)
    for name in values:
        choose("setting", name, SETTINGS)
    for name in SETTINGS:
        if name not in values:
            raise SMEError(f"{name} is missing: leave it out of the command for its default")
    for name in GROUPS:
        if not isinstance(values[name], dict):
            raise SMEError(f"{name} must be a group of settings, got {values[name]!r}: leave it out for the default")
    for name in values["networks"]:
        choose("problem in networks", name, [*values["problems"], *values["networks"]])
    made = [case for name, given in values["problems"].items() for case in _cases(name, given, values)]
    torch.set_num_threads(1)  # processes share the work
    models = {name: [int(number(f"an order of {name}", each)) for each in several(orders)]
              for name, orders in values["models"].items()}
    return survey(made, models, seed=values["seed"], processes=values["processes"], results=values["results"])


def _cases(name: str, given: dict[str, Any], values: dict[str, Any]) -> list[Case]:
    """Every optimizer and regime on one problem; few runs see the ballistic regime alone."""
    for part in given:
        choose(f"setting of problems.{name}", part, ("problem", "start"))
    own = values["networks"].get(name)
    few = own is not None
    for part in own or {}:
        choose(f"setting of networks.{name}", part, FEW)
    asked = {**{each: values[each] for each in EFFORT}, **(own or {})}
    problem, cases = build("problem", dict(given["problem"]), Problem), []
    for node in values["optimizers"].values():
        optimizer = build("optimizer", dict(node), Optimizer)
        start = {field: repeated(field, value, problem.dim) for field, value in (given.get("start") or {}).items()
                 if field in optimizer.fields and value is not None}
        for regime in [BALLISTIC.name] if few else several(values["regimes"]):
            cases.append(Case(
                name, problem, optimizer, regime, start, tuple(number("tau", tau) for tau in several(asked["tau"])),
                number("horizon", asked["horizon"]),
                None if asked["observables"] is None else tuple(several(asked["observables"])),
                asked["paths"], few, asked.get("substeps")))
    return cases
