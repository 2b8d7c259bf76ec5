"""The page of HTML: whole, escaped, without network, and in a browser where there is one."""

import base64
import html
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import hydra
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

import sme
from sme.cli import again, command, config, spellings
from sme.common.errors import SMEError
from sme.common.inputs import number
from sme.common.output.provenance import Provenance
from sme.convergence import api, collect
from sme.convergence.output import again as lines
from sme.convergence.output import beside, formulas, page, vector, verdicts
from sme.convergence.spec.specification import Specification
from tests.support import committed
from tests.support.few import few

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRAWN = "<svg xmlns='http://www.w3.org/2000/svg' width='4' height='4'/>"
EVIL = "<script>document.title='run'</script>"
browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")


@pytest.fixture
def sketched(drawn, monkeypatch):
    """Pictures that take no time."""

    monkeypatch.setattr(vector, "draw", lambda errors, slopes: DRAWN)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return collect.found(committed.results(tmp_path_factory.mktemp("record")))


def some(record, *words):
    """Of the committed studies those whose name begins with one of these."""
    return [study for study in record if study.name.startswith(words)]


class Page(HTMLParser):
    """What an HTML parser sees: elements, their attributes and texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def study(sketched, record):
    return some(record, "rmsprop-ballistic-quadratic-independent-fe85ca90")[0]


def test_the_page_of_one_study_has_all_that_is_known_of_it(study, tmp_path):
    path = study.report(tmp_path / "x.html")
    text = path.read_text(encoding="utf-8")
    seen = Page(text)
    whole = " ".join(seen.text)
    assert "rmsprop on quadratic, ballistic regime" in whole
    for wanted in (study.name, "Order 1: 5 of 5 slopes are consistent with it", str(study.provenance), "sme.weak_error(",
                   "error = E[discrete] − E[equation]", "leading drift"):
        assert wanted in whole
    for row in study.slopes.to_dict("records"):
        assert f"{row['slope']:.2f}"[:3] in whole
    assert len(re.findall(r"<td>[-\d.e]+ ± [\d.e-]+</td>", text)) == len(study.errors)
    pictures = [value for tag, name, value in seen.attributes if (tag, name) == ("img", "src")]
    assert DRAWN in text
    assert len(pictures) == len(page._formulas(study)) > 4
    assert b"<path" in base64.b64decode(pictures[0].partition(",")[2])
    assert all(each.startswith("data:image/svg+xml;base64,") for each in pictures)


def test_a_page_asks_nothing_of_a_network(study, tmp_path):
    seen = Page(study.report(tmp_path / "x.html").read_text(encoding="utf-8"))
    addresses = [value for _, name, value in seen.attributes if name in ("src", "href", "action", "data", "srcset", "poster")]
    assert addresses
    assert all(each.startswith(("data:", "#")) for each in addresses)
    policy = next(value for tag, _, value in seen.attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]


@pytest.mark.parametrize("evil", few([
    EVIL, "\"' onmouseover='alert(1)", "</td></table><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "{% include 'x' %}",
    "&lt;b&gt;", "]]></style></script><script>alert(1)</script>"], 1, 3, 5, 6))
def test_names_and_notes_are_data(study, tmp_path, evil):
    study = replace(study)
    study.__dict__.update(_table=study._table.assign(observable=evil),
                          _slopes=study.slopes.assign(observable=evil, note=evil, verdict=evil))
    study.outline = replace(study.outline, study=f"{evil}-ballistic-{evil}-none-12345678", optimizer=evil, problem=evil)
    study.kept = replace(study.kept, provenance=Provenance(study.name, (evil,), ()), physical=pd.DataFrame({evil: [evil]}))
    page.write([study, study], tmp_path / "x.html", evil, lambda _: evil)
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    seen = Page(text)
    assert seen.tags.count("script") == 1
    assert "onerror" not in {name for _, name, _ in seen.attributes}
    assert not {name for _, name, _ in seen.attributes if name.startswith("on")}
    assert any(evil in part for part in seen.text), "it stands there as text"
    assert evil in html.unescape(text)


@pytest.mark.slow
def test_a_folder_has_a_page_whose_rows_are_all_slopes(sketched, record, tmp_path):
    studies = some(record, "adagrad", "signsgd", "rmsprop-batch_equivalent-polynomial-step")
    path = page.write(studies, tmp_path / "all.html", "Three", again.words)
    seen = Page(path.read_text(encoding="utf-8"))
    rows = [value for tag, name, value in seen.attributes if (tag, name) == ("tr", "data-study")]
    assert len(rows) == sum(len(study.slopes) for study in studies)
    assert {value for tag, name, value in seen.attributes if (tag, name) == ("article", "id")} == set(rows)
    text = " ".join(seen.text)
    assert "python scripts/weak_error.py optimizer=adagrad" in text
    assert "rmsprop on polynomial, batch-equivalent regime, step memory" in text


def test_what_cannot_be_shown_is_said(study, tmp_path):
    with pytest.raises(SMEError, match="path must name the file of the page, got 3"):
        study.report(3)
    with pytest.raises(SMEError, match="Nothing has no errors to show: run a study first"):
        page.write([], tmp_path / "x.html", "Nothing")
    (tmp_path / "file").touch()
    with pytest.raises(SMEError, match="cannot write"):
        study.report(tmp_path / "file" / "x.html")


def test_a_study_in_memory_and_one_with_observables_of_ones_own(sketched, tiny_runs, tmp_path):
    start = {"theta": torch.tensor([1.0, 0.5], dtype=torch.float64)}
    study = sme.weak_error(sme.Quadratic(), sme.SGD(), tau=[1 / 2, 1 / 4], order=1, start=start,
                           observables={"<b>own</b>": lambda s: s["theta"][..., 0]}, backend="torchsde")
    text = study.report(tmp_path / "x.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;own&lt;/b&gt;" in text
    assert "<b>own" not in text
    assert "no command is known" in text


NAMES = [path.name for path in collect.studies(committed.ROOT / committed.RECORD)]
FEW = NAMES[::7]


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name not in FEW)])
def test_the_command_and_the_lines_make_the_same_study_again(record, name, monkeypatch):
    study = next(each for each in record if each.name == name)
    with hydra.initialize_config_dir(str(command.CONF), version_base="1.3"):
        given = spellings.read("weak_error", _words(again.words(study)))
        values = config.values_of(hydra.compose("weak_error", given))
    del values["plan"]
    spec, asked = api.parts(**config.arguments(values, sme.weak_error))
    assert spec.name == study.name
    assert [number("tau", each) for each in asked["tau"]] == sorted(set(study.errors["tau"]), reverse=True)
    assert asked["order"] == sorted(set(study.errors["order"]))
    found = []
    monkeypatch.setattr(sme, "weak_error", lambda *parts, **given: found.append(_named(*parts, **given)))
    exec(lines.lines(page._recipe(study), study.requested, "there"), {})
    assert found == [study.name]


def _words(shell):
    """What a shell makes of a command, behind the script."""
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    told = shell.replace("python scripts/weak_error.py", f"python3 -c '{code}'")
    return json.loads(subprocess.run(["sh", "-c", told], capture_output=True, text=True, check=True).stdout)


def _named(problem, optimizer, *, regime, brownian, horizon, start, observables, times, model="sme", **asked):
    return Specification.of(problem, optimizer, regime, brownian, horizon, start, observables, times, model).name


def test_a_recipe_of_somebody_elses_code_runs_nothing_and_is_called_by_its_own_name(study, monkeypatch):
    recipe = {**study.outline.recipe(study.folder)}
    recipe["problem"] = {"_target_": "mine.problems.Valley", "noise": 0.5, "law": {"_target_": "sme.GaussianNoise"}}
    monkeypatch.setattr(page, "_recipe", lambda _: recipe)
    monkeypatch.setattr(type(study), "specification", lambda self: pytest.fail("it was made"))
    assert page._formulas(study) == []
    said = lines.lines(recipe, {"order": [1], "tau": [0.25]}, None)
    assert "import mine.problems\nimport sme\nimport torch" in said
    assert "mine.problems.Valley(noise=0.5, law=sme.GaussianNoise())" in said
    assert lines.lines({**recipe, "start": None}, {"order": [1]}, None) == ""
    loaded = lines.lines({**recipe, "start": None}, {"order": [1]}, "a'b")
    assert loaded == 'import sme\n\nstudy = sme.load("a\'b").extend(order=[1])\n'
    assert lines.lines({"problem": None}, {}, "there") == ""


@pytest.mark.parametrize(("latex", "plain"), [(r"\tfrac12\,c", r"\frac{1}{2}\,c"), (r"\sqrt\tau\,S", r"\sqrt{\tau}\,S"),
                                              (r"\sqrt2", r"\sqrt{2}"), (r"\bigl(a\bigr)", "(a)"),
                                              (r"\dfrac{a}{b}", r"\frac{a}{b}")])
def test_formulas_are_put_in_what_matplotlib_can_draw(drawn, latex, plain):
    assert formulas.plain(latex) == plain
    assert formulas.drawn(latex).count("<path") >= 1
    assert formulas.drawn(r"\nosuchcommand{x}") == ""
    formulas.drawn.cache_clear()
    with mpl.rc_context({"text.usetex": True, "axes.facecolor": "red", "savefig.facecolor": "red"}):
        there = formulas.drawn(latex)
    formulas.drawn.cache_clear()
    assert there == formulas.drawn(latex)
    assert "red" not in there
    assert "#ff0000" not in there


@pytest.mark.parametrize(("verdicts_", "said"), [
    (["consistent", "consistent"], "Order 2: 2 of 2 slopes are consistent with it, from 1.90 to 2.10."),
    (["consistent", "undecided"], "Order 2: 1 of 2 slopes are consistent with it, at 1.90. "
     "Undecided: b at max (slope 2.10 [1.90, 2.30], few)."),
    (["inconsistent"], "Order 2: its slope is not consistent with it. Inconsistent: a (slope 1.90 [1.70, 2.10])."),
])
def test_verdicts_in_words(verdicts_, said):
    rows = pd.DataFrame([("a", "end", 1.9, 1.7, 2.1, ""), ("b", "max", 2.1, 1.9, 2.3, "few")],
                        columns=["observable", "at", "slope", "slope_low", "slope_high", "note"])[:len(verdicts_)]
    assert verdicts.words(2, rows.assign(verdict=verdicts_)) == said


PROBE = """
<pre id="probe"></pre><script>
const seen = {};
const pick = (name, value) => {
  const field = document.querySelector(`[data-filter="${name}"]`);
  field.value = value; field.dispatchEvent(new Event("input", {bubbles: true}));
};
const shown = () => [...document.getElementById("table").tBodies[0].rows].filter((row) => !row.hidden);
const column = (name) => [...document.querySelectorAll("#table th")].findIndex((head) => head.textContent === name);
seen.all = shown().length;
pick("late", ""); seen.every = shown().length;
pick("optimizer", "adagrad"); seen.adagrad = new Set(shown().map((row) => row.dataset.optimizer)).size;
seen.articles = [...document.querySelectorAll("article")].filter((each) => !each.hidden).length;
pick("text", "LOSS adagrad"); seen.loss = shown().map((row) => row.cells[column("observable")].textContent);
document.querySelector("[type=reset]").click();
setTimeout(() => {
  seen.reset = shown().length;
  const head = document.querySelectorAll("#table th")[column("slope [95 %]")];
  const button = head.querySelector("button");
  seen.focusable = button.tabIndex;
  button.click(); seen.up = shown().map((row) => row.cells[column("slope [95 %]")].dataset.key); seen.said = head.ariaSort;
  button.click(); seen.down = shown().map((row) => row.cells[column("slope [95 %]")].dataset.key); seen.then = head.ariaSort;
  seen.ms = Math.round(performance.now());
  document.getElementById("probe").textContent = JSON.stringify(seen);
}, 50);
</script>"""


def chromium(tmp_path, *words):
    return subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
                           "--enable-logging=stderr", "--virtual-time-budget=2000", *words], capture_output=True, text=True,
                          timeout=120, check=True)


@pytest.mark.slow
@browser
def test_the_page_sorts_filters_and_prints_in_a_browser(sketched, record, tmp_path):
    studies = some(record, "adagrad", "signsgd", "rmsprop-ballistic-quadratic-none")
    path = page.write(studies, tmp_path / "all.html", f"Some {EVIL}", again.words)
    probed = path.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>")
    probed = re.sub(r"script-src '[^']+'", "script-src 'unsafe-inline'", probed)
    (tmp_path / "probed.html").write_text(probed, encoding="utf-8")
    done = chromium(tmp_path, "--dump-dom", str(tmp_path / "probed.html"))
    seen = json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)[1]))
    slopes = pd.concat([study.slopes.assign(optimizer=study.outline.optimizer) for study in studies])
    late = slopes["at"].isin(["end", "max"]).sum()
    assert (seen["all"], seen["every"], seen["reset"]) == (late, len(slopes), late)
    assert (seen["adagrad"], seen["articles"], seen["focusable"]) == (1, 1, 0)
    assert seen["loss"] == ["loss", "loss"]
    numbers = [float(each) for each in seen["up"] if each]
    assert numbers == sorted(numbers)
    assert [float(each) for each in seen["down"] if each] == numbers[::-1]
    assert (seen["said"], seen["then"]) == ("ascending", "descending")
    whole = chromium(tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", str(path))
    assert (tmp_path / "page.pdf").read_bytes()[:5] == b"%PDF-"
    for each in (done, whole):
        assert "CONSOLE" not in each.stderr, each.stderr


@browser
def test_a_script_in_a_name_does_not_run(study, tmp_path):
    path = page.write([study], tmp_path / "x.html", EVIL)
    done = chromium(tmp_path, "--dump-dom", str(path))
    assert "<title>run</title>" not in done.stdout
    assert "CONSOLE" not in done.stderr


def test_the_picture_of_a_page_has_every_error_its_fit_and_its_words(record):
    study = some(record, "adam-ballistic-quadratic-independent-44ed0b05")[0]
    svg, errors = vector.draw(study.errors, study.slopes), study.errors
    tree = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    panels = [group for group in tree.findall(f"{space}g") if group.get("transform", "").count("(") == 1
              and len(group.findall(f"{space}circle")) > 1]
    assert len(panels) == len(errors.groupby(["observable", "at"]))
    places = {}
    for panel, (_, group) in zip(panels, errors.groupby(["at", "observable"], sort=False), strict=True):
        circles = [(float(each.get("cx")), float(each.get("cy")), each.get("fill")) for each in panel.findall(f"{space}circle")]
        rows = group.sort_values("order", ascending=False, kind="stable")
        assert [fill == "#fff" for *_, fill in circles] == (rows["error"] < 0).tolist()
        # places go with the logarithms: larger τ to the right, larger errors above
        x, y, size = (np.array(each, float) for each in ([c[0] for c in circles], [c[1] for c in circles], rows["error"].abs()))
        assert np.corrcoef(x, np.log(rows["tau"]))[0, 1] > 0.999999
        assert np.corrcoef(-y, np.log(size))[0, 1] > 0.99999
        assert (y > vector.TOP).all()
        assert (y < vector.HEIGHT - vector.BOTTOM).all()
        words = [each.text for each in panel.findall(f"{space}text")]
        places[words[0]] = words
        assert sum("order 2: " in str(each) for each in words) == 1
    assert "|θ|²" in next(iter(places))
    assert "C τᵖ, leading term alone" in svg
    assert page._size(svg)[0] == 3 * vector.WIDTH


def test_a_panel_without_a_value_says_so(record):
    study = some(record, "adam-ballistic-quadratic-independent-44ed0b05")[0]
    said = vector.draw(study.errors.assign(error=0.0), study.slopes)
    assert said.count("all are 0") == study.errors["observable"].nunique()
    assert "<circle" not in said.partition("error &gt; 0")[0].replace('<circle cx="6"', "")
    assert "no value" in vector.draw(study.errors.assign(error=math.nan), study.slopes)


def test_reports_of_other_studies_stand_behind(study, tmp_path):
    own = tmp_path / "regime" / "mine"
    own.mkdir(parents=True)
    (own / "regime.md").write_text("# The <b>regime</b>\n\nTwo\nlines.\n\n| of   | |∇f|²   | x   |\n|---|---|---|\n| a | | |\n"
                                   "| b | |v|² | 2 |\n\nsme 0.3.0\n", encoding="utf-8")
    (own / "regime.png").write_bytes(b"\x89PNG")
    (own / "second.png").write_bytes(b"\x89PNG2")
    (tmp_path / "notes.md").write_text("# Notes\n\nno table", encoding="utf-8")
    (tmp_path / "study-1").mkdir()
    (tmp_path / "study-1" / "spec.json").write_text("{}", encoding="utf-8")
    (tmp_path / "study-1" / "slopes.md").write_text("# S\n\n| a |\n|---|\n| 1 |\n", encoding="utf-8")
    (only,) = beside.found(tmp_path)
    assert (only.name, only.title) == ("regime/mine/regime", "The <b>regime</b>")
    assert only.parts == ["Two lines.", beside.Table(["of", "|∇f|²", "x"], [["a", "", ""], ["b", "|v|²", "2"]]), "sme 0.3.0"]
    assert [name for name, _ in only.pictures] == ["regime", "second"]
    text = page.write([study], tmp_path / "x.html", "all", others=[only]).read_text(encoding="utf-8")
    seen = Page(text)
    assert "b" not in seen.tags
    assert 'href="#other-regime/mine/regime"' in text
    assert sum(value.startswith("data:image/png") for _, name, value in seen.attributes if name == "src") == 2


def test_of_a_long_table_the_end_and_the_largest_are_shown(study, monkeypatch):
    rows = pd.DataFrame({"at": ["t=0.5", "end", "max"] * 2})
    assert len(page._shown(rows)) == 6
    monkeypatch.setattr(page, "MOST", 5)
    assert set(page._shown(rows)["at"]) == {"end", "max"}


@pytest.mark.slow
@browser
def test_nor_does_one_in_a_picture(record, drawn, tmp_path):
    study = replace(some(record, "rmsprop-batch_equivalent-polynomial-independent-da")[0])
    one = {name: table[table["observable"] == "mean v"] for name, table in (("_table", study._table), ("_slopes", study.slopes))}
    study.__dict__.update({name: table.assign(observable=EVIL + "<b onclick='x'>") for name, table in one.items()})
    path = study.report(tmp_path / "x.html")
    seen = Page(path.read_text(encoding="utf-8"))
    assert seen.tags.count("script") == seen.tags.count("svg") == 1
    assert "b" not in seen.tags
    done = chromium(tmp_path, "--dump-dom", str(path))
    assert "<title>run</title>" not in done.stdout
    assert "CONSOLE" not in done.stderr


def test_titles_name_the_study_in_words():
    assert Provenance("adam-batch_equivalent-two_digits-step_memory-0123abcd", (), ()).title == \
        "adam on two_digits, batch-equivalent regime, step memory"
    assert Provenance("sgd-ballistic-a-b-none-0123abcd", (), ()).title == "sgd on a-b, ballistic regime, no noise in the equation"
    assert Provenance("adam-ballistic-wells-malladi-0123abcd", (), ()).title == "adam on wells, ballistic regime, model malladi"
    assert Provenance("atlas", (), ()).title == "atlas"


def test_the_template_stands_beside_the_code():
    for name in ("page.html", "page.css", "page.js"):
        assert (Path(page.__file__).parent / name).is_file()
