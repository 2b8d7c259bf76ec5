"""Expectations of SGD on a loss of one parameter and of its equation, without chance: the loss may have corners.

The noise is Gaussian and of constant size. The discrete run's density goes from step to step by quadrature, in panels that end at
the corners; the equation's expectation is a row of `exp(T L)`, its generator `L` on elements that are small at the corners.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial.legendre import Legendre, leggauss
from scipy.linalg import expm
from scipy.sparse import csr_matrix
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import Equation
from sme.problems.base import Problem

NODES, PANEL, REACH = 6, 0.8, 8.0
"""of a panel: nodes, its width and how far a step's noise goes from it, both in sizes of that noise"""
DEGREE, LARGEST = 10, 0.2
"""of an element: the polynomial's degree, and its greatest width"""
LAYER = 8.0
"""width of the elements at a corner in units of `τ size²`, that of a layer about a jump"""
LOST = 1e-9
"""of a law, beyond the line that is looked at"""
INSIDE = 1e-12
"""how far inside an element a coefficient is taken, which jumps at a corner"""
Points = Float[np.ndarray, " points"]
Matrix = Float[np.ndarray, "points points"]
Law = tuple[Points, Points]
"""points and their weights, of which the expectation of a function is the weighted sum"""


def normal(x: Points, size: float) -> Points:
    """The density of a normal number."""
    made: Points = np.exp(-0.5 * (x / size) ** 2) / (size * (2 * np.pi) ** 0.5)
    return made


def panels(edges: Points, nodes: int) -> Law:
    """Gauss's nodes and weights between each two edges."""
    at, weight = leggauss(nodes)
    width = np.diff(edges)[:, None]
    return (edges[:-1, None] + width * (at + 1) / 2).ravel(), (width * weight / 2).ravel()


def chain(problem: Problem, size: float, tau: float, horizon: float, start: float, corners: Sequence[float],
          ends: tuple[float, float]) -> Law:
    """The law of `θ` after `horizon / tau` steps `θ' = θ − τ(f'(θ) + size z)`."""
    edges = np.unique(np.concatenate([np.arange(*ends, PANEL * tau * size), corners, ends]))
    x, weights = panels(edges, NODES)
    moved = x - tau * problem.gradient(torch.from_numpy(x)[:, None])[:, 0].numpy()
    first, last = (np.searchsorted(x, moved + side * REACH * tau * size) for side in (-1, 1))
    counts = last - first
    source = np.repeat(np.arange(len(x)), counts)
    target = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    step = csr_matrix((normal(x[target] - moved[source], tau * size) * weights[source], (target, source)), shape=(len(x),) * 2)
    density = normal(x - start + tau * float(problem.gradient(torch.tensor([[start]], dtype=torch.float64))), tau * size)
    for _ in range(round(horizon / tau) - 1):
        density = step @ density
    if not abs(weights @ density - 1) < LOST:
        raise SMEError(f"at tau = {tau:g} noise of size {size:g} drives the run out of [{ends[0]:g}, {ends[1]:g}], which is "
                       "looked at: give a smaller size, or smaller steps")
    return x, weights * density


class Elements:
    """Continuous functions that are polynomials on elements; `L = b ∂ + ½ D ∂²` of them in the weak form, with closed ends."""

    def __init__(self, corners: Sequence[float], ends: tuple[float, float], least: float, largest: float | None = None) -> None:
        self.edges, degree = graded(corners, ends, least, largest or LARGEST), DEGREE
        at = np.concatenate([[-1.0], np.sort(Legendre.basis(degree).deriv().roots().real), [1.0]])
        self.weights = 2 / (degree * (degree + 1) * Legendre.basis(degree)(at) ** 2)
        self.slope = _slopes(at)
        self.widths = np.diff(self.edges)
        self.local = self.edges[:-1, None] + self.widths[:, None] * (at + 1) / 2
        self.x = np.append(self.local[:, :-1].ravel(), self.edges[-1])
        self.index = np.arange(len(self.widths))[:, None] * degree + np.arange(degree + 1)
        self.mass = np.zeros(len(self.x))
        np.add.at(self.mass, self.index, 0.5 * self.widths[:, None] * self.weights)

    def nearest(self, x: float) -> int:
        """The number of the point there."""
        return int(np.argmin(np.abs(self.x - x)))

    def generator(self, drift: Callable[[Points], Points], diffusion: float) -> Matrix:
        """`L` of a drift that may jump where elements meet, and of a constant `D`."""
        inside = np.clip(self.local, self.edges[:-1, None] + INSIDE, self.edges[1:, None] - INSIDE)
        made = np.zeros((len(self.x),) * 2)
        stiff = self.slope.T @ (self.weights[:, None] * self.slope)
        values = drift(inside.ravel()).reshape(self.local.shape)
        for b, index, width in zip(values, self.index, self.widths, strict=True):
            made[np.ix_(index, index)] += (self.weights * b)[:, None] * self.slope - diffusion / width * stiff
        return made / self.mass[:, None]

    def second(self, factor: Float[np.ndarray, " elements"]) -> Matrix:
        """`∂²` within each element, times a number of its own."""
        made, twice = np.zeros((len(self.x),) * 2), self.slope @ self.slope
        for c, index, width in zip(factor, self.index, self.widths, strict=True):
            made[np.ix_(index, index)] += 0.5 * c / width * 4 * self.weights[:, None] * twice
        return made / self.mass[:, None]

    def derivative(self, at: int, values: Float[np.ndarray, "points ..."]) -> Float[np.ndarray, "..."]:
        """That of a function at a point between two elements, the mean of both sides."""
        left, right = at // DEGREE - 1, at // DEGREE
        return np.asarray(self.slope[-1] @ values[self.index[left]] / self.widths[left]
                          + self.slope[0] @ values[self.index[right]] / self.widths[right])


def law(equation: Equation, horizon: float, start: float, corners: Sequence[float], ends: tuple[float, float]) -> Law:
    """The law of `θ` of an equation of one parameter."""
    here, one = torch.tensor([[start]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    diffusion = float(equation.diffuse(0.0, here, one)) ** 2
    made = Elements([*corners, start], ends, LAYER * diffusion)
    return made.x, expm(horizon * made.generator(at(equation.drift), diffusion))[made.nearest(start)]


def at(coefficient: Callable[[float, Tensor], Tensor]) -> Callable[[Points], Points]:
    """A coefficient of one parameter as a function of its values."""

    def values(x: Points) -> Points:
        with torch.no_grad():
            found: Points = coefficient(0.0, torch.from_numpy(x)[:, None])[:, 0].numpy()
        return found

    return values


def graded(corners: Sequence[float], ends: tuple[float, float], least: float, largest: float) -> Points:
    """Edges from one end to the other, with all corners, each element growing with its distance from the nearest one."""
    edges = [ends[0]]
    for stop in sorted({*corners, ends[1]}):
        sides, fine = ([edges[-1]], [stop]), (edges[-1] in corners, stop in corners)
        while True:
            width = [min(largest, max(least, abs(side[-1] - side[0]))) if there else largest
                     for side, there in zip(sides, fine, strict=True)]
            which = int(width[1] < width[0])
            if sides[1][-1] - sides[0][-1] <= 1.5 * width[which]:
                break
            sides[which].append(sides[which][-1] + (-1 if which else 1) * width[which])
        edges += [*sides[0][1:], *sides[1][::-1]]
    return np.array(edges)


def _slopes(at: Points) -> Matrix:
    """The derivatives of Lagrange's polynomials at their nodes, a column each."""
    gaps = at[:, None] - at + np.eye(len(at))
    factor = gaps.prod(1)
    made = factor[:, None] / factor / gaps
    np.fill_diagonal(made, 0.0)
    np.fill_diagonal(made, -made.sum(1))
    return made
