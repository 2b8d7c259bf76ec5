"""The gradient of one example's loss by the parameters of a layer: a rule a layer, from what comes in and what it does.

A rule sees one example. It returns for each parameter the gradient itself, or the two factors of which it is a product.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sme.common.errors import SMEError
from sme.common.inputs import short


class Product(NamedTuple):
    """The gradient `Σ_t out_t into_tᵀ` of a matrix, never formed: a sum over the places `t` at which it is used."""

    into: Float[Tensor, "places in"]
    """what the matrix is applied to"""
    out: Float[Tensor, "places out"]
    """the derivative of the example's loss by what comes out"""


Part = Tensor | Product
Sizes = int | Sequence[int]
Rule = Callable[..., dict[str, Part]]
"""`rule(delta, *arguments)`, with the derivative `delta` by what the layer returns and the layer's own arguments, to a part for
each argument that may be a parameter"""

RULES: dict[Any, Rule] = {}
"""by torch's function, or by a class of modules"""


def layer_rule(*layers: Callable[..., Any] | type[nn.Module]) -> Callable[[Rule], Rule]:
    """Say how the gradients of a layer follow, for `sme.Network` to take sums over examples of them as matrix products.

    Parameters
    ----------
    layers
        functions of torch, or classes of modules. The rule of a function is called with `delta`, the derivative of one example's
        loss by what the function returns, and with the function's own arguments; that of a module with `delta`, the module and
        what it is given. Both see a batch of one example.

    Returns
    -------
    a decorator. The rule returns, by the name of the argument or of the module's parameter, the gradient, a tensor of the
    parameter's shape, or an `sme.Product` of two factors. A parameter that it does not name is differentiated example by example.

    Raises
    ------
    SMEError
        for what is neither a function nor a class of modules.
    """
    for each in layers:
        if not callable(each) or (isinstance(each, type) and not issubclass(each, nn.Module)):
            raise SMEError(f"a rule is for a function of torch or a class of modules, got {short(each)}")

    def keep(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(layers, rule))
        return rule

    return keep


def reduced(gradient: Tensor, like: Tensor | float) -> Tensor:
    """The gradient of what was broadcast: summed over the axes along which it was repeated."""
    return gradient.sum_to_size(like.shape) if isinstance(like, Tensor) else gradient


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


@layer_rule(F.linear)
def linear(delta: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> dict[str, Part]:
    """`input weightᵀ + bias`."""
    rows = _rows(delta)
    return {"weight": Product(_rows(input), rows), "bias": rows.sum(0)}


@layer_rule(torch.matmul, torch.mm, Tensor.matmul, Tensor.mm)
def matmul(delta: Tensor, input: Tensor, other: Tensor) -> dict[str, Part]:
    """`input other`, one of them a matrix."""
    parts: dict[str, Part] = {}
    if other.dim() == 2 and input.dim() > 1:
        parts["other"] = Product(_rows(delta), _rows(input))
    if input.dim() == 2 and other.dim() > 1:
        parts["input"] = Product(_rows(other.mT), _rows(delta.mT))
    return parts


@layer_rule(F.embedding)
def embedding(delta: Tensor, input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> dict[str, Part]:
    """Rows of `weight`: a product with rows of the unit matrix."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        return {}
    places = torch.arange(len(weight), device=delta.device)
    hot = input.reshape(-1, 1) == places
    if padding_idx is not None:  # torch gives that row no gradient
        hot = hot & (places != padding_idx % len(weight))
    return {"weight": Product(_rows(delta), hot.to(delta.dtype))}


@layer_rule(torch.add, Tensor.add, Tensor.add_)
def add(delta: Tensor, input: Tensor, other: Tensor, *, alpha: float = 1) -> dict[str, Part]:
    """`input + alpha other`."""
    return {"input": reduced(delta, input), "other": reduced(delta * alpha, other)}


@layer_rule(torch.sub, torch.subtract, Tensor.sub, Tensor.sub_)
def sub(delta: Tensor, input: Tensor, other: Tensor, *, alpha: float = 1) -> dict[str, Part]:
    """`input − alpha other`."""
    return {"input": reduced(delta, input), "other": reduced(-alpha * delta, other)}


@layer_rule(torch.mul, torch.multiply, Tensor.mul)
def mul(delta: Tensor, input: Tensor, other: Tensor) -> dict[str, Part]:
    """`input other`, entry by entry."""
    return {"input": reduced(delta * other, input), "other": reduced(delta * input, other)}


@layer_rule(torch.div, Tensor.div)
def div(delta: Tensor, input: Tensor, other: Tensor) -> dict[str, Part]:
    """`input / other`, entry by entry."""
    return {"input": reduced(delta / other, input), "other": reduced(-delta * input / (other * other), other)}


def _each(given: Sizes, count: int) -> list[int]:
    return [given] * count if isinstance(given, int) else list(given) * (count if len(given) == 1 else 1)


def _patches(input: Tensor, kernel: Sequence[int], stride: Sizes, padding: Sizes | str, dilation: Sizes) -> Tensor:
    """What every place of a convolution over one or two axes sees, `(1, channels × kernel, places)`."""
    axes = len(kernel)
    step, apart = _each(stride, axes), _each(dilation, axes)
    if isinstance(padding, str):
        whole = [each * (size - 1) if padding == "same" else 0 for each, size in zip(apart, kernel, strict=True)]
        sides = [(each // 2, each - each // 2) for each in whole]
    else:
        sides = [(each, each) for each in _each(padding, axes)]
    if any(map(any, sides)):
        input = F.pad(input, [each for side in reversed(sides) for each in side])
    if axes == 1:
        input, kernel, step, apart = input.unsqueeze(2), [1, *kernel], [1, *step], [1, *apart]
    return F.unfold(input, tuple(kernel), tuple(apart), 0, tuple(step))


@layer_rule(F.conv1d, F.conv2d)
def convolve(delta: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1,
             padding: Sizes | str = 0, dilation: Sizes = 1, groups: int = 1) -> dict[str, Part]:
    """A convolution: the weight, as a matrix, on the patches of the input."""
    rows, kernel = delta.reshape(weight.shape[0], -1), weight.shape[2:]
    patches = _patches(input.reshape(1, -1, *input.shape[-len(kernel):]), kernel, stride, padding, dilation)[0]
    if groups == 1:
        return {"weight": Product(patches.mT, rows.mT), "bias": rows.sum(1)}
    each = rows.unflatten(0, (groups, -1)) @ patches.unflatten(0, (groups, -1)).mT
    return {"weight": each.reshape(weight.shape), "bias": rows.sum(1)}


@layer_rule(F.group_norm)
def group_norm(delta: Tensor, input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> dict[str, Part]:
    """A norm whose own derivatives are right, unlike that of `F.layer_norm`, which is written out."""
    over = [axis for axis in range(delta.dim()) if axis != 1]
    return {"weight": (delta * F.group_norm(input, num_groups, None, None, eps)).sum(over), "bias": delta.sum(over)}
