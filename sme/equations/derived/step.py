"""One step of an update rule as a smooth function of its inputs, and its Taylor terms."""

import functools
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vmap

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.equations.base import X, join
from sme.equations.derived.probes import Inputs, Paths, close, home, moments, probes, spread
from sme.equations.derived.refusal import TINY, plain
from sme.equations.derived.series import Series, UnsupportedError, base
from sme.equations.derived.soundness import check_affine, check_expansion, check_still, pace_of
from sme.equations.derived.states import beside, split
from sme.optimizers.base import Optimizer, updated
from sme.optimizers.preconditioner import above
from sme.optimizers.regimes import Gradient

Variable = Any
"""the small variable of a curve: a series, or a dual number"""
Curve = Callable[[Variable], Any]

NEARER = 12
"""times that a state is taken half the way to its default"""


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
    linear
        whether a step is affine in `s` at `τ = 0`: a product of two `s` is `τ² a²` here, and larger where `s ~ √τ`.
    through
        the operations of the rule that take a gradient apart, in words.
    small
        a step size small for the rule's own rates.

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
        self._direct = self._by_series = self.squares = False
        self.linear, self.through = True, ""
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
        return _probed(optimizer, dim) if frozen(optimizer) else cls(optimizer, dim)

    def __call__(self, t: Any, x: X, s: Paths, q: Paths, tau: Any) -> X:
        """`U(t, x, s, q, τ)` for every path."""
        state = dict(zip(self.optimizer.fields, split(x, self.dim), strict=True))

        floored = self._unfloored is not self.optimizer
        unfloored = floored and self._direct and above(base(state["v"]), self.optimizer.v_floor)
        optimizer = self._unfloored if unfloored else self.optimizer

        def update(state: dict[str, Tensor], s: Tensor, q: Tensor) -> dict[str, Tensor]:
            return updated(optimizer, state, Gradient(s, q), tau, t)

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

    def places(self, every: bool = False) -> tuple[X, Inputs]:
        """States and inputs `a, a', q, q'` at which the rule is finite, of one size or of `every`.

        A state where it is not is taken nearer and nearer to its default.
        """
        x, (a, a2, q, q2) = (spread if every else probes)(self.optimizer, self.dim)
        q, q2, goal = q * q, q2 * q2, home(self.optimizer, x)
        for _ in range(NEARER):
            lost = ~self._finite(x, a, q)
            if not bool(lost.any()):
                break
            x = torch.where(lost[:, None], 0.5 * (x + goal), x)
        kept = self._finite(x, a, q)
        return join(*x[kept].split(self.dim, -1)), (a[kept], a2[kept], q[kept], q2[kept])

    def _finite(self, x: X, a: Paths, q: Paths) -> Tensor:
        return torch.stack([torch.isfinite(self.tiny(t)(x, a, q)).all(-1) for t in moments(self.optimizer)]).all(0)

    def tiny(self, t: float) -> Callable[[X, Paths, Paths], X]:
        """A step of size `TINY`."""
        tau = torch.tensor(TINY, dtype=torch.float64)
        return lambda x, a, q: self(t, x, tau * a, q, tau)

    def _probe(self) -> None:
        optimizer, times, name = self.optimizer, moments(self.optimizer), self.optimizer.name
        x, (a, _, q, _) = probes(optimizer, self.dim)
        watch = plain(optimizer, dict(zip(optimizer.fields, split(x[0], self.dim), strict=True)), a[0], q[0] ** 2, times[1])
        x, inputs = self.places()
        if not len(x):
            raise SMEError(f"the update rule of {name} is not finite at states like {short(probes(optimizer, self.dim)[0][0])} "
                           f"of {', '.join(optimizer.fields)}: name the fields that are never negative in `nonnegative`, and "
                           "give defaults at which it is finite")
        check_still(self, times, x, inputs, watch)
        a, q = inputs[0], inputs[2]
        terms = {t: (self.rate(t, x, a, q), self.bend(t, x, a, q)) for t in times}
        pace = torch.stack([pace_of(self, *term) for term in terms.values()]).amax(0).clamp(min=1.0)
        self.small = min(0.1, 0.03 / float(pace.nan_to_num(math.inf).max()))
        wide, (far, _, square, _) = self.places(every=True)
        self.separate = all(self._separate(t, wide, far, square) for t in times)
        if self.separate:
            self._speed_up(times[1], x, a, q)
        check_affine(self, times, watch)
        check_expansion(self, terms, x, inputs, pace, watch)

    def _separate(self, t: float, x: X, a: Paths, q: Paths) -> bool:
        """Whether no coordinate moves when others of the inputs do, for some parts of the coordinates that part every two."""
        tau, place = torch.tensor(self.small, dtype=torch.float64), torch.arange(self.dim)
        still = self(t, x, tau * a, q, tau)
        for bit in range((self.dim - 1).bit_length()):
            for moves in ((place >> bit) % 2 == 0, (place >> bit) % 2 == 1):
                moved = [part + 0.1 * moves * (1 + part.abs()) for part in (*split(x, self.dim), a, q)]
                end = self(t, join(*moved[:-2]), tau * moved[-2], moved[-1], tau)
                same = (end == still) | (end.isnan() & still.isnan())
                if not bool(same.reshape(len(x), -1, self.dim)[:, :, ~moves].all()):
                    return False
        return True

    def _speed_up(self, t: float, x: X, a: Paths, q: Paths) -> None:
        """Take all paths at once, and power series, if they give the same."""
        tau = torch.tensor(self.small, dtype=torch.float64)
        wanted = self(t, x, tau * a, q, tau)
        curve = lambda h: self(t + h * h, x + h * x, h * a + h * h * q, q + h * a, h * h)  # noqa: E731
        try:
            self._direct = True
            self._direct = close(self(t, x, tau * a, q, tau), wanted)
            slow = [nested(curve, order) for order in (2, 3) if self._direct]
            self._by_series = self._direct
            self._by_series = self._direct and all(close(self.slope(curve, x, order), there, there.abs().max())
                                                   for order, there in zip((2, 3), slow, strict=True))
        except (UnsupportedError, RuntimeError, IndexError, ValueError, TypeError, AttributeError):
            self._by_series = False
            self._direct = self._direct and _runs(lambda: self(t, x, tau * a, q, tau))


def frozen(optimizer: Optimizer) -> bool:
    """Whether it cannot change."""
    return is_dataclass(optimizer) and bool(optimizer.__dataclass_params__.frozen)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=512)
def _probed(optimizer: Optimizer, dim: int) -> Step:
    return Step(optimizer, dim)


def _runs(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (RuntimeError, IndexError, ValueError, TypeError):
        return False
    return True


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
