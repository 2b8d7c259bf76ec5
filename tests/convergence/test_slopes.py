"""Slope, C₁ and verdict on ladders whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from sme.convergence.fit.fits import Fits
from sme.convergence.fit.slopes import Interval, Verdict, fit_constant, fit_slope, judge_first, judge_second

TAU = 2.0 ** -np.arange(2, 7)
NONE = np.zeros(5)


def constant(errors, noise, level=0.99, scale=1.0, bias=NONE):
    return fit_constant(TAU, errors, noise, bias, level, scale)


def judge(errors, noise, reference, slope=None):
    narrow, wide, noiseless = constant(errors, noise), constant(errors, noise, 0.999), constant(errors, 1e-6 * noise)
    slope = slope or fit_slope(TAU, errors, noise, NONE)
    return judge_second(narrow, wide, narrow, noiseless, constant(reference, noise), slope).word


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_slope_of_a_power_law(p):
    slope = fit_slope(TAU, -0.3 * TAU**p, 1e-6 * TAU**p, NONE)
    assert slope.low < p < slope.high
    assert slope.half_width < 0.1


def test_slope_survives_a_series_with_a_sign_change():
    slope = fit_slope(TAU, 0.3 * TAU**2 * (1 - 6 * TAU), 1e-8 + NONE, NONE)
    assert slope.low < 2 < slope.high


def test_no_slope_from_fewer_than_three_resolved_points():
    assert np.isnan(fit_slope(TAU, TAU**2, 0.1 * TAU[1] ** 2 + NONE, NONE).value)
    assert np.isnan(fit_constant(TAU[:2], TAU[:2], NONE[:2] + 1, NONE[:2]).value)


def test_bias_widens_the_constant():
    errors = 0.3 * TAU**2
    alone, biased = (fit_constant(TAU, errors, 1e-6 + NONE, bias) for bias in (NONE, 1e-3 * TAU))
    assert biased.half_width > 2 * alone.half_width


def test_a_point_that_says_nothing_changes_no_slope():
    """An error of 0.05 τ, three points known to 0.1 %, and one at τ = 1/4 to nothing."""
    tau = TAU[:4]
    for sd in (1.0, 100.0, 1000.0):
        noise = np.array([sd, *(5e-5 * tau[1:])])
        slope = fit_slope(tau, 0.05 * tau + np.array([sd / 2, 0, 0, 0]), noise, 0 * tau)
        assert slope.low < 1 < slope.high
        assert slope.half_width < 0.35


def test_order_two_verdicts():
    fine = 1e-4 * TAU**2
    assert judge(0.3 * TAU**2 * (1 + TAU), fine, 0.5 * TAU) == "consistent"
    assert judge(0.3 * TAU**2 + 0.05 * TAU, fine, 0.5 * TAU) == "inconsistent"
    assert judge(0.3 * TAU**2, 0.05 * TAU, 0.5 * TAU) == "undecided"
    assert judge(0.3 * TAU**2, fine, fine) == "undecided"  # order 1 itself is not seen


def test_order_one_verdicts():
    for errors, noise, word in [(0.5 * TAU * (1 + TAU), 1e-4 * TAU, "consistent"), (0.5 * TAU**0.5, 1e-4 * TAU, "inconsistent"),
                                (0.5 * TAU**1.5, 1e-4 * TAU, "undecided"),
                                (0.5 * TAU**2, 1e-5 * TAU**2, "undecided"), (NONE, 1e-3 + NONE, "undecided")]:
        verdict = judge_first(fit_slope(TAU, errors, noise, NONE), constant(errors, noise), constant(errors, 1e-6 * noise))
        assert verdict.word == word


def test_the_prior_does_not_decide_a_clear_case():
    errors, noise = 0.3 * TAU**2 * (1 + TAU), 1e-3 * TAU**2
    words = []
    for scale in (0.5, 1.0, 2.0):
        narrow, wide = (constant(errors, noise, level, scale) for level in (0.99, 0.999))
        words.append(judge_second(narrow, wide, narrow, narrow, Interval(0.5, 0.45, 0.55), Interval()).word)
    assert words == ["consistent"] * 3


def test_undecided_says_what_would_help():
    order1 = Interval(0.2, 0.19, 0.21)

    def note(noise, bias, ladder=slice(None)):
        tau, errors, noise, bias = (x[ladder] for x in (TAU, 0.3 * TAU**2, noise + NONE, bias + NONE))
        fits = [fit_constant(tau, errors, n, b) for n, b in ((noise, bias), (noise, 0 * bias), (1e-6 * noise, 0 * bias))]
        return judge_second(fits[0], fits[0], *fits[1:], order1, Interval()).note

    assert note(1e-7, 0.03 * TAU) == "integrator bias"
    assert note(0.03 * TAU, 0 * TAU) == "noise floor"
    assert note(1e-7, 0 * TAU, slice(0, 3)) == "too few step sizes"


def test_a_leading_term_that_nearly_cancels_is_no_evidence_against_order_two():
    """As AdamW's mean v: the τ² term is a hundredth of what the τ³ term makes of it at the coarsest τ."""
    errors, noise = -0.004 * TAU**2 + 0.14 * TAU**3, 1e-4 * TAU**2
    assert 0 in constant(errors, noise)
    steep = Interval(2.7, 2.6, 2.8)
    wide = Interval(1e-3, 9e-4, 1.1e-3)  # as if the prior did not hold
    verdict = judge_second(wide, wide, wide, wide, Interval(0.2, 0.19, 0.21), steep)
    assert (verdict.word, verdict.note) == ("undecided", "steeper than order 2")
    shifted = errors + 0.05 * TAU
    slope = fit_slope(TAU, shifted, noise, NONE)
    wide = constant(shifted, noise, 0.999)
    assert judge_second(wide, wide, wide, wide, Interval(0.2, 0.19, 0.21), slope).word == "inconsistent"


SERIES = json.loads((Path(__file__).parent / "series.json").read_text())
"""`errors` (mean, stderr) of the default job's rows, from `python tests/support/make_series.py`"""


def ladder(row, p, mixed):
    """Noise-free errors of order p from the measured series, and order 1's."""
    reference = sum(c * TAU ** (1 + k) for k, c in enumerate(row["order1"]))
    second = sum(c * TAU ** (2 + k) for k, c in enumerate(row["order2"]))
    return (reference if p == 1 else second + mixed * row["order1"][0] * TAU), reference


@pytest.mark.parametrize("efforts", [(1.0,), pytest.param((0.25, 1.0, 16.0), marks=pytest.mark.slow)])
def test_intervals_cover_and_no_wrong_order_passes(efforts):
    """On the default jobs' own series, at a quarter, once and 16 times the paths."""
    rng, slope_hits = np.random.default_rng(17), []
    for effort in efforts:
        for p, mixed in [(1, 0.0), (2, 0.0), (2, 0.02), (2, 0.1), (2, 0.4)]:
            cell, constant_hits, passed = [], [], []
            for row in (row for job in SERIES.values() for row in job):
                errors, reference = ladder(row, p, mixed)
                noise = np.array(row["stderr"][str(p)]) / effort**0.5
                for _ in range(3):
                    seen = errors + noise * rng.standard_normal(5)
                    constant_hits.append((row["order1"][0] if p == 1 else mixed * row["order1"][0]) in constant(seen, noise))
                    # without a slope, which takes long and keeps no verdict from being `consistent`
                    passed.append(mixed >= 0.1 and judge(seen, noise, reference, Interval()) == "consistent")
                    if mixed == 0:
                        cell.append(p in fit_slope(TAU, seen, noise, NONE))
            assert np.mean(constant_hits) >= 0.92, (effort, p, mixed)
            assert np.mean(passed) < 0.01, (effort, p, mixed)
            assert not cell or np.mean(cell) >= 0.80, (effort, p)
            slope_hits += cell
    assert np.mean(slope_hits) >= 0.95


def test_order_1_is_not_contradicted_by_a_steeper_slope():
    """Where C₁ nearly cancels, τ² leads over the ladder."""
    constant = Interval(-0.0045, -0.0049, -0.0040)
    assert judge_first(Interval(1.33, 1.29, 1.38), constant, constant) == Verdict("undecided", "steeper than order 1")
    assert judge_first(Interval(0.6, 0.5, 0.7), constant, constant).word == "inconsistent"


def test_a_bent_slope_is_not_order_1_where_the_limit_may_be_a_share_of_the_errors():
    """Three errors `C₀ + C₂ τ²`: local slopes around 1, and none of them is."""
    tau = np.array([1 / 4, 1 / 8, 1 / 16])
    verdict = Fits(tau, 0.0015 + 0.3 * tau**2, np.full(3, 1e-5), np.zeros(3)).judge(1, Interval(1.0, 0.99, 1.01))
    assert verdict == Verdict("undecided", "too few step sizes")
    right = Fits(tau, 0.3 * tau + 0.05 * tau**2, np.full(3, 1e-5), np.zeros(3))
    assert right.judge(1, Interval(1.0, 0.99, 1.01)).word == "consistent"


def test_an_interval_of_95_percent_that_misses_the_order_is_noted():
    constant, yardstick = Interval(0.31, 0.3, 0.32), Interval(3.0, 2.9, 3.1)
    barely = Verdict("consistent", "its slope reaches the order at 99.9 % only")
    sure = Interval(0.93, 0.84, 1.02)
    assert judge_first(Interval(0.93, 0.88, 0.98), constant, constant, sure=sure) == barely
    assert judge_first(Interval(0.93, 0.88, 1.01), constant, constant, sure=sure) == Verdict("consistent")
    zero, sure = Interval(0.001, -0.02, 0.02), Interval(1.9, 1.7, 2.1)
    assert judge_second(zero, zero, zero, zero, yardstick, Interval(1.9, 1.84, 1.97), sure=sure) == barely
    assert judge_second(zero, zero, zero, zero, yardstick, Interval(1.9, 1.84, 2.01), sure=sure) == Verdict("consistent")
