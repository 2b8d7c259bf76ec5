"""One step of an update rule as a smooth function of its inputs, and its Taylor terms."""

import functools
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vmap

from sme.equations.base import X, join
from sme.equations.expansion.series import Series, UnsupportedError, base
from sme.equations.expansion.states import beside, split
from sme.errors import SMEError
from sme.inputs import short
from sme.optimizers.base import Optimizer
from sme.optimizers.preconditioner import above
from sme.regimes import Gradient

Paths = Float[Tensor, "paths d"]
Variable = Any
"""the small variable of a curve: a series, or a dual number"""
Curve = Callable[[Variable], Any]

PROBES = 16
"""paths at which the structure of an update rule is read off"""
EXACT = 1e-9
"""relative difference below which two Taylor terms are equal"""


class Step:
    """`U(t, x, s, q, τ)`: the whole state after one step of `optimizer.update`.

    With `s = τ a`, `a` and `q` held fixed, `U = x + τ rate(a, q) + τ² bend(a, q) + …`: forward
    derivatives in `τ`, exact to rounding.

    Attributes
    ----------
    separate
        whether coordinate `i` of every field depends on coordinate `i` of the inputs alone.
    squares
        whether `rate` depends on `q`.

    Raises
    ------
    SMEError
        if the rule cannot be differentiated, moves at `τ = 0`, or has a `rate` that is not affine in
        `(a, q)`: then its increments are no polynomials in the noise.
    """

    def __init__(self, optimizer: Optimizer, dim: int) -> None:
        self.optimizer, self.dim = optimizer, dim
        # above the floor the rule is the same without it, and much cheaper to differentiate
        settings: set[str] = {each.name for each in fields(optimizer) if each.init} if is_dataclass(optimizer) else set()
        unfloored = "v_floor" in settings and optimizer.v_floor > 0 and "v" in optimizer.fields
        self._unfloored: Optimizer = replace(optimizer, v_floor=0.0) if unfloored else optimizer  # type: ignore[type-var]
        self._direct = self._by_series = False
        try:
            self._probe()
        except SMEError:
            raise
        except Exception as fault:
            raise SMEError(f"the update rule of {optimizer.name} cannot be differentiated in τ: {fault}; use torch "
                           "functions of its arguments only, without float(), branches on data or in-place operations") from fault

    @classmethod
    def of(cls, optimizer: Optimizer, dim: int) -> "Step":
        """The step of this optimizer; of one that cannot change it is probed once in a process."""
        frozen = is_dataclass(optimizer) and optimizer.__dataclass_params__.frozen  # type: ignore[attr-defined]
        return _probed(optimizer, dim) if frozen else cls(optimizer, dim)

    def __call__(self, t: Any, x: X, s: Paths, q: Paths, tau: Any) -> X:
        """`U(t, x, s, q, τ)` for every path."""
        state = dict(zip(self.optimizer.fields, split(x, self.dim), strict=True))

        floored = self._unfloored is not self.optimizer
        unfloored = floored and self._direct and above(base(state["v"]), self.optimizer.v_floor)
        optimizer = self._unfloored if unfloored else self.optimizer

        def update(state: dict[str, Tensor], s: Tensor, q: Tensor) -> dict[str, Tensor]:
            return optimizer.update(state, Gradient(s, q), tau, t)

        # a rule of elementwise operations takes all paths at once, which is faster
        new = update(state, s, q) if self._direct else vmap(update)(state, s, q)
        return beside([new[name] for name in self.optimizer.fields])

    def taylor(self, curve: Curve, order: int) -> Any:
        """The coefficient of `e^order` in `curve(e)`: by a power series, else by nested forward derivatives."""
        if self._by_series:
            value = curve(e := Series.variable(order))
            return value.coefficients[order] if isinstance(value, Series) and value.level == e.level else None
        return nested(curve, order)

    def slope(self, curve: Curve, x: X, order: int = 1) -> X:
        """`taylor`, with zeros in the shape of `x` for a curve that does not move."""
        value: X | None = self.taylor(curve, order)
        return torch.zeros_like(base(x)) if value is None else value

    def rate(self, t: Any, x: X, a: Paths, q: Paths) -> X:
        """`∂_τ U(t, x, τ a, q, τ)` at `τ = 0`, affine in `(a, q)`."""
        return self.slope(lambda tau: self(t, x, tau * a, q, tau), x)

    def bend(self, t: Any, x: X, a: Paths, q: Paths) -> X:
        """`½ ∂_τ² U(t, x, τ a, q, τ)` at `τ = 0`."""
        return self.slope(lambda tau: self(t, x, tau * a, q, tau), x, 2)

    def push(self, t: Any, x: X, a: Paths, q: Paths) -> X:
        """The linear part of `rate` applied to changes `(a, q)` of its arguments."""
        return self.rate(t, x, a, q) - self.rate(t, x, 0 * a, 0 * q)

    def kick(self, t: Any, x: X, a: Paths) -> X:
        """`push` of a change of `a` alone: `∂_s U a` at `τ = 0`."""
        return self.slope(lambda e: self(t, x, e * a, 0 * a, 0 * e), x)

    def _probe(self) -> None:
        d, zero, name = self.dim, torch.zeros((), dtype=torch.float64), self.optimizer.name
        x, (a, a2, q, q2) = probes(self.optimizer, d)
        q, q2 = q * q, q2 * q2
        times = moments(self.optimizer)
        for t in times:
            if not bool(torch.isfinite(self(t, x, a, q, zero + 0.1)).all()):
                raise SMEError(f"the update rule of {name} is not finite at states like {short(x[0])} of "
                               f"{', '.join(self.optimizer.fields)}: name the fields that are never negative in `nonnegative`")
        self.separate = all(self._separate(t, x, a, q) for t in times)
        if self.separate:
            self._speed_up(times[1], x, a, q)
        self.squares = False
        for t in times:
            if not _same(self(t, x, 0 * a, q, zero), x):
                raise SMEError(f"the update rule of {name} moves although gradient.step and τ are 0: every change of the state "
                               "must carry a factor gradient.step or tau")
            once, double = self(t, x, a, q, zero) - x, self(t, x, 2 * a, 0 * q, zero) - x
            mean = self.rate(t, x, (a + a2) / 2, (q + q2) / 2)
            if not _same(2 * mean, self.rate(t, x, a, q) + self.rate(t, x, a2, q2)) or not _same(2 * once, double):
                raise SMEError(f"the increment of {name} is not affine in gradient.step and gradient.square at first order in τ, "
                               "so its moments are not those of a polynomial in the noise: let the gradient enter through "
                               "averages, such as m + c (gradient.step − τ m)")
            small = 1e-4
            left = self(t, x, small * a, q, zero + small) - x - small * self.rate(t, x, a, q)
            if not torch.allclose(left, small**2 * self.bend(t, x, a, q), rtol=0, atol=1e-7):
                raise SMEError(f"the update rule of {name} cannot be differentiated in τ: at τ = {small:g} it is not near its "
                               "expansion. Use torch functions of its arguments only, without float(), kinks or jumps, and "
                               "nothing singular at τ = 0")
            self.squares = self.squares or not _same(self.rate(t, x, a, q), self.rate(t, x, a, q2))

    def _separate(self, t: float, x: X, a: Paths, q: Paths) -> bool:
        """Whether no coordinate moves when another one of the inputs does."""
        tau = torch.tensor(0.1, dtype=torch.float64)
        still, others = self(t, x, a, q, tau), ~torch.eye(self.dim, dtype=torch.bool)
        for j in range(self.dim if self.dim > 1 else 0):
            bump = 0.1 * (torch.arange(self.dim) == j)
            moved = [part + bump for part in (*split(x, self.dim), a, q)]
            change = (self(t, join(*moved[:-2]), moved[-2], moved[-1], tau) - still).reshape(len(x), -1, self.dim)
            if bool((change[:, :, others[j]] != 0).any()):
                return False
        return True

    def _speed_up(self, t: float, x: X, a: Paths, q: Paths) -> None:
        """Take all paths at once, and power series, if they give the same."""
        tau = torch.tensor(0.01, dtype=torch.float64)
        wanted = self(t, x, a, q, tau)
        curve = lambda h: self(t + h * h, x + h * x, h * a + h * h * q, q + h * a, h * h)  # noqa: E731
        slow = [nested(curve, order) for order in (2, 3)]
        try:
            self._direct = True
            self._direct = _same(self(t, x, a, q, tau), wanted)
            self._by_series = self._direct
            self._by_series = self._direct and all(_same(self.slope(curve, x, order), there)
                                                   for order, there in zip((2, 3), slow, strict=True))
        except (UnsupportedError, RuntimeError, IndexError, ValueError, TypeError, AttributeError):
            self._by_series = False
            self._direct = self._direct and _runs(lambda: self(t, x, a, q, tau))


@functools.lru_cache(maxsize=64)
def _probed(optimizer: Optimizer, dim: int) -> Step:
    return Step(optimizer, dim)


def probes(optimizer: Optimizer, dim: int) -> tuple[X, tuple[Paths, Paths, Paths, Paths]]:
    """States all over the place, and four random inputs, at which the structure of an update rule is read off."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand((PROBES, (len(optimizer.fields) + 4) * dim), generator=generator, dtype=torch.float64).split(dim, -1)
    parts = [0.05 + 1.5 * part if name in optimizer.nonnegative else 3 * part - 1.5
             for name, part in zip(optimizer.fields, uniform, strict=False)]
    first, second, third, fourth = (2 * part - 1 for part in uniform[len(parts):])
    return join(*parts), (first, second, third, fourth)


def moments(optimizer: Optimizer) -> tuple[float, ...]:
    """Times at which it is read off."""
    return tuple(optimizer.t0 + after for after in (0.0, 0.37, 1.9))


def _runs(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (RuntimeError, IndexError, ValueError, TypeError):
        return False
    return True


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=EXACT, atol=EXACT)


def nested(curve: Curve, order: int) -> Tensor:
    """The coefficient of `e^order` in `curve(e)`, by `order` nested forward derivatives at `e = 0`."""
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)

    def derivative(inner: Curve) -> Curve:
        def outer(e: Tensor) -> Tensor:
            slope: Tensor = jvp(inner, (e,), (one,))[1]
            return slope

        return outer

    value: Tensor = functools.reduce(lambda inner, _: derivative(inner), range(order), curve)(zero)
    return value / math.factorial(order)
