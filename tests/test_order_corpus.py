"""The one-step test over many rules and scales: it accuses no right equation, and sees one per cent in any term."""

import itertools

import pytest

import sme
from sme.equations.registry import equation
from sme.regimes import regime
from tests.rules_corpus import BUILT_IN, RULES, problem, wrong

SCALES = ((1e-3, 1.0), (1e3, 1.0), (1.0, 1e-3), (1.0, 1e3), (1.0, 1.0))
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
