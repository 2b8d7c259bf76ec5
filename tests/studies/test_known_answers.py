"""The file of known answers: every case in it, and the closed ones right."""

import pandas as pd
import pytest
from omegaconf import OmegaConf

import sme
from sme.cli import survey_config
from sme.studies.known_answers import run
from tests.support.tiny import tiny


@pytest.fixture
def answers(monkeypatch):
    tiny(monkeypatch)
    return run


def settings(folder, **changes):
    return OmegaConf.create({"tau": ["1/4"], "paths": 1, "results": str(folder), "processes": 1, **changes})


def test_the_files_hold_each_case_and_the_closed_ones_are_right(answers, tmp_path, capsys, monkeypatch):
    text = answers.TEXT
    for name, (*_, rules) in answers.CASES.items():
        assert f"| `{name}` |" in text
        assert all(f"| `{rule.name}` |" in text for rule in rules)
    monkeypatch.delitem(answers.CASES, "quadratic")
    assert "integrator_bias" in survey_config.known_answers(settings(tmp_path)).text
    table = pd.read_csv(tmp_path / "known_answers.csv")
    assert list(table.columns) == answers.COLUMNS
    found = {tuple(key) for key in table[["case", "optimizer"]].drop_duplicates().to_numpy()}
    assert found == {(name, rule.name) for name, (*_, rules) in answers.CASES.items() for rule in rules}
    assert table.groupby(["case", "optimizer", "observable"]).size().eq(2).all()
    assert (table["exact"].notna() == (table["case"] == "line")).all()
    closed = table.dropna(subset="exact")
    allowed = 5 * closed["stderr"] + 2 * closed["integrator_bias"].abs() + 1e-3 * closed["exact"].abs()
    assert ((closed["error"] - closed["exact"]).abs() < allowed).all()
    assert "paths=1`" in (tmp_path / "known_answers.md").read_text(encoding="utf-8")


def test_a_number_of_paths_that_is_none_is_refused(answers, tmp_path):
    with pytest.raises(sme.SMEError, match="paths must be a whole number"):
        survey_config.known_answers(settings(tmp_path, paths=0))
