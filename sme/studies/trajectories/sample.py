"""Paths of the discrete run and of its equations at every mark, and what of them merges: sums, quantiles, counts."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sme.simulate.codegen.ensemble import ensemble
from sme.simulate.ensemble import DIVERGED, DiscreteEnsemble, Ensemble
from sme.simulate.setup import Setup

QUANTILES = (0.05, 0.95)
BINS, OUTER, MARGIN = 48, 0.001, 0.1
"""of a histogram: bins; the share of the first paths that lies outside on each side, before the margin, a share of the range"""


class Paths(NamedTuple):
    """The observables of antithetic pairs along one curve, `(2, pairs, marks, observables)`, time 0 first."""

    best: Float[np.ndarray, "2 pairs marks observables"]
    """of which the mean is taken: for an equation extrapolated in the substep, path by path; for a discrete run with draws of
    its own without the response to them, which has mean zero"""
    path: Float[np.ndarray, "2 pairs marks observables"]
    """of which the spread is taken: for an equation its finest level, since a density has no extrapolation"""
    bias: Float[np.ndarray, "2 pairs marks observables"]
    """how far halving the substep moves `best` before the last extrapolation"""
    floored: int
    coarse: Float[np.ndarray, "2 pairs marks observables"] | None = None
    """of an equation its coarsest level"""

    def finite(self) -> Bool[np.ndarray, " pairs"]:
        """The pairs with no value beyond `DIVERGED`, or not finite, anywhere."""
        return np.logical_and.reduce([(np.abs(part) < DIVERGED).all((0, 2, 3)) for part in (self.best, self.path)])


def follow(setup: Setup, numbers: tuple[int, ...], pairs: range, chunk: int,
           progress: Callable[[int], object]) -> tuple[Paths, Paths]:
    """The discrete run and the equation at time 0 and at every mark; `numbers = (seed, steps, shard, block)`.

    `progress` is told the pair-steps done.
    """
    parts, floored = [], 0
    for offset in range(pairs.start, pairs.stop, chunk):
        run, done = ensemble(setup, numbers, min(chunk, pairs.stop - offset), offset), 0
        rows = [_observed(setup, run)]
        for number, mark in enumerate(setup.marks):
            run.advance(mark)
            rows.append(_observed(setup, run, number))
            progress((mark - done) * run.paths // 2)
            done = mark
        parts.append(np.stack(rows, 3))
        floored += int(run.floored.sum())
    centred, discrete, best, bias, path, coarse = np.concatenate(parts, 2)
    return Paths(centred, discrete, np.zeros_like(discrete), floored), Paths(best, path, bias, floored, coarse)


def alone(setup: Setup, numbers: tuple[int, ...], pairs: range, chunk: int, progress: Callable[[int], object]) -> Paths:
    """The discrete run of `follow` without an equation."""
    parts, floored = [], 0
    for offset in range(pairs.start, pairs.stop, chunk):
        run, done = DiscreteEnsemble(setup, numbers, min(chunk, pairs.stop - offset), offset), 0
        rows = [torch.stack(_discrete(setup, run))]
        for number, mark in enumerate(setup.marks):
            run.advance(mark)
            rows.append(torch.stack(_discrete(setup, run, number)))
            progress((mark - done) * run.paths // 2)
            done = mark
        parts.append(torch.stack(rows, 2).unflatten(1, (2, -1)).cpu().numpy())
        floored += int(run.floored.sum())
    centred, discrete = np.concatenate(parts, 2)
    return Paths(centred, discrete, np.zeros_like(discrete), floored)


def _discrete(setup: Setup, run: Ensemble, mark: int | None = None) -> tuple[Tensor, Tensor]:
    """Observables of the discrete run without their response to its noise, if that is followed, and as they are."""
    discrete = setup.observe(run.state)
    if run.controls is None or mark is None:
        return discrete, discrete
    each = discrete.shape[1]  # of mean zero, with coefficients that are those of a small noise
    linear, quadratic = run.carry[:, : 2 * len(setup.marks) * each].chunk(2, 1)
    return discrete - (linear + quadratic)[:, mark * each : (mark + 1) * each], discrete


def _observed(setup: Setup, run: Ensemble, mark: int | None = None) -> Float[np.ndarray, "6 2 pairs observables"]:
    """Both of these; of the equation, extrapolated, with the bias; and of its finest and its coarsest level."""
    (centred, discrete), ladder = _discrete(setup, run, mark), run.ladders[0]
    levels = [setup.observe(setup.fields(x)) for x in ladder.states]
    best, bias = ladder.scheme.extrapolate(*levels)
    parts = torch.stack([part.expand_as(discrete) for part in (centred, discrete, best, bias, levels[0], levels[-1])])
    return parts.unflatten(1, (2, -1)).cpu().numpy()


class Mean(Protocol):
    """A mean with its standard error."""

    @property
    def size(self) -> int:
        """Of the sample whose spread leads."""

    @property
    def centre(self) -> Float[np.ndarray, "*shape"]:
        """The mean."""

    @property
    def stderr(self) -> Float[np.ndarray, "*shape"]:
        """Its standard error."""


class Sums(NamedTuple):
    """Size, mean and `Σ (x − mean)²` of a sample, number by number."""

    size: int
    mean: Float[np.ndarray, "*shape"]
    square: Float[np.ndarray, "*shape"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "count *shape"]) -> "Sums":
        """The sums over the first axis."""
        mean = values.mean(0) if len(values) else np.zeros(values.shape[1:])
        return cls(len(values), mean, np.square(values - mean).sum(0))

    def merge(self, other: "Sums") -> "Sums":
        """Of both samples together."""
        size = self.size + other.size
        shift = (other.mean - self.mean) * (other.size / max(size, 1))
        between = shift * (other.mean - self.mean) * self.size
        return Sums(size, self.mean + shift, self.square + other.square + between)

    @property
    def centre(self) -> Float[np.ndarray, "*shape"]:
        """The mean, NaN of nothing."""
        return self.mean if self.size else np.full(self.mean.shape, np.nan)

    @property
    def sd(self) -> Float[np.ndarray, "*shape"]:
        """The standard deviation, NaN of fewer than two."""
        return np.sqrt(self.square / (self.size - 1)) if self.size > 1 else np.full(self.mean.shape, np.nan)

    @property
    def stderr(self) -> Float[np.ndarray, "*shape"]:
        """The standard error of the mean."""
        return self.sd / np.sqrt(max(self.size, 1))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a curve's paths leave behind."""

    pairs: Mean
    """of the pairs' means of `Paths.best`: independent, as the antithetic paths are not"""
    paths: Sums
    """of `Paths.path`"""
    quantiles: Sums
    """of `Paths.path`, as means over the pieces in which the paths come, each weighted by its paths"""
    bias: Sums
    difference: Sums
    """of the pairs' means, discrete − equation, where neither diverged"""
    counts: Int[np.ndarray, "checkpoints variables bins+2"]
    """of `Paths.path` below the first edge, in each bin, above the last edge"""
    diverged: int
    floored: int

    def merge(self, other: "Summary") -> "Summary":
        """Of both together."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            values[field.name] = mine.merge(theirs) if isinstance(mine, Sums) else mine + theirs
        return Summary(**values)

    @property
    def total(self) -> int:
        """All paths, the diverged ones too."""
        return self.paths.size + self.diverged


Edges = Float[np.ndarray, "checkpoints variables edges"]


def summary(curve: Paths, discrete: Paths, edges: Edges, where: tuple[Sequence[int], Sequence[int]]) -> Summary:
    """Of one curve; a pair that diverged leaves the numbers as a whole and is counted.

    `where` has the numbers of the histograms' marks and of their observables.
    """
    good = curve.finite()
    both = good & discrete.finite()
    best, path, bias = (part[:, good] for part in (curve.best, curve.path, curve.bias))
    difference = (discrete.best[:, both] - curve.best[:, both]).mean(0)
    path = path.reshape(-1, *path.shape[2:])
    quantiles = (np.quantile(path, QUANTILES, 0, method="median_unbiased") if len(path)
                 else np.zeros((2, *path.shape[1:])))
    counts = np.array([[_count(path[:, mark, i], edges[a, b]) for b, i in enumerate(where[1])]
                       for a, mark in enumerate(where[0])])
    return Summary(Sums.of(best.mean(0)), Sums.of(path), Sums(len(path), quantiles, np.zeros_like(quantiles)),
                   Sums.of(bias.mean(0)), Sums.of(difference), counts, int(2 * (~good).sum()), curve.floored)


def _count(values: Float[np.ndarray, " paths"], edges: Float[np.ndarray, " edges"]) -> Int[np.ndarray, " bins"]:
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def edges(curves: Sequence[Paths], where: tuple[Sequence[int], Sequence[int]]) -> Edges:
    """Equal bins for each histogram around the first paths of all curves; what falls outside later is counted there."""
    good = [curve.path[:, curve.finite()] for curve in curves]
    pooled = np.concatenate([part.reshape(-1, *part.shape[2:]) for part in good])[:, where[0]][:, :, where[1]]
    if not len(pooled):
        pooled = np.zeros((1, *pooled.shape[1:]))
    low, high = np.quantile(pooled, (OUTER, 1 - OUTER), 0)
    wide = np.maximum(high - low, 1e-6 * np.maximum(1, np.abs(high)))  # all paths at one place: a bin must have a width
    return np.linspace(low - MARGIN * wide, high + MARGIN * wide, BINS + 1, axis=-1)
