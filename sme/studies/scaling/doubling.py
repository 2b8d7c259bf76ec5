"""A run beside itself taken two and four steps at a time: how fast larger batches leave it, from the examples of one run alone.

Under a scaling rule the runs of all `κ` belong to one family of step size `κτ`, with one limit as `κτ → 0`. Expectations have a
series in it, so that

    E log f(κ) − E log f(1) = (κ − 1) s(t) + O(κ²τ²),        s = τC₁,

and small `κ` on the very same examples, the batches of so many steps at once, show `s`: what the runs have in common, which is
nearly all of the noise, drops out of the difference (docs/theory/scaling.md, section 1). A distance is read between the `κ` that
are followed, and beyond the last one grows like `κ − 1`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.process.progress import progress
from sme.common.random.increments import Increments
from sme.optimizers.base import State
from sme.problems.noise.minibatch.per_example import Examples
from sme.problems.noise.minibatch.sampling import sampling
from sme.studies.scaling.legs import Leg

LIMIT = 0.1
"""of the distance of two curves of the log loss, from which on they are no longer one"""
BESIDE = (2, 4)
"""`κ` of the runs beside the run"""
PARTS = {"whole": (0.0, 1.0), "early": (0.0, 0.5), "late": (0.5, 1.0)}
"""of a run's epochs"""
NORMAL = 1.96


def beside(examples: Examples, draws: tuple[str, int], legs: Sequence[Leg], marks: Sequence[int],
           observe: Callable[[State], Float[Tensor, "paths observables"]], runs: int, seed: int,
           label: str = "") -> Float[np.ndarray, "legs marks runs observables"]:
    """All legs on the same examples; `marks` are multiples of the largest `κ`, steps of the leg of `κ = 1`, ascending.

    `draws` are the name of the sampling and the batch size of `κ = 1`; without replacement the batches that some leg joins are
    disjoint, as in an epoch.
    """
    (name, batch), window = draws, max(leg.kappa for leg in legs)
    law, paths = sampling(name, examples.count, window * batch), 2 * ((runs + 1) // 2)
    increments = Increments((seed, marks[-1], 0, 0), paths // 2, 1, legs[0].chain.tau, next(iter(legs[0].start.values())).device)
    states, found = [leg.spread(paths) for leg in legs], []
    with torch.no_grad():
        for k in progress(range(marks[-1] // window + 1), desc=label):
            if window * k in marks:
                found.append(torch.stack([observe(state) for state in states]))
            if window * k == marks[-1]:
                break
            chosen = law.draw(increments.draws(k), paths)
            for i, leg in enumerate(legs):
                for j, part in enumerate(chosen.split(leg.kappa * batch, 1)):
                    gradient = examples.batch(states[i]["theta"], part.contiguous())
                    states[i] = leg.step(states[i], gradient, k * (window // leg.kappa) + j)
    return torch.stack(found, 1).numpy()


def rounded(steps: int, points: int, window: int) -> list[int]:
    """So many multiples of a window up to the steps, evenly spaced, and 0."""
    whole = steps // window
    return sorted({window * round(i * whole / points) for i in range(points + 1)})


class Departure(NamedTuple):
    """The distance of a curve of the mean log loss from that of `κ = 1`, root mean square over times, and its standard error."""

    distance: float
    stderr: float

    @classmethod
    def of(cls, ratio: Float[np.ndarray, "marks runs"]) -> Self:
        """From `log f(κ) − log f(1)` of runs on the same examples; infinite where a run is not finite."""
        if not np.isfinite(ratio).all():
            return cls(math.inf, 0.0)
        count = ratio.shape[1]
        without = [_square(np.delete(ratio, r, 1)) for r in range(count)]
        error = math.sqrt((count - 1) * float(np.var(without)))
        distance = math.sqrt(max(0.0, _square(ratio)))
        return cls(distance, error / max(2 * distance, math.sqrt(error)) if error else 0.0)


def leaves(seen: Mapping[int, Departure], limit: float = LIMIT) -> tuple[float, float, float]:
    """The `κ` at which the distance is so large, and its interval (95 %), from the `κ` that were followed."""
    last = max(seen)

    def at(shift: float) -> float:
        distances = {kappa: max(0.0, each.distance + shift * NORMAL * each.stderr) for kappa, each in seen.items()}
        found = crossing(list(distances), list(distances.values()), limit)
        if found < math.inf:
            return found
        return 1 + (last - 1) * limit / distances[last] if distances[last] else math.inf

    return at(0.0), at(1.0), at(-1.0)


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


def _square(ratio: Float[np.ndarray, "marks runs"]) -> float:
    """The mean square over times of the mean over runs, less what chance adds to it."""
    return float((ratio.mean(1) ** 2 - ratio.var(1, ddof=1) / ratio.shape[1]).mean())
