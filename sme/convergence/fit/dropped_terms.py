"""The terms that a fit of an order leaves out: their prior, and what a ladder of errors says of their size."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

Vector = Float[np.ndarray, " points"]
Grid = Float[np.ndarray, " grid"]

TERMS = np.arange(1, 6)
"""powers `k` of the terms `d_k u^k` that stand beside the leading one"""
RATIOS, AMPLITUDES = 7, 48
"""numbers of ratios `ρ`, and of a series' amplitudes `a`, that are summed over"""
LEAD = 0.25
"""a leading coefficient is `±a` with this relative standard deviation, which fills the gaps between the values of `a`"""
SMALLEST, LEAST, LARGEST = 0.1, 1e-3, 30.0
"""amplitudes summed over: from this share of the smallest standard deviation, or of the largest error where the terms are
relative to the leading one, to so many times the largest error"""
FIRST, SHARE, NARROW = 51, 0.03, 1e-5
"""of the grid of orders: points at first; probability that a cell may have, or width, to be left whole"""
EXACT = 1e-7
"""standard deviation, as a share of the largest error, below which an error counts as exact"""


@dataclass(frozen=True)
class Prior:
    """`d_k ~ N(0, a² κ² ρ^{2k})` for the terms of `d₀ + Σ_k d_k u^k`, `u = τ/τ_max`, `a` the size of the leading one.

    `log a` is uniform; `(κ, ρ)` are pairs of `size` and `ratio` with the weights `weight`. So small corrections seen make
    small corrections expected. Source: docs/theory/measurement.md, section 7, (7.1).
    """

    size: Grid
    ratio: Grid
    weight: Grid

    @classmethod
    def power(cls, low: float, high: float, exponent: float, sizes: tuple[float, ...]) -> "Prior":
        """Weights `ρ^exponent` of `log ρ` between these, and each `κ` alike."""
        ratio = np.tile(np.geomspace(low, high, RATIOS), len(sizes))
        return cls(np.repeat(sizes, RATIOS), ratio, ratio**exponent / (ratio**exponent).sum())

    @classmethod
    def normal(cls, centre: float, spread: float) -> "Prior":
        """`log ρ ~ N(log centre, spread²)`, within three standard deviations, `κ = 1`."""
        z = np.linspace(-3, 3, RATIOS)
        weight = np.exp(-0.5 * z * z)
        return cls(np.ones(RATIOS), centre * np.exp(spread * z), weight / weight.sum())

    def scaled(self, scale: float) -> "Prior":
        """The same with ratios so many times as large."""
        return Prior(self.size, self.ratio * scale, self.weight)

    def covariance(self, u: Vector, lead: float, step: float = 1.0) -> Float[np.ndarray, "pairs points points"]:
        """That of `d₀ + Σ_k d_k u^{k step}` over `a²`, with `lead` the standard deviation of `d₀` over `a`."""
        powers = (u[:, None] * u)[..., None] ** (step * TERMS)
        return lead**2 + np.einsum("ijk,rk->rij", powers, np.square(self.size[:, None] * self.ratio[:, None] ** TERMS))


def deviations(errors: Vector, stderr: Vector, bias: Vector) -> Vector:
    """`√(stderr² + bias²)`, of errors without noise a share of the largest one."""
    return np.maximum(np.hypot(stderr, bias), max(EXACT * np.abs(errors).max(), 1e-300))


def _most(errors: Vector, sd: Vector) -> float:
    return float(np.abs(errors).max() + 3 * sd.max())


@dataclass(frozen=True)
class Density:
    """A posterior on a grid, by its logarithm, not normalised; between the grid's points the density is linear."""

    points: Grid
    logs: Grid

    @property
    def areas(self) -> Grid:
        """The probability of each cell."""
        values = np.exp(self.logs - self.logs.max())
        areas = (values[1:] + values[:-1]) * np.diff(self.points)
        return areas / areas.sum()

    def quantiles(self, levels: list[float]) -> list[float]:
        """Its quantiles."""
        cumulative = np.concatenate(([0.0], np.cumsum(self.areas)))
        return [float(each) for each in np.interp(levels, cumulative, self.points)]

    def refined(self, log_density: Callable[[Grid], Grid]) -> "Density":
        """With cells divided in four until each has little probability, or is narrow."""
        density = self
        while True:
            widths = np.diff(density.points)
            wide = np.flatnonzero((density.areas > SHARE) & (widths > NARROW))
            if not len(wide):
                return density
            new = (density.points[wide, None] + widths[wide, None] * np.array([0.25, 0.5, 0.75])).ravel()
            points, logs = np.concatenate((density.points, new)), np.concatenate((density.logs, log_density(new)))
            place = np.argsort(points)
            density = Density(points[place], logs[place])


@dataclass(frozen=True)
class Mixture:
    """A mixture of normal densities."""

    weight: Grid
    mean: Grid
    sd: Grid

    def quantiles(self, levels: list[float]) -> list[float]:
        """Its quantiles, by bisection."""
        target = np.array(levels)
        low, high = (np.full(len(target), end) for end in ((self.mean - 9 * self.sd).min(), (self.mean + 9 * self.sd).max()))
        for _ in range(64):
            middle = 0.5 * (low + high)
            below = special.ndtr((middle[:, None] - self.mean) / self.sd) @ self.weight < target
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return [float(each) for each in 0.5 * (low + high)]


def order(tau: Vector, errors: Vector, sd: Vector, prior: Prior, ends: tuple[float, float], step: float = 1.0) -> Density:
    """The posterior of the order `p` of `err = A τ^p (1 + Σ_k c_k u^{k step})`, uniform between `ends`, the rest integrated out.

    `A = ±a` within `LEAD`, so that no `p` is held possible whose leading term nearly vanishes beside the next.
    """
    u, most = tau / tau.max(), _most(errors, sd)
    low, high = np.log(LEAST * most), np.log(LARGEST * most)
    further = max(0, math.ceil((low - np.log((np.abs(errors) + 3 * sd).min())) / (1.5 * LEAD)))  # where a point says nothing
    a = np.exp(np.arange(low - 1.5 * LEAD * further, high, 1.5 * LEAD))
    terms = prior.covariance(u, LEAD, step)

    def log_density(p: Grid) -> Grid:
        scaled = u ** p[:, None] / sd
        size, vectors = np.linalg.eigh(scaled[:, None, :, None] * terms * scaled[:, None, None, :])
        seen, lead = (np.einsum("prij,pi->prj", vectors, part)[..., None, :] for part in (errors / sd + 0 * scaled, scaled))
        spread = 1 + a[:, None] ** 2 * np.maximum(size, 0)[..., None, :]
        misfit = np.stack([np.square(seen - sign * a[:, None] * lead) for sign in (1, -1)])
        log_likelihood = -0.5 * (np.log(spread) + misfit / spread).sum(-1) + np.log(prior.weight)[:, None]
        return special.logsumexp(log_likelihood, axis=(0, 2, 3))

    grid = np.linspace(*ends, FIRST)
    return Density(grid, log_density(grid)).refined(log_density)


def constant(tau: Vector, errors: Vector, sd: Vector, prior: Prior, power: int, step: float = 1.0) -> Mixture:
    """The posterior of `C` in `err = C u^power + u^{power + step} (d₀ + Σ_k d_k u^{k step})`, `C` uniform."""
    u, most = tau / tau.max(), _most(errors, sd)
    a = np.geomspace(max(SMALLEST * sd.min(), EXACT * most), LARGEST * most, AMPLITUDES)
    size, vectors = np.linalg.eigh(prior.covariance(u, 1.0, step) * np.multiply.outer(u ** (power + step) / sd,
                                                                                   u ** (power + step) / sd))
    seen, design = (np.einsum("rij,i->rj", vectors, part / sd)[:, None] for part in (errors, u**power))
    spread = 1 + a[:, None] ** 2 * np.maximum(size, 0)[:, None]
    dd, ds, ss = ((one * two / spread).sum(-1) for one, two in ((design, design), (design, seen), (seen, seen)))
    log_weight = -0.5 * (np.log(spread).sum(-1) + ss - ds * ds / dd + np.log(dd)) + np.log(prior.weight)[:, None]
    weight = np.exp(log_weight - special.logsumexp(log_weight)).ravel()
    kept = weight > 1e-9 * weight.max()
    return Mixture(weight[kept] / weight[kept].sum(), (ds / dd).ravel()[kept], 1 / np.sqrt(dd.ravel()[kept]))


def tails(level: float) -> list[float]:
    """The median, and both ends of the interval of this level."""
    if not 0 < level < 1:
        raise ValueError(f"a level must lie in (0, 1), got {level:g}")
    return [0.5, 0.5 - level / 2, 0.5 + level / 2]


def finite(*parts: Vector) -> bool:
    """Whether all numbers are finite."""
    return all(math.isfinite(each) for part in parts for each in part)
