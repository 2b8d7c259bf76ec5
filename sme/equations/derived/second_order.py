"""The mean of an update rule's second-order term over the law of the gradient."""

import functools

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import X
from sme.equations.derived.probes import close, moments
from sme.equations.derived.states import every_field, repeat
from sme.equations.derived.step import Step
from sme.problems.noise.base import GradientLaw

ALIVE = 1e-11
"""share of what a second derivative is a difference of, below which it is 0"""
TINY = 1e-9
"""size of a number of the state below which its relative change means nothing"""


class Curvature:
    """`E bend(ξ) = bend(ξ̄) + ½ ∂²bend : Cov(ξ)`, exact for a `bend` quadratic in `ξ = (ĝ, ĝ∘ĝ)`.

    Where coordinates are apart it takes `Var ĝ_i`, `Cov(ĝ_i, ĝ_i²)` and `Var ĝ_i²`, which every law
    knows; else the columns of the noise of `ξ` (Gaussian noise only). Second derivatives of a
    quadratic are its differences, so no step size enters. Those that vanish are left out.

    Raises
    ------
    SMEError
        if `bend` is not quadratic, or a rule that mixes coordinates meets a law without columns.
    """

    def __init__(self, step: Step, law: GradientLaw) -> None:
        self.step, self.law = step, law
        self.by_a, self.by_q, self.mixed = _structure(step)
        if not step.separate and not law.paired and (self.by_a or self.by_q or self.mixed):
            raise SMEError(f"{step.optimizer.name} mixes coordinates, and for such a rule order 2 is derived for Gaussian noise "
                           "only: use sme.GaussianNoise or order=1")

    def mean(self, t: float, x: X, theta: Tensor, g: Tensor) -> X:
        """`E bend` at a state, `g` being the scaled mean gradient."""
        total = self.step.bend(t, x, g, g * g + self.law.variance(theta))
        spread = self.spread(t, x, theta, g)
        return total if spread is None else total + spread

    def spread(self, t: float, x: X, theta: Tensor, g: Tensor) -> X | None:
        """`½ ∂²bend : Cov(ξ)` alone; None where it is 0."""
        if not (self.by_a or self.by_q or self.mixed):
            return None
        return 0.5 * (self._by_moments(t, x, theta, g) if self.step.separate else self._by_columns(t, x, theta, g))

    def _by_moments(self, t: float, x: X, theta: Tensor, g: Tensor) -> X:
        """By differences about 0, each as far as the moment that it goes with: none cancels what is large beside it."""
        total, zero = torch.zeros_like(x), torch.zeros_like(g)
        spread, square = self.law.variance(theta), self.law.square_variance(theta, g)
        da, dq = _far(spread), _far(square)
        if self.by_a:
            total = total + _second(self.step, t, x, zero, zero, da, zero)[0] * every_field(spread / da**2, x)
        if self.by_q:
            total = total + _second(self.step, t, x, zero, zero, zero, dq)[0] * every_field(square / dq**2, x)
        if self.mixed:
            both, only_a, only_q, none = self.step.bend(t, repeat(x, 4), torch.cat((da, da, zero, zero)),
                                                        torch.cat((dq, zero, dq, zero))).split(len(x))
            joint = (2 * g * spread + self.law.third(theta)) / (da * dq)
            total = total + 2 * (both - only_a - only_q + none) * every_field(joint, x)
        return total

    def _by_columns(self, t: float, x: X, theta: Tensor, g: Tensor) -> X:
        columns = torch.eye(self.law.motions + self.law.second_motions, dtype=x.dtype, device=x.device)
        count, dW = len(columns), columns.repeat_interleave(len(x), 0)
        at, wide = repeat(theta, count), repeat(g, count)
        noise = self.law.diffuse(at, dW[:, : self.law.motions])
        square = 2 * wide * noise + self.law.second(at, dW[:, self.law.motions :])
        zero = torch.zeros_like(wide)
        return _second(self.step, t, repeat(x, count), zero, zero, noise, square)[0].reshape(count, *x.shape).sum(0)


def _far(moment: Tensor) -> Tensor:
    """The root of a moment, 1 where it is 0."""
    return torch.where(moment > 0, moment, 1.0).sqrt()


@functools.lru_cache(maxsize=64)
def _structure(step: Step) -> tuple[bool, bool, bool]:
    """Whether `∂²bend` by `a`, by `q` and by both is alive, found once for a step.

    Raises
    ------
    SMEError
        if `bend` is not quadratic.
    """
    x, (a, da, q, dq) = step.places(every=True)
    by = [False, False, False]
    for t in moments(step.optimizer):
        rate, found = step.rate(t, x, a, q).abs(), []
        natural = rate * (rate / x.abs().clamp_min(TINY)).amax(-1, keepdim=True)  # of a bend; rounding is a share of it
        for along in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
            up, uq = along[0] * da, along[1] * dq
            (one, size), (two, wide) = (_second(step, t, x, a, q, k * up, k * uq) for k in (1, 2))
            elsewhere, there = _second(step, t, x, a + da, q + dq, up, uq)  # sees a cubic, which 4 to 1 does not
            seen = torch.isfinite(one + two + elsewhere)
            if not (close((4 * one)[seen], two[seen], size[seen], wide[seen], natural[seen])
                    and close(one[seen], elsewhere[seen], size[seen], there[seen], natural[seen])):
                raise SMEError(f"the increment of {step.optimizer.name} at second order in τ is not quadratic in gradient.step "
                               "and gradient.square, so order 2 cannot be derived from their moments: use order=1")
            found.append((one, size + natural))
        (by_a, of_a), (by_q, of_q), (both, of_both) = found
        terms = ((by_a, of_a), (by_q, of_q), (both - by_a - by_q, of_a + of_q + of_both))
        by = [known or _alive(*term) for known, term in zip(by, terms, strict=True)]
    return by[0], by[1], by[2]


def _second(step: Step, t: float, x: X, a: Tensor, q: Tensor, da: Tensor, dq: Tensor) -> tuple[X, X]:
    """`∂²bend[(da, dq), (da, dq)]`, and the size of what it is the difference of."""
    signs = (1.0, -1.0, 0.0)
    up, down, middle = step.bend(t, repeat(x, 3), torch.cat([a + k * da for k in signs]),
                                 torch.cat([q + k * dq for k in signs])).split(len(x))
    return up + down - 2 * middle, up.abs() + down.abs() + middle.abs()


def _alive(term: Tensor, size: Tensor) -> bool:
    return bool((term.abs() > ALIVE * size).any())
