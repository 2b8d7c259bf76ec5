"""Which layer of a module keeps torch from differentiating it."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from sme.common.derivatives.written import Written
from sme.problems.noise.minibatch.flat import FlatModule

Call = tuple[tuple[Any, ...], dict[str, Any]]
STEP, CLOSE = 1e-4, 1e-5
"""of the difference that a layer's own second derivative is compared with, and how close it has to be"""


def culprit(model: FlatModule, inputs: Tensor) -> str:
    """The innermost layer whose own second derivative fails, in words; the module itself if none does."""
    calls: dict[str, Call] = {}

    def note(name: str) -> Any:
        return lambda _, args, kwargs: calls.setdefault(name, (args, kwargs)) and None

    hooks = [part.register_forward_pre_hook(note(name), with_kwargs=True) for name, part in model.module.named_modules() if name]
    try:
        model(model.start, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for name in sorted(calls, key=lambda each: -each.count(".")):
        part = model.module.get_submodule(name)
        if _fails(part, calls[name]):
            return f"layer {name} ({type(part).__name__})"
    return f"the module itself ({type(model.module).__name__}) or its loss"


def _fails(part: nn.Module, call: Call) -> bool:
    """Whether derivatives of a number that the layer gives are missing or wrong, as what it is given moves, or its parameters."""

    def moved(value: Any, t: Tensor) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value + t * (1 + value).cos()
        return tuple(moved(each, t) for each in value) if isinstance(value, tuple) else value

    def number(t: Tensor, given: bool, own: bool) -> Tensor:
        args, kwargs = (moved(call[0], t), {name: moved(each, t) for name, each in call[1].items()}) if given else call
        parameters = {name: moved(each, t) if own else each for name, each in part.named_parameters()}
        out = Written(functional_call)(part, parameters, args, kwargs)
        each = out if isinstance(out, tuple) else (out,)
        return sum((one.sin().sum() for one in each if isinstance(one, Tensor)), 0 * t)

    at = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    for given, own in ((True, False), (False, True), (True, True)):
        slope = vmap(vmap(grad(partial(number, given=given, own=own))))
        try:
            found = jvp(slope, (at,), (torch.ones_like(at),))[1]
            right = (slope(at + STEP) - slope(at - STEP)) / (2 * STEP)
        except Exception:
            return True
        if not torch.allclose(found, right, rtol=CLOSE, atol=CLOSE):
            return True
    return False
