"""From a configuration to the atlas of limits."""

import torch
from omegaconf import DictConfig

from sme.atlas import Atlas, atlas
from sme.config import FIELDS, build, group, repeated, values_of
from sme.errors import SMEError, choose
from sme.inputs import number
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem

SETTINGS = ("problem", "optimizers", "start", "tau", "horizon", "paths", "seed", "results")


def explore(config: DictConfig) -> Atlas:
    """The atlas that a configuration describes, computed and saved.

    Raises
    ------
    SMEError
        for bad input.
    """
    values = values_of(config)
    for name in values:
        choose("setting", name, SETTINGS)
    for name in SETTINGS:
        if values.get(name) is None:
            raise SMEError(f"{name} is missing: leave it out of the command for its default")
    problem = build("problem", values["problem"], Problem)
    nodes = group("optimizers", values["optimizers"])
    optimizers = [build(f"optimizers.{name}", node, Optimizer) for name, node in nodes.items()]
    for field in group("start", values["start"]):
        choose("field in start", field, FIELDS)
    start = {field: repeated(field, value, problem.dim) for field, value in values["start"].items() if value is not None}
    torch.set_num_threads(1)  # small arrays: threads only get in each other's way
    return atlas(problem, optimizers, start, tau=values["tau"], horizon=number("horizon", values["horizon"]),
                 paths=values["paths"], seed=values["seed"], results=values["results"])
