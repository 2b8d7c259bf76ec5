"""Control variates with coefficients from other data: unbiased, with an honest standard error."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sme.convergence.estimator.moments import Moments

Vector = Float[np.ndarray, " rows"]


def coefficients(moments: Moments, rows: int) -> Float[np.ndarray, "controls rows"]:
    """The regression of the first `rows` variables on the remaining ones, the control variates.

    Collinear and constant control variates are dropped by the pseudo-inverse of their correlations.
    """
    m = moments.comoment
    scale = np.sqrt(np.diag(m)[rows:])
    scale = np.where(scale > 0, scale, np.inf)
    correlation = m[rows:, rows:] / np.outer(scale, scale)
    return np.linalg.pinv(correlation, rcond=1e-8, hermitian=True) @ (m[rows:, :rows] / scale[:, None]) / scale[:, None]


def estimate(folds: Sequence[Moments], rows: int) -> tuple[Vector, Vector]:
    """Means and standard errors of the first `rows` variables.

    Each fold is adjusted by its own control-variate means with coefficients from the other folds,
    so that adjustment and coefficients are independent and the mean is unbiased. NaN if a fold has
    fewer than two samples (all others diverged).
    """
    if min(fold.count for fold in folds) < 2:
        return np.full(rows, np.nan), np.full(rows, np.nan)
    total = sum(fold.count for fold in folds)
    mean, variance = np.zeros(rows), np.zeros(rows)
    for i, fold in enumerate(folds):
        beta = coefficients(Moments.merged(folds[:i] + folds[i + 1 :]), rows)  # type: ignore[operator]
        share = fold.count / total
        mean += share * (fold.mean[:rows] - fold.mean[rows:] @ beta)
        m = fold.comoment
        residual = (np.diag(m)[:rows] - 2 * np.einsum("kr,kr->r", beta, m[rows:, :rows])
                    + np.einsum("kr,kl,lr->r", beta, m[rows:, rows:], beta))
        variance += share**2 * np.maximum(residual, 0) / (fold.count - 1) / fold.count
    return mean, np.sqrt(variance)
