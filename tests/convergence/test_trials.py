"""A tolerance: the shards that decide how many there are, are not those that are reported."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import sme
from sme.convergence.estimator import paired, trials
from sme.convergence.estimator.trials import FIRST, MOST_SHARDS, SHARE, needed
from sme.convergence.runner import Runner
from tests.support.few import few

START = {"theta": torch.tensor([1.0, 0.6])}


def reported(rng, truth, tolerance, repeats):
    """Errors and standard errors of such studies, whose shards have errors `truth ± 1`, and how many trials they took."""
    found = []
    for _ in range(repeats):
        drawn, count, number = rng.standard_normal(MOST_SHARDS) + truth, 1, None
        while number is None:
            number = needed(np.array([drawn[:count].mean()]), np.array([1 / math.sqrt(count)]), count, tolerance)
            count, spent = 2 * count, count
        found.append((truth + rng.standard_normal() / math.sqrt(number), 1 / math.sqrt(number), spent, number))
    return np.array(found).T


TOLD = [*itertools.product([0.07, 0.2, 0.4, 0.7], [0.0, 0.5, 1.5, 6.0])]


@pytest.mark.parametrize(("tolerance", "truth"), few(TOLD, 0, 5, 6, 7, 8, 13, 15))
def test_means_are_the_true_error_and_intervals_cover_it(tolerance, truth):
    repeats = 1000
    error, stderr, spent, number = reported(np.random.default_rng(17), truth, tolerance, repeats)
    assert abs(error.mean() - truth) < 4 * stderr.mean() / math.sqrt(repeats) * 1.5
    for level in (0.95, 0.99):
        covered = np.mean(abs(error - truth) < stats.norm.ppf(0.5 + level / 2) * stderr)
        assert abs(covered - level) < 4 * math.sqrt(level * (1 - level) / repeats)
    assert (spent <= np.maximum(1, MOST_SHARDS / SHARE)).all()
    assert (number <= MOST_SHARDS).all()
    if tolerance < 0.5 and tolerance * truth > 2 / MOST_SHARDS**0.5:  # within reach, and seen in the trials
        assert np.mean(stderr <= tolerance * abs(truth)) > 0.75


def test_what_is_asked_for_follows_the_loosest_row():
    error, stderr = np.array([1.0, -2.0, 0.0]), np.array([0.02, 0.1, 0.0])
    assert needed(error, stderr, 1, 0.1) == 1
    assert needed(error, stderr, 1, 0.05) == math.ceil((0.1 / (0.05 * 1.9)) ** 2)
    assert needed(error, stderr, 2, 0.04) == math.ceil(2 * (0.1 / (0.04 * 1.9)) ** 2)
    assert needed(error, stderr, 1, 0.01) is None
    assert needed(np.array([0.1]), np.array([0.2]), 8, 0.9) is None  # not seen
    assert needed(np.array([0.1]), np.array([0.2]), 16, 0.9) == MOST_SHARDS
    assert needed(np.array([math.nan]), np.array([math.nan]), 16, 0.9) == MOST_SHARDS
    assert needed(np.array([]), np.array([]), 1, 0.9) == 1


def study(monkeypatch, **changes):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 8)
    parts = {"tau": 1 / 2, "horizon": 0.5, "backend": "torchsde", "order": 1, "observables": ["|v|^2"], **changes}
    return sme.weak_error(sme.Quadratic(), sme.RMSProp(), start=START, **parts)


def test_trial_shards_are_kept_and_in_no_table(monkeypatch, tmp_path):
    found = study(monkeypatch, tolerance=0.0015, results=tmp_path)
    own = [point for point in found.points if not point.key.trial]
    tried = [point for point in found.points if point.key.trial]
    assert len(own) > 1
    assert {point.key.shard for point in tried} == set(range(FIRST, FIRST + len(tried)))
    assert found.errors["paths"].tolist() == [sum(point.paths for point in own)]
    plain = study(monkeypatch, shards=list(range(len(own))))
    pd.testing.assert_frame_equal(found.errors, plain.errors, check_exact=True)
    again = study(monkeypatch, tolerance=0.0015, results=tmp_path)
    pd.testing.assert_frame_equal(found.errors, again.errors, check_exact=True)
    assert len(again.points) == len(found.points)
    assert "missing" not in str(again)


@pytest.mark.slow
def test_the_number_depends_on_the_trials_of_its_own_seed_alone(monkeypatch, tmp_path):
    """Points that are there already, of more trials or of other seeds, change nothing; a killed run goes on to the same."""
    loose, tight = study(monkeypatch, tolerance=0.002), study(monkeypatch, tolerance=0.001)
    assert len(tight.points) > len(loose.points) > 2
    study(monkeypatch, tolerance=0.001, results=tmp_path)
    study(monkeypatch, shards=[0, 1], seed=5, results=tmp_path)
    keys = {point.key for point in loose.points}
    asked = []
    monkeypatch.setattr(Runner, "_ask", lambda self, keys: asked.extend(keys))
    study(monkeypatch, tolerance=0.002, results=tmp_path)
    assert set(asked) == keys
    monkeypatch.undo()
    for path in sorted(tmp_path.rglob("points/*.json"))[::2]:
        path.unlink()
    resumed = study(monkeypatch, tolerance=0.001, results=tmp_path)
    assert {point.key for point in resumed.points if point.key.seed == 0} == {point.key for point in tight.points}


def test_a_trial_is_nothing_to_ask_for_by_number(monkeypatch):
    with pytest.raises(sme.SMEError, match="below"):
        study(monkeypatch, shards=[0, FIRST])


def test_what_cannot_be_decided_asks_for_no_shards(monkeypatch):
    """A row without a value on some paths would ask for all of them."""
    monkeypatch.setattr(trials, "MOST_SHARDS", 8)
    odd = {"root": lambda s: (s["theta"][:, 0] - 0.3).sqrt(), "theta": lambda s: s["theta"][:, 0]}
    found = study(monkeypatch, observables=odd, tolerance=0.5)
    assert found.slopes.set_index("observable").loc["root", "note"].startswith("not a number")
    assert found.errors["paths"].iloc[0] == 2 * 8 * paired.BLOCKS
