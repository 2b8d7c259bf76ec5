"""One version everywhere, and a history of the numerics that is up to date."""

import re
import tomllib
from pathlib import Path

import yaml

from sme.common.identity.numerics import NUMERICS

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_is_whole_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)  # what the format requires
    assert all(author["name"] for author in citation["authors"])
    assert (str(citation["version"]), citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_the_changelog_begins_with_this_version_and_goes_back():
    versions = re.findall(r"^## \[([\d.]+)\]", CHANGELOG, re.M)
    assert versions[0] == PROJECT["version"]
    assert versions == sorted(versions, key=lambda each: [int(part) for part in each.split(".")], reverse=True)


def test_the_history_of_the_numerics_has_numbers_that_there_were():
    history = CHANGELOG.split("\n## Numerics\n")[1]
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| \S.* \|$", history, re.M)
    assert {int(number) for number, _ in rows} <= {number for part in NUMERICS.values() for number in part}
    assert all(f"## [{version}]" in CHANGELOG for _, version in rows)
