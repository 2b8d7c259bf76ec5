"""Formulas of rules that a user writes, in one dimension, are the numbers of the derived equations: noise depends on θ."""

import pytest

from tests.support import formulas, models, paper_rules
from tests.support.few import few

REGIMES = ("ballistic", "batch_equivalent")
CASES = [(name, place, "independent") for place in REGIMES for name in ("tanh-lion", "nadam", "adabelief")] + [
    ("adabelief", "ballistic", "step_memory"), ("adabelief", "batch_equivalent", "step_memory"),
    ("nadam", "batch_equivalent", "step_memory")]


@pytest.mark.parametrize(("name", "place", "brownian"), few(CASES, 0, 5, 7))
def test_rules_of_papers_have_the_derived_numbers(name, place, brownian):
    optimizer = paper_rules.of(place)[name]
    refused = (name, place, brownian) == ("nadam", "batch_equivalent", "independent")  # with noise that depends on θ
    formulas.compare_line(optimizer, place, brownian, models.line(not refused))
