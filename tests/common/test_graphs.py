"""A function's graph is that of torch's own tracer, without the compiler that this one imports."""

import subprocess
import sys

import pytest
import torch
from torch.func import functionalize, jacfwd, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from sme.common.derivatives.graphs import graph
from sme.common.derivatives.tracing import traced, tracing
from sme.simulate.codegen.interpreter import NotLoweredError, _decompositions, trace

MATRIX = torch.tensor([[2.0, -0.5], [0.25, 1.5]], dtype=torch.float64)
FUNCTIONS = {
    "products": lambda x, y: (x @ MATRIX + y.unsqueeze(1) * MATRIX[0]).square().sum(),
    "parts": lambda x, y: torch.cat([part.flip(0) for part in x.split(1, -1)], -1) - y.chunk(2)[1].sum(),
    "choice": lambda x, y: torch.where(x > 0.3, x.clamp(max=1.0), torch.tensor(0.25, dtype=torch.float64) * x).tanh(),
    "in place": lambda x, y: torch.zeros(3, 2, dtype=torch.float64).copy_(x).mul_(2.0)[1:].add(y[0]),
    "derivative": lambda x, y: vmap(jacfwd(lambda row: (row.sin() * row.prod()).pow(3)))(x),
    "constants": lambda x, y: x * MATRIX.sum() + torch.full((2,), 0.5, dtype=torch.float64),
    "itself": lambda x, y: (x, (y, MATRIX)),
}


def _kept(made):
    """The operations, by number; constants by value; without what changes nothing."""
    made.graph.eliminate_dead_code()
    names, lines = {}, []
    for node in made.graph.nodes:
        if node.op == "get_attr":
            names[node] = f"constant {getattr(made, node.target).tolist()}"
        elif node.target in (torch.ops.aten.alias.default, torch.ops.aten.detach.default):
            names[node] = names[node.args[0]]
        else:
            names[node] = f"%{len(lines)}"
            given = torch.fx.node.map_arg((node.args, dict(node.kwargs)), lambda each: names[each])
            lines.append((node.op, node.target if node.op == "call_function" else "", str(given)))
    return lines


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_graph_is_torchs_own(name, table):
    function, examples = FUNCTIONS[name], (torch.rand(3, 2, dtype=torch.float64), torch.rand(3, dtype=torch.float64))
    with torch.no_grad():
        mine = graph(functionalize(function), *examples, decompositions=_decompositions() if table else None)
        other = make_fx(functionalize(function), decomposition_table=_decompositions() if table else None)(*examples)
    assert _kept(mine) == _kept(other)
    for point in (examples, (torch.randn(3, 2, dtype=torch.float64), torch.randn(3, dtype=torch.float64))):
        torch.testing.assert_close(mine(*point), function(*point), rtol=1e-13, atol=1e-13)


def _written(x):
    z = torch.zeros(3, dtype=torch.float64)
    z[1] = x[0]
    return x if z.max() > 0.5 else -x


def _through_a_view(x):
    z = torch.zeros(2, dtype=torch.float64)
    z.view(-1).add_(x)
    return x if z[0] > 0.5 else -x


ASKS = {"branch": lambda x: x if x.sum() > 0 else -x, "item": lambda x: x * x[0].item(), "numpy": lambda x: x * x.numpy()[0],
        "detached": lambda x: x * float(x.detach().numpy()[0]), "list": lambda x: x * x.tolist()[1], "written": _written,
        "view": _through_a_view, "chance": lambda x: x if torch.rand(()) < 0.5 else -x}


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("name", ASKS)
def test_the_value_of_an_argument_is_not_burned_in(name, wrap):
    function = functionalize(ASKS[name]) if wrap else ASKS[name]
    with pytest.raises(RuntimeError, match="that its arguments decide"):
        graph(function, torch.tensor([1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize("function", [lambda x: x * len(x[x > 0]), lambda x: x * torch.nonzero(x > 0).shape[0],
                                      lambda x: x * torch.masked_select(x, x > 0).numel()])
def test_a_shape_that_the_values_decide_is_not_compiled(function):
    with pytest.raises(NotLoweredError, match="its arguments decide how many numbers aten"):
        trace(function, [torch.tensor([1.0, 2.0], dtype=torch.float64)])


def test_a_shape_that_constants_decide_is_compiled():
    function = lambda x: x[torch.tensor([1, 0])] * len(MATRIX[MATRIX > 1]) + x[torch.tensor([True, False])]  # noqa: E731
    made = trace(function, [torch.tensor([1.0, 2.0], dtype=torch.float64)])
    assert made(torch.tensor([3.0, 5.0])).tolist() == [13.0, 9.0]


def test_the_value_of_a_constant_is():
    made = graph(lambda x: x * float(MATRIX.sum()), torch.ones(2, dtype=torch.float64))
    assert made(torch.tensor([2.0])).item() == 2.0 * 3.25


def test_within_a_trace_there_are_no_values():
    seen = []
    graph(lambda x: seen.append(traced()) or x + 1, torch.ones(1))
    assert seen == [True]
    assert not traced()
    with pytest.raises(ZeroDivisionError), tracing():
        raise ZeroDivisionError
    assert not traced()


def test_a_study_imports_no_compiler_of_torch_and_no_other_library_that_takes_long(tmp_path):
    code = ("import sys, sme, torch\n"
            "study = sme.weak_error(sme.Quadratic(), sme.Adam(), order=2, tau=['1/4', '1/8'], horizon=0.5, paths=1, "
            "start={'theta': torch.tensor([0.4, -0.2]), 'v': torch.ones(2)}, "
            f"backend='compiled', results={str(tmp_path)!r})\n"
            "assert list(study.folder.glob('errors.png'))\n"
            "slow = {'torch._dynamo', 'torch._inductor', 'sympy', 'seaborn', 'scipy.stats'} & set(sys.modules)\n"
            "assert not slow, slow\nassert {'matplotlib', 'torch'} <= set(sys.modules)")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
