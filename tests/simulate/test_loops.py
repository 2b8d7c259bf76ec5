"""Loops over the numbers of tensors: the same results as PyTorch's."""

import ctypes
import dataclasses

import pytest
import torch
from torch.nn.functional import softplus

import sme
from sme.common.library import INCLUDES, load
from sme.convergence.estimator.paired import prepared
from sme.convergence.spec.specification import Specification
from sme.simulate.codegen import ensemble, program, source
from sme.simulate.codegen.interpreter import NotLoweredError, trace

W = 16


def ran(function, *examples, shared=None):
    """What loops in C make of `function` for `W` paths, and what PyTorch does path by path."""
    one = [torch.zeros(1, example.shape[1], dtype=torch.float64) for example in examples]
    inputs = [(f"x{n}[{{i}}][p]", each, False) for n, each in enumerate(one)]
    if shared is not None:
        inputs += [("u[{i}]", shared, True)]
        one.append(shared)
    results = function(*one)
    outputs = [f"x{n}[{{i}}][p]" for n in range(len(results))]
    body = source.looped(trace(function, one), inputs, outputs)
    head = ", ".join((*(f"double (*restrict x{n})[W]" for n in range(len(examples))), "const double *u"))
    library = load(f"{INCLUDES}#define W {W}\n{source.products()}void apply({head}) {{\n{body}}}\n")
    numbers = [example.T.contiguous() for example in examples]
    library.apply(*(ctypes.c_void_p(each.data_ptr()) for each in (*numbers, *([shared] if shared is not None else []))))
    extra = () if shared is None else (shared,)
    each = [function(*(example[p : p + 1] for example in examples), *extra) for p in range(W)]
    wanted = [torch.cat(part) for part in zip(*each, strict=True)]
    return [number.T for number in numbers[: len(wanted)]], wanted


def same(function, *sizes, shared=None):
    torch.manual_seed(0)
    found, wanted = ran(function, *(torch.randn(W, size, dtype=torch.float64) for size in sizes), shared=shared)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-13)


MATRIX = torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("function", [
    lambda x, y: (x + x.flip(1), y),
    lambda x, y: (y, x),
    lambda x, y: (x @ MATRIX + (MATRIX @ y.T).T * x, x.sum(1, keepdim=True) * y),
    lambda x, y: (x @ MATRIX.diagonal().diag(), torch.cat((x[:, 6:], y[:, :6]), 1)),
    lambda x, y: ((x.T @ y).sum(0, keepdim=True), (x.reshape(1, 3, 4) @ y.reshape(1, 4, 3)).reshape(1, 9).repeat(1, 2)[:, :12]),
    lambda x, y: (x[:, torch.tensor([3, 0, 7, 7, 1, 2, 5, 4, 11, 10, 9, 8])] * y, torch.zeros_like(x)),
    lambda x, y: (torch.where(x > y, x.exp(), softplus(y)), torch.stack((x.cos(), y.sin()), 2).reshape(1, 24)[:, ::2]),
    lambda x, y: (torch.slice_scatter(x, y[:, :5], 1, 2, 7), torch.select_scatter(x, y[:, 3], 1, 4).mean(1, keepdim=True) + y),
])
def test_each_operation(function):
    same(function, 12, 12)


def test_the_same_operation_is_done_once_and_another_by_itself():
    same(lambda x, y: (x / 0.0, x / -0.0), 3, 3)  # equal as numbers
    same(lambda x, y: (x.sum(1, keepdim=True) + y, x.sum(1) + y), 4, 4)
    same(lambda x, y: (torch.cat((x[:, :2], y[:, 2:]), 1), torch.cat((x[:, :1], y[:, 1:]), 1)), 4, 4)
    example = torch.ones(1, 4, dtype=torch.float64)
    graph = trace(lambda x: (x.exp() + x.exp(), x.exp() * 2), [example])
    assert source.looped(graph, [("x0[{i}][p]", example, False)], ["x0[{i}][p]", "x1[{i}][p]"]).count("exp(") == 1


def test_a_matrix_that_all_paths_share():
    weights = torch.linspace(-1, 1, 24, dtype=torch.float64)
    same(lambda x, u: (torch.cat((x[:, :4] * u[0], x @ u.reshape(2, 12)[1:].T.expand(12, 8)), 1),), 12, shared=weights)


def test_an_operation_without_a_form_is_named():
    with pytest.raises(NotLoweredError, match="sort"):
        ran(lambda x: (x.sort(1).values,), torch.zeros(W, 12, dtype=torch.float64))
    with pytest.raises(NotLoweredError, match="converts"):
        ran(lambda x: (x[:, (x > 0).long()[0]],), torch.zeros(W, 12, dtype=torch.float64))


def loss(theta):
    return torch.cos(theta).sum() + 0.1 * (theta[1:] * theta[:-1]).sum() + softplus(theta).mean()


CHAIN = sme.Problem(loss, 20, sme.GaussianNoise(lambda theta: torch.diag(0.3 + 0.1 * theta**2)))


@pytest.mark.parametrize(("problem", "optimizer", "regime", "brownian"), [
    (sme.Quadratic(20), sme.RMSProp(), "ballistic", "independent"),
    pytest.param(sme.Quadratic(20), sme.Adam(bias_correction=True, t0=1.0), "batch_equivalent", "step_memory",
                 marks=pytest.mark.slow),
    pytest.param(CHAIN, sme.SGD(), "ballistic", "independent", marks=pytest.mark.slow),
    (sme.Logistic(features=3, examples=114), sme.RMSProp(), "ballistic", "independent"),
])
def test_runs_agree(problem, optimizer, regime, brownian, monkeypatch):
    monkeypatch.setattr(source, "MOST", 50)
    start = {"theta": torch.linspace(0.5, 1, problem.dim), **({"v": torch.ones(problem.dim)} if "v" in optimizer.fields else {})}
    setup = prepared(Specification.of(problem, optimizer, regime, brownian, 1.0, start, None, None).setup(2, 8))
    monkeypatch.setattr(ensemble, "PROBED", 20)
    monkeypatch.setattr(ensemble, "ROUNDING", 1e-12)
    text = program.source(setup)
    assert "matvec(k" in text or "total[p]" in text
    assert ensemble.agrees(dataclasses.replace(setup, source=""), text)
