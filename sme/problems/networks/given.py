"""Modules as people have them: compiled, spread over devices, of few bits."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sme.common import errors
from sme.common.errors import SMEError
from sme.common.inputs import instance

WRAPPED = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""torch's classes around a module, and what they call it"""
PLAIN = (torch.float32, torch.float64)


def original(module: nn.Module) -> nn.Module:
    """A copy of what was compiled or spread, at any depth; of fewer than 32 bits it says that everything is in float64.

    Raises
    ------
    SMEError
        for what is no module, is scripted, has no numbers yet, or complex or quantised ones.
    """
    instance("module", module, nn.Module, "a torch.nn.Module")
    if any(is_lazy(each) for each in (*module.parameters(), *module.buffers())):
        raise SMEError("the module has lazy layers without shapes yet: call it once on its inputs before")
    kept = {id(each): _inner(each) for each in module.modules() if _inner(each) is not each}
    memo: dict[int, object] = {}
    for key, inner in sorted(kept.items(), key=lambda pair: sum(1 for _ in pair[1].modules())):  # the innermost first
        memo[key] = copy.deepcopy(inner, memo)
    found = memo[id(module)] if id(module) in memo else copy.deepcopy(module, memo)
    assert isinstance(found, nn.Module)
    for name, part in found.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise SMEError(f"{name or 'the module'} is scripted by torch.jit, which torch.func cannot differentiate twice: "
                           "give the module that it was made from")
        part._compiled_call_impl = None
    _check(found)
    return found


def _inner(module: nn.Module) -> nn.Module:
    name = WRAPPED.get(type(module).__name__)
    return _inner(getattr(module, name)) if name and type(module).__module__.partition(".")[0] == "torch" else module


def _check(module: nn.Module) -> None:
    named = [*module.named_parameters(), *module.named_buffers()]
    for name, each in named:
        if each.is_meta:
            raise SMEError(f"{name} is on the device 'meta' and has no numbers: load its weights before")
        if each.is_complex() or each.is_quantized or (isinstance(each, nn.Parameter) and not each.is_floating_point()):
            raise SMEError(f"{name} is of type {str(each.dtype).removeprefix('torch.')}: parameters must be real floating-point "
                           "numbers, since all is computed in float64")
    few = sorted({str(each.dtype).removeprefix("torch.") for _, each in named if _rounded(each)})
    if few:
        errors.warn(f"the module has numbers in {' and '.join(few)}: they are taken as they are, and all is computed in float64, "
                    "so that the rounding of a run in fewer bits is not part of what is modelled")


def _rounded(each: Tensor) -> bool:
    return each.is_floating_point() and each.dtype not in PLAIN


def tensor(outputs: object) -> None:
    """Raise `SMEError` for outputs that no loss takes."""
    if not isinstance(outputs, Tensor):
        raise SMEError(f"the module must return a tensor, got {type(outputs).__name__}: give a module around it that returns "
                       "the one that the loss takes")
    if outputs.dtype != torch.float64:
        raise SMEError(f"the module returns {str(outputs.dtype).removeprefix('torch.')} for parameters in float64: "
                       "leave out what casts in it, since derivatives of second order need all digits")
