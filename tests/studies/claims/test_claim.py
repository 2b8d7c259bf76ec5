"""Numbers, intervals and verdicts: each decision on data that flip it."""

import math

import numpy as np
import pytest

from sme.studies.claims import code
from sme.studies.claims.claim import FAILS, HOLDS, PART, UNDECIDED, WHERE, Claim, Found, Number, short, verdict
from sme.studies.claims.code import identity
from sme.studies.claims.given import command, defaults
from sme.studies.claims.registry import BY_NAME, CLAIMS


def number(low, high, **given):
    return Number("here", (low + high) / 2, low, high, **given)


@pytest.mark.parametrize(("low", "high", "said"), [
    (1.1, 1.9, HOLDS), (1.0, 2.0, HOLDS), (0.9, 1.5, UNDECIDED), (1.5, 2.1, UNDECIDED), (0.5, 2.5, UNDECIDED), (0.2, 0.9, FAILS),
    (2.1, 3.0, FAILS), (math.nan, math.nan, UNDECIDED), (-math.inf, 1.5, UNDECIDED), (-math.inf, 0.5, FAILS)])
def test_a_number_is_judged_by_its_whole_interval(low, high, said):
    assert number(low, high, least=1.0, most=2.0).verdict == said


def test_a_claim_is_judged_by_all_its_numbers_but_those_beside_it():
    yes, no, open_ = number(0, 1, most=2), number(3, 4, most=2), number(1, 3, most=2, runs=10)
    assert verdict([yes, yes]) == HOLDS
    assert verdict([no, no]) == FAILS
    said = verdict([Number("a", 0, 0, 1, most=2), Number("b", 3, 3, 4, most=2), open_])
    assert said == "holds where: a; not where: b; undecided: here (no longer run of this kind decides)"
    assert verdict([Number("a", 0, 0, 1, most=2), open_]) == (
        "undecided: here (no longer run of this kind decides); holds where: a"), "one that holds is not hidden"
    assert verdict([Number("b", 3, 3, 4, most=2), open_]).endswith("; not where: b")
    assert short(verdict([yes, open_])) == short(verdict([no, open_])) == UNDECIDED
    assert verdict([yes, Number("b", 3, 3, 4, most=2, beside=True)]) == HOLDS
    assert "beside the claim" in Number("b", 3, 2.5, 4, most=2, beside=True).said


@pytest.mark.parametrize(("kinds", "said"), [
    ("yy", HOLDS), ("nn", FAILS), ("yn", f"{PART}: first: {HOLDS}; second: {FAILS}"),
    ("wn", f"{PART}: first: {WHERE}: b; not where: a; second: {FAILS}"),
    ("yo", f"{UNDECIDED}: first: {HOLDS}; second: {UNDECIDED}: b (no longer run of this kind decides)"), ("no", UNDECIDED),
    ("wo", PART)])
def test_parts_of_a_sentence_are_judged_one_by_one(kinds, said):
    cases = {"y": {"b": 1}, "n": {"b": 3}, "w": {"a": 3, "b": 1}, "o": {"b": 2}}
    found = verdict([Number(where, value, value - 0.5, value + 0.5, most=2, part=part)
                     for part, kind in zip(("first", "second"), kinds, strict=True) for where, value in cases[kind].items()])
    assert found == said or short(found) == said


def test_what_has_no_chance_in_it_has_no_interval():
    assert Number.exact("x", 1.5, most=2.0).said == "x: 1.5, deterministic, claimed ≤ 2"
    assert [Number.exact("x", 1.5, most=most).verdict for most in (1.5, 1.4)] == [HOLDS, FAILS]
    assert "[1, 2]" in Number("x", 1.5, 1.0, 2.0, most=2.0).said, "a bracket of the measurement is told"


def test_an_undecided_claim_says_how_many_runs_decide():
    open_ = Number("x", 1.9, 1.6, 2.2, most=2.0, runs=20)
    assert open_.needed == 180  # the half-width 0.3 must shrink to the gap 0.1: nine times as many
    assert "180 in place of 20 would" in verdict([open_])
    assert Number("x", 1.99, 1.6, 2.4, most=2.0, runs=20).needed == 33620
    assert verdict([Number("x", 1.99, 1.6, 2.4, most=2.0, runs=20)]) == (
        "undecided: x (more than 100 times as many would be needed)")
    assert Number("x", 1.9, 1.6, 2.2, most=2.0).needed is None
    assert Number("x", 2.0, 1.6, 2.4, most=2.0, runs=20).needed is None


def test_the_number_of_runs_that_is_said_does_decide():
    generator = np.random.default_rng(0)
    few = Number.mean("x", generator.normal(0.3, 1, 16), "runs", least=0.0)
    assert few.verdict == UNDECIDED
    many = generator.normal(few.value, 1.3, 2 * (few.needed or 0))
    assert Number.mean("x", many, "runs", least=0.0).verdict == HOLDS


@pytest.mark.parametrize("values", [[1.0, math.nan], [1.0, math.inf], [-math.inf, 1.0]])
def test_a_number_that_is_not_finite_fails_only_where_a_run_diverged(values):
    assert Number.mean("x", values, "runs", most=2.0, diverged=1).verdict == FAILS
    assert Number.mean("x", values, "runs", most=2.0).verdict == UNDECIDED
    assert Number.normal("x", values[0] + values[1], 1.0, 2, most=2.0).verdict == FAILS
    assert Number.exact("x", math.nan, most=2.0).verdict == Number("x", math.nan, 0, 1, most=2.0).verdict == UNDECIDED
    assert verdict([Number.exact("x", math.nan, most=2.0)]) == "undecided: x (there is no number)"
    assert Number.exact("x", math.inf, most=2.0).verdict == FAILS, "beyond all that is claimed"


def test_a_mean_has_the_interval_of_students_t():
    found = Number.mean("x", [1.0, 2.0, 3.0, 6.0], "runs")
    assert (found.value, found.runs) == (3.0, 4)
    assert found.high - found.value == pytest.approx(3.182446 * 2.160247 / 2, rel=1e-5)
    logs = Number.mean("x", np.log([1.0, 4.0]), "runs", geometric=True)
    assert logs.value == pytest.approx(2.0)
    assert logs.low * logs.high == pytest.approx(4.0)


def test_every_claim_was_written_down_whole():
    assert len(BY_NAME) == len(CLAIMS) >= 25
    for claim in CLAIMS:
        for said in (claim.paper, claim.place, claim.sentence, claim.setting, claim.size, claim.refuted, claim.measure.__doc__):
            assert len(said or "") >= 8, claim.name
        assert command(claim, defaults(claim)) == f"python scripts/claims.py 'only=[{claim.name}]'"
        assert all(len({*defaults(claim, small)[name]}) > 1 for name in claim.fitted for small in (False, True))
        for word in ("above,", "as above", "the same"):
            assert word not in claim.setting, "a setting is whole in itself"


LIMIT = 3


def helper():
    return LIMIT


def measure(runs: int = 2) -> Found:
    """Words."""
    return Found([number(0, helper() * runs)], [])


CLAIM = Claim("planted", "a paper", "a place", "a sentence", "a setting", "a size", "a refutation", measure)


def test_the_code_of_a_claim_is_its_own_and_that_of_its_helpers(monkeypatch):
    monkeypatch.setattr("sme.studies.claims.code.HOME", "tests.studies.claims")
    before = identity(measure)
    assert identity(measure) == before
    monkeypatch.setattr("tests.studies.claims.test_claim.LIMIT", 4)
    assert identity(measure) != before
    monkeypatch.setattr("tests.studies.claims.test_claim.LIMIT", 3)
    monkeypatch.setattr("tests.studies.claims.test_claim.helper", test_every_claim_was_written_down_whole)
    assert identity(measure) != before


def test_the_code_of_every_claim_is_the_same_in_another_process():
    for claim in CLAIMS:
        seen = {}
        code._tell(claim.measure, seen)
        assert seen
        assert not [name for name, said in seen.items() if code.ADDRESS in said]
    assert "Loss" in seen_of("pl_rate")["sme.studies.claims.tested.rates.POLYAK"]


def seen_of(name):
    seen = {}
    code._tell(BY_NAME[name].measure, seen)
    return seen


def test_no_numbers_decide_nothing_and_neither_does_one_run():
    assert short(verdict([])) == UNDECIDED
    assert Number("one run", 1.2, math.nan, math.nan, least=1.0).verdict == UNDECIDED
