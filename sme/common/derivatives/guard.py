"""Whether derivatives are right, torch's forward mode beside its reverse mode and differences, and data finite."""

import warnings
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from sme.common.errors import SMEError

Point = Float[Tensor, " d"]
Paths = Float[Tensor, "paths d"]
Function = Callable[[Paths], Tensor]

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
"""of the differences"""
CLOSE, SETTLED = 1e-5, 1e-6
"""accuracy asked of a derivative, and of two differences that together can show that it is wrong"""
FLOOR = 1e-7
"""of what is differentiated, below which a derivative is not told from 0"""
SPREAD = 0.3
"""of the random points around the start"""
FEW = 3
"""examples that are looked at"""
Way = TypeVar("Way")


class MissingError(Exception):
    """torch has no derivatives, in words."""


def settle(ways: Iterable[Way], look: Callable[[Way], str]) -> tuple[Way, str]:
    """The first way in which `look` finds no fault, else the first that runs, and its fault.

    Raises
    ------
    MissingError
        if none runs.
    """
    ran: list[tuple[Way, str]] = []
    first: MissingError | None = None
    for way in ways:
        try:
            found = look(way)
        except MissingError as missing:
            first = first or missing
            continue
        if not found:
            return way, ""
        ran.append((way, found))
    if ran:
        return ran[0]
    raise first or MissingError("there is no way")


class Sums(Protocol):
    """Averages over examples of gradients and of their squares, and the derivatives of both."""

    def averages(self, theta: Paths) -> tuple[Paths, Paths]: ...

    def slope(self, theta: Paths, u: Paths) -> tuple[Paths, Paths]: ...


class Differentiated(Protocol):
    """What is looked at: products with `∇²f` and `∇³f`, for every path."""

    def gradient(self, theta: Paths) -> Paths: ...

    def hessian(self, theta: Paths, u: Paths) -> Paths: ...

    def third(self, theta: Paths, u: Paths, w: Paths) -> Paths: ...


class Mean:
    """The mean over the examples, by their sums."""

    def __init__(self, sums: Sums) -> None:
        self.sums = sums

    def gradient(self, theta: Paths) -> Paths:
        """`∇f`."""
        return self.sums.averages(theta)[0]

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        """`∇²f u`."""
        return self.sums.slope(theta, u)[0]

    def third(self, theta: Paths, u: Paths, w: Paths) -> Paths:
        """`∇³f[u, w]`."""
        return jvp(lambda point: self.hessian(point, u), (theta,), (w,))[1]


def fault(of: Differentiated, plain: Callable[[Point], Point], start: Point, sums: Sums | None = None) -> str:
    """What is wrong with the derivatives, in words; empty if nothing is, or if `f` has no finite gradient to compare with.

    Parameters
    ----------
    of
        with the derivatives that are used.
    plain
        `∇f` at one point, by the reverse mode alone.
    start
        near which is looked, at random points.
    sums
        whose squares are looked at too, if there are any.

    Raises
    ------
    MissingError
        if there are none.
    """
    generator, found = torch.Generator().manual_seed(0), ""
    for _ in range(2):  # twice only where something is wrong: a kink that is met by chance is not met again
        theta, u, w = (torch.randn(len(start), generator=generator, dtype=start.dtype).to(start.device) for _ in range(3))
        theta = start + SPREAD * theta
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _fault_at(of, plain, theta, u[None], w[None], sums)
        if not found:
            return ""
    return found


def gradient(loss: Callable[[Tensor], Tensor]) -> Callable[[Point], Point]:
    """`∇f` of a scalar function by one reverse pass, outside torch.func."""

    def of(theta: Point) -> Point:
        with torch.enable_grad():
            point = theta.detach().clone().requires_grad_()
            found = torch.autograd.grad(loss(point), point, allow_unused=True, materialize_grads=True)[0]
        return found.detach()

    return of


def check_finite(what: str, parts: dict[str, Tensor], near: Point,
                 loss: Callable[[int], Callable[[Tensor], Tensor]]) -> None:
    """Raise `SMEError` for the first example `i` that is not finite, if neither is the gradient of `loss(i)` at `near`."""
    count = len(next(iter(parts.values())))
    finite = {name: torch.isfinite(part.reshape(count, -1)).all(1) for name, part in parts.items()}
    for i in torch.stack([~each for each in finite.values()]).any(0).nonzero().flatten().tolist():
        if not bool(torch.isfinite(gradient(loss(i))(near)).all()):
            name = next(name for name, each in finite.items() if not each[i])
            raise SMEError(f"{what}: example {i} of {name} is not finite")


def _fault_at(of: Differentiated, plain: Callable[[Point], Point], theta: Point, u: Paths, w: Paths,
              sums: Sums | None) -> str:
    try:
        whole = plain(theta)
    except Exception:  # the loss is not defined there, or has no gradient at all, which is refused elsewhere
        return ""
    try:
        return _compared(of, plain, theta, whole, u, w, sums) if bool(torch.isfinite(whole).all()) else ""
    except Exception as missing:
        said = str(missing).strip().splitlines()
        raise MissingError(f"{type(missing).__name__}: {said[0] if said else ''}") from missing


def _compared(of: Differentiated, plain: Callable[[Point], Point], theta: Point, whole: Point, u: Paths, w: Paths,
              sums: Sums | None) -> str:
    here, size = theta[None], float(whole.norm())
    u, w = u * (whole != 0), w * (whole != 0)  # what no gradient moves, as a row for blanks, has no second derivative to check
    mine, along, other = of.gradient(here)[0], of.hessian(here, u), of.hessian(here, w)
    bend = of.third(here, u, w)
    square = None if sums is None else (sums.averages(here)[1], sums.slope(here, u)[1])
    if _apart(mine, whole, FLOOR * size):
        return "the gradient through torch.func is not that of a plain reverse pass"
    scale = float(u.norm() * other.norm() + w.norm() * along.norm())
    if abs(float((u * other).sum() - (w * along).sum())) > CLOSE * scale + FLOOR * size:
        return "a product with ∇²f is not the same from both sides"

    def each(points: Paths) -> Tensor:
        return torch.stack([plain(point) for point in points])

    if _differs(along[0], each, theta, u[0], size):
        return "a product with ∇²f is not the difference of gradients"
    if _differs(bend[0], lambda points: of.hessian(points, u.expand_as(points)), theta, w[0], float(along.norm())):
        return "a product with ∇³f is not the difference of products with ∇²f"
    if sums is not None and square is not None and _differs(square[1][0], lambda points: sums.averages(points)[1], theta, u[0],
                                                            float(square[0].norm())):
        return "the slope of the squared gradients is not their difference"
    return ""


def _apart(found: Tensor, right: Tensor, floor: float, close: float = CLOSE) -> bool:
    return not float((found - right).norm()) <= close * float(right.norm()) + floor


def _differs(found: Tensor, function: Function, theta: Point, u: Point, size: float) -> bool:
    """Whether `found` is not the derivative of `function` along `u`: differences settle, and elsewhere.

    They do not settle over a kink, nor where the function is rounded to few digits.
    """
    settled, before = False, None
    for step in STEPS:
        far = function(torch.stack([theta + k * step * u for k in (-2, -1, 1, 2)]))
        right = (far[0] - far[3] + 8 * (far[2] - far[1])) / (12 * step)
        if not bool(torch.isfinite(right).all()) or not _apart(found, right, FLOOR * size):
            return False
        settled = settled or (before is not None and not _apart(before, right, FLOOR * size, SETTLED))
        before = right
    return settled
