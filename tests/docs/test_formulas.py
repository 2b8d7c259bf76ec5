"""The page of formulas is what its own lines print."""

import re

from tests.docs import fill_formulas

TEXT = fill_formulas.PAGE.read_text(encoding="utf-8")


def test_the_page_is_current():
    assert fill_formulas.filled(TEXT) == TEXT


def test_six_rules_stand_on_it():
    assert len(re.findall(r"^```math\n\\begin{aligned}\n", TEXT, re.M)) == 6


def test_an_emptied_page_is_filled_and_a_wrong_one_mended():
    emptied = fill_formulas.PLACE.sub(lambda match: match[1], TEXT)
    assert "```math" not in emptied
    assert fill_formulas.filled(emptied) == TEXT
    assert fill_formulas.filled(TEXT.replace(r"- P\circ m", "P")) == TEXT
