"""The settings of an optimizer of torch.optim: plain numbers, and such as its own class takes."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError, reason
from sme.common.inputs import number
from sme.optimizers.imported.forms import Group, known

OURS = ("params", "initial_lr", "foreach", "fused", "capturable", "differentiable", "max_lr", "min_lr", "base_momentum",
        "max_momentum")
"""of a param group what is no hyperparameter, or chooses between implementations of one step"""


def groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Those of each param group, by torch's names; what a group lacks is the optimizer's own, as in torch.

    Raises
    ------
    SMEError
        for a class that has no rule, and settings that torch itself would refuse.
    """
    kind = type(optimizer)
    known(kind)
    return [_plain(kind, {**optimizer.defaults, **group}) for group in optimizer.param_groups]


def made(kind: type, group: Group, parameters: Sequence[Tensor]) -> Any:
    """Torch's optimizer with the settings of a group; what its class does not know is nothing to its steps."""
    takes = inspect.signature(kind).parameters
    return kind(parameters, **{name: value for name, value in group.items() if name in takes and name not in OURS})


def _plain(kind: type, group: dict[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = {name: float(value) if isinstance(value, Tensor) else value for name, value in group.items()
                                 if name != "param_names"}
        plain |= {name: number(name, plain[name]) for name in ("lr", "initial_lr") if name in plain}
        if "betas" in plain:
            first, second = map(float, plain["betas"])
            plain["betas"] = (first, second)
        made(kind, plain, [torch.nn.Parameter(torch.zeros(1, 1))])
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as fault:
        raise SMEError(f"torch.optim.{kind.__name__} does not take the settings of one of its groups: {reason(fault)}"
                       ) from None
    return plain
