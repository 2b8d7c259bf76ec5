"""What is not smooth about a loss alone, whatever the rule and the run."""

from collections.abc import Callable

from torch import Tensor

from sme.common.errors import SMEError
from sme.optimizers.regimes import BALLISTIC
from sme.optimizers.sgd import SGD
from sme.problems.base import Problem
from sme.problems.noise.diagonal import DiagonalNoise
from sme.problems.smooth.obstacles import obstacles


def rough(loss: Callable[[Tensor], Tensor], start: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The operations at which the gradient jumps, or may, and those at which it only has a kink, about `start`.

    Raises
    ------
    SMEError
        if the loss cannot be traced.
    """
    problem = Problem(loss, len(start), DiagonalNoise(0.0, len(start)))
    problem.start = {"theta": start}
    found = obstacles(problem, SGD(), BALLISTIC)
    for each in found:
        if each.operation == "the loss":
            raise SMEError(f"module and loss {each.place.removesuffix('.')}; they must not branch on what they compute")
    names = {each.operation.removeprefix("torch.").removesuffix(" in the loss"): each.kind == "kink" for each in found}
    jumps, bends = (tuple(sorted(name for name, mild in names.items() if mild == which)) for which in (False, True))
    return jumps, bends
