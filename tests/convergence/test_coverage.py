"""Intervals cover as often as they say, on series drawn from the prior of docs/theory/measurement.md, and from wider ones."""

import numpy as np
import pytest

from sme.convergence.fit.dropped_terms import TERMS, Prior
from sme.convergence.fit.fits import Fits
from sme.convergence.fit.slopes import CAUTIOUS, PRIOR, Interval, fit_constant, fit_constants, fit_slope
from tests.support.few import few

LADDERS = {"five": 2.0 ** -np.arange(2, 7), "three": 2.0 ** -np.arange(2, 5), "narrow": 1 / np.array([8.0, 10, 12]),
           "six": 1 / np.array([8.0, 9, 10, 11, 12, 14]), "seven": np.geomspace(1 / 4, 1 / 64, 7)}


def drawn(rng: np.random.Generator, prior: Prior | None) -> tuple[float, float]:
    """`κ` and `ρ`; of no prior 1 and 1: each term left out as large as the leading one at the coarsest τ."""
    if prior is None:
        return 1.0, 1.0
    i = rng.choice(len(prior.weight), p=prior.weight)
    return prior.size[i], prior.ratio[i]


def series(rng: np.random.Generator, tau: np.ndarray, p: float, size: float, ratio: float, share: float,
           step: float = 1.0) -> tuple:
    """Errors of order `p` with noise, and its standard deviation, a share of the leading term at the finest τ."""
    sign, u = rng.choice([-1.0, 1.0]), tau / tau.max()
    terms = size * ratio**TERMS * rng.standard_normal(len(TERMS))
    exact = sign * tau**p * (1 + (terms * u[:, None] ** (step * TERMS)).sum(1))
    noise = np.full(len(tau), share * tau.min() ** p)
    return exact + noise * rng.standard_normal(len(tau)), noise, sign


def covered(draws: int, prior: Prior | None, constants: bool) -> dict[tuple[str, float, int], float]:
    """By ladder, noise and order, how often the interval held the truth."""
    shares, rng = {}, np.random.default_rng(4)
    for name, tau in LADDERS.items():
        for share in (1e-3, 1e-1):
            for p in (1, 2):
                hits = []
                for _ in range(draws):
                    errors, noise, sign = series(rng, tau, p, *drawn(rng, prior), share)
                    if constants:
                        hits.append((sign if p == 1 else 0.0) in fit_constant(tau, errors, noise, 0 * noise))
                    elif (found := fit_slope(tau, errors, noise, 0 * noise)).known:
                        hits.append(p in found)
                shares[name, share, p] = float(np.mean(hits))
    return shares


def least(hits: float, draws: int) -> float:
    """The share below which a coverage of `hits` is refuted at three standard errors."""
    return hits - 3 * np.sqrt(hits * (1 - hits) / draws)


@pytest.mark.parametrize("stated", few([True, False], 1), ids=["stated", "as large as the leading one"])
@pytest.mark.parametrize(("constants", "each", "mean", "draws"), [
    (True, 0.975, 0.98, 30), pytest.param(True, 0.975, 0.98, 1000, marks=pytest.mark.slow),
    (False, 0.92, 0.94, 6), pytest.param(False, 0.92, 0.94, 300, marks=pytest.mark.slow)])
def test_intervals_cover(constants, each, mean, draws, stated):
    """Those of the constant at 99 %, and of the slope at 95 %."""
    found = covered(draws, (CAUTIOUS if constants else PRIOR) if stated else None, constants=constants)
    assert min(found.values()) >= least(each, draws), found
    assert np.mean(list(found.values())) >= least(mean, draws * len(found)), found


@pytest.mark.parametrize("draws", [25, pytest.param(400, marks=pytest.mark.slow)])
def test_intervals_of_a_series_in_halves_cover_where_whole_powers_do_not(draws):
    """Of slope and constant, at 95 % and 99 %."""
    tau, rng, hits = 2.0 ** -np.arange(6, 10), np.random.default_rng(6), []
    for _ in range(draws):
        errors, noise, sign = series(rng, tau, 1, *drawn(rng, PRIOR), 1e-4, step=0.5)
        slopes = [fit_slope(tau, errors, noise, 0 * noise, step=step) for step in (0.5, 1.0)]
        hits.append([*(1 in each for each in slopes), sign in fit_constant(tau, errors, noise, 0 * noise, step=0.5)])
    halves, whole, constant = np.mean(hits, axis=0)
    assert halves >= least(0.94, draws)
    assert constant >= least(0.98, draws)
    assert whole < 0.8


@pytest.mark.parametrize("draws", [40, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ladder", few(["three", "narrow", "five"], "narrow"))
def test_right_equations_are_not_refuted_and_wrong_ones_do_not_pass(draws, ladder):
    """Order 2 with C₂ of any size beside the yardstick's, and with a C₁ of 0.3 of it."""
    tau, rng = LADDERS[ladder], np.random.default_rng(8)
    words = {0.0: [], 0.3: []}
    for _ in range(draws):
        errors, noise, _ = series(rng, tau, 2, 1.0, 1.0, 1e-3)
        size = np.exp(rng.uniform(np.log(0.3), np.log(3)))
        for share, said in words.items():
            fits = Fits(tau, size * errors + share * tau, size * noise, 0 * noise)
            said.append(fits.judge(2, Interval(1, 0.99, 1.01)).word)
    assert np.mean([word == "inconsistent" for word in words[0.0]]) <= 0.005 + 3 * np.sqrt(0.005 / draws)
    assert np.mean([word == "consistent" for word in words[0.3]]) <= 0.01
    assert "consistent" in words[0.0]


def test_small_corrections_seen_make_small_ones_expected():
    """Three step sizes, local slopes 1.04 and 1.02, then 0.75 and 0.87: the estimate lies where they tend to."""
    tau = LADDERS["three"]
    for correction, width, word in ((-0.06, 0.3, "consistent"), (0.8, 0.6, "undecided")):  # a limit may bend the second
        errors = -0.4 * tau * (1 - correction * tau / tau.max() / 2)
        noise = 1e-5 * np.abs(errors)
        slope = fit_slope(tau, errors, noise, 0 * noise)
        assert abs(slope.value - 1) < 0.15
        assert slope.half_width < width
        assert Fits(tau, errors, noise, 0 * noise).judge(1, Interval()).word == word


def test_an_error_that_changes_sign_at_the_finest_step_size_is_not_refuted():
    """The error nearly vanishes there, the terms left out do not."""
    tau = LADDERS["five"]
    errors = 0.2 * tau**2 * (1 - tau / 0.0155) * (1 + 0.3 * tau)
    noise = 1e-6 * tau**2
    sure = fit_constants(tau, errors, noise, 0 * noise)[1]
    assert 0 in sure
    assert Fits(tau, errors, noise, 0 * noise).judge(2, Interval(0.3, 0.29, 0.31)).word != "inconsistent"


@pytest.mark.parametrize(("order", "limit"), [(1, 6e-4), (1, -6e-4), (2, 2e-4)])
def test_a_limit_that_is_not_0_is_refuted(order, limit):
    tau = LADDERS["five"]
    errors = limit * (1 + 0.2 * tau) - 0.08 * tau**order * (1 + 0.4 * tau)
    noise = 1e-6 + 0 * tau
    verdict = Fits(tau, errors, noise, 0 * noise).judge(order, Interval(0.1, 0.09, 0.11))
    assert verdict.word == "inconsistent"
    assert verdict.note.startswith("the error does not tend to 0")


def test_a_fractional_order_is_not_called_a_limit():
    tau = LADDERS["five"]
    errors, noise = 0.1 * tau**0.5 * (1 + tau), 1e-7 + 0 * tau
    assert Fits(tau, errors, noise, 0 * noise).judge(1, Interval()).note.endswith("or has a fractional order")
    assert 0 in Fits(tau, errors, noise, 0 * noise, halves=True).limits[1]


def test_a_slope_that_is_not_resolved_is_said_to_be_so():
    tau = LADDERS["five"]
    errors, noise = 1e-3 * tau**2, 3e-4 * tau
    verdict = Fits(tau, errors, noise, 0 * noise).judge(2, Interval(0.2, 0.19, 0.21))
    assert verdict.word == "consistent"
    assert verdict.note.startswith("C₁ = 0 within")
    assert verdict.note.endswith("slope not resolved")
