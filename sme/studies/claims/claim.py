"""A claim of a paper, the numbers that test it, and the verdict that follows from them alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from sme.studies.autoencoder.report import interval

HOLDS, FAILS, WHERE, PART, UNDECIDED = "holds", "does not hold here", "holds where", "holds in part", "undecided"
VERDICTS = (HOLDS, WHERE, PART, FAILS, UNDECIDED)
DETERMINISTIC = "deterministic"
MORE = 100
"""times as many runs as were made, and no more, are said to decide: beyond, nobody makes them"""


@dataclass(frozen=True)
class Number:
    """One number with its interval, and the range in which the claim has it.

    Attributes
    ----------
    where
        in which case, or of what, in a few words.
    value, low, high
        the number and the ends of its interval.
    least, most
        the claimed range: the claim is refuted here by an interval that lies outside.
    basis
        what the interval is of.
    runs
        how many independent runs it is of; 0 where there is no chance, so that no further run decides.
    beside
        whether nothing is claimed of it, so that it has no part in the verdict.
    part
        which part of the sentence it tests, of one that says several things; numbers of one part are cases of it.
    diverged
        how many of the runs diverged, and so have no such number: if it is not finite for that reason the claim does not hold;
        one that is not finite for another reason decides nothing.
    """

    where: str
    value: float
    low: float
    high: float
    least: float = -math.inf
    most: float = math.inf
    basis: str = ""
    runs: int = 0
    beside: bool = False
    part: str = ""
    diverged: int = 0

    @classmethod
    def mean(cls, where: str, values: Sequence[float] | np.ndarray, of: str, *, geometric: bool = False, least: float = -math.inf,
             most: float = math.inf, beside: bool = False, part: str = "", diverged: int = 0) -> "Number":
        """The mean (of logarithms a geometric one) with 95 % of Student's t."""
        with np.errstate(invalid="ignore"):  # of runs that diverged
            found = np.array(interval(np.asarray(values, float)))
        value, low, high = (np.exp(found) if geometric else found).tolist()
        return cls(where, value, low, high, least, most, f"95 % of Student's t, {len(values)} {of}", len(values), beside, part,
                   diverged)

    @classmethod
    def exact(cls, where: str, value: float, *, least: float = -math.inf, most: float = math.inf, beside: bool = False,
              part: str = "", basis: str = DETERMINISTIC) -> "Number":
        """A number without chance in it, which has no interval."""
        return cls(where, value, value, value, least, most, basis, 0, beside, part)

    @classmethod
    def normal(cls, where: str, value: float, stderr: float, runs: int, *, least: float = -math.inf,
               most: float = math.inf) -> "Number":
        """A number of a mean over runs with its standard error, 95 %: not finite if one of them diverged."""
        return cls(where, value, value - 1.96 * stderr, value + 1.96 * stderr, least, most, f"95 %, {runs} runs", runs,
                   diverged=int(not math.isfinite(value)))

    @property
    def verdict(self) -> str:
        """`HOLDS` if the whole interval lies in the claimed range, `FAILS` if it lies outside, else `UNDECIDED`."""
        if self.diverged and not math.isfinite(self.value):
            return FAILS
        if math.isnan(self.value):
            return UNDECIDED
        if self.high < self.least or self.low > self.most:  # neither is so of an end that is not a number, as that of one run
            return FAILS
        bounded = math.isfinite(self.low) and math.isfinite(self.high)
        return HOLDS if bounded and self.least <= self.low and self.high <= self.most else UNDECIDED

    @property
    def needed(self) -> int | None:
        """About how many runs would decide, if the number stays: the half-width falls as their root. None where no number does.
        """
        sides = [(self.value - self.low, self.value - self.least), (self.high - self.value, self.most - self.value)]
        if not self.least <= self.value <= self.most:  # it is to lie outside as a whole
            sides = [(self.high - self.value, self.least - self.value) if self.value < self.least else
                     (self.value - self.low, self.value - self.most)]
        found = max(self.runs * (half / gap) ** 2 if gap > 0 else math.inf for half, gap in sides)
        return math.ceil(found) if 0 < found < math.inf else None

    @property
    def said(self) -> str:
        """`where: 1.23 [1.2, 1.26], claimed ≤ 2`; of what has no chance in it `where: 1.23, deterministic, claimed ≤ 2`."""
        exact = not self.runs and self.low == self.high
        shown = f"{self.value:.4g}, {DETERMINISTIC}" if exact else f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.where}: {shown}, {'beside the claim' if self.beside else f'claimed {self.claimed}'}"

    @property
    def claimed(self) -> str:
        """`≥ 0.5`, `≤ 2`, `0.5 to 2`."""
        if math.isinf(self.least):
            return f"≤ {self.most:.4g}"
        return f"≥ {self.least:.4g}" if math.isinf(self.most) else f"{self.least:.4g} to {self.most:.4g}"


class Panel(NamedTuple):
    """One panel of a claim's picture: curves by name, each `x`, `y`, and if there are `low`, `high`."""

    title: str
    x: str
    y: str
    curves: dict[str, dict[str, list[float]]]
    log: str = ""
    """`x`, `y` or `xy`: the logarithmic axes"""
    lines: Mapping[str, float] = MappingProxyType({})
    """heights of horizontal lines, by what they are"""
    points: bool = False
    """marks that are joined, in place of lines alone"""


def curve(x: Any, y: Any, low: Any = None, high: Any = None) -> dict[str, list[float]]:
    """A curve of a panel."""
    named = {"x": x, "y": y, "low": low, "high": high}
    return {name: [float(each) for each in values] for name, values in named.items() if values is not None}


class Found(NamedTuple):
    """What a claim's measurement leaves behind."""

    numbers: list[Number]
    panels: list[Panel]


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, in our words, with all that was settled before its run.

    Attributes
    ----------
    name
        by which `only=` picks it.
    paper, place
        whose, and where in it, as far as that is known.
    sentence
        what is claimed.
    setting, size
        what is run, whole in itself, and how large that is beside the paper's.
    refuted
        what would refute it, in words; `Number.least` and `most` say it in numbers.
    measure
        makes the numbers, with its sizes as arguments, and says in its first line what they are; `smoke` are the sizes of a try
        of a second.
    band
        what the bands around the curves of its picture are, if there are any.
    fitted
        arguments of the measurement over which a slope is fitted: of one value there is none.
    """

    name: str
    paper: str
    place: str
    sentence: str
    setting: str
    size: str
    refuted: str
    measure: Callable[..., Found]
    smoke: Mapping[str, Any] = field(default_factory=dict)
    band: str = ""
    fitted: Sequence[str] = ()

    @property
    def number(self) -> str:
        """What the numbers are."""
        return (self.measure.__doc__ or "").partition("\n\n")[0].strip()


def verdict(found: Sequence[Number]) -> str:
    """What the numbers say of a claim: `holds where …; not where …` if it holds in some cases and fails in others.

    If a case is undecided, so is the claim, unless both others occur. A sentence of several parts `holds in part` if its parts
    have different verdicts, each of which is told then.
    """
    numbers = [each for each in found if not each.beside]
    names = dict.fromkeys(each.part for each in numbers)
    parts = {name: _cases([each for each in numbers if each.part == name]) for name in names}
    if len(parts) < 2:
        return next(iter(parts.values()), f"{UNDECIDED}: there is no number")
    kinds, told = set(map(short, parts.values())), "; ".join(f"{part}: {said}" for part, said in parts.items())
    if kinds in ({HOLDS}, {FAILS}):
        return kinds.pop()
    some, none = kinds & {HOLDS, WHERE}, kinds & {FAILS, WHERE}
    return f"{UNDECIDED if UNDECIDED in kinds and not (some and none) else PART}: {told}"


def _cases(numbers: Sequence[Number]) -> str:
    """The verdict on what is said of several cases alike."""
    cases = {kind: [each for each in numbers if each.verdict == kind] for kind in (HOLDS, FAILS, UNDECIDED)}
    yes, no = ("; ".join(each.where for each in cases[kind]) for kind in (HOLDS, FAILS))
    open_ = f"{UNDECIDED}: " + "; ".join(f"{each.where}{_more(each)}" for each in cases[UNDECIDED])
    if cases[HOLDS] and cases[FAILS]:
        return f"{WHERE}: {yes}; not where: {no}" + (f"; {open_}" if cases[UNDECIDED] else "")
    if cases[UNDECIDED]:
        return open_ + (f"; {WHERE}: {yes}" if yes else "") + (f"; not where: {no}" if no else "")
    return FAILS if cases[FAILS] else HOLDS


def _more(number: Number) -> str:
    if not math.isfinite(number.value):
        return " (there is no number)"
    if not number.needed:
        return " (no longer run of this kind decides)"
    if number.needed > MORE * number.runs:
        return f" (more than {MORE} times as many would be needed)"
    return f" (some {number.needed} in place of {number.runs} would decide)"


def short(said: str) -> str:
    """One of `VERDICTS`, without its cases."""
    return said.partition(":")[0]
