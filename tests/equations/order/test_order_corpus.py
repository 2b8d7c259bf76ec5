"""The one-step test over many rules and scales: it accuses no right equation, and sees one per cent in any term."""

import itertools

import pytest
import torch

import sme
from sme.equations.registry import equation
from sme.optimizers.regimes import regime
from tests.support.rules_corpus import BUILT_IN, RULES, problem, wrong

SCALES = (*itertools.product((1e-3, 1.0, 1e3), repeat=2), *itertools.product((3e-2, 30.0), repeat=2))
"""curvature and noise"""
TERMS = ("drift", "correction", "noise")
ORDER = {"drift": 0, "correction": 1, "noise": 1}
WRONG = list(itertools.product(BUILT_IN, TERMS))


def right(name, curvature=1.0, noise=0.4):
    return type(equation(problem(curvature, noise), RULES[name], regime("ballistic"), 2.0**-10, 2, "independent"))


def decided(names, scales):
    found = [sme.check_order(problem(*scale), RULES[name]) for name in names for scale in scales]
    assert all(each.proved == 2 for each in found if each.decided), [each.obstacle for each in found]
    return sum(each.decided for each in found) / len(found)


def test_a_few_right_equations_are_decided_at_small_and_large_scales():
    assert decided(("momentum", "sgd"), ((1e-3, 1e3), (1e3, 1e-3))) == 1


@pytest.mark.slow
def test_what_rounding_hides_at_large_noise_is_seen_where_the_run_leads_and_near_zero():
    found = [sme.check_order(problem(2e-3, 700.0), RULES[name]) for name in ("rmsprop-updated", "bell 1")]
    assert all(each.decided and each.proved == 2 and each.resolution < 0.005 for each in found)
    kind = wrong(right("bell 1", 2e-3, 700.0), "correction", 0.01)
    assert sme.check_order(problem(2e-3, 700.0), RULES["bell 1"], kind=kind).proved == 1


@pytest.mark.slow
def test_right_equations_are_never_accused():
    assert decided(RULES, SCALES) >= 0.95


@pytest.mark.parametrize(("name", "term"), [("momentum", "correction"), ("rmsprop", "noise"), ("sgd", "drift")])
def test_one_per_cent_in_a_term_is_seen(name, term):
    assert sme.check_order(problem(1.0, 0.4), RULES[name], kind=wrong(right(name), term, 0.01)).proved == ORDER[term]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "term"), WRONG)
def test_one_per_cent_in_any_term_is_seen(name, term):
    assert sme.check_order(problem(1.0, 0.4), RULES[name], kind=wrong(right(name), term, 0.01)).proved == ORDER[term]


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN)
def test_errors_of_twice_the_resolution_are_found(name):
    found = sme.check_order(problem(1.0, 0.4), RULES[name])
    assert found.resolution <= 0.005
    for term in TERMS:
        assert sme.check_order(problem(1.0, 0.4), RULES[name], kind=wrong(right(name), term, 2 * found.resolution)).proved < 2


@pytest.mark.parametrize(("prior", "c", "p"), [(0.4, 0.9, 0.8), (0.7, 0.5, 0.3)])
def test_large_noise_costs_the_correction_no_digits(prior, c, p):
    """`p' = B/(1 + τ q B)`, `B = p + τ a − …`: the part of second order by hand, `E q²` three quarters of it."""
    theta, m, sigma, tau = 0.94, 0.41, 1200.0, 2.0**-40
    g, rule, law = theta + 0.4 * theta**3, sme.AdaBayesFilter(c1=c, prior=prior), problem(1.0, sigma)
    seen, fourth = g * g + sigma**2, g**4 + 6 * g * g * sigma**2 + 3 * sigma**4
    a, forgotten = 2 * prior * (0.5 / prior - p), 2 * prior**2 * (0.5 / prior - p)
    slope = (-2 * prior - 2 * p * seen) * (a - p * p * seen) + p * p * 2 * g * (1 + 1.2 * theta**2) * m * p
    expected = -forgotten - 2 * p * a * seen + p**3 * fourth - slope / 2
    x = torch.tensor([[theta, m, p]], dtype=torch.float64)
    one, two = (equation(law, rule, regime("ballistic"), tau, order, "independent").drift(0.0, x)[0, 2] for order in (1, 2))
    assert float(two - one) / tau == pytest.approx(expected, rel=1e-8)
