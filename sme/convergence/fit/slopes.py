"""Order of convergence from signed weak errors: slope, leading constants, verdict."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from sme.convergence.fit import dropped_terms as dropped
from sme.convergence.fit.dropped_terms import Prior

Vector = Float[np.ndarray, " points"]

ORDERS = (0.3, 4.0)
"""between which the order `p` of a slope is uniform"""
FROM_ZERO = (0.0, 4.0)
"""the same for a model of which no order is claimed"""
PRIOR = Prior.power(0.02, 2.0, 0.5, (1.0, 2.0))
"""of the slope's dropped terms: small corrections seen make small ones expected"""
CAUTIOUS = Prior.normal(1.0, 0.7)
"""of a constant's dropped terms, about as large as the leading one: a wrong verdict costs more than a wide interval"""
RESOLVED = 3.0
"""standard errors above which an error counts as seen"""
FEWEST = 3
"""points that a slope or a constant needs"""
SHARE = 0.1
"""half-width of C₁'s interval, in units of the yardstick, below which order 2 can be called consistent"""
WIDE = 0.5
"""half-width of a slope's interval above which it is called not resolved"""
TIGHT = 0.3
"""the same of order 1 where its limit `C₀` may be a share of the errors"""
SURE, SURER = 0.99, 0.999
"""levels of the intervals of C₁, and of those outside which an equation is called inconsistent"""
NEAR = 0.1
"""how far below order 1 the slope's `SURER` interval must lie for that"""


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval; all NaN if there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan

    def __contains__(self, x: float) -> bool:
        return self.low <= x <= self.high

    @property
    def half_width(self) -> float:
        """Half the length."""
        return (self.high - self.low) / 2

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return not math.isnan(self.value)

    def hull(self, other: "Interval") -> "Interval":
        """This estimate with the ends of both, if there is another one."""
        return Interval(self.value, min(self.low, other.low), max(self.high, other.high)) if other.known else self

    def excludes(self, x: float) -> bool:
        """Whether there is one, and it does not hold `x`."""
        return self.known and x not in self


def resolved(errors: Vector, noise: Vector) -> np.ndarray:
    """Which errors are above three standard errors."""
    return np.abs(errors) > RESOLVED * noise


def fit_slope(tau: Vector, errors: Vector, stderr: Vector, bias: Vector, scale: float = 1.0,
              orders: tuple[float, float] = ORDERS, level: float = 0.95, step: float = 1.0) -> Interval:
    """The order `p` of `err = A τ^p (1 + Σ_k c_k u^k)`: posterior median and interval.

    The signed errors are Gaussian with covariance `diag(stderr² + bias²)`; `p` is uniform between `orders`, and the terms,
    their amplitude and the ratio of each to the one before have `PRIOR`, ratios times `scale`, and are integrated out.
    `step` ½ stands for a series in `√τ`, of terms `u^{k/2}`.
    No slope with fewer than three resolved points. Source: docs/theory/measurement.md, section 7.
    """
    return fit_slopes(tau, errors, stderr, bias, scale, orders, (level,), step)[0]


def fit_slopes(tau: Vector, errors: Vector, stderr: Vector, bias: Vector, scale: float = 1.0,
               orders: tuple[float, float] = ORDERS, levels: tuple[float, ...] = (0.95, SURER),
               step: float = 1.0) -> list[Interval]:
    """`fit_slope` at several levels."""
    if resolved(errors, stderr).sum() < FEWEST or not dropped.finite(errors, stderr, bias):
        return [Interval() for _ in levels]
    density = dropped.order(tau, errors, dropped.deviations(errors, stderr, bias), PRIOR.scaled(scale), orders, step)
    return [Interval(*density.quantiles(dropped.tails(level))) for level in levels]


def fit_constant(tau: Vector, errors: Vector, stderr: Vector, bias: Vector, level: float = SURE,
                 scale: float = 1.0, power: int = 1, step: float = 1.0) -> Interval:
    """`C₁` of `err = C₁ τ + C₂ τ² (1 + Σ_k c_k u^k)`: posterior median and interval.

    As `fit_slope`, with `C₁` uniform and the dropped terms of `CAUTIOUS`. With `power` 0 the limit `C₀` of
    `err = C₀ + C₁ τ (1 + Σ_k c_k u^k)`; `step` ½ stands for a series in `√τ`. None with fewer than three points, or where
    one is not finite. Source: docs/theory/measurement.md, section 7.
    """
    return fit_constants(tau, errors, stderr, bias, scale, power, step, (level,))[0]


def fit_constants(tau: Vector, errors: Vector, stderr: Vector, bias: Vector, scale: float = 1.0, power: int = 1,
                  step: float = 1.0, levels: tuple[float, ...] = (SURE, SURER)) -> list[Interval]:
    """`fit_constant` at several levels."""
    if len(tau) < FEWEST or not dropped.finite(errors, stderr, bias) or not (np.hypot(errors, stderr) > 0).any():
        return [Interval() for _ in levels]
    sd = dropped.deviations(errors, stderr, bias)
    mixture, unit = dropped.constant(tau, errors, sd, CAUTIOUS.scaled(scale), power, step), tau.max() ** power
    return [Interval(*(each / unit for each in mixture.quantiles(dropped.tails(level)))) for level in levels]


FEW, FLOOR, BIAS = "too few step sizes", "noise floor", "integrator bias"
STEEP, STEEP_FIRST = "steeper than order 2", "steeper than order 1"
LIMIT = "the error does not tend to 0"
FLAT = "slope below the order"
UNSEEN = "slope not resolved"
UNYARDED = "order 1 not resolved"
BARELY = "its slope reaches the order at 99.9 % only"


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about the order: `consistent`, `inconsistent` or `undecided`, and why."""

    word: str
    note: str = ""


def judge_first(slope: Interval, constant: Interval, noiseless: Interval, limit: Interval | None = None,
                sure: Interval | None = None, size: float = math.inf) -> Verdict:
    """Order 1: `consistent` if `C₁`'s 99 % interval excludes 0, the slope is resolved and its 99.9 % interval `sure` reaches 1,

    and the limit `C₀`'s 99.9 % interval `limit` holds 0; where that is wider than ± `0.1 size`, `size` the largest error, the
    slope must be known to ± 0.3, lest a limit bends it. `inconsistent` if that excludes 0, or `sure` lies below 0.9.
    Else `undecided`; `noiseless` is the constant without Monte Carlo noise and bias: if it contains 0 too, more paths would
    not help.
    """
    sure = sure or slope
    if limit is not None and limit.excludes(0):
        return Verdict("inconsistent", LIMIT)
    if not constant.known or 0 in constant or not slope.known:
        few = not constant.known or 0 in noiseless
        return Verdict("undecided", FEW if few else FLOOR)
    if slope.low > 1.1:
        return Verdict("undecided", STEEP_FIRST)
    if sure.high < 1:
        return Verdict("inconsistent") if sure.high < 1 - NEAR else Verdict("undecided", FLAT)
    if limit is not None and limit.half_width > SHARE * size and slope.half_width > TIGHT:
        return Verdict("undecided", FEW)
    return Verdict("undecided", UNSEEN) if slope.half_width > WIDE else Verdict("consistent", BARELY if slope.high < 1 else "")


def judge_limit(first: Verdict, limit: Interval, size: float) -> Verdict:
    """A model of which no order is claimed: `inconsistent` if `C₀`'s 99 % interval `limit` excludes 0;

    else as `first` has it of order 1, but `consistent` only if the interval's half-width is below `0.1 size`,
    `size` the largest error.
    """
    if limit.excludes(0):
        return Verdict("inconsistent")
    if first.word == "consistent" and limit.half_width > SHARE * size:
        return Verdict("undecided", FEW)
    return first


def judge_second(constant: Interval, wide: Interval, unbiased: Interval, noiseless: Interval, yardstick: Interval,
                 slope: Interval, limit: Interval | None = None, sure: Interval | None = None) -> Verdict:
    """Order 2, with `r = |C₁|` of the yardstick: `consistent` if 0 is in `C₁`'s 99 % interval of half-width below `0.1 r`,

    in the limit `C₀`'s 99.9 % interval `limit`, and the slope's 99.9 % interval `sure`, if there is one, reaches 2.
    `inconsistent` if 0 is outside `limit`, or outside `C₁`'s 99.9 % interval `wide`, unless the slope's interval lies above 2:
    then the leading term is far below the next, and the prior does not hold. Else `undecided`, by the first that would have
    made `C₁`'s interval narrow enough: without the `integrator bias` (`unbiased`), without noise too (`noiseless`); else there
    are too few step sizes.
    """
    for interval, note in ((limit or Interval(), LIMIT), (wide, "")):
        if interval.excludes(0):
            return Verdict("undecided", STEEP) if slope.low > 2 else Verdict("inconsistent", note)
    if not constant.known:
        return Verdict("undecided", FEW)
    if not yardstick.known or 0 in yardstick:
        return Verdict("undecided", UNYARDED)
    narrow = SHARE * abs(yardstick.value)
    if constant.half_width < narrow:
        if 0 not in constant:
            return Verdict("undecided", "C₁ between its intervals")
        if (sure or slope).high < 2:
            return Verdict("undecided", FLAT)
        share = 100 * constant.half_width / abs(yardstick.value)
        seen = slope.known and slope.half_width <= WIDE
        if seen:
            return Verdict("consistent", BARELY if slope.high < 2 else "")
        return Verdict("consistent", f"C₁ = 0 within {share:.2g} % of the yardstick; {UNSEEN}")
    if unbiased.half_width < narrow:
        return Verdict("undecided", BIAS)
    return Verdict("undecided", FLOOR if noiseless.half_width < narrow else FEW)
