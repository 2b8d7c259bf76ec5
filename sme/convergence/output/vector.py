"""The picture of a study as SVG, written without a drawing library: a page of many studies is there in seconds.

Its panels, limits and marks are those of `picture`.
"""

import html
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sme.common.output.figure import NARROW, TICKS, power, pretty
from sme.common.output.text import quote
from sme.common.process.progress import fraction
from sme.convergence.fit.tables import MAX
from sme.convergence.output.picture import shown

WIDTH, HEIGHT = 300, 230
"""of a panel"""
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 24, 36
"""of these, what is beside its axes"""
FOOT = 40
"""for the key"""
COLOURS = {1: "#0173b2", 2: "#de8f05"}
MARK = 3
LINE = 13


def draw(errors: pd.DataFrame, slopes: pd.DataFrame) -> str:
    """|error| over τ for every observable and checkpoint that there is room for, with bars, fits and guides."""
    rows = shown(errors)
    places, names = (list(rows[name].unique()) for name in ("at", "observable"))
    columns = min(4 if len(names) == 4 else 3, len(names))
    each = math.ceil(len(names) / columns)
    wide, high = max(columns, 2) * WIDTH, each * len(places) * HEIGHT
    parts = []
    for (at, observable), group in rows.groupby(["at", "observable"], sort=False):
        row, column = divmod(names.index(observable), columns)
        place = "largest over t" if at == MAX else at
        title = f"{observable}, {place}" if place != "end" or errors["at"].nunique() > 1 else str(observable)
        here = slopes[(slopes["observable"] == observable) & (slopes["at"] == at)]
        fits = {int(order): here[here["order"] == order].iloc[0] for order in group["order"].unique()}
        panel = "".join(_panel(group, fits, title))
        parts.append(f'<g transform="translate({column * WIDTH} {(row + each * places.index(at)) * HEIGHT})">{panel}</g>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide * 0.75:g}pt" height="{(high + FOOT) * 0.75:g}pt" '
            f'viewBox="0 0 {wide} {high + FOOT}" font-family="sans-serif" font-size="11" fill="#222">{"".join(parts)}'
            f'{_key(wide, high)}</svg>')


class _Scale:
    """From logarithms to places in a panel; lines end at its edges."""

    def __init__(self, taus: np.ndarray, low: float, high: float) -> None:
        pad = 0.05 * max(math.log(taus.max() / taus.min()), 1.0)
        self.x0, self.x1 = math.log(taus.min()) - pad, math.log(taus.max()) + pad
        self.y0, self.y1 = math.log(low), math.log(high)

    def x(self, tau: float) -> float:
        return LEFT + (math.log(tau) - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (math.log(value) - self.y0) / (self.y1 - self.y0)
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)

    def has(self, value: float) -> bool:
        return value > 0 and self.y0 <= math.log(value) <= self.y1

    def line(self, tau: Sequence[float], at: tuple[float, float], slope: float, style: str) -> str:
        """`value (t/τ)^slope` through `at = (τ, value)` between these two step sizes, as far as it is in the panel."""
        ends = []
        for t in map(math.log, tau):
            y = math.log(at[1]) + slope * (t - math.log(at[0]))
            inside = min(max(y, self.y0), self.y1)
            if inside != y and slope:
                t = math.log(at[0]) + (inside - math.log(at[1])) / slope
            ends.append((min(max(t, self.x0), self.x1), inside))
        (t0, y0), (t1, y1) = ends
        if t0 >= t1:
            return ""
        return (f'<line x1="{self.x(math.exp(t0)):.1f}" y1="{self.y(math.exp(y0)):.1f}" x2="{self.x(math.exp(t1)):.1f}" '
                f'y2="{self.y(math.exp(y1)):.1f}" {style}/>')


def _panel(group: pd.DataFrame, fits: dict[int, pd.Series], title: str) -> Iterator[str]:
    yield f'<path d="M{LEFT} {TOP}H{WIDTH - RIGHT}V{HEIGHT - BOTTOM}H{LEFT}z" fill="none" stroke="#444"/>'
    yield _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, TOP - 8, pretty(title).replace(r"\$", "$"), "middle")
    yield _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 6, "step size τ", "middle")
    yield (f'<text transform="translate(11 {TOP + (HEIGHT - TOP - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
           "|weak error|</text>")
    size, bar = group["error"].abs().to_numpy(float), 1.96 * group["stderr"].to_numpy(float)
    seen = np.isfinite(size) & (size > 0)
    if not seen.any():
        said = "all are 0" if (size == 0).any() else "no value: all paths diverged, or have none"
        yield _text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT / 2, said, "middle", "#666")
        return
    known = np.where(np.isfinite(bar), bar, 0.0)
    low, high = np.maximum(size - known, 0.5 * size)[seen].min() / 2, 2.5 * (size + known)[seen].max()
    scale = _Scale(group["tau"].to_numpy(float), low * (low / high) ** 0.25, high)  # room for the words below
    yield from _ticks(scale, sorted(set(group["tau"]), reverse=True), scale.y0, scale.y1)
    ends = (float(group["tau"].min()), float(group["tau"].max()))
    for slope, dash in ((1, "1 3"), (2, "5 3")):
        yield scale.line(ends, (ends[1], 2 * size[seen].max()), slope, f'stroke="#999" stroke-dasharray="{dash}"')
    least = group["error"].abs().replace(0, math.nan).min() / 2
    for place, (order, data) in enumerate(reversed(list(group.groupby("order")))):
        yield from _errors(scale, data, fits[int(order)], COLOURS[int(order)], least)
        fit = fits[int(order)]
        said = quote(fit["slope"], fit["slope_low"], fit["slope_high"]) if math.isfinite(fit["slope"]) else "no slope"
        yield _text(WIDTH - RIGHT - 6, HEIGHT - BOTTOM - 7 - LINE * place, f"order {order}: {said}", "end", COLOURS[int(order)])


def _errors(scale: _Scale, data: pd.DataFrame, fit: pd.Series, colour: str, least: float) -> Iterator[str]:
    """The errors of one order, their fit's leading term, and the integrator's bias where it is not far below."""
    rows = data[["tau", "error", "stderr", "integrator_bias"]].to_numpy(float)
    sure = [row for row in rows if abs(row[1]) > 3 * row[2]]
    if math.isfinite(fit["slope"]) and sure:
        tau, error = min(sure, key=lambda row: row[0])[:2]
        yield scale.line((rows[:, 0].min(), rows[:, 0].max()), (tau, abs(error)), float(fit["slope"]), f'stroke="{colour}"')
    for tau, error, noise, bias in rows:
        size, x = abs(error), scale.x(tau)
        if math.isfinite(size) and size > 0:
            bar, y = 1.96 * noise if math.isfinite(noise) else 0.0, scale.y(size)
            yield (f'<path d="M{x:.1f} {scale.y(max(size - bar, 0.05 * size)):.1f}V{scale.y(size + bar):.1f}" stroke="{colour}"/>'
                   f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{MARK}" stroke="{colour}" fill="{colour if error > 0 else "#fff"}"/>')
        if abs(bias) >= least and scale.has(abs(bias)):
            y = scale.y(abs(bias))
            yield f'<path d="M{x - 2:.1f} {y - 2:.1f}l4 4m0 -4l-4 4" stroke="{colour}" opacity=".6"/>'


def _ticks(scale: _Scale, taus: Sequence[float], low: float, high: float) -> Iterator[str]:
    for tau in taus[:: math.ceil(len(taus) / TICKS)]:
        x = scale.x(tau)
        yield f'<path d="M{x:.1f} {HEIGHT - BOTTOM}v4" stroke="#444"/>{_text(x, HEIGHT - BOTTOM + 15, fraction(tau), "middle")}'
    first, last = math.ceil(low / math.log(10) - 1e-9), math.floor(high / math.log(10) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / TICKS))
    factors = (1, 2, 5) if high - low < math.log(NARROW) else (1,)
    for exponent in range(first - 1, last + 1):
        for factor in factors if (exponent - first) % every == 0 else ():
            if scale.has(value := factor * 10.0**exponent):
                yield f'<path d="M{LEFT} {scale.y(value):.1f}h-4" stroke="#444"/>'
                yield _text(LEFT - 6, scale.y(value) + 4, power(value), "end")


def _key(wide: int, top: int) -> str:
    """What the marks mean."""
    marks = [('<circle cx="6" cy="0" r="3" fill="#444"/>', "error &gt; 0"),
             ('<circle cx="6" cy="0" r="3" stroke="#444" fill="#fff"/>', "error &lt; 0 (bars: 95 %)"),
             ('<path d="M4 -2l4 4m0 -4l-4 4" stroke="#444"/>', "|integrator bias|, if not far below"),
             ('<path d="M0 0h12" stroke="#444"/>', "C τᵖ, leading term alone"),
             ('<path d="M0 0h12" stroke="#999" stroke-dasharray="1 3"/>', "slope 1"),
             ('<path d="M0 0h12" stroke="#999" stroke-dasharray="5 3"/>', "slope 2")]
    across = wide / 3
    return "".join(f'<g transform="translate({i % 3 * across + across / 6:.0f} {top + 10 + i // 3 * 17})">{mark}'
                   f'<text x="18" y="4">{words}</text></g>' for i, (mark, words) in enumerate(marks))


def _text(x: float, y: float, words: Any, anchor: str, colour: str = "") -> str:
    fill = f' fill="{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{fill}>{html.escape(str(words))}</text>'
