"""Gaussian frames that follow the run, and polynomials on them that are orthonormal there."""

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Points = Float[Tensor, "points state"]

LEAST = 0.3
"""a frame serves several steps, while the smallest variance of one of them is not below this share of the frame's"""
APART = 0.05
"""share of each variance that is added to it, lest two numbers of a state be one: so much of a frame is round"""
MOVED = 0.25
"""share of how far the mean moves, squared, that is added too: the run is at one place at a time"""
POINT = 1e-4
"""size of a number without noise that does not move, as a share of itself"""
FAR, NEAR = 5.0, 0.25
"""a number that stays ≥ 0 is taken by its logarithm, where so many deviations below its mean are less than this share of it"""
LOWEST = 1e-3
"""share of its mean that the least such number has"""
BENT = 1.0
"""share of its mean from which such a number of an equation is bent to its logarithm, since a diffusion leads it below 0 too"""


@dataclass(frozen=True)
class Scale:
    """Coordinates in which a state is about Gaussian: of some of its numbers the logarithms, or `asinh` if some are negative."""

    least: Float[Tensor, " state"]
    """of these numbers; 0 of the others"""
    both: bool = False
    """whether they may be negative; then `least` is where `asinh` begins to bend"""

    @classmethod
    def of(cls, states: Float[Tensor, "steps paths state"], nonnegative: Bool[Tensor, " state"], both: bool = False) -> "Scale":
        """Those whose spread reaches 0 almost and that are positive on these paths, if not `both`."""
        mean, deviation = states.mean(1), states.std(1)
        wide = (mean - FAR * deviation < NEAR * mean).any(0) & nonnegative
        if not both:
            wide = wide & (states > 0).all(0).all(0)
        return cls(torch.where(wide, (BENT if both else LOWEST) * mean.amin(0), 0.0), both)

    def coordinates(self, x: Points) -> Points:
        """Of states."""
        bent = torch.asinh(x / self.least) if self.both else torch.maximum(x, self.least).log()
        return torch.where(self.least > 0, bent, x)

    def states(self, y: Points) -> Points:
        """The inverse."""
        return torch.where(self.least > 0, self.least * y.sinh() if self.both else y.exp(), y)


@functools.cache
def _rule(size: int, degree: int) -> tuple[Points, Float[Tensor, " points"], Int[Tensor, "functions state"]]:
    """Gauss–Hermite nodes and weights for the products of two polynomials of total degree `degree`, and their powers."""
    z, w = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(degree + 1))
    nodes, weights = (torch.cartesian_prod(*[each] * size).reshape(-1, size) for each in (z, w / w.sum()))
    powers = [each for each in itertools.product(range(degree + 1), repeat=size) if sum(each) <= degree]
    return nodes, weights.prod(-1), torch.tensor(powers)


class Frame:
    """`N(mean, cov)` of the state while the run takes steps `begin` to `end`, and polynomials of total degree `degree` on it.

    In the coordinates of a scale, `He_α((x − mean)/√cov)` are orthonormal under it; those of `u` are `project @ u(nodes)`.
    """

    def __init__(self, begin: int, end: int, mean: Float[Tensor, " state"], cov: Float[Tensor, "state state"],
                 degree: int, scale: Scale) -> None:
        self.begin, self.end, self.mean, self.degree, self.scale = begin, end, mean, degree, scale
        self._root = torch.linalg.cholesky(cov)
        z, weights, self._powers = _rule(len(mean), degree)
        self.nodes: Points = scale.states(mean + z @ self._root.T)
        self.project: Float[Tensor, "functions points"] = (self.functions(self.nodes) * weights[:, None]).T

    def functions(self, x: Points) -> Float[Tensor, "points functions"]:
        """All polynomials at these states."""
        y = torch.linalg.solve_triangular(self._root, (self.scale.coordinates(x) - self.mean).T, upper=False)
        powers = [torch.ones_like(y), y]
        for k in range(1, self.degree):
            powers.append((y * powers[-1] - math.sqrt(k) * powers[-2]) / math.sqrt(k + 1))
        table, found = torch.stack(powers), torch.ones(())
        for i, each in enumerate(self._powers.T):
            found = found * table[each, i]
        return found.T


@dataclass(frozen=True)
class Course:
    """Means and covariances of the whole state after each step, from a few paths; the start is the first."""

    means: Float[Tensor, "steps state"]
    covariances: Float[Tensor, "steps state state"]
    scale: Scale
    """in whose coordinates these are"""

    @classmethod
    def of(cls, states: Float[Tensor, "steps paths state"], nonnegative: Bool[Tensor, " state"], both: bool = False) -> "Course":
        """Of these paths; `nonnegative` says which numbers stay ≥ 0 in the discrete run, `both` that a diffusion moves them."""
        scale = Scale.of(states, nonnegative, both)
        seen = scale.coordinates(states)
        means = seen.mean(1)
        centred = seen - means.unsqueeze(1)
        return cls(means, centred.mT @ centred / states.shape[1], scale)

    def frames(self, degree: int, width: float) -> list[Frame]:
        """One after the other, each for as many steps as its Gaussian is like all of theirs; `width` times as wide."""
        return [Frame(begin, end, mean, width**2 * cov, degree, self.scale) for begin, end, mean, cov in self._gaussians]

    @functools.cached_property
    def _gaussians(self) -> list[tuple[int, int, Float[Tensor, " state"], Float[Tensor, "state state"]]]:
        found, begin = [], 0
        while begin < len(self.means) - 1:
            end = begin + 1
            while end < len(self.means) - 1 and self._serves(begin, end + 1):
                end += 1
            found.append((begin, end, *self._pooled(begin, end)))
            begin = end
        return found

    def _pooled(self, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """Of all states after the beginning, with how far the mean moves from there."""
        means = self.means[begin : end + 1]
        mean = means.mean(0)
        moved = means - mean
        return mean, self._round(self.covariances[begin + 1 : end + 1].mean(0) + MOVED * moved.T @ moved / len(moved))

    def _round(self, cov: Tensor) -> Tensor:
        size = POINT * (self.means.abs().amax(0) + self.means.abs().max() + 1e-100)
        return cov + torch.diag(APART * cov.diagonal() + size.square())

    def _serves(self, begin: int, end: int) -> bool:
        root = torch.linalg.cholesky(self._pooled(begin, end)[1])
        for at in {begin + 1, end}:
            half = torch.linalg.solve_triangular(root, self._round(self.covariances[at]), upper=False)
            if torch.linalg.eigvalsh(torch.linalg.solve_triangular(root, half.mT, upper=False))[0] < LEAST:
                return False
        return True
