"""The study: what is kept, what is run again, what is refused, what is written."""

import json

import pandas as pd
import pytest

from sme.common.errors import SMEError
from sme.studies.claims import given, run
from sme.studies.claims.claim import Claim, Found, Number, Panel, curve
from sme.studies.claims.run import claims

calls = []


def measure(size: float = 1.0, shape: tuple[int, ...] = (1, 2)) -> Found:
    """A number that is its size."""
    calls.append((size, shape))
    return Found([Number("here", size, size - 0.1, size + 0.1, most=2.0, basis="planted", runs=4)],
                 [Panel("panel", "x", "y", {"one": curve([1, 2], [size, 2 * size], [0.5, 1], [2, 4])}, "y", {"two": 2.0}),
                  Panel("other", "x", "y", {"one": curve([1, 2], [3, 4])}, points=True)])


PLANTED = (Claim("low", "A, arXiv 1", "table 1", "It is small | always.", "a run", "as large", "a number above 2", measure,
                 {"size": 0.5}),
           Claim("high", "B, arXiv 2", "table 2", "It is large.", "a run", "as large", "a number above 2", measure))


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    calls.clear()
    for place in ("run", "given", "report", "registry"):
        monkeypatch.setattr(f"sme.studies.claims.{place}.BY_NAME", {each.name: each for each in PLANTED})
    for place in (run, given):
        monkeypatch.setattr(place, "CLAIMS", PLANTED)


def test_what_is_on_disk_is_not_run_again_and_stays_in_the_tables(tmp_path):
    first = claims(["low"], results=tmp_path)
    assert calls == [(1.0, [1, 2])]
    both = claims(results=tmp_path)
    assert calls[1:] == [(1.0, [1, 2])]
    assert list(both.table["claim"]) == ["low", "high"]
    again = claims(["low"], results=tmp_path)
    assert len(calls) == 2
    assert list(again.table["claim"]) == ["low", "high"]
    assert again.results[0].found == first.results[0].found
    claims(["low"], results=tmp_path, settings={"low": {"size": 2.0}})
    assert calls[2:] == [(2.0, [1, 2])]


def test_settings_that_were_changed_are_told_with_the_command_that_has_them(drawn, tmp_path):
    made = claims("high", results=tmp_path, settings={"high": {"size": 3, "shape": [4]}})
    assert list(made.table["verdict"]) == ["does not hold here"]
    said = "a run. Settings changed: size = 3 in place of 1.0; shape = [4] in place of [1,2]"
    assert list(made.table["setting"]) == [said]
    again = "python scripts/claims.py 'only=[high]' 'settings={high:{size:3,shape:[4]}}'"
    assert list(made.table["command"]) == [again]
    text = (tmp_path / "claims" / "claims.md").read_text()
    assert f"- setting: {said}\n" in text
    assert f"- command: `{again}`" in text
    small = claims("low", "smoke").table
    assert list(small["command"]) == ["python scripts/claims.py 'only=[low]' sizes=smoke"]
    assert list(small["setting"]) == ["a run. Settings changed: size = 0.5 in place of 1.0"]


def test_a_slope_is_not_fitted_over_one_value(monkeypatch):
    monkeypatch.setitem(given.BY_NAME, "low", PLANTED[0].__class__(**{**vars(PLANTED[0]), "fitted": ("shape",)}))
    for shape in ([1], [1, 1]):
        with pytest.raises(SMEError, match=r"low.shape must have two different values or more, such as \[1, 2\]: a slope"):
            claims("low", settings={"low": {"shape": shape}})
    claims("low", settings={"low": {"shape": [1, 3]}})


def test_settings_that_leave_no_number_are_refused_and_faults_of_ours_are_not(monkeypatch):
    def empty(size: float = 1.0) -> Found:
        return Found([Number("here", [1.0][int(size - 1)], basis="planted")], [])

    claim = Claim("low", "A", "table 1", "It is small.", "a run", "as large", "a number above 2", empty)
    for place in ("run", "given", "report", "registry"):
        monkeypatch.setattr(f"sme.studies.claims.{place}.BY_NAME", {"low": claim})
    with pytest.raises(SMEError, match=r"low cannot be measured with size = 4 in place of 1.0 \(IndexError: .*\)"):
        run._measured("low", {"size": 4})
    monkeypatch.setattr(claim.measure, "__defaults__", (4.0,))
    with pytest.raises(IndexError):
        run._measured("low", {"size": 4.0})


def test_other_code_or_a_damaged_file_is_measured_again(tmp_path, monkeypatch):
    claims(["low"], results=tmp_path)
    monkeypatch.setattr(run, "identity", lambda function: "other")
    claims(["low"], results=tmp_path)
    assert len(calls) == 2
    path = tmp_path / "claims" / "points" / "low.json"
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 0.0'))
    with pytest.warns(UserWarning, match="not what was written"):
        claims(["low"], results=tmp_path)
    assert len(calls) == 3
    assert json.loads(path.read_text())["numbers"][0]["value"] == 1.0


def test_the_folder_holds_the_tables_and_a_picture_of_each_claim(tmp_path, drawn):
    made = claims(results=tmp_path, settings={"high": {"size": 1.95}})
    folder = tmp_path / "claims"
    assert {each.name for each in folder.iterdir()} == {
        "claims.csv", "claims.md", "numbers.csv", "points", "low.png", "low.pdf", "high.png", "high.pdf"}
    table = pd.read_csv(folder / "claims.csv")
    assert list(table["verdict"]) == ["holds", "undecided: here (some 16 in place of 4 would decide)"]
    assert list(table.columns[-2:]) == ["seeds", "version"]
    assert {"sentence", "setting", "size", "refuted", "command", "seconds"} <= set(table.columns)
    assert len(pd.read_csv(folder / "numbers.csv")) == len(made.numbers) == 2
    text = (folder / "claims.md").read_text()
    assert "| [low](#low)   | A, arXiv 1 | holds     |" in text
    assert "## high\n\n- claimed: It is large. (B, arXiv 2, table 2)\n- verdict: **undecided: here" in text
    assert "- number: A number that is its size.\n  - here: 1 [0.9, 1.1], claimed ≤ 2: holds (planted)" in text
    assert "- picture: [low.png](low.png)" in text
    assert "`python scripts/claims.py 'only=[high]' 'settings={high:{size:1.95}}'`" in text
    assert "](" not in str(made)
    assert "mean nothing" not in text


def test_a_try_says_that_it_means_nothing():
    made = claims("low", "smoke")
    assert calls == [(0.5, [1, 2])]
    assert "mean nothing" in str(made)
    assert made.folder is None


@pytest.mark.parametrize(("given", "words"), [
    ({"only": ["lo"]}, "unknown claim 'lo'.*low"), ({"only": []}, "only is empty"), ({"sizes": "big"}, "sizes"),
    ({"settings": {"nobody": {}}}, "nobody"), ({"settings": {"low": {"width": 1}}}, "setting of low.*size"),
    ({"settings": {"low": 3}}, "settings of low must be a group"),
    ({"only": ["low"], "settings": {"high": {"size": 3}}}, r"a group for high, which is not run: .*only=\[low,high\]"),
    ({"processes": 0}, "processes")])
def test_what_is_wrong_is_named(given, words):
    with pytest.raises(SMEError, match=words):
        claims(**given)
    assert not calls
