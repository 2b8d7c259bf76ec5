"""Random numbers that are a function of their place."""

import pytest
import torch

from sme.common.random import counter
from sme.common.random.counter import box_muller, generator, key, normals, threefry, words
from sme.common.random.increments import Draws, Increments

CPU = torch.device("cpu")


@pytest.mark.parametrize(("given", "counters", "expected"), [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
])
def test_the_known_answers_of_threefry(given, counters, expected):
    """The test vectors that its authors publish for 20 rounds."""
    one, other = (torch.tensor(word, dtype=torch.int64).to(torch.int32) for word in counters)
    assert tuple(int(word) & 0xFFFFFFFF for word in threefry(given, one, other)) == expected


@pytest.mark.skipif(generator() is None, reason="no compiler")
def test_compiled_normals_are_the_same_to_rounding():
    made = normals(key(1, 2, 3), 2**31 - 5, 10, 100, 5000, CPU)
    torch.testing.assert_close(made, box_muller(*words(key(1, 2, 3), 2**31 - 5, 10, 100, 5000, CPU)).double(), rtol=0, atol=3e-6)


def test_normals_have_the_moments_of_normals():
    z = normals(key(5), 0, 500, 0, 4000, CPU).flatten()
    n = len(z)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs(float((z**power).mean()) - moment) < 5 * (spread / n) ** 0.5
    rows = z.reshape(1000, -1)
    correlations = torch.corrcoef(rows) - torch.eye(1000, dtype=torch.float64)
    assert float(correlations.abs().max()) < 6 / 4000**0.5


def test_numbers_depend_on_neither_chunks_nor_order():
    whole = Increments((0, 4, 0, 0), 1000, 4, 0.25, CPU)
    parts = [Increments((0, 4, 0, 0), 300, 4, 0.25, CPU, offset) for offset in (0, 300, 600)]
    for k in (7, 2):
        expected = whole.first(k, 3)[:, :900]
        torch.testing.assert_close(torch.cat([part.first(k, 3)[:, :300] for part in parts], 1), expected, rtol=0, atol=0)
    draws = [part.draws(3).integers(7, 600, 5)[:300] for part in parts]
    assert torch.equal(torch.cat(draws), whole.draws(3).integers(7, 2000, 5)[:900])


def test_without_a_compiler_the_numbers_are_made_by_torch(monkeypatch):
    compiled = normals(key(0), 3, 4, 0, 200, CPU)
    monkeypatch.setattr(counter, "generator", lambda: None)
    torch.testing.assert_close(normals(key(0), 3, 4, 0, 200, CPU), compiled, rtol=0, atol=3e-6)


def test_integers_are_uniform():
    z = Draws((1,), 0, 50_000, CPU).integers(3, 100_000, 2)
    counts = torch.bincount(3 * z[:, 0] + z[:, 1], minlength=9)
    assert ((counts - 1e5 / 9) ** 2 / (1e5 / 9)).sum() < 50  # 8 degrees of freedom: 1e-7


def test_draws_of_one_step_are_independent():
    draws = Draws((2,), 0, 20_000, CPU)
    one, other = draws.normal(40_000), draws.normal(40_000)
    assert abs(float(torch.corrcoef(torch.stack((one, other)))[0, 1])) < 5 / 40_000**0.5
