"""From a configuration to the cases of a survey of models."""

from typing import Any

import torch
from omegaconf import DictConfig

from sme.cli.config import FIELDS, build, checked, group, only, repeated
from sme.common.errors import SMEError, choose
from sme.common.inputs import flag, number, several, short
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.studies.models.cases import Case
from sme.studies.models.run import Survey, survey

SETTINGS = ("parts", "observables", "seed", "processes", "results")
GROUPS = ("problems", "optimizers", "models")
PART = (*GROUPS, "regimes", "tau", "horizon", "paths", "few", "substeps")


def compare_models(config: DictConfig) -> Survey:
    """The survey that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    values = checked(config, SETTINGS)
    if not isinstance(values["parts"], dict) or not values["parts"]:
        raise SMEError(f"parts must be a group of groups of settings, got {short(values['parts'])}: leave it out for the default")
    cases = [case for name, part in values["parts"].items() for case in _cases(name, part, values["observables"])]
    torch.set_num_threads(1)  # processes share the work
    return survey(cases, seed=values["seed"], processes=values["processes"], results=values["results"])


def _cases(name: str, part: Any, observables: Any) -> list[Case]:
    """Every problem, optimizer and regime of a part."""
    place, cases = f"parts.{name}.", []
    only(group(f"parts.{name}", part), PART, place=f"parts.{name}")
    for each in GROUPS:
        group(place + each, part[each])
    flag(f"{place}few", part["few"])
    models = {model: tuple(several(orders)) for model, orders in part["models"].items()}
    for problem_name, given in part["problems"].items():
        at = f"{place}problems.{problem_name}"
        for setting in group(at, given):
            choose(f"setting of {at}", setting, ("problem", "start"))
        problem, values = build(f"{at}.problem", given.get("problem"), Problem), group(f"{at}.start", given.get("start") or {})
        for field in values:
            choose(f"field in {at}.start", field, FIELDS)
        for optimizer_name, node in part["optimizers"].items():
            optimizer = build(f"{place}optimizers.{optimizer_name}", node, Optimizer)
            start = {field: repeated(field, value, problem.dim) for field, value in values.items()
                     if field in optimizer.fields and value is not None}
            for regime in several(part["regimes"]):
                cases.append(Case(
                    problem_name, problem, optimizer, regime, start, models,
                    tuple(number("tau", tau) for tau in several(part["tau"])), number("horizon", part["horizon"]),
                    None if observables is None else tuple(several(observables)), part["paths"], part["few"], part["substeps"]))
    return cases
