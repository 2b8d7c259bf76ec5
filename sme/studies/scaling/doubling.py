"""A run beside itself taken two steps at a time: how fast larger batches leave it, from the examples of one run alone.

Under a scaling rule the runs of all `κ` belong to one family of step size `κτ`, with one limit as `κτ → 0`. Expectations have a
series in it, so that

    E log f(κ) − E log f(1) = (κ − 1) s(t) + O(κ²τ²),        s = τC₁,

and `κ = 2` on the very same examples, both batches of two steps at once, shows `s`: what the two runs have in common, which is
nearly all of the noise, drops out of the difference (docs/theory/scaling.md, section 1).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.process.progress import progress
from sme.common.random.increments import Increments
from sme.equations.chain import Chain
from sme.optimizers.base import State
from sme.optimizers.parts.clipping import Clipping
from sme.problems.noise.minibatch.per_example import Examples
from sme.problems.noise.minibatch.sampling import sampling

LIMIT = 0.1
"""of the distance of two curves of the log loss, from which on they are no longer one"""
DOUBLE = 2
"""`κ` of the run beside the run"""
PARTS = {"whole": (0.0, 1.0), "early": (0.0, 0.5), "late": (0.5, 1.0)}
"""of a run's epochs"""
NORMAL = 1.96


@dataclass(frozen=True)
class Leg:
    """A chain, where it starts, and at what time.

    Attributes
    ----------
    clip
        of the physical gradient, the same whatever the batch.
    """

    chain: Chain
    start: Mapping[str, Float[Tensor, " d"]]
    time: float
    clip: Clipping | None = None

    def spread(self, paths: int) -> State:
        """The start of every path."""
        return {name: field.expand(paths, -1).contiguous() for name, field in self.start.items()}

    def step(self, state: State, gradient: Float[Tensor, "paths d"], k: int) -> State:
        """The state after step `k` on the gradients of the batches, in physical units."""
        seen = gradient if self.clip is None else self.clip.clipped(gradient)
        return self.chain.moved(state, self.chain.scale * seen, self.time + k * self.chain.tau)


def beside(examples: Examples, draws: tuple[str, int], legs: Sequence[Leg], marks: Sequence[int],
           observe: Callable[[State], Float[Tensor, "paths observables"]], runs: int, seed: int,
           label: str = "") -> Float[np.ndarray, "legs marks runs observables"]:
    """The first leg takes two steps while the others take one, on both batches; `marks` are even steps of the first, ascending.

    `draws` are the name of the sampling and the batch size of the first leg; without replacement the two batches are disjoint,
    as in an epoch.
    """
    name, batch = draws
    law, paths = sampling(name, examples.count, DOUBLE * batch), 2 * ((runs + 1) // 2)
    increments = Increments((seed, marks[-1], 0, 0), paths // 2, 1, legs[0].chain.tau, next(iter(legs[0].start.values())).device)
    states, found = [leg.spread(paths) for leg in legs], []
    with torch.no_grad():
        for k in progress(range(marks[-1] // DOUBLE + 1), desc=label):
            if DOUBLE * k in marks:
                found.append(torch.stack([observe(state) for state in states]))
            if DOUBLE * k == marks[-1]:
                break
            chosen = law.draw(increments.draws(k), paths)
            for i, part in enumerate(chosen.split(batch, 1)):
                states[0] = legs[0].step(states[0], examples.batch(states[0]["theta"], part.contiguous()), DOUBLE * k + i)
            for i, leg in enumerate(legs[1:], 1):
                states[i] = leg.step(states[i], examples.batch(states[i]["theta"], chosen), k)
    return torch.stack(found, 1).numpy()


def even(steps: int, points: int) -> list[int]:
    """So many even numbers of steps, evenly spaced, and 0."""
    return sorted({DOUBLE * round(i * (steps // DOUBLE) / points) for i in range(points + 1)})


class Departure(NamedTuple):
    """How far a curve of the mean log loss goes from that of `κ = 1` for each unit of `κ − 1`, root mean square over times."""

    slope: float
    stderr: float

    @classmethod
    def of(cls, ratio: Float[np.ndarray, "marks runs"]) -> Self:
        """From `log f(2) − log f(1)` of runs on the same examples; infinite where a run is not finite."""
        if not np.isfinite(ratio).all():
            return cls(math.inf, 0.0)
        count = ratio.shape[1]
        square = _square(ratio)
        without = [_square(np.delete(ratio, r, 1)) for r in range(count)]
        error = math.sqrt((count - 1) * float(np.var(without)))
        slope = math.sqrt(max(0.0, square))
        return cls(slope, error / max(2 * slope, math.sqrt(error)) if error else 0.0)

    def leaves(self, limit: float = LIMIT) -> tuple[float, float, float]:
        """The `κ` at which the distance is so large, and its interval (95 %)."""
        high = self.slope - NORMAL * self.stderr
        return (1 + _over(limit, self.slope), 1 + _over(limit, self.slope + NORMAL * self.stderr), 1 + _over(limit, high))


def departures(ratio: Float[np.ndarray, "marks runs"]) -> dict[str, Departure]:
    """Of the whole run, its early and its late half; the start, where nothing has happened, is left out."""
    return {part: Departure.of(ratio[1:][within(len(ratio) - 1, part)]) for part in PARTS}


def within(count: int, part: str) -> slice:
    """Which of so many times after the start belong to a part."""
    first, last = PARTS[part]
    return slice(math.floor(first * count), max(1, math.floor(last * count)))


def crossing(kappas: Sequence[float], distances: Sequence[float], limit: float = LIMIT) -> float:
    """Where distances, 0 at `κ = 1`, first rise through the limit, on a line between two `κ`; infinite where none does."""
    before, under = 1.0, 0.0
    for kappa, distance in zip(kappas, distances, strict=True):
        if not distance < limit:
            share = (limit - under) / (distance - under) if math.isfinite(distance) else 0.5
            return before + share * (kappa - before)
        before, under = kappa, distance
    return math.inf


def _over(limit: float, slope: float) -> float:
    return limit / slope if slope > 0 else math.inf


def _square(ratio: Float[np.ndarray, "marks runs"]) -> float:
    """The mean square over times of the mean over runs, less what chance adds to it."""
    return float((ratio.mean(1) ** 2 - ratio.var(1, ddof=1) / ratio.shape[1]).mean())
