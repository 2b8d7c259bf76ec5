"""What an equation's generator makes of the products of increments: drift, covariance, and with jumps all moments of these."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import Equation
from sme.equations.order.one_step import Generator

Name = tuple[int, ...]


class Coefficients:
    """Drift and covariance of the increments at many points, `place` the column of each covariance."""

    def __init__(self, equation: Equation, weights: Float[Tensor, "increments state"]) -> None:
        self.generator, self.weights = Generator(equation, lambda z: z), weights
        n = len(weights)
        self.upper = torch.triu_indices(n, n)
        self.place = torch.zeros(n, n, dtype=torch.long)
        self.place[self.upper[0], self.upper[1]] = torch.arange(n, n + self.upper.shape[1])
        self.place = torch.maximum(self.place, self.place.T)

    def __call__(self, t: Any, z: Float[Tensor, "points system"]) -> Float[Tensor, "points coefficients"]:
        found, moves = self._continuous(t, z), self._moves(t, z)
        if not len(moves):
            return found
        both = torch.cat((moves, moves[..., self.upper[0]] * moves[..., self.upper[1]]), -1)
        return found + torch.tensordot(self.generator.jumping[1], both, 1)

    def _continuous(self, t: Any, z: Float[Tensor, "points system"]) -> Float[Tensor, "points coefficients"]:
        """Those without the jumps."""
        drift = self.generator.drift(t, z)[:, : self.weights.shape[1]] @ self.weights.T
        if not len(self.generator.motions):
            return torch.cat((drift, drift.new_zeros(len(z), self.upper.shape[1])), -1)
        g = self.generator.noise(t, z)[..., : self.weights.shape[1]] @ self.weights.T
        return torch.cat((drift, (g[..., self.upper[0]] * g[..., self.upper[1]]).sum(0)), -1)

    def _moves(self, t: Any, z: Float[Tensor, "points system"]) -> Float[Tensor, "moves points increments"]:
        return self.generator.moves(t, z)[..., : self.weights.shape[1]] @ self.weights.T

    def higher(self, t: Any, x: Float[Tensor, " state"], products: Sequence[Name]) -> Float[Tensor, " products"]:
        """`𝓛` at `x` of the products of three increments and more, which jumps alone have; 0 for the others."""
        moves, rates = self._moves(t, self.generator.start(x).unsqueeze(0))[:, 0], self.generator.jumping[1]
        if not len(rates):
            return x.new_zeros(len(products))
        return torch.stack([rates @ moves[:, list(each)].prod(-1) if len(each) > 2 else x.new_zeros(()) for each in products])

    def once(self, t: Any, z: Float[Tensor, "points system"], x: Float[Tensor, " state"],
             products: Sequence[Name]) -> Float[Tensor, "points products"]:
        """`𝓛` of the products of `w·(z − x)` at many points."""
        here, moves, rates = self._continuous(t, z), self._moves(t, z), self.generator.jumping[1]
        y = (z[:, : len(x)] - x) @ self.weights.T
        return torch.stack([self._one(each, here, y, moves, rates) for each in products], -1)

    def _one(self, each: Name, here: Tensor, y: Tensor, moves: Tensor, rates: Tensor) -> Float[Tensor, " points"]:
        def rest(*left_out: int) -> Tensor:
            return y[:, [k for i, k in enumerate(each) if i not in left_out]].prod(-1)

        places = range(len(each))
        total = torch.stack([here[:, each[i]] * rest(i) for i in places]).sum(0)
        for i in places:
            for j in places[:i]:
                total = total + here[:, self.place[each[i], each[j]]] * rest(i, j)
        jumped = (y + moves)[..., list(each)].prod(-1) - rest()
        return total + torch.tensordot(rates, jumped, 1)

    def twice(self, t: float, x: Float[Tensor, " state"], products: Sequence[Name]) -> Float[Tensor, "3 products"]:
        """`½𝓛²` of every product at `x`, its error and the size of its parts."""
        generator, z = self.generator, self.generator.start(x)
        second, error = generator.around(lambda s, points: self.once(s, points, x, products), t, z).generator
        jumped = generator.jumped(lambda points: self.once(t, points, x, products), t, z.unsqueeze(0))[0]
        return 0.5 * torch.stack((second + jumped, error, second.abs() + jumped.abs()))
