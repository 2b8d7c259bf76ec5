"""Networks that follow from a few settings."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sme.common.inputs import TORCH_SEEDS, number, seed_of, whole
from sme.problems.networks.network import Network
from sme.problems.noise.diagonal import DiagonalNoise

Data = tuple[Tensor, Tensor]


class Preset(Network):
    """A network whose module and data follow from settings, which identify it.

    Parameters
    ----------
    name, settings
        what tables and folders call it, and what its module and data follow from, apart from the seed.
    build
        makes the module, from a generator that `seed` begins.
    seed
        of the initial parameters.
    data, loss, batch_size, test, law
        as of `Network`; `law` its `sampling`, `scale` and `coupling`.
    noise
        standard deviation of Gaussian noise on the full gradient in place of the minibatch's; None: minibatches.
    """

    def __init__(self, name: str, settings: Mapping[str, object], build: Callable[[], nn.Module], seed: int, data: Data,
                 loss: str, batch_size: int, test: Data | None, noise: float | None = None, **law: Any) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, TORCH_SEEDS))
            module = build()
        size = sum(each.numel() for each in module.parameters())
        gaussian = None if noise is None else DiagonalNoise(number("noise", noise), size)
        self._spec = {"problem": name, **settings, "seed": seed}
        super().__init__(module, data, loss, whole("batch_size", batch_size, 1), noise=gaussian, test=test, name=name, **law)

    def describe(self) -> dict[str, object]:
        law = {name: value for name, value in self.noise.describe().items() if name not in ("module", "losses", "data", "loss")}
        return {**self._spec, "start": math.fsum(self.model.start.tolist()), "noise": law}


def evenly(count: int, total: int) -> Tensor:
    """So many whole numbers, evenly spaced from 0 to `total − 1`."""
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long()


def split(table: Sequence[Tensor], count: int) -> tuple[Data, Data]:
    """So many evenly spaced rows to train on, and the others."""
    x, y = table
    rows = evenly(count, len(x))
    rest = torch.ones(len(x), dtype=torch.bool).index_fill(0, rows, False)
    return (x[rows], y[rows]), (x[rest], y[rest])
