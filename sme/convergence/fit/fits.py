"""What the errors of one observable over τ say: slope, constants, verdict."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from sme.convergence.fit.slopes import (
    FEWEST,
    FROM_ZERO,
    LIMIT,
    ORDERS,
    SURER,
    Interval,
    Verdict,
    fit_constant,
    fit_constants,
    fit_slopes,
    judge_first,
    judge_limit,
    judge_second,
    resolved,
)

Vector = Float[np.ndarray, " points"]
FRACTIONAL = "the error does not tend to 0, or has a fractional order"


@dataclass(frozen=True)
class Fits:
    """Signed errors over `τ` with their standard errors and biases, and the fits that a verdict needs.

    Attributes
    ----------
    halves
        whether the errors are a series in `√τ`.
    claimed
        whether an order is claimed of the equation.
    """

    tau: Vector
    error: Vector
    noise: Vector
    bias: Vector
    halves: bool = False
    claimed: bool = True

    @cached_property
    def slopes(self) -> list[Interval]:
        """At 95 % and at 99.9 %."""
        orders = ORDERS if self.claimed else FROM_ZERO
        return fit_slopes(self.tau, self.error, self.noise, self.bias, orders=orders, step=self.step)

    @property
    def step(self) -> float:
        """From one power of `τ` to the next."""
        return 0.5 if self.halves else 1.0

    @cached_property
    def constants(self) -> list[Interval]:
        """`C₁` at 99 % and at 99.9 %."""
        return self._at_both(power=1, step=self.step)

    @cached_property
    def limits(self) -> list[Interval]:
        """`C₀` at 99 % and at 99.9 %."""
        return self._at_both(power=0, step=self.step)

    def _at_both(self, power: int, step: float) -> list[Interval]:
        """At 99.9 %, where it says that an equation is wrong, also what is seen without the coarsest `τ`.

        Far from the limit of small `τ` the series may be none.
        """
        near, sure = fit_constants(self.tau, self.error, self.noise, self.bias, power=power, step=step)
        if sure.excludes(0) and len(self.tau) > FEWEST:
            finer = self.tau < self.tau.max()
            tau, error, noise, bias = (part[finer] for part in (self.tau, self.error, self.noise, self.bias))
            sure = sure.hull(fit_constants(tau, error, noise, bias, power=power, step=step)[1])
        return [near, sure]

    def without(self, noise: bool) -> Interval:
        """`C₁` as it were without integrator bias, and without noise too if `noise`."""
        return fit_constant(self.tau, self.error, 1e-6 * self.noise if noise else self.noise, 0 * self.bias, step=self.step)

    @property
    def resolved(self) -> int:
        """How many errors are above three standard errors."""
        return int(resolved(self.error, self.noise).sum())

    @property
    def largest(self) -> float:
        """The largest |error|."""
        return float(max(abs(self.error), default=0.0))

    def judge(self, order: int, yardstick: Interval) -> Verdict:
        """The verdict; `yardstick` is the `C₁` that order 2 is held against."""
        (slope, sure), (constant, wide), limit = self.slopes, self.constants, self.limits[1] if self.claimed else None
        if order == 1:
            verdict = judge_first(slope, constant, self.without(noise=True), limit, sure, self.largest)
        else:
            verdict = judge_second(constant, wide, self.without(noise=False), self.without(noise=True), yardstick, slope, limit,
                                   sure)
        if not self.claimed:
            return judge_limit(verdict, self.limits[0], self.largest)
        if verdict.note == LIMIT and 0 in self._limit_by_halves:
            return Verdict(verdict.word, FRACTIONAL)
        return verdict

    @property
    def _limit_by_halves(self) -> Interval:
        return fit_constant(self.tau, self.error, self.noise, self.bias, SURER, power=0, step=0.5)
