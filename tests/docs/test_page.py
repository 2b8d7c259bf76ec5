"""The page of measurements is filled place by place; its truth about intervals holds."""

import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest

import sme

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def test_a_place_is_filled_and_filled_again(benchmark, tmp_path):
    page, path = benchmark("page"), tmp_path / "page.md"
    path.write_text("before\n\n<!-- one -->\n<!-- end -->\n\nbetween\n\n<!-- two -->\n\nold\n\n<!-- end -->\n", encoding="utf-8")
    for text in ("| a |\n|---|", r"| \d |"):
        page.fill("one", text, path)
        page.fill("two", text, path)
    filled = "<!-- {} -->\n\n| \\d |\n\n<!-- end -->\n"
    assert path.read_text(encoding="utf-8") == f"before\n\n{filled.format('one')}\nbetween\n\n{filled.format('two')}"
    with pytest.raises(ValueError, match="0 places <!-- three -->"):
        page.fill("three", "", path)


def test_the_page_says_how_each_of_its_places_is_filled(benchmark):
    text = benchmark("page").PAGE.read_text(encoding="utf-8")
    places = re.findall(r"<!-- (?!end)(.+) -->\n", text)
    assert sorted(places) == sorted(re.findall(r"python benchmarks/(\w+)\.py --write", text))


def test_nothing_is_written_without_all_rivals(benchmark, tmp_path, monkeypatch, capsys):
    """The page would lose their rows."""
    page, copy = benchmark("page"), tmp_path / "page.md"
    copy.write_text("<!-- throughput -->\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    monkeypatch.setitem(sys.modules, "jax", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "rivals.xla_scan", raising=False)
    monkeypatch.setattr(sys, "argv", ["throughput.py", "--write"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(ROOT / "benchmarks" / "throughput.py"), run_name="__main__")
    assert re.search(r"for want of .*jax.*: pip install -c constraints.txt -e '.\[rivals\]'", capsys.readouterr().err)
    assert copy.read_text(encoding="utf-8") == "<!-- throughput -->\n<!-- end -->\n"


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("optimizer", [sme.SGD(), sme.Momentum()], ids=["sgd", "momentum"])
def test_nineteen_of_twenty_intervals_contain_the_truth(benchmark, optimizer, order):
    """200 runs: a mean of z within 0.2 is within 2.8 of its own standard errors."""
    runs = benchmark("intervals").repeated(optimizer, order)
    assert 0.9 <= runs.covered <= 0.99
    assert abs(runs.z.mean()) < 0.2
    assert 0.85 < runs.z.std(ddof=1) < 1.15


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [sme.RMSProp(), sme.Adam()], ids=["rmsprop", "adam"])
def test_runs_spread_as_their_standard_errors_say(benchmark, optimizer):
    assert 0.85 < benchmark("intervals").repeated(optimizer, 2, known=False).z.std(ddof=1) < 1.15
