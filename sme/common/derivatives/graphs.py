"""Graphs of functions of tensors, as torch traces them."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx


def graph(function: Callable[..., Any], *examples: Tensor, **options: Any) -> GraphModule:
    """`make_fx(function, **options)(*examples)`.

    One mode has the shapes of all nodes: torch makes a new one for each otherwise, which takes a third of the time.
    """
    with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
        made: GraphModule = make_fx(function, **options)(*examples)
    return made
