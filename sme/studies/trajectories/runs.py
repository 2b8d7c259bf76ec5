"""The paths of all curves: the discrete run beside its equations, further discrete runs, further coarse paths."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from sme.common.process.processes import spread
from sme.common.process.progress import fraction, progress
from sme.convergence.estimator import paired
from sme.simulate.setup import Setup
from sme.studies.trajectories import closer, levels, pieces, sample
from sme.studies.trajectories.levels import Spread, Two
from sme.studies.trajectories.pieces import Piece
from sme.studies.trajectories.report import DISCRETE
from sme.studies.trajectories.sample import Edges, Paths, Summary, Sums, edges, follow, summary
from sme.studies.trajectories.setups import compared, named

Where = tuple[list[int], list[int]]
"""the numbers of the histograms' marks and of their observables"""
ORDERS = named(1), named(2)
"""two curves whose distances from the discrete run are compared"""
WITHOUT = "discrete runs beyond the first do without their linear response to the noise, which halves no variance at the end"
GAIN = 0.5
"""the variance with the response, as a share of that without it, below which it is worth its cost"""
DISCRETE_RUN = 0.05
"""the cost of a network's discrete run and of observing it, in that of a path of its equation: of a small network, where
observing is most of it; of a larger one it is less"""
Progress = Callable[[int], object] | None


def all_of(setups: Mapping[str, Setup], together: Sequence[Piece], further: Sequence[Piece], coarse: Sequence[Piece],
           where: Where, thrifty: bool, processes: int) -> tuple[dict[str, Summary], Edges, Mapping[str, Sums | Two], list[str]]:
    """The summaries of all curves, the edges of the histograms, which the first paths choose, how close two curves are, and
    what was done to make this cheaper, in sentences. With `thrifty` the further discrete runs follow their response to the noise
    only where the first ones gained by it.
    """
    steps, alone = next(iter(setups.values())).steps, processes == 1
    found: dict[str, Summary] = {}
    bins: Edges | None = None
    two = {which: names for which, names in (("closer", ORDERS), ("epochs", compared(list(setups))))
           if names and setups.keys() >= {*names}}
    close: dict[str, Sums] = {}
    spreads, said = Spread(two), list[str]()
    total = len(setups) * sum(len(pairs) for _, pairs in together) + sum(len(pairs) for _, pairs in further)
    with progress(total=total * steps, unit="pair-step", unit_scale=True,
                  desc=f"τ = {fraction(next(iter(setups.values())).tau)}") as bar:
        tasks = [(setups, numbers, pairs, bar.update if alone else None) for numbers, pairs in together]
        for curves, (_, pairs) in zip(spread(_curves, tasks, processes), together, strict=True):
            bins = edges(list(curves.values()), where) if bins is None else bins
            for name, curve in curves.items():
                new = summary(curve, curves[DISCRETE], bins, where)
                found[name] = found[name].merge(new) if name in found else new
            for which, (first, second) in two.items():
                more = closer.sums(None if further else curves[DISCRETE], curves[first], curves[second])
                close[which] = close[which].merge(more) if which in close else more
            if coarse:
                spreads.add({name: curve for name, curve in curves.items() if name != DISCRETE})
            if not alone:
                bar.update(len(pairs) * len(setups) * steps)
        assert bins is not None
        if thrifty and further and not _gained(found[DISCRETE]):
            setups = {name: replace(setup, weights=None) for name, setup in setups.items()}
            said.append(WITHOUT)
        tasks = [(setups, numbers, pairs, bar.update if alone else None) for numbers, pairs in further]
        for curve, (_, pairs) in zip(spread(_alone, tasks, processes), further, strict=True):
            found[DISCRETE] = found[DISCRETE].merge(summary(curve, curve, bins, where))
            if not alone:
                bar.update(len(pairs) * steps)
    end = np.square(found[DISCRETE].pairs.stderr[-1]) if further else 0.0
    if not coarse or not spreads.settle(_beside(setups, together, further), end):
        return found, bins, close, said
    coarse = pieces.first(coarse, spreads.more * sum(len(pairs) for _, pairs in together))
    with progress(total=steps * sum(len(pairs) for _, pairs in coarse), unit="pair-step", unit_scale=True,
                  desc="coarsest substeps") as bar:
        for added, (_, pairs) in zip(spread(_coarse, [(setups, *piece) for piece in coarse], processes), coarse, strict=True):
            spreads.further(added)
            bar.update(len(pairs) * steps)
    if spreads.lost:
        lost = f"{spreads.lost} paths of the coarsest substeps alone diverged, and none of them is used"
        return found, bins, close, [*said, lost]
    found = {name: replace(each, pairs=spreads.two(name)) if name != DISCRETE else each for name, each in found.items()}
    said.append(spreads.said(list(next(iter(setups.values())).observables)))
    return found, bins, {which: spreads.two(which) for which in two}, said


def _beside(setups: Mapping[str, Setup], together: Sequence[Piece], further: Sequence[Piece]) -> float:
    """The cost of the discrete runs for each path of the equations, in that of a path of one equation."""
    runs = [sum(len(pairs) for _, pairs in each) for each in (together, further)]
    followed = next(iter(setups.values())).weights is not None
    return DISCRETE_RUN * (runs[0] + runs[1] * (2 if followed else 1)) / runs[0]


def _gained(discrete: Summary) -> bool:
    """Whether the response of discrete runs, which doubles their cost, halves the variance of an observable at the end."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return bool((2 * np.square(discrete.pairs.stderr) * discrete.pairs.size < GAIN * np.square(discrete.paths.sd))[-1].any())


def _alone(setups: Mapping[str, Setup], numbers: tuple[int, ...], pairs: range, progress: Progress) -> Paths:
    """The discrete run of some pairs."""
    setup = next(iter(setups.values()))
    with torch.no_grad():
        return sample.alone(setup, numbers, pairs, min(paired.chunk(setup), len(pairs)), progress or (lambda _: None))


def _coarse(setups: Mapping[str, Setup], numbers: tuple[int, ...], pairs: range) -> dict[str, Paths]:
    """The coarsest level of the equations of some pairs."""
    with torch.no_grad():
        return {name: levels.follow(setup, numbers, pairs, min(paired.chunk(setup), len(pairs)))
                for name, setup in setups.items()}


def _curves(setups: Mapping[str, Setup], numbers: tuple[int, ...], pairs: range, progress: Progress) -> dict[str, Paths]:
    """The discrete run and the equations of some pairs."""
    curves: dict[str, Paths] = {}
    with torch.no_grad():
        for name, setup in setups.items():
            discrete, curve = follow(setup, numbers, pairs, min(paired.chunk(setup), len(pairs)), progress or (lambda _: None))
            curves.setdefault(DISCRETE, discrete)
            curves[name] = curve
    return curves
