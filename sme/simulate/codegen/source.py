"""The C source of a run: what is special to it, then the same loops for all."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from sme.simulate.codegen.interpreter import NotLoweredError, trace
from sme.simulate.codegen.loop_nests import LoopNests
from sme.simulate.codegen.scalars import Program, Value, literal
from sme.simulate.codegen.statements import Array, Store
from sme.simulate.codegen.straight_line import StraightLine, array

MOST = 4000
"""operations of one substep or step, number by number; a longer one is made of loops"""

APART = "static __attribute__((noinline))"
"""of functions that do much in one call: inside others they would take a compiler twice as long"""

Input = tuple[str, Tensor, bool]
"""of an argument: what C calls number `i` of it (`{i}`), an example, whether all paths share it"""


def kernel() -> str:
    """The part that is the same for all runs."""
    return (files("sme.simulate.codegen") / "kernel.c").read_text(encoding="utf-8")


def products() -> str:
    """What loops call."""
    return (files("sme.simulate.codegen") / "products.c").read_text(encoding="utf-8")


def lanes(head: str, function: Callable[..., Any], inputs: Sequence[Input], outputs: Sequence[str], level: float = 0.0) -> str:
    """A C function of this head that applies `function` to `W` paths; what it returns goes to `outputs`, number by number.

    With a `level` another, `usual_…`, is for paths of which no number is below it (see `Program.usual`): it says whether one
    was; its first output goes to the numbers of its last argument, `made`.

    Raises
    ------
    NotLoweredError
        if `function` has no such form.
    """
    graph = trace(function, [example for _, example, _ in inputs])
    quick = "    return 1;\n"
    try:
        body, found = straight(graph, inputs, outputs, level)
        quick = found or quick
    except NotLoweredError:
        body = looped(graph, inputs, outputs)
    usual = f"static inline int usual_{head[:-1]}, double (*restrict made)[W]) {{\n{quick}}}\n" if level else ""
    return f"{APART} void {head} {{\n{body}}}\n{usual}"


def looped(graph: GraphModule, inputs: Sequence[Input], outputs: Sequence[str]) -> str:
    """The body of such a function as loops over the numbers of tensors."""
    loops = LoopNests(graph)
    given: list[Any] = []
    for form, example, uniform in inputs:
        every = torch.arange(example.numel()).reshape(example.shape)
        source = Store(form, example.numel(), uniform) if "{i}" in form else loops.head.input(form, uniform)
        given.append(Array(source, every) if example.numel() else example)
    results = loops.lower(*given)
    loops.outputs(results if isinstance(results, tuple | list) else (results,), outputs)
    return loops.text()


def straight(graph: GraphModule, inputs: Sequence[Input], outputs: Sequence[str], level: float = 0.0) -> tuple[str, str]:
    """The body of such a function number by number, and that of its usual form, which is empty where there is none."""
    program = Program()
    given: list[Any] = []
    loads: dict[str, str] = {}
    for form, example, uniform in inputs:
        values = array(torch.zeros(example.shape))
        for i, index in enumerate(torch.cartesian_prod(*map(torch.arange, example.shape)).reshape(-1, example.dim()).tolist()
                                  if example.dim() else [[]]):
            code = form.format(i=i)
            name = code if uniform else f"in{len(loads)}"
            if not uniform:
                loads[name] = code
            values[tuple(index)] = program.input(name, uniform)
        given.append(values)
    results = StraightLine(graph, program, MOST).lower(*given)
    numbers = [each for part in (results if isinstance(results, tuple | list) else (results,)) for each in array(part).flat]
    sizes = _sizes(outputs, results)
    targets = [form.format(i=i) for form, size in sizes for i in range(size)]

    def loop(uniform_lines: Sequence[str], lines: Sequence[str], stores: Sequence[str], how: str = "") -> str:
        text = "\n".join((*uniform_lines, *lines))
        used = [f"const double {name} = {code};" for name, code in loads.items()
                if f"{name} " in text or f"{name};" in text or f"{name})" in text
                or any(isinstance(each, Value) and each.code == name for each in numbers)]
        body = "\n        ".join((*used, *lines, *stores))
        before = "".join(f"    {line}\n" for line in uniform_lines)
        return f"{before}#pragma omp simd{how}\n    for (int p = 0; p < W; p++) {{\n        {body}\n    }}\n"

    def stores(targets: Sequence[str]) -> list[str]:
        return [f"{target} = {literal(number)};" for target, number in zip(targets, numbers, strict=True)]

    whole = loop(*program.statements(numbers), stores(targets))
    *parts, above = program.usual(numbers, level, "t") if level else ([], [], [])
    if not above:
        return whole, ""
    first = sizes[0][1]
    made = [*stores([f"made[{i}][p]" for i in range(first)] + targets[first:]), *(f"below += !{each};" for each in above)]
    quick = loop(parts[0], parts[1], made, " reduction(+:below)")  # of doubles, as all else: one width of vectors
    return whole, f"    double below = 0;\n{quick}    return below != 0;\n"


def _sizes(outputs: Sequence[str], results: Any) -> list[tuple[str, int]]:
    parts = results if isinstance(results, tuple | list) else (results,)
    return [(form, array(part).size) for form, part in zip(outputs, parts, strict=True)]
