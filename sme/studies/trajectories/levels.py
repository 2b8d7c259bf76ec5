"""Further paths of an equation on its coarsest substeps alone, which cost a seventh: two levels in place of one.

With `P` pairs on all levels, of extrapolated value `e` and coarsest value `c`, and `R P` further pairs of `c` alone,

    E e ≈ mean(e − γ c) + γ mean'(c)        γ = R/(R + 1)

is free of bias for every `γ`; its variance is `var(e − γ c)/P + γ² var(c)/(R P)`, little where the levels are close.
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

MORE = 7
"""`R`: further pairs for one on all levels, which cost as much as it"""
GAMMA = MORE / (MORE + 1)
PRICE = 1 + MORE / sum(LEVELS)
"""of both together, in paths on all levels"""
PAYS = 0.5
"""the variance at equal cost, of that of the paths on all levels alone, below which the further paths are run"""


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
    """The samples of all equations: `e`, `e − γ c`, `c` of the pairs on all levels, `γ c` of the further ones.

    Parameters
    ----------
    two
        names of two equations each, whose differences to the discrete run are taken together (see `closer.sums`).

    Attributes
    ----------
    lost
        further paths that diverged.
    """

    def __init__(self, two: Mapping[str, tuple[str, str]]) -> None:
        self._pairs, self.lost = two, 0
        self._found: dict[tuple[str, str], Sums] = {}

    def add(self, equations: Mapping[str, Paths]) -> None:
        """Pairs on all levels."""
        less = {name: each._replace(best=each.best - GAMMA * np.asarray(each.coarse)) for name, each in equations.items()}
        for name, each in equations.items():
            assert each.coarse is not None
            good = each.finite()
            for kind, values in (("all", each.best), ("less", less[name].best), ("coarse", each.coarse)):
                self._merge(kind, name, Sums.of(values[:, good].mean(0)))
        self._both("all", equations)
        self._both("less", less)

    def further(self, equations: Mapping[str, Paths]) -> None:
        """Pairs on the coarsest level."""
        for name, each in equations.items():
            good = each.finite()
            self.lost += int(2 * (~good).sum())
            self._merge("further", name, Sums.of(each.best[:, good].mean(0)))
        self._both("further", equations)

    def shares(self) -> Float[np.ndarray, " observables"]:
        """The variance with further paths over that without, at the end, the larger one of the equations; NaN of too few."""
        found = []
        for name in {name for kind, name in self._found if kind == "all" and name not in self._pairs}:
            every, less, coarse = (np.square(self._found[kind, name].sd[-1]) for kind in ("all", "less", "coarse"))
            with np.errstate(divide="ignore", invalid="ignore"):
                found.append((less + GAMMA**2 * coarse / MORE) / every)
        return np.max(found, 0) if found else np.array([np.nan])

    def pays(self) -> bool:
        """Whether at equal cost the variance of an observable falls below `PAYS`."""
        return bool((PRICE * self.shares() < PAYS).any())

    def two(self, name: str) -> Two:
        """Of an equation, or of two together: with further paths for the observables that gain by them."""
        gain = self.shares() < 1
        every, less, further = (self._found[kind, name] for kind in ("all", "less", "further"))
        first = Sums(every.size, np.where(gain, less.mean, every.mean), np.where(gain, less.square, every.square))
        return Two(first, Sums(further.size, np.where(gain, further.mean, 0.0), np.where(gain, further.square, 0.0)))

    def said(self, names: Sequence[str]) -> str:
        """What was done."""
        each = [f"{name} {share:.2g}" for name, share in zip(names, self.shares(), strict=False) if share < 1]
        return (f"{MORE} further paths on the coarsest substeps alone for each path, {PRICE:g} times the cost: at the end the "
                f"variance of an equation's mean is multiplied by {', '.join(each)}")

    def _both(self, kind: str, equations: Mapping[str, Paths]) -> None:
        for which, (first, second) in self._pairs.items():
            self._merge(kind, which, closer.sums(None, equations[first], equations[second]))

    def _merge(self, kind: str, name: str, new: Sums) -> None:
        there = self._found.get((kind, name))
        self._found[kind, name] = new if there is None else there.merge(new)


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
    """`γ` times the observables of the coarsest level at time 0 and at every mark."""
    parts = []
    for offset in range(pairs.start, pairs.stop, chunk):
        run = EquationEnsemble(setup, numbers, min(chunk, pairs.stop - offset), offset, LEVELS[-1:])
        rows = []
        for mark in (0, *setup.marks):
            run.advance(mark)
            rows.append(setup.observe(setup.fields(run.ladders[0].states[0])))
        parts.append(torch.stack(rows, 1).unflatten(0, (2, -1)).cpu().numpy())
    coarse = GAMMA * np.concatenate(parts, 1)
    return Paths(coarse, coarse, np.zeros_like(coarse), 0)
