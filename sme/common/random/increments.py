"""The random numbers of a run."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.common.random.counter import Key, key, normals, words

FIRST, SECOND, DRAWS = range(3)
"""the streams of a shard: first motions, second motions, the discrete run's own draws"""


class Draws:
    """The discrete run's own random numbers at one step, independent between paths, pairs or not, and between calls."""

    def __init__(self, numbers: tuple[int, ...], offset: int, pairs: int, device: torch.device) -> None:
        self.numbers, self.offset, self.pairs, self.device, self.drawn = numbers, offset, pairs, device, 0

    @property
    def number(self) -> int:
        """of the step"""
        return self.numbers[-1]

    def before(self, steps: int) -> "Draws":
        """The numbers of the step so many before this one, from the first on."""
        return Draws((*self.numbers[:-1], self.number - steps), self.offset, self.pairs, self.device)

    def _call(self, each: int) -> tuple[Key, int, int, int, int, torch.device]:
        self.drawn += 1
        calls = 2 * ((each + 1) // 2)  # half of them for the paths, half for their antithetic partners
        return key(*self.numbers, self.drawn), 0, calls, self.offset, self.pairs, self.device

    def _by_path(self, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        each = math.prod(shape[1:])
        return torch.cat([half[:each] for half in rows.chunk(2)], 1).T.reshape(shape)

    def normal(self, *shape: int) -> Float[Tensor, "paths ..."]:
        """Standard normals."""
        return self._by_path(normals(*self._call(math.prod(shape[1:]))), shape)

    def integers(self, high: int, *shape: int) -> Int[Tensor, "paths ..."]:
        """Uniform integers in `[0, high)`, each with its probability to `high/2³²`."""
        rows = torch.stack(words(*self._call(math.prod(shape[1:]))), 1).flatten(0, 1)
        return self._by_path(((rows.to(torch.int64) & 0xFFFFFFFF) * high) >> 32, shape)


class Increments:
    """Antithetic Brownian increments, one optimizer step at a time.

    `pairs` paths with increments `dW` and as many with `−dW`, in this order. First motions,
    second motions and the discrete run's own draws come from three streams, so that every
    order and scheme sees the same discrete run. A number depends on `(key, step, substep, motion,
    pair)` alone.

    Parameters
    ----------
    numbers
        `(seed, steps, shard, block)`.
    pairs, offset
        how many, and the number of the first within its block.
    """

    def __init__(self, numbers: tuple[int, ...], pairs: int, substeps: int, tau: float, device: torch.device,
                 offset: int = 0) -> None:
        self.pairs, self.substeps, self.tau, self.offset, self.device = pairs, substeps, tau, offset, device
        self.numbers, self.keys = numbers, [key(*numbers, stream) for stream in (FIRST, SECOND)]
        self._scale = math.sqrt(tau / substeps)

    def _step(self, stream: int, k: int, motions: int) -> Tensor:
        calls = (self.substeps * motions + 1) // 2
        half = normals(self.keys[stream], k * calls, calls, self.offset, self.pairs, self.device)[: self.substeps * motions]
        half = self._scale * half.reshape(self.substeps, motions, self.pairs)
        return torch.cat((half, -half), 2).mT

    def first(self, k: int, motions: int) -> Float[Tensor, "substeps paths motions"]:
        """`ΔW¹` in each substep of step `k`."""
        return self._step(FIRST, k, motions)

    def second(self, k: int, motions: int) -> Float[Tensor, "substeps paths motions"]:
        """`ΔW²` in each substep of step `k`."""
        return self._step(SECOND, k, motions)

    def draws(self, k: int) -> Draws:
        """The discrete run's own numbers at step `k`."""
        return Draws((*self.numbers, DRAWS, k), self.offset, self.pairs, self.device)


def coarsen(dW: Float[Tensor, "substeps paths motions"], factor: int) -> Float[Tensor, "coarse paths motions"]:
    """The same path on substeps `factor` times as long."""
    if factor == 1:
        return dW
    stored = dW.mT  # motion by motion, as `Increments` made it: to keep the fast layout
    return stored.reshape(stored.shape[0] // factor, factor, *stored.shape[1:]).sum(1).mT


def held(dW: Float[Tensor, "substeps paths motions"], which: Sequence[range], count: int
         ) -> Float[Tensor, "substeps paths motions"]:
    """The same with each of these motions at its mean over `count` substeps, so that its sign is theirs and that of their sum."""
    if not which:
        return dW
    stored, count = dW.mT.clone(), min(count, len(dW))
    for each in which:
        part = stored[:, each.start : each.stop].unflatten(0, (-1, count))
        stored[:, each.start : each.stop] = part.mean(1, keepdim=True).expand_as(part).flatten(0, 1)
    return stored.mT


def together(first: Float[Tensor, "substeps paths first"],
             second: Float[Tensor, "substeps paths second"]) -> Float[Tensor, "substeps paths motions"]:
    """First and second motions side by side."""
    return torch.cat((first.mT, second.mT), 1).mT
