"""A drift and a diffusion as somebody writes them: what they ask for, and what they must give."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError, choose, reason
from sme.common.inputs import short
from sme.optimizers.base import State

ARGUMENTS = {"drift": ("state", "tau", "t"), "diffusion": ("state", "dW", "tau", "t")}
"""what each is called with, in this order"""
MODELLED = ("problem", "optimizer")
"""what each is given beside, if it has an argument of that name"""
RESERVED = (*dict.fromkeys(name for names in ARGUMENTS.values() for name in names), *MODELLED)


def asked(what: str, function: Any, symbols: Sequence[str]) -> tuple[str, ...]:
    """What a function asks for by name, beside the arguments that it is called with.

    Raises
    ------
    SMEError
        for what is no function, or takes other arguments.
    """
    takes = ARGUMENTS[what]
    call = f"{what}({', '.join(takes)})"
    if not callable(function) or isinstance(function, type):
        raise SMEError(f"{what} must be a function {call} from named fields to named fields, got {short(function)}")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of C code
        return ()
    places = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    names = [each.name for each in places][: len(takes)]
    if len(names) < len(takes) and not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        raise SMEError(f"{what} takes ({', '.join(each.name for each in parameters)}), and is called as {call}: give it these "
                       "arguments in this order")
    there = (*MODELLED, *symbols)
    for name, place in zip(names, takes, strict=False):
        if name != place and name in (*takes, *there):
            behind = f", and take {name} by name, behind the others" if name in there else ""
            raise SMEError(f"{what} takes ({', '.join(names)}), and is called as {call}, so its {name} would be {place}: change "
                           f"the order of its arguments{behind}")
    rest = [*places[len(takes):], *(each for each in parameters if each.kind is each.KEYWORD_ONLY)]
    for each in rest:
        if each.name not in there and each.default is each.empty:
            raise SMEError(f"{what} asks for {each.name!r}, and it is given {', '.join(there)} by name: add it to symbols, "
                           f"symbols={{{each.name!r}: lambda tau: …}}, or give it a default")
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return there
    return tuple(each.name for each in rest if each.name in there)


def call(what: str, function: Callable[..., Any], state: State, given: Sequence[Any], beside: Mapping[str, Any],
         every: bool) -> State:
    """The fields that a function gives at many states; 0 for those that it leaves out, unless it must name `every` one.

    Raises
    ------
    SMEError
        if it fails, or gives anything but float64 tensors `(paths, d)`, or numbers, by the names of the fields.
    """
    try:
        value = function({name: field.clone() for name, field in state.items()}, *given, **beside)
    except SMEError:
        raise
    except KeyError as missing:
        raise SMEError(f"{what} asks for {missing}, and the state has the fields {', '.join(state)}: take one of these, or model "
                       "an optimizer that has it") from missing
    except Exception as fault:
        raise SMEError(f"{what} fails on fields of shape {tuple(state['theta'].shape)} ({reason(fault)}): it gets float64 "
                       "tensors (paths, d) by name, and takes torch operations alone") from fault
    if not isinstance(value, Mapping):
        raise SMEError(f"{what} must return named fields, got {type(value).__name__}: return "
                       f"{{{', '.join(f'{name!r}: …' for name in state)}}}")
    for name in value:
        choose(f"field in what {what} returns", name, state)
    lacking = [name for name in state if name not in value]
    if every and lacking:
        raise SMEError(f"{what} says nothing of {', '.join(lacking)}: return every field of the optimizer, "
                       f"{', '.join(state)}, one that stands still as {lacking[0]!r}: 0.0")
    return {name: _field(f"{what} of {name}", value.get(name, 0.0), like) for name, like in state.items()}


def _field(what: str, given: Any, like: Tensor) -> Tensor:
    """One field of what came out."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return torch.zeros_like(like) + float(given)
    if not isinstance(given, Tensor) or given.layout != torch.strided:
        raise SMEError(f"{what} must be a tensor of shape {tuple(like.shape)}, (paths, d), got {short(given)}: use torch "
                       "operations on what it is given")
    if given.device != like.device:
        raise SMEError(f"{what} is on the device {given.device}, and the state on {like.device}: make what it uses there, "
                       "tensor.to(state['theta'])")
    if given.dtype != like.dtype:
        raise SMEError(f"{what} is in {given.dtype}, and the state in {like.dtype}: compute in it, tensor.to(state['theta'])")
    if given.dim() == 0:
        return given.expand_as(like)
    if given.shape != like.shape:
        raise SMEError(f"{what} has the shape {tuple(given.shape)}, and must have {tuple(like.shape)}, (paths, d): a row for "
                       "each path, a column for each parameter")
    return given
