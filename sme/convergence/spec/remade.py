"""What a study was begun with, made again from the plain data in its folder."""

from collections.abc import Mapping
from typing import Any

import torch

from sme.common.errors import SMEError
from sme.common.identity import recipe
from sme.equations.base import Equation
from sme.equations.proposed.equation import Proposed
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.problems.noise.base import GradientLaw

BUILT_IN = "built-in"
"""what stands for an observable that goes by its name"""


def remade(data: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that a recipe names, with those that are given in place of its own.

    Raises
    ------
    SMEError
        if a part is lacking, or its code cannot be imported any more or refuses.
    """
    given = {"model_name" if name == "model" else name: part for name, part in given.items()}
    parts = {**data, **given}
    if lacking := [name.removesuffix("_name") for name, part in parts.items() if part is None]:
        parts_here = ", ".join(f"{name}=…" for name in lacking)
        raise SMEError(f"no dotted path names the {' and the '.join(lacking)} that this study was begun with, so they cannot "
                       f"be made again from its folder: hand them over, sme.load(folder, {parts_here})")
    for name, kind in (("problem", Problem), ("optimizer", Optimizer)):
        if name not in given:
            parts[name] = recipe.make(parts[name], kind, GradientLaw)
    if "model_name" not in given and "." in str(parts.get("model_name")):
        parts["model_name"] = recipe.thing(parts["model_name"], Proposed, Equation)
    if "start" not in given:
        parts["start"] = {name: torch.tensor(field, dtype=torch.float64) for name, field in parts["start"].items()}
    if "observables" not in given:
        parts["observables"] = {name: name if path == BUILT_IN else recipe.function(path)
                                for name, path in parts["observables"].items()}
    return parts
