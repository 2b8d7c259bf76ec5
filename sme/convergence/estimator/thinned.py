"""Pairs of which most follow the coarsest level alone, and few all of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.process.progress import fraction, phase
from sme.common.storage.records import Arrays, Records
from sme.simulate.codegen.ensemble import ensemble
from sme.simulate.control_variates.controls import Controls
from sme.simulate.control_variates.values import KINDS, STAGES, Values
from sme.simulate.ensemble import LEVELS, ExtrapolatedPath
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

MOST = 16
"""pairs of which one follows all levels, at most"""
FOLDS, EACH = 3, 12
"""folds that a coefficient is fitted on, and pairs with all levels in them, at least, for every number that is fitted on those"""
TRIED, TWICE, TRIAL = 256, 2, 2**21
"""pairs of the trial at least, and for each control variate; the number of its shard, beyond those of all others"""
DEARER = 5.0
"""times the cost of the coarsest level alone with the discrete run: that of all levels"""


@dataclass(frozen=True)
class Portion:
    """Pairs of a block, one after the other, that follow the same levels.

    With `q` the coarsest level's observables, `e` the extrapolated ones and `times` the pairs of the block for each that follows
    all levels, discrete − equation is the mean over all pairs of

        d − q + times (q − e)      of the few, and of the others without the last term,

    the multilevel estimate (Giles, Oper. Res. 56:607, 2008); the last move of the extrapolation is `times` that of the few. What
    the two kinds of pairs differ by in the mean is no noise: `known`, of mean zero exactly, takes it out as a control variate.
    Source: docs/theory/measurement.md, section 6, (6.5).
    """

    setup: Setup
    levels: tuple[int, ...]
    first: int
    pairs: int
    times: float

    def error(self, discrete: Tensor, path: ExtrapolatedPath) -> tuple[Tensor, Tensor]:
        """Path by path: discrete − equation, and the last move."""
        def observe(x: Tensor) -> Tensor:
            return self.setup.observe(self.setup.fields(x))

        if len(self.levels) == 1:
            return discrete - observe(path.states[-1]), torch.zeros_like(discrete)
        best, move = path.values(observe)
        if self.times == 1:
            return discrete - best, move.expand_as(discrete)
        coarsest = observe(path.states[-1])
        return discrete - coarsest + self.times * (coarsest - best), (self.times * move).expand_as(discrete)

    @property
    def known(self) -> list[float]:
        """The same number for each of its pairs, of mean zero over the block; nothing where every pair follows all levels."""
        return [] if valued(self.setup) is None else [self.times - 1 if len(self.levels) > 1 else -1.0]


def portions(setup: Setup, pairs: int) -> Iterator[Portion]:
    """The portions of a block of so many pairs."""
    few = -(-pairs // setup.thinned)
    yield Portion(setup, LEVELS, 0, few, pairs / few)
    if few < pairs:
        alone = replace(setup, finest=setup.substeps(scheme(setup.equation())) // LEVELS[-1])
        yield Portion(alone, (1,), few, pairs - few, 1.0)


def thinned(setup: Setup, pairs: int, size: int, records: Records) -> Setup:
    """The setup with its share of the pairs, `pairs` a block and `size` at a time, that follow all levels.

    One of so many that cost times variance is least, on the geometric mean over the rows, as a trial says that is in no table;
    all where the levels have no control variates of their own, or too few pairs would be left to fit theirs.
    """
    most = _most(setup, pairs)
    if most == 1:
        return setup

    def made() -> Arrays:
        with torch.no_grad(), phase(f"levels, order {setup.order}, τ = {fraction(setup.tau)}"):
            return {"thinned": np.array(_share(_ratios(setup, size), most))}

    found = records.get(f"levels, order {setup.order}, {setup.steps} steps, {pairs} pairs", made)
    return replace(setup, thinned=int(found["thinned"]))


def valued(setup: Setup) -> Values | None:
    """What the control variates of each level are multiplied by, if there are any."""
    weights = setup.weights
    return None if weights is None or weights.curvatures is None else weights.curvatures.values


def _most(setup: Setup, pairs: int) -> int:
    """A power of two."""
    equation = setup.equation()
    if valued(setup) is None or not equation.motions or equation.samples or setup.substeps(scheme(equation)) % LEVELS[-1]:
        return 1
    fitted, most = (STAGES - 1) * KINDS * len(setup.marks) * len(setup.observables), 1
    while most < MOST and 2 * most * EACH * fitted <= FOLDS * pairs:
        most *= 2
    return most


def _ratios(setup: Setup, size: int) -> Float[np.ndarray, " rows"]:
    """Of each row with noise, the variance of coarsest − extrapolated in units of that of discrete − extrapolated.

    Both less what the control variates know of them.
    """
    assert setup.weights is not None
    pairs = max(TRIED, TWICE * Controls(setup.weights, setup.equation()).carried)
    parts = zip(*(_tried(setup, min(size, pairs - offset), offset) for offset in range(0, pairs, size)), strict=True)
    errors, moves, controls = (np.concatenate(part) for part in parts)
    kept = np.isfinite(controls).all(1)
    both = np.concatenate((errors, moves), 1)[kept]
    both = both[:, np.tile(np.isfinite(both).reshape(len(both), 2, -1).all((0, 1)), 2)]
    known = np.column_stack((np.ones(len(both)), controls[kept]))
    own, moved = np.square(both - known @ np.linalg.lstsq(known, both)[0]).sum(0).reshape(2, -1)
    return moved[own > 0] / own[own > 0]


def _tried(setup: Setup, pairs: int, offset: int) -> list[Float[np.ndarray, "pairs numbers"]]:
    """Of antithetic pairs on all levels: discrete − extrapolated, coarsest − extrapolated, and the control variates."""
    run, rows = ensemble(setup, (0, setup.steps, TRIAL, 0), pairs, offset), list[tuple[Tensor, ...]]()
    for mark in setup.marks:
        run.advance(mark)
        best, _ = run.ladders[0].values(lambda x: setup.observe(setup.fields(x)))
        coarsest = setup.observe(setup.fields(run.ladders[0].states[-1]))
        rows.append((setup.observe(run.state) - best, coarsest - best))
    parts = [torch.cat(part, -1) for part in zip(*rows, strict=True)]
    return [part.unflatten(0, (2, -1)).mean(0).cpu().numpy() for part in (*parts, run.carry)]


def _share(ratios: Float[np.ndarray, " rows"], most: int) -> int:
    """The power of two with the least `cost · variance`: `(1 + (DEARER − 1)/F) (1 + (F − 1) ratio)`; 1 where no row is known."""
    shares = 2 ** np.arange(int(math.log2(most)) + 1)
    dear = 1 + (DEARER - 1) / shares
    noisy = np.log1p((shares - 1) * ratios[:, None]).sum(0) / max(1, len(ratios))
    return int(shares[np.argmin(np.log(dear) + noisy)]) if len(ratios) else 1
