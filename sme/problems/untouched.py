"""Whether a user's functions leave what they are given as it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sme.common.errors import SMEError

if TYPE_CHECKING:
    from sme.problems.base import Problem

POINTS = ("loss", "gradient", "both", "variance", "spread", "fourth", "scale")
"""methods of a problem or a law that take `θ` alone"""
DRAWN: Mapping[str, str] = {"sample": "motions", "diffuse": "motions", "diffuse_square": "motions", "second": "second_motions"}
"""methods of a law that take so many numbers a path beside"""


@contextmanager
def untouched(what: str, *given: Tensor) -> Iterator[None]:
    """Raise `SMEError` if numbers of `given` have changed at the end: by `what`, in words."""
    before = [each.clone() for each in given]
    yield
    if not all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in zip(before, given, strict=True)):
        raise SMEError(f"{what} writes over what it is given, and so changes the run: make new tensors, x = 2 * x in place of "
                       "x *= 2, or take x.clone() first")


def check(problem: "Problem") -> None:
    """Raise `SMEError` if a loss, or a problem or law of the user's own class, writes over its arguments."""
    law, generator = problem.noise, torch.Generator().manual_seed(0)
    near = problem.start.get("theta", torch.full((problem.dim,), 0.5, dtype=torch.float64))

    def random(width: int) -> Tensor:
        return torch.randn(2, width, generator=generator, dtype=torch.float64).to(near.device)

    theta, u, w = (near + 0.1 * random(problem.dim) for _ in range(3))
    _try("the loss", problem._loss, (theta[0],))
    for part in (problem, law):
        for name in POINTS:
            _own(part, name, (theta,))
    for name, given in (("hessian", (theta, u)), ("third", (theta, u, w))):
        _own(problem, name, given)
    for name, motions in DRAWN.items():
        _own(law, name, (theta, random(getattr(law, motions, 0))))


def _own(part: object, name: str, given: Sequence[Tensor]) -> None:
    """Try a method that a class outside the package defines."""
    owner = next((kind for kind in type(part).__mro__ if name in vars(kind)), object)
    if owner is not object and owner.__module__.partition(".")[0] != __name__.partition(".")[0]:
        _try(f"{name} of {type(part).__name__}", getattr(part, name), given)


def _try(what: str, function: Callable[..., object], given: Sequence[Tensor]) -> None:
    with untouched(what, *given):
        try:
            function(*given)
        except Exception:  # what else is wrong is said where it is used
            return
