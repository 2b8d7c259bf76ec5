"""Layers written out with those that have a rule of their own (see `rules`)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sme.common.derivatives import written

Sizes = int | Sequence[int]


def _each(given: Sizes, count: int) -> list[int]:
    return [given] * count if isinstance(given, int) else list(given) * (count if len(given) == 1 else 1)


def convolution(axes: int) -> Callable[..., Tensor]:
    """`F.conv1d`, `F.conv2d`: the weight, as a matrix, on the patches of the input."""

    def convolve(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes | str = 0,
                 dilation: Sizes = 1, groups: int = 1) -> Tensor:
        if input.dim() != axes + 2:
            raise NotImplementedError
        kernel, step, apart = list(weight.shape[2:]), _each(stride, axes), _each(dilation, axes)
        if isinstance(padding, str):
            whole = [each * (size - 1) if padding == "same" else 0 for each, size in zip(apart, kernel, strict=True)]
            sides = [(each // 2, each - each // 2) for each in whole]
        else:
            sides = [(each, each) for each in _each(padding, axes)]
        if any(map(any, sides)):
            input = F.pad(input, [each for side in reversed(sides) for each in side])
        count = [(size - each * (width - 1) - 1) // far + 1
                 for size, each, width, far in zip(input.shape[2:], apart, kernel, step, strict=True)]
        if axes == 1:
            input, kernel, step, apart = input.unsqueeze(2), [1, *kernel], [1, *step], [1, *apart]
        patches = F.unfold(input, tuple(kernel), tuple(apart), 0, tuple(step)).mT  # (n, places, channels × kernel)
        pieces = zip(patches.chunk(groups, -1), weight.chunk(groups), strict=True)
        outs = [F.linear(patch, part.reshape(len(part), -1)) for patch, part in pieces]
        out = (outs[0] if groups == 1 else torch.cat(outs, -1)).mT.unflatten(-1, count)
        return out if bias is None else out + bias.reshape(-1, *[1] * axes)

    return convolve


def einsum(equation: str, *operands: Any) -> Tensor:
    """`torch.einsum` of two, where a letter of the second does not stand in both others."""
    given = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], Sequence) else list(operands)
    into, _, out = equation.replace(" ", "").partition("->")
    names = into.split(",")
    if len(given) != 2 or "." in equation or not out or any(len(set(each)) < len(each) for each in (*names, out)):
        raise NotImplementedError
    return _contracted(given[0], given[1], names[0], names[1], out)


def _contracted(x: Tensor, w: Tensor, of_x: str, of_w: str, out: str) -> Tensor:
    """As `places × shared` times `(kept × shared)ᵀ`, if `w` is a parameter; else the other way round."""
    if summed := [c for c in of_x if c not in of_w and c not in out]:
        x, of_x = x.sum([of_x.index(c) for c in summed]), "".join(c for c in of_x if c not in summed)
    shared, kept = [c for c in of_w if c in of_x], [c for c in of_w if c not in of_x]
    places = [c for c in of_x if c not in of_w]
    if any(c in out for c in shared) or not {*places, *kept} <= {*out}:
        raise NotImplementedError
    sizes = dict(zip(of_x + of_w, (*x.shape, *w.shape), strict=True))
    count = {name: math.prod(sizes[c] for c in name) for name in ("".join(shared), "".join(kept), "".join(places))}
    rows = x.permute([of_x.index(c) for c in (*places, *shared)]).reshape(-1, count["".join(shared)])
    matrix = w.permute([of_w.index(c) for c in (*kept, *shared)]).reshape(-1, count["".join(shared)])
    found = F.linear(rows, matrix).reshape([sizes[c] for c in (*places, *kept)])
    return found.permute([[*places, *kept].index(c) for c in out])


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.bilinear`."""
    pairs = (input1.unsqueeze(-1) * input2.unsqueeze(-2)).flatten(-2)
    return F.linear(pairs, weight.reshape(len(weight), -1), bias)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`torch.addmm`, as of GPT-2's layers."""
    if beta != 1 or alpha != 1:
        raise NotImplementedError
    return torch.matmul(mat1, mat2) + input


FORMS: dict[Callable[..., Any], Callable[..., Any]] = {
    **written.FORMS, F.conv1d: convolution(1), F.conv2d: convolution(2), torch.conv1d: convolution(1),
    torch.conv2d: convolution(2), torch.einsum: einsum, F.bilinear: bilinear, torch.addmm: addmm}
"""by the function of torch in whose place they are taken, where it is given a parameter"""
