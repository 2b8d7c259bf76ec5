"""The lowest curvature of a loss."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vjp

DENSE, LANCZOS, RESTARTS, ACCURACY = 64, 30, 100, 1e-5
"""parameters up to which the whole Hessian is formed; vectors at a time, how often at most, and accuracy as a share of the
sharpness"""


def lowest(gradient: Callable[[Tensor], Tensor], point: Float[Tensor, " d"]) -> float:
    """The smallest eigenvalue of `∇²f`, by Lanczos, from `∇f` of one point; not a number where that does not converge."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh  # takes half a second, and few runs ask for it

    if not bool(torch.isfinite(point).all()):
        return math.nan
    back = vjp(gradient, point)[1]  # the Hessian is its own transpose

    def multiply(u: np.ndarray) -> np.ndarray:
        product: Tensor = back(torch.from_numpy(u.astype(float).ravel()).to(point))[0]
        return product.cpu().numpy()

    dim = len(point)
    if dim <= DENSE:
        rows = np.stack([multiply(row) for row in np.eye(dim)])
        return float(np.linalg.eigvalsh(rows)[0]) if np.isfinite(rows).all() else math.nan
    shape, begin = (dim, dim), np.random.default_rng(0).standard_normal(dim)
    if not np.isfinite(multiply(begin)).all():  # Lanczos would not end
        return math.nan
    extreme = partial(eigsh, k=1, v0=begin, ncv=LANCZOS, maxiter=RESTARTS, return_eigenvectors=False)
    try:  # below the largest eigenvalue, so that the accuracy is a share of that: the smallest may be near 0
        shift = abs(float(extreme(LinearOperator(shape, matvec=multiply, dtype=float), which="LM", tol=0.1)[0]))
        below = LinearOperator(shape, matvec=lambda u: multiply(u) - shift * u, dtype=float)
        return shift + float(extreme(below, which="SA", tol=ACCURACY)[0])
    except ArpackNoConvergence:
        return math.nan
