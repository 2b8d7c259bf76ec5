"""Mergeable moments, cross-fitted control variates, points that survive the disk."""

import numpy as np
import pytest

from sme.convergence.estimator.crossfit import coefficients, estimate
from sme.convergence.estimator.moments import Moments


def samples(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 4)) @ np.diag([1, 10, 1e-3, 5]) + [3, -1, 100, 0]


def close(a, b):
    assert a.count == b.count
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-13)
    np.testing.assert_allclose(a.comoment, b.comoment, rtol=1e-9, atol=1e-10)


def test_merge_is_associative_and_the_same_as_all_at_once():
    x = samples(300)
    parts = [Moments.of(part) for part in (x[:50], x[50:51], x[51:])]
    close(parts[0].merge(parts[1]).merge(parts[2]), Moments.of(x))
    close(parts[0].merge(parts[1].merge(parts[2])), Moments.of(x))
    close(Moments.of(x[:0]).merge(Moments.of(x)), Moments.of(x))
    np.testing.assert_allclose(Moments.of(x).comoment / 299, np.cov(x.T), rtol=1e-10)


def test_moments_come_back_from_json_to_the_last_bit():
    moments = Moments.of(samples(100))
    again = Moments.from_json(moments.to_json())
    assert again.count == moments.count
    assert np.array_equal(again.mean, moments.mean)
    assert np.array_equal(np.tril(again.comoment), np.tril(moments.comoment))


def controlled(n, rng):
    """One variable with mean 1, and controls that explain most of it, two of them collinear, one constant."""
    c = rng.standard_normal((n, 2))
    y = 1 + c @ [2, -1] + 0.1 * rng.standard_normal(n)
    return Moments.of(np.column_stack([y, c, c[:, 0], np.zeros(n)]))


def test_control_variates_shrink_the_error_and_leave_the_mean():
    folds = [controlled(4000, np.random.default_rng(i)) for i in range(4)]
    mean, stderr = estimate(folds, 1)
    assert stderr[0] == pytest.approx(0.1 / np.sqrt(16_000), rel=0.05)
    assert abs(mean[0] - 1) < 5 * stderr[0]
    assert np.isfinite(coefficients(folds[0], 1)).all()


def test_cross_fitted_standard_error_is_honest_for_few_samples():
    """Many repetitions: unbiased, and the spread is what the standard error says."""
    rng = np.random.default_rng(5)
    results = [estimate([controlled(30, rng) for _ in range(4)], 1) for _ in range(2000)]
    z = np.array([(mean[0] - 1) / stderr[0] for mean, stderr in results])
    assert abs(z.mean()) < 5 / np.sqrt(2000)
    assert z.std() == pytest.approx(1, abs=0.1)


def test_a_fold_without_samples_gives_no_number():
    folds = [controlled(30, np.random.default_rng(0)), *[Moments.of(np.zeros((0, 5)))] * 3]
    mean, stderr = estimate(folds, 1)
    assert np.isnan(mean).all()
    assert np.isnan(stderr).all()
