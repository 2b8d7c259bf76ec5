"""The picture of one claim: its sentence, what was found, and curves, so that it reads alone."""

import itertools
import textwrap
from pathlib import Path
from typing import Any

from sme.common.output import style
from sme.common.output.figure import canvas, decades, save
from sme.common.output.provenance import Provenance
from sme.studies.claims.claim import DETERMINISTIC, FAILS, HOLDS, Claim, Found, Panel, verdict

FOOT, WIDE, HIGH, LINE, LETTERS = 0.2, 3.2, 2.6, 0.155, 0.062
"""inches: the line of provenance, a panel, a line of text, and a letter of it"""
KEY = 0.13
"""inches of a line of the key, which stands below its panel, where it hides no curve"""
BOLD = 0.88
"""of plain letters, so many bold ones have room"""
DASHES = ("-", "--", "-.", ":")
"""of curves, so that one shows through another"""
MARKS = {HOLDS: "✓", FAILS: "✗"}


def draw(claim: Claim, found: Found, provenance: Provenance, path: Path, changed: str = "") -> Path:
    """A panel beside the other, below the sentence, its verdict, and every number with what was claimed of it.

    `changed` says which settings are not those of the claim.
    """
    width = max(2, len(found.panels)) * WIDE + 0.3
    lines = _words(claim, found, int(width / LETTERS), changed)
    top = LINE * len(lines) + 0.1
    keys = KEY * max(len(panel.curves) + len(panel.lines) for panel in found.panels)
    height = HIGH + keys + FOOT + top
    with style.paper():
        figure = canvas(width, height, FOOT)
        engine: Any = figure.get_layout_engine()
        engine.set(rect=(0, FOOT / height, 1, (HIGH + keys) / height))
        bold = len(_sentence(claim, int(width / LETTERS)))
        for line, text in enumerate(lines):
            figure.text(0.1 / width, 1 - (0.05 + LINE * line) / height, text, va="top", fontsize=7.5,
                        fontweight="bold" if line < bold else None)
        axes = figure.subplots(2, len(found.panels), squeeze=False, height_ratios=(HIGH, keys))
        for axis, below, panel in zip(*axes, found.panels, strict=True):
            _panel(axis, panel)
            below.set_axis_off()
            below.legend(*axis.get_legend_handles_labels(), loc="upper left", frameon=False, fontsize=6.5, borderaxespad=0,
                         labelspacing=0.3)
        return save(figure, provenance, path)


def _sentence(claim: Claim, letters: int) -> list[str]:
    """Bold letters are wider."""
    return textwrap.wrap(claim.sentence, int(BOLD * letters))


def _words(claim: Claim, found: Found, letters: int, changed: str = "") -> list[str]:
    """The sentence; whose, and the verdict; what would refute it; the numbers; what the bands are; settings that were changed."""
    said = [*_sentence(claim, letters), *textwrap.wrap(f"{claim.paper}: {verdict(found.numbers)}", letters),
            *textwrap.wrap(f"Refuted by {claim.refuted}.", letters)]
    bases = dict.fromkeys(each.basis for each in found.numbers)
    for each in found.numbers:
        mark, basis = "·" if each.beside else MARKS.get(each.verdict, "?"), f"  ({each.basis})" if len(bases) > 1 else ""
        said += textwrap.wrap(f"{mark} {each.said}{basis}", letters, initial_indent="  ", subsequent_indent="      ")
    if len(bases) == 1 and DETERMINISTIC not in bases:
        said += textwrap.wrap(f"Each: {next(iter(bases))}.", letters)
    if claim.band:
        said += textwrap.wrap(f"Bands: {claim.band}.", letters)
    if changed:
        said += textwrap.wrap(f"Settings changed: {changed}.", letters)
    return said


def _panel(axis: Any, panel: Panel) -> None:
    colours = style.palette("colorblind", max(1, len(panel.curves)))
    for colour, dash, (name, each) in zip(colours, itertools.cycle(DASHES), panel.curves.items(), strict=False):
        axis.plot(each["x"], each["y"], dash, marker="o" if panel.points else None, color=colour, lw=1.2, ms=3.5, label=name)
        if "low" in each:
            axis.fill_between(each["x"], each["low"], each["high"], color=colour, alpha=0.2, lw=0)
    for shade, (name, height) in zip(("0.2", "0.5", "0.7"), panel.lines.items(), strict=False):
        axis.axhline(height, color=shade, lw=0.9, ls="--", label=name)
    axis.set_title(panel.title, fontsize="small")
    axis.set_xlabel(panel.x, fontsize="small")
    axis.set_ylabel(textwrap.fill(panel.y, 34), fontsize="small")
    if "x" in panel.log:
        axis.set_xscale("log")
    if "y" in panel.log:
        axis.set_yscale("log")
        decades(axis)
