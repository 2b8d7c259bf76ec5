"""The page of claims: a row for each, its numbers, and a picture."""

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
from sme.studies.claims.claim import FAILS, HOLDS, UNDECIDED, WHERE, short, verdict
from sme.studies.claims.registry import BY_NAME
from sme.studies.claims.store import Result

BREAK = {"github": "<br>"}
"""between the parts of a cell, where a style has one"""


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
        """`claim where number low high least most verdict basis runs`, a row for each number."""
        rows = [{"claim": each.claim, "where": one.where, "number": one.value, "low": one.low, "high": one.high,
                 "least": one.least, "most": one.most, "verdict": one.verdict if not one.beside else "beside",
                 "basis": one.basis, "runs": one.runs}
                for each in self.results for one in each.found.numbers]
        return pd.DataFrame(rows)

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """`claim paper place sentence setting size refuted verdict seconds command`, a row for each claim."""
        rows = []
        for each in self.results:
            claim = BY_NAME[each.claim]
            rows.append({"claim": claim.name, "paper": claim.paper, "place": claim.place, "sentence": claim.sentence,
                         "setting": claim.setting, "size": claim.size, "refuted": claim.refuted,
                         "verdict": verdict(each.found.numbers), "seconds": each.seconds, "command": claim.command})
        return pd.DataFrame(rows)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"claims": self.table, "numbers": self.numbers}

    @property
    def summary(self) -> pd.DataFrame:
        """How many claims have which verdict."""
        kinds = [short(verdict(each.found.numbers)) for each in self.results]
        rows = {word: kinds.count(word) for word in (HOLDS, WHERE, FAILS, UNDECIDED)}
        return pd.DataFrame({"verdict": [*rows, "all"], "claims": [*map(str, rows.values()), str(len(kinds))]})

    def body(self, style: str) -> list[str]:
        warned = ["Sizes of a try: these verdicts mean nothing."] if self.small else []
        return [*warned, grid(self.summary, style), grid(pd.DataFrame([self._row(each, style) for each in self.results]), style)]

    def _row(self, result: Result, style: str) -> dict[str, str]:
        claim, apart, code = BY_NAME[result.claim], BREAK.get(style, " "), "`" if style in BREAK else ""
        found = (apart if style in BREAK else "; ").join(each.said for each in result.found.numbers)
        return {"claim, in our words": f"{claim.sentence}{apart}({claim.paper}, {claim.place})",
                "setting": f"{claim.setting}{apart}Size: {claim.size}", "refuted by": claim.refuted, "found": found,
                "verdict": verdict(result.found.numbers), "CPU s": f"{result.seconds:.0f}",
                "command": f"{code}{claim.command}{code}"}

    @property
    def plots(self) -> Mapping[str, Plot]:
        """A picture for each claim."""
        return {each.claim: functools.partial(self._draw, each) for each in self.results}

    def _draw(self, result: Result, path: Path) -> Path:
        claim = BY_NAME[result.claim]
        made = Provenance(f"claims, {claim.name}", (result.version or version(),), ())
        return picture.draw(claim, result.found, made, path)

