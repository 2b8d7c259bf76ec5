"""The invariant law of a chain of few numbers by its moments in Hermite polynomials: no equation, no random numbers, no torch."""

import itertools
import math

import numpy as np


def hermite(x, most):
    """Normalised polynomials of degree 0 to `most` of each entry, the degree first."""
    found = [np.ones_like(x), x]
    for k in range(1, most):
        found.append((x * found[-1] - math.sqrt(k) * found[-2]) / math.sqrt(k + 1))
    return np.stack(found[: most + 1])


def grid(count, dim):
    """Points and weights of a product of Gauss–Hermite rules for `N(0, I)`."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    weights = weights / weights.sum()
    mesh = np.stack([each.ravel() for each in np.meshgrid(*[points] * dim, indexing="ij")])
    return mesh, np.prod(np.stack([each.ravel() for each in np.meshgrid(*[weights] * dim, indexing="ij")]), 0)


def moments(step, centre, scales, values, degree=6, nodes=11, noise=20):
    """`E values` at rest of `x' = step(x, z)`, `z ~ N(0, 1)`, `x = (a row for each number)`, around `centre` on `scales`.

    `E B(x') = E B(x)` for all polynomials `B` of total degree at most `degree`, `B(x')` projected on them in the weight of a
    Gaussian of these scales.
    """
    centre, scales = np.asarray(centre, float)[:, None], np.asarray(scales, float)[:, None]
    dim = len(centre)
    index = [each for each in itertools.product(range(degree + 1), repeat=dim) if sum(each) <= degree]

    def basis(y):
        parts = hermite(y, degree)
        return np.stack([np.prod([parts[k, i] for i, k in enumerate(each)], 0) for each in index], 1)

    y, weights = grid(nodes, dim)
    y, weights = y[:, weights > 1e-15], weights[weights > 1e-15]
    z, chance = np.polynomial.hermite_e.hermegauss(noise)
    x, here = centre + scales * y, basis(y)
    there = sum(w * basis((step(x, one) - centre) / scales) for one, w in zip(z, chance / chance.sum(), strict=True))
    matrix = (weights[:, None] * there).T @ here - np.eye(len(index))
    right = np.zeros(len(index))
    matrix[0], matrix[0, 0], right[0] = 0, 1, 1
    law = np.linalg.solve(matrix, right)
    return ((weights[:, None] * here).T @ values(x).T).T @ law
