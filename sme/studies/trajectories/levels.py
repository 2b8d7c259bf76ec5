"""Further paths of an equation on its coarsest substeps alone, which cost a seventh: two levels in place of one.

With `P` pairs on all levels, of extrapolated value `e` and coarsest value `c`, and `R P` further pairs of `c` alone,

    E e ≈ mean(e − γ c) + γ mean'(c)        γ = R/(R + 1)

is free of bias for a given `R`; its variance is `var(e − γ c)/P + γ² var(c)/(R P)`, little where the levels are close. What is
asked for is the mean of discrete − equation, to which the discrete run adds a variance and a cost of its own. The `R` is taken
that makes cost times variance of that difference least, by the variances of the same `P` pairs: a bias of order `1/P`, which
from `FEWEST` pairs on is little beside the standard error.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from sme.simulate.ensemble import LEVELS, ExtrapolatedPath, TorchEnsemble
from sme.simulate.setup import Setup
from sme.studies.trajectories import closer
from sme.studies.trajectories.sample import Paths, Sums

MORE = (1, 3, 7, 15)
"""`R`: further pairs for one on all levels"""
FEWEST = 16
"""pairs on all levels, below which no further ones are run"""
PAYS = 0.9
"""cost times variance, of that of the paths on all levels alone, below which further paths are run"""
CLOSE = 1.1
"""the fewest are taken whose cost times variance is less than so many times the least"""


def price(more: int) -> float:
    """The cost of a path on all levels and so many further ones, in that of the former."""
    return 1 + more / sum(LEVELS)


def _share(more: int) -> float:
    return more / (more + 1)


class Two(NamedTuple):
    """The sum of the means of two independent samples."""

    first: Sums
    second: Sums

    @property
    def size(self) -> int:
        """Of the smaller one, whose spread leads."""
        return self.first.size

    @property
    def centre(self) -> Float[np.ndarray, "*shape"]:
        """The sum of the means."""
        return self.first.centre + self.second.centre

    @property
    def stderr(self) -> Float[np.ndarray, "*shape"]:
        """Its standard error."""
        return np.hypot(self.first.stderr, self.second.stderr)


class Spread:
    """The samples of all equations: `e`, `e − γ c` of each `R`, `c` of the pairs on all levels, `c` of the further ones.

    Parameters
    ----------
    two
        names of two equations each, whose differences to the discrete run are taken together (see `closer.sums`).

    Attributes
    ----------
    more
        `R`, as `settle` takes it.
    lost
        further paths that diverged.
    """

    def __init__(self, two: Mapping[str, tuple[str, str]]) -> None:
        self._pairs, self.lost, self.more = two, 0, 0
        self._found: dict[tuple[str, str], Sums] = {}

    def add(self, equations: Mapping[str, Paths]) -> None:
        """Pairs on all levels."""
        coarse = {name: each._replace(best=np.asarray(each.coarse)) for name, each in equations.items()}
        kinds = {"all": equations, "coarse": coarse, **{_less(more): {
            name: each._replace(best=each.best - _share(more) * coarse[name].best) for name, each in equations.items()}
            for more in MORE}}
        for kind, of in kinds.items():
            for name, each in of.items():
                self._merge(kind, name, Sums.of(each.best[:, equations[name].finite()].mean(0)))
            if kind != "coarse":
                self._both(kind, of)

    def further(self, equations: Mapping[str, Paths]) -> None:
        """Pairs on the coarsest level."""
        for name, each in equations.items():
            good = each.finite()
            self.lost += int(2 * (~good).sum())
            self._merge("further", name, Sums.of(each.best[:, good].mean(0)))
        self._both("further", equations)

    def shares(self, more: int) -> Float[np.ndarray, "equations observables"]:
        """The variance with so many further paths over that without, at the end; 1 where they gain nothing, NaN of too few."""
        found = []
        for name in self._equations():
            every, less, coarse = (np.square(self._found[kind, name].sd[-1]) for kind in ("all", _less(more), "coarse"))
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append(np.minimum((less + _share(more) ** 2 * coarse / more) / every, 1))
        return np.array(found)

    def settle(self, beside: float, discrete: Float[np.ndarray, " observables"] | float) -> int:
        """Take the `R` that pays, 0 if none does: cost times variance, the geometric mean of all equations and observables.

        Parameters
        ----------
        beside
            the cost of the discrete runs for each path on all levels, in the cost of such a path of one equation.
        discrete
            the variance of the discrete run's mean at the end.
        """
        names = self._equations()
        if not names or min(self._found["all", name].size for name in names) < FEWEST:
            return 0
        own = np.array([np.square(self._found["all", name].stderr[-1]) for name in names])
        count, took = len(own), {0: 1.0}
        for more in MORE:
            with np.errstate(divide="ignore", invalid="ignore"):
                left = (self.shares(more) * own + discrete) / (own + discrete)
            known = left[np.isfinite(left)]
            if known.size:
                cost = (count * price(more) + beside) / (count + beside)
                took[more] = float(cost * np.exp(np.log(np.maximum(known, 1e-300)).mean()))
        best = min(took.values())
        self.more = next(more for more, each in took.items() if each < CLOSE * best) if best < PAYS else 0
        return self.more

    def two(self, name: str) -> Two:
        """Of an equation, or of two together: with further paths for the observables that gain by them, in both of two."""
        names = self._equations()
        gains = self.shares(self.more) < 1
        gain = gains[[names.index(each) for each in self._pairs.get(name, (name,))]].all(0)
        every, less, further = (self._found[kind, name] for kind in ("all", _less(self.more), "further"))
        gamma = _share(self.more)
        first = Sums(every.size, np.where(gain, less.mean, every.mean), np.where(gain, less.square, every.square))
        return Two(first, Sums(further.size, np.where(gain, gamma * further.mean, 0.0),
                               np.where(gain, gamma**2 * further.square, 0.0)))

    def said(self, names: Sequence[str]) -> str:
        """What was done."""
        equations, shares = self._equations(), self.shares(self.more)
        of = {equation: f" ({equation})" if len(equations) > 1 else "" for equation in equations}
        each = [f"{name} {share:.2g}{of[equation]}" for equation, row in zip(equations, shares, strict=True)
                for name, share in zip(names, row, strict=False) if share < 1]
        one = f"{self.more} further paths" if self.more > 1 else "one further path"
        return (f"{one} on the coarsest substeps alone for each path, {price(self.more):.2g} times the cost: at the end the "
                f"variance of an equation's mean is multiplied by {', '.join(each)}")

    def _equations(self) -> list[str]:
        return [name for kind, name in self._found if kind == "all" and name not in self._pairs]

    def _both(self, kind: str, equations: Mapping[str, Paths]) -> None:
        for which, (first, second) in self._pairs.items():
            self._merge(kind, which, closer.sums(None, equations[first], equations[second]))

    def _merge(self, kind: str, name: str, new: Sums) -> None:
        there = self._found.get((kind, name))
        self._found[kind, name] = new if there is None else there.merge(new)


def _less(more: int) -> str:
    return f"less {more}"


class EquationEnsemble(TorchEnsemble):
    """Some levels of the equation under test, without a discrete run."""

    def __init__(self, setup: Setup, numbers: tuple[int, ...], pairs: int, offset: int = 0,
                 levels: Sequence[int] = LEVELS) -> None:
        super().__init__(setup, numbers, pairs, offset)
        equation = self.ladders[0].equation
        self.ladders = [ExtrapolatedPath(equation, setup.whole(self.paths if equation.motions else 1), levels)]
        self.controls = None

    def discrete(self, k: int, dW: torch.Tensor | None) -> None:
        """There is none."""


def follow(setup: Setup, numbers: tuple[int, ...], pairs: range, chunk: int) -> Paths:
    """The observables of the coarsest level at time 0 and at every mark."""
    parts = []
    for offset in range(pairs.start, pairs.stop, chunk):
        run = EquationEnsemble(setup, numbers, min(chunk, pairs.stop - offset), offset, LEVELS[-1:])
        rows = []
        for mark in (0, *setup.marks):
            run.advance(mark)
            rows.append(setup.observe(setup.fields(run.ladders[0].states[0])))
        parts.append(torch.stack(rows, 1).unflatten(0, (2, -1)).cpu().numpy())
    coarse = np.concatenate(parts, 1)
    return Paths(coarse, coarse, np.zeros_like(coarse), 0)
