"""Pictures are laid out, labelled and written one way."""

import itertools
import math
import os
import resource

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sme.common.errors import SMEError
from sme.common.output.figure import canvas, decades, pretty, printed, save, sizes, steps
from sme.common.output.provenance import Provenance
from sme.convergence.output import picture
from tests.support.few import few

MADE = Provenance("adam-ballistic-quadratic-independent-44ed0b05", ("0.3.0",), (0,))


def labels(axis):
    axis.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [text.get_text() for place, text in ticks if low <= place <= high and text.get_text()]


@pytest.mark.parametrize("count", [2, 5, 13])
def test_step_sizes_are_labelled_as_they_are_given(count):
    axis = Figure().subplots()
    taus = [2.0**-k for k in range(2, 2 + count)]
    axis.plot(taus, taus)
    steps(axis, taus)
    said = labels(axis.xaxis)
    assert 2 <= len(said) <= 6
    assert "1/4" in said
    assert set(said) <= {f"1/{2**k}" for k in range(2, 2 + count)}
    assert not len(axis.get_xticks(minor=True))


@pytest.mark.parametrize(("values", "few"), [([1e-4, 1e-1], 2), ([2e-3, 7e-3], 2), ([1e-9, 1.0], 3)])
def test_sizes_have_labels_whatever_their_range(values, few):
    axis = Figure().subplots()
    axis.plot([1, 2], values)
    sizes(axis, values)
    assert few <= len(labels(axis.yaxis)) <= 8
    assert not [each.get_text() for each in axis.yaxis.get_minorticklabels() if each.get_text()]


BAD = [*itertools.product([math.nan, math.inf, 0.0, -2.0], ["png", "svg"])]


@pytest.mark.parametrize(("value", "ending"), few(BAD, 0, 3, 4, 7))
def test_where_all_diverged_an_empty_frame_is_drawn(value, ending, drawn, tmp_path):
    figure = canvas(4, 3, 0.3)
    one, other = figure.subplots(1, 2)
    taus = [1 / 2, 1 / 4, 1 / 8]
    one.errorbar(taus, 3 * [value], yerr=3 * [0.5])
    steps(one, taus)
    sizes(one, 3 * [value])
    other.plot(taus, taus)
    steps(other, taus)
    sizes(other, taus)
    assert save(figure, MADE, tmp_path / f"x.{ending}").stat().st_size > 1000
    assert (other.get_xscale(), other.get_yscale()) == ("log", "log")


def test_an_axis_follows_errors_and_their_bars_and_no_marks_of_the_integrator():
    errors = np.array([1e-2, -2e-3, 0.0, math.nan])
    axis = Figure().subplots()
    axis.plot([1, 2, 3, 4], [1e-12, 1e-11, 1e-10, 1e-9], "x")
    sizes(axis, errors, [1e-3, 5e-4, 1e-6, math.inf])
    low, high = axis.get_ylim()
    assert 2e-4 < low < 1.5e-3
    assert 1.1e-2 <= high < 5e-2
    decades(axis)


def table(order, bias):
    taus = np.array([1 / 4, 1 / 8, 1 / 16])
    return pd.DataFrame({"order": order, "tau": taus, "observable": "mean v", "at": "end", "time": 1.0, "error": taus**order,
                         "stderr": 1e-5 * taus, "integrator_bias": bias, "paths": 64, "diverged": 0.0, "floored": 0.0})


def slopes(orders):
    return pd.DataFrame({"order": orders, "observable": "mean v", "at": "end", "slope": [1.0 * each for each in orders],
                         "slope_low": 0.9, "slope_high": 2.1})


@pytest.fixture
def figures(monkeypatch):
    """What is saved, and where."""
    seen = []
    monkeypatch.setattr(picture, "save", lambda figure, provenance, path: seen.append(figure) or path)
    return seen


def test_a_study_is_drawn_by_its_name_in_words_and_to_the_size_of_its_errors(figures, tmp_path):
    errors = pd.concat([table(1, 1e-9), table(2, 1e-9)])
    picture.draw(MADE, errors, slopes([1, 2]), tmp_path / "x.png")
    figure = figures[0]
    assert figure.get_suptitle() == "adam on quadratic, ballistic regime, order 1 and 2"
    (axis,) = figure.axes
    assert axis.get_ylim()[0] > 1e-5
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axis.lines])
    assert drawn[drawn > 0].min() > 1e-4, "no cross of a bias far below the errors"
    near = pd.concat([table(1, 5e-2)])
    picture.draw(MADE, near, slopes([1]), tmp_path / "x.png")
    crosses = [line for line in figures[1].axes[0].lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [3]
    assert labels(axis.xaxis) == ["1/4", "1/8", "1/16"]


def test_a_pdf_stands_beside_a_png_in_a_folder_of_results_alone(drawn, tmp_path):
    figure = canvas(3, 2, 0.3)
    figure.subplots().plot([1, 2], [1, 2])
    save(figure, MADE, tmp_path / "alone.png")
    with printed():
        save(figure, MADE, tmp_path / "both.png")
        save(figure, MADE, tmp_path / "same.svg")
    assert {path.name for path in tmp_path.iterdir()} == {"alone.png", "both.png", "both.pdf", "same.svg"}
    assert b"adam-ballistic" in (tmp_path / "both.pdf").read_bytes()
    assert "<text" in (tmp_path / "same.svg").read_text(encoding="utf-8"), "letters are letters"
    with Image.open(tmp_path / "both.png") as image:
        assert image.info["Title"] == MADE.study
    with pytest.raises(SMEError, match="unknown picture format 'docx'"):
        save(figure, MADE, tmp_path / "x.docx")


def test_names_of_observables_are_letters():
    assert pretty("|theta|^2") == "|θ|²"
    assert pretty("a$b") == r"a\$b"


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_a_disk_that_is_full_is_said_whatever_a_library_makes_of_it(kind, drawn, tmp_path):
    figure = Figure()
    figure.subplots().plot(range(50), range(50))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, before[1]))
    try:
        with pytest.raises(SMEError, match=r"cannot write .*File too large"):
            save(figure, MADE, tmp_path / f"errors.{kind}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_a_date_that_is_none_in_the_environment_changes_no_byte(kind, drawn, tmp_path, monkeypatch):
    made = []
    for date in ("abc", "86400", None):
        monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
        if date is not None:
            monkeypatch.setenv("SOURCE_DATE_EPOCH", date)
        figure = Figure()
        figure.subplots().plot(range(5), range(5))
        made.append(save(figure, MADE, tmp_path / f"errors.{kind}").read_bytes())
        assert os.environ.get("SOURCE_DATE_EPOCH") == date
    assert made[0] == made[1] == made[2]
