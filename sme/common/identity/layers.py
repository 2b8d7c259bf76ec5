"""What identifies a torch module beside its printed form and its parameters."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sme.common.identity.owned import own

Describe = Callable[[Any], Any]
BOOKKEEPING = frozenset(vars(nn.Module()))
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
SAME = {"transposed": (True, False), "name": ("Upsample",), "min_val": (0.0,), "max_val": (6.0,), "value": (0.0,), "norm": (2.0,),
        "mode": ("LSTM", "GRU", "RNN_TANH"), "nonlinearity": ("tanh",), "reduction": ("none",)}
"""attributes of torch's layers that follow from the class or are as usual, though no signature says so"""


def tree(module: nn.Module) -> Any:
    """The printed form; with classes of the user's own, which may print what they like, the classes and what torch's print."""
    parts = list(module.named_modules(remove_duplicate=False))
    if not any(own(type(each).__module__) for _, each in parts):
        return str(module)
    return {name: [type(each).__qualname__, "" if own(type(each).__module__) else each.extra_repr()] for name, each in parts}


def numbers(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers; those that torch would save, where all classes are torch's."""
    if not any(own(type(each).__module__) for each in module.modules()):
        return dict(module.state_dict())
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}


def further(module: nn.Module, describe: Describe) -> dict[str, Any]:
    """By submodule, what printed form and parameters leave out; empty where they tell all."""
    found: dict[str, Any] = {}
    for name, each in module.named_modules():
        told = _own(each) if own(type(each).__module__) else _installed(each)
        told |= {hook: list(getattr(each, hook).values()) for hook in HOOKS if getattr(each, hook)}
        described = {key: describe(value) for key, value in sorted(told.items())}
        if own(type(each).__module__):
            described[""] = describe(type(each))
        if described:
            found[name] = described
    if tied := _tied(module):
        found["(tied)"] = tied  # no submodule has such a name
    return found


def _tied(module: nn.Module) -> list[list[str]]:
    """Names of parameters that are one tensor: equal numbers do not tell which of them move together."""
    names: dict[int, list[str]] = {}
    for name, each in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(each), []).append(name)
    return sorted(each for each in names.values() if len(each) > 1)


def _own(module: nn.Module) -> dict[str, Any]:
    """All attributes."""
    return {"training": module.training, **{name: value for name, value in vars(module).items() if name not in BOOKKEEPING}}


def _installed(module: nn.Module) -> dict[str, Any]:
    """Attributes that are neither printed nor the default, buffers that are not saved, and what a script says."""
    defaults, printed = _defaults(type(module)), module.extra_repr()
    found = {name: value for name, value in vars(module).items()
             if name not in BOOKKEEPING and not name.startswith("_") and not _told(name, value, defaults, printed)}
    found |= {f"buffer {name}": module._buffers[name] for name in module._non_persistent_buffers_set}
    if isinstance(module, torch.jit.ScriptModule):
        found["code"] = module.code
    return found


def _told(name: str, value: Any, defaults: dict[str, Any], printed: str) -> bool:
    usual = defaults.get(name, inspect.Parameter.empty)
    if f"{name}={value}" in printed or f"{name}={value!r}" in printed or any(value is each or _equal(value, each)
                                                                           for each in SAME.get(name, ())):
        return True
    if usual is inspect.Parameter.empty:
        return str(value) in printed
    every = value if isinstance(value, tuple) and value else (value,)
    return value is usual or all(_equal(each, usual) for each in every)


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and isinstance(one, bool | int | float | str) and one == other


def _defaults(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            for name, each in inspect.signature(base.__init__).parameters.items():  # type: ignore[misc]
                found.setdefault(name, each.default)
    return found
