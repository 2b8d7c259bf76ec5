"""A loss with its derivatives and the law of its noisy gradient."""

import copy
import itertools
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, grad_and_value, jvp, vjp, vmap

from sme.common.derivatives import guard
from sme.common.derivatives.written import Written
from sme.common.errors import SMEError
from sme.common.identity.hashing import fingerprint
from sme.common.inputs import instance, short
from sme.common.process.turns import Turns
from sme.problems import untouched
from sme.problems.noise.base import GradientLaw

Paths = Float[Tensor, "paths d"]
Function = Callable[[Paths], Float[Tensor, " paths"]]
SPREADS = (0.1, 0.3, 1.0)
"""of the random points at which two gradients of one loss are compared"""


class Problem(Turns):
    """A loss `f` on `R^d` and the law of its noisy gradient.

    Parameters
    ----------
    loss
        `theta` of shape `(d,)` to a scalar, differentiable by `torch.func` (no data-dependent
        branches, no in-place operations).
    dim
        `d`, the number of parameters.
    noise
        the gradient law: `sme.GaussianNoise` or `sme.MinibatchNoise`.
    name
        what tables and folders call it.

    Notes
    -----
    A subclass may override `gradient`, `hessian` and `third` by closed forms; the defaults
    differentiate `loss`.

    Raises
    ------
    SMEError
        if the dimensions of loss and noise differ; `check` raises it where loss, gradient or noise
        is not finite or of the wrong shape.
    """

    made_with: tuple[tuple[Any, ...], dict[str, Any]]
    """the arguments that it was made with"""
    start: Mapping[str, Tensor] = MappingProxyType({})
    """fields `(d,)` that a run starts from where none are given"""
    kinks: tuple[str, ...] = ()
    """operations at which the gradient of the loss jumps, so that no equation has order 2"""
    bends: tuple[str, ...] = ()
    """operations at which it has a kink, which costs order 2 only where a run rests on it"""
    numerics: tuple[str, ...] = ()
    """the parts of the code that it comes from beside the core (see `numerics`)"""
    recipe: dict[str, Any] | None = None
    """what it was made from, if that is not its class and these arguments (see `sme.common.identity.recipe`)"""
    backward = False
    """whether second and third derivatives take reverse passes alone, where torch's forward mode fails"""
    lack: str = ""
    """what is wrong with torch's second derivatives of it, in words, so that there is no order 2"""
    _agrees = False
    _spec: Mapping[str, Any] = MappingProxyType({})
    """settings that identify it, if it goes by these"""
    _made: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "Problem":
        problem = super().__new__(cls)
        problem.made_with = (args, kwargs)
        return problem

    def __init__(
        self,
        loss: Callable[[Tensor], Tensor],
        dim: int,
        noise: GradientLaw,
        name: str = "custom",
    ) -> None:
        if not isinstance(dim, int) or dim < 1:
            raise SMEError(f"dim must be a positive integer, got {short(dim)}")
        if not callable(loss):
            raise SMEError(f"loss must be a function of theta (d,) that returns a scalar tensor, got {short(loss)}")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise SMEError(f"name must consist of letters, digits, _ and -, since it names a folder; got {short(name)}")
        if not isinstance(noise, GradientLaw):
            raise SMEError(
                f"noise must be a gradient law such as sme.GaussianNoise(factor), got {short(noise)}"
            )
        noise.check(dim)
        self._loss, self.dim, self.noise, self.name = loss, dim, noise.bound(self.gradient), name
        if type(self).hessian is Problem.hessian:
            self._guard()
        self._made = self._contents()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, dim={self.dim}, noise={self.noise!r})"

    def loss(self, theta: Paths) -> Float[Tensor, " paths"]:
        """`f(θ)` for every path."""
        return vmap(self._loss)(theta)

    def gradient(self, theta: Paths) -> Paths:
        """`∇f(θ)` for every path."""
        return vmap(grad(self._loss))(theta)

    def both(self, theta: Paths) -> tuple[Paths, Float[Tensor, " paths"]]:
        """`∇f(θ)` and `f(θ)` for every path, in one pass."""
        gradient, value = vmap(grad_and_value(self._loss))(theta)
        return gradient, value

    def hessian(self, theta: Paths, u: Paths) -> Paths:
        """`∇²f(θ) u` for every path."""
        if self.backward:  # the Hessian is its own transpose
            product: Paths = vjp(self.gradient, theta)[1](u)[0]
            return product
        return jvp(self.gradient, (theta,), (u,))[1]

    def third(self, theta: Paths, u: Paths, w: Paths) -> Paths:
        """`∇³f(θ)[u, w]`, the derivative of `∇²f(θ) u` along `w`, for every path."""
        if self.backward:
            product: Paths = vjp(lambda point: self.hessian(point, u), theta)[1](w)[0]
            return product
        return jvp(lambda point: self.hessian(point, u), (theta,), (w,))[1]

    def _guard(self) -> None:
        """Find out how torch gives right second derivatives, or raise `SMEError` if it has none."""
        near = torch.full((self.dim,), 0.5, dtype=torch.float64)
        given = self._loss
        forms: tuple[Callable[[Tensor], Tensor], ...] = (given, Written(given))
        try:
            self.gradient(near[None])
        except Exception:  # `check` says so, at the start of a run
            return
        plain = guard.gradient(given) if type(self).gradient is Problem.gradient else lambda theta: self.gradient(theta[None])[0]

        def look(way: tuple[bool, Callable[[Tensor], Tensor]]) -> str:
            self.backward, self._loss = way
            return guard.fault(self, plain, near)

        try:
            (self.backward, self._loss), self.lack = guard.settle(itertools.product((False, True), forms), look)
            if self._loss is not given:
                self.numerics = (*self.numerics, "written")
        except guard.MissingError as missing:
            raise SMEError(f"torch has no second derivatives of the loss, and the equations need them ({missing}): write the "
                           "operation out with others; an own torch.autograd.Function needs a jvp") from missing

    def functions(self) -> dict[str, Function]:
        """Functions of `θ` beside the loss that are observables by name."""
        return {}

    def check(self, theta: Float[Tensor, " d"]) -> None:
        """Raise `SMEError` unless loss, gradient and noise are finite and well-shaped at `theta`, and leave it as it is."""
        untouched.check(self)
        value, gradient = untouched.evaluated(self, theta)
        again = self._loss(theta)
        if not torch.equal(value.nan_to_num(), again.nan_to_num()):
            raise SMEError(f"the loss has another value each time at the same θ, {float(value.detach()):.9g} and "
                           f"{float(again.detach()):.9g}: it counts its calls, or is random, so its numbers cannot be reproduced")
        point = theta.expand(1, -1)
        terms = {
            "loss": value,
            "gradient of the loss": gradient,
            "noise variance": self.noise.spread(point),
        }
        for what, term in terms.items():
            if not bool(torch.isfinite(term).all()):
                raise SMEError(
                    f"the {what} is not finite at the start θ = {short(theta)}: "
                    "change the start, the loss or the noise factor"
                )
        self.agree(theta)

    def agree(self, theta: Float[Tensor, " d"] | None = None) -> None:
        """Raise `SMEError` unless the noise's own mean gradient is the loss's, at `theta` and (once) at random points."""
        near = self.start.get("theta", torch.zeros(self.dim, dtype=torch.float64)) if theta is None else theta
        points, generator = [near], torch.Generator().manual_seed(0)
        if not self._agrees:  # at θ = 0 alone a penalty has no gradient
            far = [size * torch.randn(self.dim, generator=generator, dtype=torch.float64).to(near.device) for size in SPREADS]
            points += [near + (1 + near.abs()) * each for each in far]
        elif theta is None:
            return
        for point in points:
            try:
                gradient = self.gradient(point[None])
                if bool(torch.isfinite(gradient).all()):
                    self.noise.check_mean(point[None], gradient)
            except SMEError:
                raise
            except Exception:  # the loss is not defined there
                continue
        self._agrees = True

    def to(self, device: torch.device) -> "Problem":
        """The same problem with its tensors, and those of its noise, on `device`."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        moved.noise = self.noise.to(device).bound(moved.gradient)
        return moved

    def _contents(self) -> Any:
        """Of a problem that goes by its settings, what these made: its tensors, and all that says what it is."""
        if not self._spec:
            return None
        return fingerprint({name: each for name, each in vars(self).items() if hasattr(each, "describe") or all(
            isinstance(item, Tensor) for item in (each if isinstance(each, tuple) else [each]))})

    def rewritten(self) -> dict[str, Any]:
        """The same where it is no longer what they made, as somebody wrote over it; empty otherwise."""
        now = self._contents()
        return {} if now == self._made else {"rewritten": now}

    def _at(self, theta: Float[Tensor, " d"]) -> Tensor:
        """`f` at one point, of a problem whose loss of many paths is its own: a function that can be pickled."""
        return self.loss(theta.unsqueeze(0))[0]

    def describe(self) -> dict[str, object]:
        """What identifies this problem, in words."""
        return dict(self._spec) or {"name": self.name, "dim": self.dim, "loss": fingerprint(self._loss),
                "noise": fingerprint(self.noise)}


def checked(given: Any) -> Problem:
    """A problem."""
    return instance("problem", given, Problem, "an sme.Problem such as sme.Quadratic()")
