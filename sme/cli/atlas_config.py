"""From a configuration to the atlas of limits."""

import torch
from omegaconf import DictConfig

from sme.cli.config import build, group, no_use, only, started, values_of
from sme.common.inputs import number
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.studies.atlas.run import Atlas, atlas

SETTINGS = ("problem", "optimizers", "start", "tau", "horizon", "paths", "seed", "results")


def explore(config: DictConfig) -> Atlas:
    """The atlas that a configuration describes, computed and saved."""
    values = values_of(config)
    only([name for name, value in values.items() if value is not None or name not in SETTINGS], SETTINGS)
    problem = build("problem", values["problem"], Problem)
    nodes = group("optimizers", values["optimizers"])
    optimizers = [build(f"optimizers.{name}", node, Optimizer) for name, node in nodes.items()]
    fields = {field: None for each in optimizers for field in each.fields}
    start = started(group("start", values["start"]), fields, problem.dim)
    no_use(values["start"], fields, f"these optimizers have {', '.join(fields)}")
    torch.set_num_threads(1)  # small arrays: threads only get in each other's way
    return atlas(problem, optimizers, start, tau=values["tau"], horizon=number("horizon", values["horizon"]),
                 paths=values["paths"], seed=values["seed"], results=values["results"])
