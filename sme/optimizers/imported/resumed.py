"""The fields of a rule where a torch optimizer stands."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.base import Optimizer, State
from sme.optimizers.imported import settings
from sme.optimizers.imported.forms import Group, Place

FIELDS = {"exp_avg": "m", "grad_avg": "m", "exp_avg_sq": "v", "square_avg": "v", "sum": "v", "acc_delta": "a", "ax": "x"}
"""of a rule, by what torch calls them"""
SQUARES = ("exp_avg_sq", "square_avg", "sum", "acc_delta")


def resumed(optimizer: torch.optim.Optimizer, rule: Optimizer, parameters: Sequence[Tensor], place: Place,
            gradient: Float[Tensor, " d"]) -> State:
    """`θ` and the averages that torch has taken so far, in scaled variables; of a fresh optimizer those that it starts from.

    These are 0, but for the first buffer of a damped momentum, which is a whole `gradient`.

    Raises
    ------
    SMEError
        for a field that torch is not known to hold.
    """
    owner = {id(p): group for group, mine in zip(settings.groups(optimizer), optimizer.param_groups, strict=True)
             for p in mine["params"]}
    theta = torch.cat([_flat(p) for p in parameters])
    found = {name: torch.zeros_like(theta) for name in ("m", "v", "a", "b")} | {"theta": theta, "x": theta.clone()}
    known, at = set(found), 0
    for p in parameters:
        here, state, group = slice(at, at + p.numel()), optimizer.state.get(p, {}), owner[id(p)]
        at += p.numel()
        for key, name in FIELDS.items():
            if torch.is_tensor(value := state.get(key)):
                found[name][here] = _flat(value) * _share(key, place)
        if torch.is_tensor(value := state.get("momentum_buffer")):
            name, share = _momentum(group, place)
            found[name][here] = _flat(value) * share
        elif _damped(group):
            found["m"][here] = gradient[here]
    found["u"] = found["v"] - place.size**2 * found["m"] ** 2  # of centred RMSprop, which alone has both
    if lacking := set(rule.fields) - known - {"u"}:
        raise SMEError(f"{type(optimizer).__name__} keeps {', '.join(sorted(lacking))}, whose start is not known here")
    return {name: found[name] for name in rule.fields}


def _flat(value: Tensor) -> Float[Tensor, " d"]:
    return value.detach().double().flatten().cpu()


def _share(key: str, place: Place) -> float:
    """What torch's number is multiplied by."""
    return (place.size**2 if key in SQUARES else 1.0) * (place.tau if key == "sum" else 1.0)


def _damped(group: Group) -> bool:
    return bool(group.get("momentum")) and group.get("dampening") == group["momentum"]


def _momentum(group: Group, place: Place) -> tuple[str, float]:
    """The field of torch's buffer, and what it is multiplied by."""
    if "alpha" in group:
        return "b", place.tau / place.size
    return "m", place.tau if "dampening" in group and not _damped(group) else 1.0
