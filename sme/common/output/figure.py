"""The one way pictures are laid out, labelled and written: a foot with a key and where the numbers come from."""

import contextlib
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sme.common.errors import SMEError, choose
from sme.common.inputs import short
from sme.common.output.provenance import Provenance
from sme.common.process.progress import fraction
from sme.common.storage.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BESIDE = "pdf"
"""what a picture in a folder of results has beside its PNG"""
NARROW = 30.0
"""quotient of an axis' ends below which 1, 2 and 5 have their labels too"""
WIDE = 1000.0
"""the same, above which there are no ticks without a label"""
DPI = 160
DATE = "SOURCE_DATE_EPOCH"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TICKS = 6
"""labels of step sizes that a panel has room for"""
_both: ContextVar[bool] = ContextVar("both", default=False)


def canvas(width: float, height: float, foot: float) -> "Figure":
    """A figure in inches, whose lowest `foot` is for the key and the line of provenance."""
    from matplotlib.figure import Figure  # takes longer than the rest of a study whose points are there
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(rect=(0, foot / height, 1, 1 - foot / height)))


def key(figure: "Figure", handles: Sequence[Any], columns: int, line: int = 0, **how: Any) -> None:
    """What the marks mean, so many lines above that of provenance."""
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, (0.13 + 0.16 * line) / figure.get_figheight()),
                  ncols=columns, frameon=False, fontsize="x-small", borderpad=0, borderaxespad=0, **how)


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """Have every PNG that is written within have a PDF beside it, as in a folder of results."""
    token = _both.set(True)
    try:
        yield
    finally:
        _both.reset(token)


def target(path: Any) -> Path:
    """The file to draw to.

    Raises
    ------
    SMEError
        for what names none.
    """
    if not isinstance(path, str | Path) or "\0" in str(path):
        raise SMEError(f"path must name the file to draw to, got {short(path)}: give such as 'errors.png'")
    return Path(path)


def save(figure: "Figure", provenance: Provenance, path: Path) -> Path:
    """Write a figure with the line that says where it comes from, in its foot and in the file's metadata."""
    said = provenance.code if provenance.title == provenance.study else str(provenance)
    figure.text(0.5, 0.04 / figure.get_figheight(), said, ha="center", fontsize=5, color="0.6")
    kind = choose("picture format", path.suffix.lstrip("."), sorted(figure.canvas.get_supported_filetypes()))
    _drawable(figure)
    if (layout := figure.get_layout_engine()) is not None:  # once, and not by a drawing of its own for every format
        figure.set_dpi(DPI)  # at which letters are as wide as they will be
        layout.execute(figure)
        figure.set_layout_engine("none")
    _write(figure, provenance, path, kind)
    if kind == "png" and _both.get():
        _write(figure, provenance, path.with_suffix(f".{BESIDE}"), BESIDE)
    return path


def _drawable(figure: "Figure") -> None:
    """A logarithmic axis that nothing stands on, as where every path diverged, cannot be drawn: it is made a plain one."""
    for axes in figure.axes:
        for axis, change in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            if axis.get_scale() == "log" and min(axis.get_view_interval()) <= 0:
                change("linear")


def _write(figure: "Figure", provenance: Provenance, path: Path, kind: str) -> None:
    from matplotlib import rc_context

    # letters that can be read, found and copied
    made = io.BytesIO()
    with _undated(), rc_context({"svg.hashsalt": provenance.study, "svg.fonttype": "none"}):
        figure.savefig(made, dpi=DPI, format=kind, metadata=_metadata(kind, provenance))
    write_bytes(path, made.getvalue())


@contextlib.contextmanager
def _undated() -> Iterator[None]:
    """Without the date of the environment, which is read, and may be none, where a picture bears no date."""
    date = os.environ.pop(DATE, None)
    try:
        yield
    finally:
        if date is not None:
            os.environ[DATE] = date


def _metadata(kind: str, provenance: Provenance) -> dict[str, str | None] | None:
    """Title and maker, without a date: the same numbers give the same bytes. None where a format has no place for them."""
    made, undated = {"png": ("Software", {}), "pdf": ("Creator", {"CreationDate": None}),
                     "svg": ("Creator", {"Date": None})}.get(kind, ("", {}))
    return {"Title": provenance.study, made: provenance.code, **undated} if made else None


def pretty(name: str) -> str:
    """An observable's name with its letters; a dollar is one, and begins no mathematics."""
    return name.replace("theta", "θ").replace("^2", "²").replace("$", r"\$")


def steps(axis: Any, taus: Sequence[float]) -> None:
    """A logarithmic axis of step sizes with the labels 1/4, 1/8, …"""
    from matplotlib.ticker import NullLocator

    axis.set_xscale("log", base=2)
    there = sorted(set(map(float, taus)), reverse=True)
    shown = there[:: math.ceil(len(there) / TICKS)]
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(shown, [fraction(tau) for tau in shown])


def sizes(axis: Any, values: Any, bars: Any = 0.0) -> None:
    """A logarithmic axis that follows values and their bars, and nothing else that is drawn, with labels that can be read."""
    size, bar = np.broadcast_arrays(np.abs(np.asarray(values, float)), np.abs(np.asarray(bars, float)))
    seen = np.isfinite(size) & (size > 0)
    axis.set(yscale="log")
    if seen.any():
        ends = np.where(np.isfinite(bar), size + bar, size)[seen]
        low = np.maximum(size - np.where(np.isfinite(bar), bar, 0), 0.5 * size)[seen].min() / 2
        axis.set_ylim(low, 2.5 * max(ends.max(), size[seen].max()))
    decades(axis)


def power(value: float) -> str:
    """`2·10⁻³`, in letters: a formula for each label takes longer than all that is drawn."""
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = value / 10.0**exponent
    return ("" if abs(factor - 1) < 1e-6 else f"{factor:g}·") + "10" + str(exponent).translate(RAISED)


def decades(axis: Any) -> None:
    """Labels of a logarithmic axis: powers of ten, and 2 and 5 times these where there are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < NARROW * low else (1.0,), numticks=8))
    plain = high < NARROW * low and low >= 1e-2 and high <= 1e3
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if plain else power(value)))
    axis.yaxis.set_minor_formatter(NullFormatter())
    if high > WIDE * low:  # more small ticks than can be told apart, each of which takes its time
        axis.yaxis.set_minor_locator(NullLocator())
