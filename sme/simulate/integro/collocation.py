"""One piece of a collocation method, on [0, 1]: points, and the matrices that take a polynomial's slopes to its values."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre

NODES = 8
"""Radau points of a piece: the method has order 15, and damps what decays fast"""
QUADRATURE = 16
"""Gauss–Legendre points of a memory integral over a piece, or the part of one before a point"""


@dataclass(frozen=True)
class Element:
    """Where a polynomial `y` with the slopes `u` at the nodes is read: `y(point) = y(0) + values @ u`.

    Between 0 and each point lie quadrature points, `inner = point · z`, with weights `point · w`, at which
    `y = y(0) + inner_values @ u`; `slopes @ u` is `y'` at the points.
    """

    points: Float[np.ndarray, " n"]
    values: Float[np.ndarray, "n p"]
    slopes: Float[np.ndarray, "n p"]
    inner: Float[np.ndarray, "n q"]
    weights: Float[np.ndarray, "n q"]
    inner_values: Float[np.ndarray, "n q p"]


@cache
def nodes() -> Float[np.ndarray, " p"]:
    """Radau's points in (0, 1], the last of them 1."""
    roots = np.sort(legendre.legroots([0.0] * (NODES - 1) + [-1.0, 1.0]).real)
    roots[-1] = 1.0
    return (roots + 1) / 2


@cache
def gauss() -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    """Gauss–Legendre points and weights on [0, 1]."""
    points, weights = legendre.leggauss(QUADRATURE)
    return (points + 1) / 2, weights / 2


def slopes(at: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n p"]:
    """Lagrange's polynomials of the nodes."""
    inverse = np.linalg.inv(legendre.legvander(2 * nodes() - 1, NODES - 1))
    return legendre.legvander(2 * np.asarray(at) - 1, NODES - 1) @ inverse


def integrals(at: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n p"]:
    """Their integrals from 0."""
    points, weights = gauss()
    at = np.asarray(at)
    return np.einsum("...q,...qp->...p", at[..., None] * weights, slopes(at[..., None] * points))


def element(at: Float[np.ndarray, " n"]) -> Element:
    """The element that reads a piece at these points."""
    points, weights = gauss()
    inner = at[:, None] * points
    return Element(at, integrals(at), slopes(at), inner, at[:, None] * weights, integrals(inner))


@cache
def collocation() -> tuple[Element, Element]:
    """The element at the nodes, and one between them, where a solution's residual is largest."""
    edges = np.concatenate([[0.0], nodes()])
    return element(nodes()), element((edges[:-1] + edges[1:]) / 2)
