"""Order of convergence from signed weak errors: slope, leading constants, verdict."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special, stats

Vector = Float[np.ndarray, " points"]

TERMS = np.arange(1, 6)
"""powers `k` of the terms `c_k u^k`, `c_k ~ N(0, 1)`, that the series carries beside its leading one"""
ORDERS = np.linspace(0.3, 4.0, 741)
"""the grid of orders `p` for the slope"""
FROM_ZERO = np.linspace(0.0, 4.0, 801)
"""the same for a model of which no order is claimed"""
RESOLVED = 3.0
"""standard errors above which an error counts as seen"""
FEWEST = 3
"""points that a slope or a constant needs"""
SHARE = 0.1
"""half-width of C₁'s interval, in units of order 1's, below which order 2 can be called consistent"""


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


def resolved(errors: Vector, noise: Vector) -> np.ndarray:
    """Which errors are above three standard errors."""
    return np.abs(errors) > RESOLVED * noise


def _amplitude(tau: Vector, errors: Vector, noise: Vector, p: float) -> float:
    """`Â = |err|/τ^p` at the finest `τ` that is resolved; an upper bound at the coarsest if none is."""
    seen = np.flatnonzero(resolved(errors, noise))
    if len(seen):
        i = seen[np.argmin(tau[seen])]
        return float(abs(errors[i]) / tau[i] ** p)
    i = int(np.argmax(tau))
    return float((abs(errors[i]) + RESOLVED * noise[i]) / tau[i] ** p)


def _truncation(tau: Vector, amplitude: float, p: float, scale: float) -> Float[np.ndarray, "points points"]:
    """`scale² Â² (ττ')^p Σ_k (uu')^k`, `u = τ/τ_max`: the covariance of the terms left out."""
    u = tau / tau.max()
    powers = (u[:, None] * u)[..., None] ** TERMS
    return (scale * amplitude) ** 2 * np.outer(tau, tau) ** p * powers.sum(-1)


def _whiten(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Cholesky factor of the correlations, and the standard deviations (they differ by powers of ten)."""
    size = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlation = covariance / (size[..., :, None] * size[..., None, :])
    return np.linalg.cholesky(correlation + 1e-14 * np.eye(size.shape[-1])), size


def fit_slope(tau: Vector, errors: Vector, stderr: Vector, bias: Vector, scale: float = 1.0,
              orders: Float[np.ndarray, " orders"] = ORDERS) -> Interval:
    """The order `p` of `err = A τ^p (1 + Σ_k c_k u^k)`: posterior median and 95 % interval.

    The signed errors are Gaussian with covariance `diag(stderr² + bias²) + Â² (ττ')^p (4 + Σ_k (uu')^k)`:
    `c_k ~ N(0, scale²)` and `A ~ N(0, 4Â²)` are integrated out, `p` is uniform on `orders`, [0.3, 4].
    No slope with fewer than three resolved points. Source: docs/derivation.md, section 7.
    """
    if resolved(errors, stderr).sum() < FEWEST:
        return Interval()
    covariance = np.stack([
        np.diag(stderr**2 + bias**2) + _truncation(tau, amplitude, p, scale) + 4 * amplitude**2 * np.outer(tau, tau) ** p
        for p, amplitude in ((p, _amplitude(tau, errors, stderr, p)) for p in orders)
    ])
    factor, size = _whiten(covariance)
    white = np.linalg.solve(factor, (errors / size)[..., None])[..., 0]
    log_likelihood = -0.5 * (white**2).sum(-1) - np.log(np.diagonal(factor, axis1=1, axis2=2) * size).sum(-1)
    weight = np.exp(log_likelihood - special.logsumexp(log_likelihood))
    cumulative = np.cumsum(weight) - 0.5 * weight
    low, median, high = np.interp([0.025, 0.5, 0.975], cumulative, orders)
    return Interval(float(median), float(low), float(high))


def fit_constant(tau: Vector, errors: Vector, stderr: Vector, bias: Vector, level: float = 0.99,
                 scale: float = 1.0, power: int = 1) -> Interval:
    """`C₁` of `err = C₁ τ + C₂ τ² (1 + Σ_k c_k u^k)` by generalised least squares, with its interval.

    Covariance `diag(stderr² + bias²) + Â² (ττ')² Σ_k (uu')^k`, `c_k ~ N(0, scale²)`. With `power` 0
    the limit `C₀` of `err = C₀ + C₁ τ (1 + Σ_k c_k u^k)`. None with fewer than three points, or where
    one is not finite. Source: docs/derivation.md, section 7.
    """
    if len(tau) < FEWEST or not np.isfinite([errors, stderr, bias]).all():
        return Interval()
    amplitude = _amplitude(tau, errors, stderr, power + 1.0)
    covariance = np.diag(stderr**2 + bias**2) + _truncation(tau, amplitude, power + 1.0, scale)
    if not (np.diag(covariance) > 0).all():
        return Interval()
    factor, size = _whiten(covariance)
    unit = tau.max()
    design = np.linalg.solve(factor, (tau[:, None] / unit) ** [power, power + 1] / size[:, None])
    white = np.linalg.solve(factor, errors / size)
    spread = np.linalg.inv(design.T @ design)
    value = float((spread @ (design.T @ white))[0] / unit**power)
    margin = float(stats.norm.ppf(0.5 + level / 2) * math.sqrt(spread[0, 0]) / unit**power)
    return Interval(value, value - margin, value + margin)


FEW = "too few step sizes"
STEEP, STEEP_FIRST = "steeper than order 2", "steeper than order 1"


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about the order: `consistent`, `inconsistent` or `undecided`, and why."""

    word: str
    note: str = ""


def judge_first(slope: Interval, constant: Interval, noiseless: Interval) -> Verdict:
    """Order 1: `consistent` if `C₁`'s 99 % interval excludes 0 and the slope's meets [0.9, 1.1];

    `undecided` if it contains 0, or the slope lies above (`C₁` nearly cancels then); else `inconsistent`.
    `noiseless` is the constant without Monte Carlo noise and bias: if it contains 0 too, more paths
    would not help.
    """
    if math.isnan(constant.value) or 0 in constant or math.isnan(slope.value):
        few = math.isnan(constant.value) or 0 in noiseless
        return Verdict("undecided", FEW if few else "noise floor")
    if slope.low > 1.1:
        return Verdict("undecided", STEEP_FIRST)
    return Verdict("consistent" if slope.high >= 0.9 else "inconsistent")


def judge_limit(first: Verdict, limit: Interval, size: float) -> Verdict:
    """A model of which no order is claimed: `inconsistent` if `C₀`'s 99 % interval `limit` excludes 0;

    else as `first` has it of order 1, but `consistent` only if the interval's half-width is below `0.1 size`,
    `size` the largest error.
    """
    if not math.isnan(limit.value) and 0 not in limit:
        return Verdict("inconsistent")
    if first.word == "consistent" and limit.half_width > SHARE * size:
        return Verdict("undecided", FEW)
    return first


def judge_second(constant: Interval, wide: Interval, unbiased: Interval, noiseless: Interval, order1: Interval,
                 slope: Interval) -> Verdict:
    """Order 2, with `r = |C₁|` of order 1: `consistent` if 0 is in `C₁`'s 99 % interval of half-width

    below `0.1 r`; `inconsistent` if 0 is outside its 99.9 % interval `wide`, unless the slope's interval
    lies above 2: then the leading term is far below the next, and no prior of equal size holds. Else
    `undecided`, by the first that would have made it narrow enough: without the `integrator bias`
    (`unbiased`), without noise too (`noiseless`); else there are too few step sizes.
    """
    if not math.isnan(wide.value) and 0 not in wide:
        return Verdict("undecided", STEEP) if slope.low > 2 else Verdict("inconsistent")
    if math.isnan(constant.value):
        return Verdict("undecided", FEW)
    if math.isnan(order1.value) or 0 in order1:
        return Verdict("undecided", "order 1 not resolved")
    narrow = SHARE * abs(order1.value)
    if constant.half_width < narrow:
        return Verdict("consistent") if 0 in constant else Verdict("undecided", "C₁ between its intervals")
    if unbiased.half_width < narrow:
        return Verdict("undecided", "integrator bias")
    return Verdict("undecided", "noise floor" if noiseless.half_width < narrow else FEW)
