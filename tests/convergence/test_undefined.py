"""An observable that has no value on some paths: it is counted, for itself alone, and the others keep their numbers."""

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

import sme
from sme.convergence.estimator import paired
from sme.convergence.estimator.block import Block
from sme.convergence.estimator.estimates import estimates
from sme.convergence.estimator.paired import BLOCKS
from sme.convergence.store.points import Point

NOISE, BEGIN, TAUS = 0.7, 0.9, (1 / 2, 1 / 4, 1 / 8)
GOOD = {"square": lambda s: s["theta"][:, 0] ** 2, "mean": lambda s: s["theta"][:, 0]}
ROOT = {"root": lambda s: s["theta"][:, 0].sqrt()}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(paired, "BLOCK_PAIRS", 1024)


def study(observables, **changes):
    parts = {"tau": TAUS, "order": 1, "paths": 1, **changes}
    return sme.weak_error(sme.Polynomial([0, 0, 0.5], noise=NOISE), sme.SGD(), observables=observables,
                          start={"theta": torch.tensor([BEGIN], dtype=torch.float64)}, **parts)


def of(found, *names):
    return found.errors[found.errors["observable"].isin(names)].reset_index(drop=True)


@pytest.mark.slow
def test_the_others_have_the_numbers_that_they_have_alone():
    alone, beside = study(GOOD), study({**ROOT, **GOOD})
    columns = ["error", "stderr", "integrator_bias", "diverged"]
    np.testing.assert_allclose(of(beside, *GOOD)[columns], of(alone, *GOOD)[columns], rtol=1e-9, atol=1e-15)
    assert (beside.errors["diverged"] == 0).all()
    left = beside.slopes[beside.slopes["observable"] != "root"].drop(columns="note").reset_index(drop=True)
    assert (left["verdict"] == alone.slopes["verdict"]).all()


def test_it_is_counted_and_nothing_is_decided_of_it():
    """The pair of paths has means ±: with θ_n normal, one of them is negative with probability 2Φ(−m/s)."""
    found = study({**GOOD, **ROOT})
    row = found.slopes.set_index("observable").loc["root"]
    assert row["verdict"] == "undecided"
    share = float(row["note"].removeprefix("not a number on ").split(" %")[0]) / 100
    tau, n = TAUS[0], round(1 / TAUS[0])
    mean, variance = BEGIN * (1 - tau) ** n, tau**2 * NOISE**2 * sum((1 - tau) ** (2 * k) for k in range(n))
    chain = 2 * stats.norm.cdf(-mean / math.sqrt(variance))
    drift = BEGIN * math.exp(-1), math.sqrt(tau * NOISE**2 * (1 - math.exp(-2)) / 2)
    equation = 2 * stats.norm.cdf(-drift[0] / drift[1])
    assert max(chain, equation) - 0.02 < share < chain + equation


def test_its_error_is_the_difference_where_both_are_numbers():
    found = study(ROOT, tau=1 / 2)
    seen = found.errors.iloc[0]
    assert np.isfinite(seen["error"])
    assert seen["stderr"] > 0
    gaps = [block.gaps[0] for point in found.points for block in point.blocks]
    whole = sum(gap.moments.count for gap in gaps)
    assert seen["error"] == pytest.approx(sum(gap.moments.count * gap.moments.mean[0] for gap in gaps) / whole, rel=1e-12)
    assert 2 * whole + sum(gap.none for gap in gaps) == seen["paths"]


def test_one_that_is_defined_nowhere_has_no_number_and_spoils_nothing():
    nowhere = {"nowhere": lambda s: torch.log(-(s["theta"][:, 0] ** 2))}
    beside, alone = study({**GOOD, **nowhere}, order=2), study(GOOD, order=2)
    np.testing.assert_allclose(of(beside, *GOOD)["error"], of(alone, *GOOD)["error"], rtol=1e-9)
    assert of(beside, "nowhere")["error"].isna().all()
    assert "not a number on 100 % of the paths" in beside.slopes.set_index("observable").loc["nowhere", "note"]


def test_an_infinite_value_is_not_called_a_diverged_path_or_nan():
    pole = {"pole": lambda s: 1 / s["theta"][:, 0].clamp(min=0)}
    found = study({**GOOD, **pole})
    assert "infinite or beyond 1e50 on" in found.slopes.set_index("observable").loc["pole", "note"]
    assert "diverged" not in " ".join(found.slopes["note"])


def values(seed, hole):
    """Two kinds of two rows, and a control variate of each row."""
    drawn = np.random.default_rng(seed).standard_normal((50, 6))
    if hole:
        drawn[::7, 1] = math.nan
        drawn[3, 3] = math.inf
    return drawn


def test_blocks_with_and_without_a_gap_merge_to_the_block_of_all():
    parts = [values(seed, hole) for seed, hole in ((0, False), (1, True), (2, False))]
    sound = np.arange(50) != 11
    one, two, three = (Block.of(part, sound, 2, 2) for part in parts)
    whole = Block.of(np.concatenate(parts), np.tile(sound, 3), 2, 2)
    for merged in (one.merge(two).merge(three), three.merge(two.merge(one))):
        assert (merged.diverged, merged.paths) == (6, 300) == (whole.diverged, whole.paths)
        gap, wanted = merged.gaps[1], whole.gaps[1]
        assert (gap.none, gap.beyond) == (wanted.none, wanted.beyond) == (16, 2)
        assert gap.columns == wanted.columns == (1, 3)
        np.testing.assert_allclose(gap.moments.mean, wanted.moments.mean, rtol=1e-12)
        np.testing.assert_allclose(gap.moments.comoment, wanted.moments.comoment, rtol=1e-12)
        np.testing.assert_allclose(merged.moments.mean[[0, 2, 4]], whole.moments.mean[[0, 2, 4]], rtol=1e-12)
    found = estimates([[one], [two], [three], [one]], 2, 2)
    clean = [[Block.of(np.delete(part, (1, 3, 5), 1), sound, 2, 1)] for part in (*parts, parts[0])]
    alone = estimates(clean, 2, 1)
    np.testing.assert_allclose((found.mean[:, 0], found.stderr[:, 0]), (alone.mean[:, 0], alone.stderr[:, 0]), rtol=1e-12)
    assert found.undefined[0] == ""
    assert found.undefined[1].startswith("not a number on 4 % of the paths, infinite")


def test_points_keep_gaps_and_have_none_where_there_are_none(tmp_path):
    found = study({**GOOD, **ROOT}, tau=1 / 2, results=tmp_path)
    again = sme.load(found.folder)
    assert again.errors.equals(found.errors)
    assert again.slopes.equals(found.slopes)
    assert set(again.points[0].blocks[0].gaps) == {2}
    plain = study(GOOD, tau=1 / 2, results=tmp_path)
    path = next((plain.folder / "points").glob("*.json"))
    assert all("gaps" not in block for block in json.loads(path.read_text())["blocks"])
    assert len(Point.load(path, plain.name).blocks) == BLOCKS


@pytest.mark.slow
def test_a_comparison_leaves_it_out_for_itself_alone():
    alone, beside = (study(each, order=(1, 2), tau=1 / 2).compare(paths=1) for each in (GOOD, {**GOOD, **ROOT}))
    mine = beside.table[beside.table["observable"] != "root"]
    np.testing.assert_allclose(mine["difference"], alone.table["difference"], rtol=1e-9)
    assert beside.table["z"].isna()[2]
    np.testing.assert_allclose(mine["z"], alone.table["z"], rtol=1e-6)
    assert "root at tau = 0.5 is not a number on" in str(beside)
    assert "has no value" not in str(alone)
