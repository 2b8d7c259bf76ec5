"""What the pages and the code point at is there: files, headings, sections of the theory, numbered equations."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *sorted(path for path in DOCS.rglob("*.md"))]
THEORY = sorted((DOCS / "theory").glob("*.md"))
QUOTING = [*(path for folder in ("sme", "tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")),
           *(ROOT / "conf").rglob("*.yaml"), *PAGES, *(ROOT / "results" / "published").rglob("*.md")]
QUOTED = re.compile(r"(docs/[\w/]+\.md),\s+sections?\s+(\d+)(?:\s+and\s+(\d+))?")
EQUATION = re.compile(r"(docs/[\w/]+\.md),\s+(?:section\s+\d+,\s+)?\((\d+\.\d+)\)")


def anchors(path):
    """The names in a page that a link may end with: those written out, and those of its headings."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    slugs = {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}
    return slugs | set(re.findall(r'<a id="([\w-]+)">', text))


def missing_sections(text):
    """The sections and equations that a text quotes and that are not there, with what there is."""
    for page, *numbers in QUOTED.findall(text):
        names = anchors(ROOT / page) if (ROOT / page).exists() else set()
        yield from (f"{page}, section {number}" for number in numbers if number and f"section-{number}" not in names)
    for page, number in EQUATION.findall(text):
        if not (ROOT / page).exists() or rf"\tag{{{number}}}" not in (ROOT / page).read_text(encoding="utf-8"):
            yield f"{page}, ({number})"


def test_every_section_that_is_quoted_exists():
    lost = [f"{path.relative_to(ROOT)} quotes {each}" for path in QUOTING if path != Path(__file__)
            for each in missing_sections(path.read_text(encoding="utf-8"))]
    assert not lost, "the theory stands in docs/theory: quote 'docs/theory/<page>.md, section N'"


def test_a_section_that_is_not_there_is_noticed():
    told = "docs/theory/scaling.md, sections 1 and 7; docs/theory/none.md, section 2; docs/theory/scaling.md, section 1, (1.99)."
    assert list(missing_sections(told)) == ["docs/theory/scaling.md, section 7", "docs/theory/none.md, section 2",
                                           "docs/theory/scaling.md, (1.99)"]


def test_the_theory_has_each_section_once():
    found = [int(number) for page in THEORY for number in re.findall(r'<a id="section-(\d+)"></a>\n\n## \1\. ',
                                                                     page.read_text(encoding="utf-8"))]
    assert sorted(found) == list(range(1, 23))


@pytest.mark.parametrize("page", THEORY, ids=lambda page: page.stem)
def test_equations_are_numbered_in_their_order(page):
    """Every formula on a line of its own has a number, section and place."""
    for section in re.split(r'(?=<a id="section-)', page.read_text(encoding="utf-8"))[1:]:
        number = re.match(r'<a id="section-(\d+)"', section)[1]
        formulas = re.findall(r"```math\n(.*?)```", section, re.S)
        assert [re.findall(r"\\tag\{([\d.]+)\}", each) for each in formulas] == [
            [f"{number}.{k + 1}"] for k in range(len(formulas))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), target
