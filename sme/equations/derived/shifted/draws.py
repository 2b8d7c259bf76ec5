"""Draws of any law from standard normals, so that an equation's own increments carry them."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.problems.noise.base import GradientLaw


class Counting:
    """A source that counts the normals for one path that a law asks for."""

    number = 0

    def __init__(self) -> None:
        self.count = 0

    def normal(self, *shape: int) -> Tensor:
        self.count += math.prod(shape[1:])
        return torch.zeros(shape, dtype=torch.float64)

    def integers(self, high: int, *shape: int) -> Int[Tensor, "..."]:
        self.count += math.prod(shape[1:])
        return torch.zeros(shape, dtype=torch.long)

    def before(self, steps: int) -> "Counting":
        return self


class FromNormals(Counting):
    """A source that hands out given normals in turn; a uniform number is the normal's own probability."""

    def __init__(self, normals: Float[Tensor, "paths count"]) -> None:
        super().__init__()
        self.normals = normals

    def normal(self, *shape: int) -> Tensor:
        begin = self.count
        self.count += math.prod(shape[1:])
        return self.normals[:, begin : self.count].reshape(shape)

    def integers(self, high: int, *shape: int) -> Int[Tensor, "..."]:
        return (torch.special.ndtr(self.normal(*shape)) * high).long().clamp(max=high - 1)


def needed(law: GradientLaw, tau: float) -> int:
    """How many normals one draw of a path takes."""
    source = Counting()
    law.draw(None, tau, source, 1)
    return source.count


def drawn(law: GradientLaw, tau: float, normals: Float[Tensor, "paths count"]) -> Tensor:
    """A draw for each path."""
    return law.draw(None, tau, FromNormals(normals), len(normals))
