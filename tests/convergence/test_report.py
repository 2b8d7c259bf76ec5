"""What is written of a study: LaTeX beside Markdown, and where each number comes from."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.mathtext import MathTextParser
from PIL import Image

from sme.common.identity import hashing
from sme.common.output import latex
from sme.common.output.provenance import COLUMNS, Provenance, ranges
from sme.convergence import collect
from sme.convergence.estimator.moments import Moments
from sme.convergence.estimator.paired import BLOCKS, Block
from sme.convergence.fit import predicted
from sme.convergence.fit.tables import ERRORS, MAX, SLOPES
from sme.convergence.output import picture, report
from sme.convergence.spec.outline import StudyMetadata
from sme.convergence.store.asked import Requests
from sme.convergence.store.points import Key, Point
from sme.convergence.study import Study

NAMES = ("|theta|^2", "mean v", "mean my_field", "loss_1 & 50% {#~^\\}", "|x| < τ²")
NAME = "sgd-ballistic-quadratic-independent-01234567"


def study(folder=None, versions=("0.2.0+g1a2b3c4",), seeds=(0,), times=(0.5, 1.0), names=NAMES):
    """Errors of order 2 on noise of 1e-5, made up."""
    outline = StudyMetadata(NAME, "sgd", "ballistic", "quadratic", "independent", 1.0, times, names, "T₃")
    rng, points = np.random.default_rng(1), []
    for steps in (4, 8, 16):
        for i, seed in enumerate(seeds):
            for shard in (0, 1):
                rows = np.linspace(0.5, 1.0, len(names) * len(times))
                means = np.concatenate([-rows / steps**2, 0 * rows + 1e-6, rows / steps])
                blocks = [Block(Moments.of(means + 1e-4 * rng.standard_normal((8, len(means)))), 0, 0) for _ in range(BLOCKS)]
                made = {"versions": {"sme": versions[i % len(versions)]}, "device": "cpu", "seconds": 0.0}
                points.append(Point(Key(2, steps, seed, shard), NAME, blocks, {"tau": 1 / steps, "lr": 1 / steps}, made))
    constants = predicted.ObstructionConstants(1, {"|theta|^2 at end": (-1.5e-4, 2e-5)})
    asked = Requests(frozenset({*(point.key for point in points), Key(2, 32, 0, 0)}))
    return Study(outline, points, folder, constants, asked)


def rows(tex):
    """The cells between the rules."""
    lines = [line for line in tex.splitlines() if "&" in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))] for line in lines]


def plain(cell):
    """A cell of LaTeX as Markdown has it."""
    cell = re.sub(r" \\times 10\^\{(-?)(\d+)\}", lambda found: f"e{found[1]}{found[2]}", cell)
    return cell.replace("$", "").replace(r"\ [", " [").replace(r"\pm", "±").replace(r"\%", "%").replace("--", "–")


@pytest.mark.parametrize("name", ["slopes", "errors"])
def test_latex_has_the_numbers_of_the_printed_table(name):
    made = study()
    shown = {"slopes": report.slope_table(made.slopes), "errors": report.error_table(made.errors)}[name]
    head, *body = rows(report.latex(made.errors, made.slopes, made.provenance)[name])
    assert len(body) == len(shown)
    assert len(head) == shown.shape[1]
    compared = 0
    for cells, (_, row) in zip(body, shown.iterrows(), strict=True):
        for cell, title, value in zip(cells, row.index, row, strict=True):
            if title not in ("observable", "note"):
                assert plain(cell) == re.sub(r"e([-+])0*(\d+)", lambda found: f"e{found[1].strip('+')}{found[2]}", str(value))
                compared += any(digit in cell for digit in "0123456789")
    assert compared >= 5 * len(body)


def test_latex_compiles_with_booktabs_alone():
    """No special character outside of its command, mathematics that a parser takes, as many cells as columns."""
    text, formulas = study().text("latex"), set()
    assert text.count("% sme 0.2.0+g1a2b3c4, numerics") == 2
    for line in text.splitlines():
        if line.startswith("%") or not line.strip():
            continue
        outside = re.sub(r"(?<!\\)\$.*?(?<!\\)\$", "", line)
        if not line.startswith(("\\begin", "\\end")):
            assert not re.search(r"(?<!\\)[%$#_{}]|[~^|<>]", re.sub(r"\\[a-z]+\{\}", "", outside)), line
        assert outside.isascii(), line
        formulas |= {re.sub(r"\d+", "0", formula) for formula in re.findall(r"(?<!\\)\$.*?(?<!\\)\$", line)}
    for formula in formulas:
        MathTextParser("path").parse(formula)
    for table in text.split("% sme")[1:]:
        (columns,) = re.findall(r"\\begin\{tabular\}\{(l+)\}", table)
        assert {len(cells) for cells in rows(table)} == {len(columns)}
        assert [table.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\hline")] == [1, 1, 1, 0]


@pytest.mark.parametrize(("given", "wanted"), [
    ("|theta|^2", r"$|\theta|^2$"), ("mean v", "mean $v$"), ("mean theta", r"mean $\theta$"), ("|m|^2", "$|m|^2$"),
    ("loss", "loss"), ("mean my_field", r"mean $\mathrm{my\_field}$"), ("P(v < 1)", "P(v $<$ 1)"), ("theta2", "theta2"),
    ("a_b & 5%", r"a\_b \& 5\%"), ("λ²", r"$\lambda$$^2$"), ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
])
def test_observables_are_mathematics_where_they_can_be(given, wanted):
    assert latex.observable(given) == wanted


@pytest.mark.parametrize(("given", "wanted"), [
    ("-0.2e-4 [-1.2, 0.9]e-4", r"$-0.2 \times 10^{-4}\ [-1.2, 0.9] \times 10^{-4}$"), ("0.50%", r"$0.50\%$"), ("–", "--"),
    ("1.234e-03 ± 2e-05", r"$1.234 \times 10^{-3} \pm 2 \times 10^{-5}$"), ("1e+03", r"$1 \times 10^{3}$"),
    ("obstructed: T₃, predicted C1 1 ± 2", r"obstructed: T$_3$, predicted $C_1$ 1 $\pm$ 2"), ("nan ± nan", r"nan $\pm$ nan"),
])
def test_numbers_are_mathematics_and_notes_are_text(given, wanted):
    assert latex.cell(given) == wanted


def test_provenance_names_every_version_and_seed():
    made = study(versions=("0.2.0+gbbbbbbb", "0.2.0+gaaaaaaa"), seeds=(0, 1, 2, 5)).provenance
    assert made == Provenance(NAME, ("0.2.0+gaaaaaaa", "0.2.0+gbbbbbbb"), (0, 1, 2, 5))
    assert re.fullmatch(rf"sme 0.2.0\+gaaaaaaa 0.2.0\+gbbbbbbb, numerics \d+( \(.*\))?, seeds 0-2 5, {NAME}", str(made))
    assert ", seed 0, " in str(study().provenance)
    assert [ranges(seeds) for seeds in ((), (3,), (0, 1), (0, 1, 3, 4, 5), (7, 9, 10))] == ["", "3", "0 1", "0 1 3-5", "7 9 10"]


def test_every_file_says_where_it_comes_from(tmp_path, drawn):
    made = study(tmp_path, seeds=(0, 1, 2), names=NAMES[:1])
    made.save()
    line = str(made.provenance)
    for name, columns in (("errors", ERRORS), ("slopes", SLOPES)):
        table = pd.read_csv(tmp_path / f"{name}.csv", dtype=str)
        assert list(table.columns) == [*columns, *COLUMNS]
        assert set(table["seeds"]) == {"0-2"}
        assert set(table["version"]) == {"0.2.0+g1a2b3c4"}
        assert '"0' not in (tmp_path / f"{name}.csv").read_text()
        assert (tmp_path / f"{name}.tex").read_text().startswith(f"% {line}\n")
    assert (tmp_path / "slopes.md").read_text().splitlines()[-1] == line
    assert str(made).splitlines()[-1] == line
    assert list(made.errors.columns) == ERRORS
    assert list(made.slopes.columns) == SLOPES
    with Image.open(tmp_path / "errors.png") as image:
        assert image.info["Title"] == NAME
        assert image.info["Software"] == made.provenance.code


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_a_picture_for_print_has_its_maker_and_no_date(kind, tmp_path, monkeypatch, drawn):
    made = study(names=NAMES[:1], times=(1.0,))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    one, other = made.plot(tmp_path / f"one.{kind}"), made.plot(tmp_path / f"other.{kind}")
    assert one.read_bytes() == other.read_bytes()
    for word in (b"sme 0.2.0+g1a2b3c4", NAME.encode()):
        assert word in one.read_bytes()
    assert b"2001-09-0" not in one.read_bytes()
    assert b"20010909" not in one.read_bytes()


def test_a_picture_shows_the_end_and_the_largest_where_there_is_no_room_for_all():
    few, many = study(names=("f", "g")).errors, study(names=tuple("abcde")).errors
    assert list(picture.shown(few)["at"].unique()) == ["t=0.5", "end", MAX]
    assert list(picture.shown(many)["at"].unique()) == ["end", MAX]
    assert set(picture.shown(many)["observable"]) == set("abcde")


def test_an_older_table_without_provenance_is_not_lost(tmp_path):
    for name, drop in (("one", []), ("two", COLUMNS)):
        folder = tmp_path / name
        made = study(folder, names=NAMES[:1])
        said = {"horizon": 1.0, "times": [0.5, 1.0], "regime": "ballistic", "observables": dict.fromkeys(NAMES[:1]), "of": name}
        made.outline = dataclasses.replace(made.outline, study=f"{NAME[:-8]}{hashing.digest(said, made.outline.parts)}")
        made.outline.write(folder, said, {})
        made.slopes.assign(**made.provenance.columns).drop(columns=drop).to_csv(folder / "slopes.csv", index=False)
    table = collect.join(tmp_path)
    assert list(table.columns) == collect.COLUMNS
    assert table.columns[-2:].to_list() == COLUMNS
    half = len(table) // 2
    assert table["version"].to_list() == ["0.2.0+g1a2b3c4"] * half + [""] * half
    assert half > 0


@pytest.mark.parametrize(("optimizer", "columns", "said"), [
    ("momentum", ["tau", "lr", "momentum"], "undamped; to repeat the run, set optimizer.state[p]['momentum_buffer']"),
    ("sgd", ["tau", "lr"], "In the terms of torch.optim:"), ("adagrad", ["tau", "lr"], "denominator is the updated one):"),
    ("adamw", ["tau", "lr"], "always corrects its bias):"), ("rmspropw", ["tau", "lr"], "that torch.optim does not have"),
    ("lion", ["tau"], "Step sizes"),
])
def test_the_terms_of_torch_stand_where_torch_has_the_rule(optimizer, columns, said):
    found = report.terms(optimizer, pd.DataFrame([[0.25] * len(columns)], columns=columns))
    assert said in found
    assert ("terms of torch.optim" in found) == (optimizer in ("momentum", "sgd", "adagrad", "adamw"))
