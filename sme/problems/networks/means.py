"""Means over a data set of functions of a network's outputs: one forward pass for all that are asked for at a θ."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.common.derivatives.seen import Seen
from sme.problems.base import Paths
from sme.problems.noise.minibatch.flat import FlatModule
from sme.problems.noise.minibatch.layers import Losses

HELD = {"cpu": 2**20, "cuda": 2**23}
"""numbers of inputs and outputs at a time, which a processor's own memory holds; a GPU has more"""
Data = tuple[Tensor, Tensor]


class Last(NamedTuple):
    """What was found at a θ."""

    seen: Seen
    model: FlatModule
    versions: tuple[int, ...]
    means: list[Float[Tensor, " paths"]]


class Means:
    """The mean of `of(module(θ, inputs), targets)` over the examples, for each path.

    Loss and accuracy of one θ are asked for one after the other: what has been asked for of a data set is computed together from
    then on, and kept for that θ alone, which is known by its memory and by how often torch wrote to it. Where a derivative is
    taken nothing is kept.
    """

    def __init__(self) -> None:
        self._asked: dict[tuple[int, ...], tuple[Data, list[Losses]]] = {}
        self._last: dict[tuple[int, ...], Last] = {}

    def __getstate__(self) -> dict[str, object]:
        return Means().__dict__  # what is kept is known by its place in memory

    def __call__(self, model: FlatModule, theta: Paths, data: Data, of: Losses) -> Float[Tensor, " paths"]:
        seen = Seen(theta)
        if seen.place is None or any(each.is_inference() for each in data):
            return _means(model, theta, data, [of])[0]
        key, versions = tuple(map(id, data)), tuple(each._version for each in data)
        _, asked = self._asked.setdefault(key, (data, []))  # held, so that their numbers stay their own
        if of not in asked:
            asked.append(of)
        which, last = asked.index(of), self._last.get(key)
        known = last is not None and last.model is model and last.versions == versions and which < len(last.means)
        if last is None or not known or not last.seen.is_(theta):
            self._last[key] = last = Last(seen, model, versions, _means(model, theta, data, asked))
        return last.means[which].clone()


def _means(model: FlatModule, theta: Paths, data: Data, of: list[Losses]) -> list[Float[Tensor, " paths"]]:
    inputs, targets = data

    def one(point: Tensor) -> list[Tensor]:
        outputs = model(point, inputs)
        return [each(outputs, targets).mean() for each in of]

    size = len(inputs) * (inputs[0].numel() + model(model.start, inputs[:1]).numel())
    found: list[Tensor] = vmap(one, chunk_size=max(1, HELD["cpu" if theta.device.type == "cpu" else "cuda"] // size))(theta)
    return found


@dataclass(frozen=True)
class Mean:
    """One of these, as a function of θ."""

    means: Means
    model: FlatModule
    data: Data
    of: Losses
    less: bool = False
    """1 less it: an error, of an accuracy"""

    reads: ClassVar[bool] = True
    """it does not write to θ, as was seen of the module"""

    def __call__(self, theta: Paths) -> Float[Tensor, " paths"]:
        mean = self.means(self.model, theta, self.data, self.of)
        return 1 - mean if self.less else mean
