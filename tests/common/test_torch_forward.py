"""What is laid over torch's forward mode changes none of its answers."""

import itertools

import pytest
import torch
from torch.func import jvp

from sme.common.derivatives import torch_forward
from sme.simulate.codegen import interpreter

SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (2, 2, 3)]
KINDS = [torch.float64, torch.float32, torch.int64]


def compared(operation, real):
    """Its answer on the meta device and on real numbers."""
    try:
        wanted = operation(*real)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            operation(*[each.to("meta") for each in real])
        return
    found = operation(*[each.to("meta") for each in real])
    assert (found.shape, found.dtype, found.stride()) == (wanted.shape, wanted.dtype, wanted.stride())
    assert found.is_meta


@pytest.mark.parametrize("operation", torch_forward.SUMS, ids=str)
def test_shapes_types_and_layouts_are_those_of_real_tensors(operation):
    for one, other, kind, *turned in itertools.product(SHAPES, SHAPES, KINDS, (False, True), (False, True)):
        real = [torch.ones(one, dtype=torch.float64), torch.ones(other, dtype=kind)]
        real = [each.mT.contiguous().mT if turns and each.dim() > 1 else each for each, turns in zip(real, turned, strict=True)]
        for pair in (real, real[::-1]):
            compared(operation, pair)


def test_the_reference_is_not_asked_for_the_shape_of_a_zero(monkeypatch):
    def reference(*_, **__):
        raise AssertionError("the reference was asked")

    quick = torch_forward._shaped(reference)
    a, b = torch.ones(2, 3, dtype=torch.float64, device="meta"), torch.ones((), dtype=torch.float64, device="meta")
    for pair in ((a, a), (a, b), (b, a), (b, b)):
        assert quick(*pair).shape == (pair[0] + pair[1]).shape
    assert quick(a, a, alpha=-1).shape == (2, 3)
    assert quick(a, a[0]).shape == quick(a[:1], a).shape == (2, 3)
    turned, number = a.mT.contiguous().mT, torch.ones((), dtype=torch.int64, device="meta")
    for pair in ((turned, a), (turned, b), (number, turned)):
        assert quick(*pair).stride() == (1, 2)
    assert quick(a, turned).stride() == (3, 1)
    assert quick(number, b).dtype is quick(b, number).dtype is torch.float64
    deep = a.expand(4, 2, 3).clone().transpose(0, 2)
    for odd in ((deep, deep), (a, a.int()), (a, 2.0), (a[0], turned)):
        with pytest.raises(AssertionError, match="was asked"):
            quick(*odd)


def test_torch_asks_it():
    asked, x = [], torch.ones(2, 3, dtype=torch.float64)
    library = torch.library.Library("aten", "IMPL", "Meta")
    quick = torch_forward._shaped(lambda *_: pytest.fail("the reference was asked"))
    library.impl(torch.ops.aten.add.Tensor, lambda *each, **_: (asked.append(1), quick(*each))[1], allow_override=True)
    assert torch.equal(jvp(lambda y: 2.0 + y, (x,), (x,))[1], x)
    assert asked


def test_decompositions_are_looked_up_once_and_are_those_of_torch():
    table = torch.export.default_decompositions()
    table.materialize()
    assert interpreter._decompositions().keys() == dict(table).keys()
    assert interpreter._decompositions() is interpreter._decompositions()
