"""Layers written out with those that have a rule of their own (see `rules`)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sme.common.derivatives import written


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
    **written.FORMS, torch.einsum: einsum, F.bilinear: bilinear, torch.addmm: addmm}
"""by the function of torch in whose place they are taken, where it is given a parameter"""
