"""The page of claims: how each fares, then all of each under a heading of its own, and a picture."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sme.common.output.provenance import Provenance
from sme.common.output.report import Plot, Report
from sme.common.output.text import grid
from sme.common.version import version
from sme.studies.claims import picture
from sme.studies.claims.claim import DETERMINISTIC, VERDICTS, Number, short, verdict
from sme.studies.claims.given import command, told
from sme.studies.claims.registry import BY_NAME
from sme.studies.claims.store import Result

LINKS = ("github",)
"""styles in which pages are written, with links and marks of code"""


@dataclass(frozen=True, repr=False)
class Claims(Report):
    """What `claims` finds.

    Attributes
    ----------
    results
        of each claim the numbers, curves, settings and CPU seconds.
    small
        whether sizes were those of a try: verdicts mean nothing then.
    """

    file = name = "claims"
    title = "The papers' claims, one by one"
    results: list[Result]
    small: bool = False

    @property
    def numbers(self) -> pd.DataFrame:
        """`claim where number low high least most part verdict basis runs`, a row for each number."""
        rows = [{"claim": each.claim, "where": one.where, "number": one.value, "low": one.low, "high": one.high,
                 "least": one.least, "most": one.most, "part": one.part, "verdict": one.verdict if not one.beside else "beside",
                 "basis": one.basis, "runs": one.runs}
                for each in self.results for one in each.found.numbers]
        return pd.DataFrame(rows)

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """`claim paper place sentence setting size refuted number verdict seconds command`, a row for each claim."""
        rows = []
        for each in self.results:
            claim = BY_NAME[each.claim]
            rows.append({"claim": claim.name, "paper": claim.paper, "place": claim.place, "sentence": claim.sentence,
                         "setting": _setting(each), "size": claim.size, "refuted": claim.refuted, "number": claim.number,
                         "verdict": verdict(each.found.numbers), "seconds": each.seconds,
                         "command": command(claim, each.settings, self.small)})
        return pd.DataFrame(rows)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"claims": self.table, "numbers": self.numbers}

    @property
    def summary(self) -> pd.DataFrame:
        """How many claims have which verdict."""
        kinds = [short(verdict(each.found.numbers)) for each in self.results]
        rows = {word: kinds.count(word) for word in VERDICTS}
        return pd.DataFrame({"verdict": [*rows, "all"], "claims": [*map(str, rows.values()), str(len(kinds))]})

    def overview(self, style: str) -> pd.DataFrame:
        """Name, paper and verdict, without its cases."""
        linked = "[{0}](#{0})" if style in LINKS else "{}"
        return pd.DataFrame([{"claim": linked.format(each.claim), "of": BY_NAME[each.claim].paper,
                              "verdict": short(verdict(each.found.numbers))} for each in self.results])

    def body(self, style: str) -> list[str]:
        warned = ["Sizes of a try: these verdicts mean nothing."] if self.small else []
        return [*warned, grid(self.summary, style), grid(self.overview(style), style),
                *(section(each, style, self.small) for each in self.results)]

    @property
    def plots(self) -> Mapping[str, Plot]:
        """A picture for each claim."""
        return {each.claim: functools.partial(self._draw, each) for each in self.results}

    def _draw(self, result: Result, path: Path) -> Path:
        claim = BY_NAME[result.claim]
        made = Provenance(f"claims, {claim.name}", (result.version or version(),), ())
        return picture.draw(claim, result.found, made, path, told(claim, result.settings))


def _setting(result: Result) -> str:
    """What is run, and which settings of it were changed."""
    claim = BY_NAME[result.claim]
    own = told(claim, result.settings)
    return f"{claim.setting}. Settings changed: {own}" if own else claim.setting


def section(result: Result, style: str, small: bool = False) -> str:
    """All of one claim, under a heading of its own."""
    claim, code = BY_NAME[result.claim], "`" if style in LINKS else ""
    said = verdict(result.found.numbers)
    rows = {"claimed": f"{claim.sentence} ({claim.paper}, {claim.place})", "verdict": f"**{said}**" if style in LINKS else said,
            "refuted by": claim.refuted, "number": claim.number if style in LINKS else claim.number.replace("`", ""),
            "setting": _setting(result), "beside the paper's": claim.size,
            "command": f"{code}{command(claim, result.settings, small)}{code}, {result.seconds:.0f} s of one core"}
    if style in LINKS:
        rows["picture"] = f"[{claim.name}.png]({claim.name}.png)" + (f", its bands are {claim.band}" if claim.band else "")
    lines = {name: f"- {name}: {row}" for name, row in rows.items()}
    lines["number"] += "".join(f"\n  - {_said(each)}" for each in result.found.numbers)
    body = "\n".join(lines.values())
    return f"## {claim.name}\n\n{body}"


def _said(number: Number) -> str:
    """With the part of the sentence, the verdict, and what the interval is of."""
    part = f"{number.part}; " if number.part else ""
    basis = "" if number.basis == DETERMINISTIC else f" ({number.basis})"
    return f"{part}{number.said}" + ("" if number.beside else f": {number.verdict}") + basis

