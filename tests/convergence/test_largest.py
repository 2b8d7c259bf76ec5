"""The rows `at="max"`: the largest error over the checkpoints, unbiased by its choice."""

import math

import numpy as np
import pytest

from sme.convergence.estimator.moments import Moments
from sme.convergence.estimator.paired import BLOCKS, Block
from sme.convergence.fit import tables
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store.points import Key, Point

TIMES = (0.25, 0.5, 0.75, 1.0)


def outline(times=TIMES, observables=("f",)):
    return StudyMetadata("study", "sgd", "ballistic", "quadratic", "independent", 1.0, times, observables, "")


def point(means, shard=0, order=1, steps=4, seed=0, rng=None, noise=0.01, count=4):
    """A point whose folds have exactly these means, or (with `rng`) samples around them."""
    means = np.asarray(means, dtype=float)

    def samples():
        if rng is not None:
            return means + noise * rng.standard_normal((count, len(means)))
        return means + noise * np.resize([1.0, -1.0], count)[:, None]

    blocks = [Block(Moments.of(samples()), 0, 0) for _ in range(BLOCKS)]
    return Point(Key(order, steps, seed, shard), "study", blocks, {}, {})


def largest(points, where=None):
    table = tables.errors(points, where or outline())
    return table[table["at"] == "max"]


def test_odd_shards_choose_and_even_shards_measure():
    """Errors of f and g at two times, biases behind them; and order 1's errors with their own sign."""
    where = outline((0.5, 1.0), ("f", "g"))
    odd = [-0.5, 0.1, 0.3, 0.2, *[9.0] * 4, 0.5, 0.6, -0.7, -0.8]
    even = [-0.4, 0.7, 0.6, -0.1, 0.01, 0.02, 0.03, 0.04, 0.1, 0.2, 0.3, 0.4]
    rows = largest([point(even, 0, order=2), point(odd, 1, order=2), point(even, 2, order=2)], where)
    assert list(rows["observable"]) == ["f", "g"]
    assert list(rows["time"]) == [0.5, 1.0]
    assert rows["error"].to_numpy() == pytest.approx([-0.4, -0.1])
    assert rows["integrator_bias"].to_numpy() == pytest.approx([0.01, 0.04])
    assert list(rows["sign"]) == [-1, 1]
    assert rows["order1_error"].to_numpy() == pytest.approx([0.1, -0.4])
    assert (rows["paths"] == 2 * 2 * BLOCKS * 4).all()
    # 8 pairs ±0.01 a fold: the folds' residual variances with n − 1 in the denominator
    assert rows["stderr"].to_numpy() == pytest.approx([0.01 / math.sqrt(BLOCKS * 7)] * 2)


def test_the_time_may_change_along_tau_and_the_fit_is_of_the_size():
    """Two times of opposite errors, each the largest at every second τ: |error| = τ all along."""
    points = []
    for i, steps in enumerate((4, 8, 16, 32)):
        errors = np.array([[0.9, -1.0], [1.0, -0.9]][i % 2]) / steps
        points += [point([*errors, 0, 0], shard, steps=steps, noise=1e-7) for shard in (0, 1)]
    table = tables.errors(points, outline((0.5, 1.0)))
    rows = table[table["at"] == "max"]
    assert list(rows["time"]) == [1.0, 0.5, 1.0, 0.5]
    found = tables.slopes(table, "").set_index("at").loc["max"]
    assert found["slope_low"] < 1 < found["slope_high"]
    assert found["c1"] == pytest.approx(1, abs=1e-6)
    assert found["verdict"] == "consistent"
    assert found["points"] == 4


def test_there_are_rows_only_with_both_kinds_of_shards_and_several_checkpoints():
    values = [0.1] * 8
    assert largest([point(values, 0), point(values, 2)]).empty
    assert largest([point(values, 0), point(values, 0, seed=1)]).empty
    assert largest([point([0.1, 0.1], 0), point([0.1, 0.1], 1)], outline((1.0,))).empty
    assert list(largest([point(values, 0), point(values, 1, seed=1)])["paths"]) == [2 * BLOCKS * 4]
    mixed = largest([point(values, 0), point(values, 1), point(values, 0, steps=8)])
    assert list(mixed["tau"]) == [0.25]  # where a single shard is all there is, no row
    assert list(tables.errors([], outline()).columns) == tables.ERRORS + tables.HIDDEN


def test_shards_without_a_number_choose_nothing():
    values = [0.1] * 8
    lost = point(values, 1)
    empty = Block(Moments.of(np.zeros((0, 8))), 8, 0)
    lost = Point(lost.key, "study", [empty] * BLOCKS, {}, {})
    assert largest([point(values, 0), lost]).empty


def test_the_naive_maximum_is_biased_and_this_one_is_not():
    """The same true error at all times, half a standard error; each observable is a study of its own."""
    rng, truth, size, repeats, count = np.random.default_rng(3), 0.03, 40, 8, 16
    where = outline(observables=tuple(f"f{i}" for i in range(size)))
    means = [truth] * 4 * size + [0] * 4 * size
    ours, naive = [], []
    for _ in range(repeats):
        table = tables.errors([point(means, shard, rng=rng, noise=0.5, count=count) for shard in (0, 1)], where)
        ours.append(table[table["at"] == "max"])
        naive += list(table[table["at"] != "max"].groupby("observable")["error"].agg(lambda errors: errors.abs().max()))
    error, stderr = (np.concatenate([table[name] for table in ours]) for name in ("error", "stderr"))
    assert abs(error.mean() - truth) < 5 * error.std() / math.sqrt(len(error))
    assert np.mean(naive) - truth > 5 * np.std(naive) / math.sqrt(len(naive))
    assert error.std() == pytest.approx(stderr.mean(), rel=5 / math.sqrt(2 * len(error)))  # an honest standard error
