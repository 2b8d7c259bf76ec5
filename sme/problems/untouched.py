"""Whether a user's functions can be evaluated, and leave what they are given as it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError

if TYPE_CHECKING:
    from sme.problems.base import Problem

POINTS = ("loss", "gradient", "both", "variance", "spread", "fourth", "scale")
"""methods of a problem or a law that take `θ` alone"""
DRAWN: Mapping[str, str] = {"sample": "motions", "diffuse": "motions", "diffuse_square": "motions", "second": "second_motions"}
"""methods of a law that take so many numbers a path beside"""
SIZES = "equal size"
"""in what torch says where paths have other numbers of numbers"""


@contextmanager
def untouched(what: str, *given: Tensor) -> Iterator[None]:
    """Raise `SMEError` if numbers of `given` have changed at the end: by `what`, in words."""
    before = [each.clone() for each in given]
    yield
    if not all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in zip(before, given, strict=True)):
        raise SMEError(f"{what} writes over what it is given, and so changes the run: make new tensors, x = 2 * x in place of "
                       "x *= 2, or take x.clone() first")


def near(problem: "Problem") -> Tensor:
    """A point where it is tried: its own start, if it has one."""
    return problem.start.get("theta", torch.full((problem.dim,), 0.5, dtype=torch.float64))


def evaluated(problem: "Problem", theta: Float[Tensor, " d"]) -> tuple[Tensor, Float[Tensor, "1 d"]]:
    """Loss and gradient at one point.

    Raises
    ------
    SMEError
        if torch.func cannot, or the loss is no scalar.
    """
    dim = problem.dim
    try:
        value = problem._loss(theta)
        scalar = isinstance(value, Tensor) and value.shape == ()
        gradient = problem.gradient(theta.expand(1, -1)) if scalar else torch.zeros(1, dim)
        _apart(problem, theta)
    except Exception as fault:
        cure = ("write the operation out with others" if "not implemented" in str(fault) else
                "it must make as many numbers on every path, with minlength of bincount" if SIZES in str(fault) else
                "its own tensors must be float64, and it must not branch on theta")
        raise SMEError(f"the loss cannot be evaluated and differentiated by torch.func at a float64 theta ({dim},): "
                       f"{fault}; {cure}") from fault
    if not scalar:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SMEError(f"the loss must return a scalar tensor, got {shape} for theta of {dim}")
    return value, gradient


def _apart(problem: "Problem", theta: Float[Tensor, " d"]) -> None:
    """Raise if the loss makes other numbers of tensors on two paths, as `torch.bincount` does."""
    try:
        problem.gradient(torch.stack((theta, 2 + 3 * theta.abs())))
    except Exception as fault:
        if SIZES in str(fault):
            raise  # anything else is the other point's, where the loss may not be defined


def check(problem: "Problem") -> None:
    """Raise `SMEError` if a loss, or a problem or law of the user's own class, writes over its arguments."""
    law, generator = problem.noise, torch.Generator().manual_seed(0)
    start = near(problem)

    def random(width: int) -> Tensor:
        return torch.randn(2, width, generator=generator, dtype=torch.float64).to(start.device)

    theta, u, w = (start + 0.1 * random(problem.dim) for _ in range(3))
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
