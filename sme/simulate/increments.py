"""The random numbers of a run: the only generator in the program."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


class Stream:
    """Independent random numbers, a function of the key alone.

    On a CPU numpy's SFC64 seeded by a `SeedSequence`; on another device torch's generator there.
    The two give different numbers of the same law.
    """

    def __init__(self, key: tuple[int, ...], device: torch.device) -> None:
        self.device = device
        sequence = np.random.SeedSequence(key)
        if device.type == "cpu":
            self._numpy = np.random.Generator(np.random.SFC64(sequence))
        else:
            seed = int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
            self._torch = torch.Generator(device).manual_seed(seed)

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        """Standard normals in float64."""
        if self.device.type == "cpu":
            return torch.from_numpy(self._numpy.standard_normal(shape))
        return torch.randn(shape, generator=self._torch, device=self.device, dtype=torch.float64)

    def integers(self, high: int, *shape: int) -> Int[Tensor, "..."]:
        """Uniform integers in `[0, high)`."""
        if self.device.type == "cpu":
            return torch.from_numpy(self._numpy.integers(high, size=shape))
        return torch.randint(high, shape, generator=self._torch, device=self.device)


class Increments:
    """Antithetic Brownian increments, one optimizer step at a time.

    `pairs` paths with increments `dW` and as many with `−dW`, in this order. First motions,
    second motions and the discrete run's own draws come from three streams, so that every
    order and scheme sees the same discrete run.

    Parameters
    ----------
    key
        `(seed, steps, shard, block, piece)`.
    """

    def __init__(self, key: tuple[int, ...], pairs: int, substeps: int, tau: float,
                 device: torch.device) -> None:
        self.pairs, self.substeps = pairs, substeps
        self._scale = math.sqrt(tau / substeps)
        self._first, self._second, self.draws = (Stream((*key, kind), device) for kind in range(3))

    def _step(self, stream: Stream, motions: int) -> Tensor:
        half = self._scale * stream.normal(self.substeps, motions, self.pairs)
        return torch.cat((half, -half), 2).mT

    def first(self, motions: int) -> Float[Tensor, "substeps paths motions"]:
        """`ΔW¹` in each substep of the next step."""
        return self._step(self._first, motions)

    def second(self, motions: int) -> Float[Tensor, "substeps paths motions"]:
        """`ΔW²` in each substep of the next step."""
        return self._step(self._second, motions)


def coarsen(dW: Float[Tensor, "substeps paths motions"], factor: int) -> Float[Tensor, "coarse paths motions"]:
    """The same path on substeps `factor` times as long."""
    if factor == 1:
        return dW
    stored = dW.mT  # motion by motion, as `Increments` made it: to keep the fast layout
    return stored.reshape(stored.shape[0] // factor, factor, *stored.shape[1:]).sum(1).mT


def together(first: Float[Tensor, "substeps paths first"],
             second: Float[Tensor, "substeps paths second"]) -> Float[Tensor, "substeps paths motions"]:
    """First and second motions side by side."""
    return torch.cat((first.mT, second.mT), 1).mT
