"""`claims`: what papers say of optimizers and their equations, each tested by a number and a criterion set before."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sme.common.errors import SMEError, choose, reason
from sme.common.inputs import several
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.studies.claims import store
from sme.studies.claims.claim import Found
from sme.studies.claims.code import identity
from sme.studies.claims.given import SIZES, asked_of, told
from sme.studies.claims.registry import BY_NAME, CLAIMS
from sme.studies.claims.report import Claims
from sme.studies.claims.store import Result


@entry
def claims(only: Sequence[str] | str | None = None, sizes: str = "full", settings: Mapping[str, Mapping[str, Any]] | None = None,
           processes: int | str = 1, results: str | Path | None = None) -> Claims:
    """Test the papers' claims one by one; a claim that is on disk under the same settings and code is not run again.

    Parameters
    ----------
    only
        names of the claims that are run; None: all. Those that are on disk stay in the tables.
    sizes
        `"full"`, or `"smoke"`: a try of a second each, whose verdicts mean nothing.
    settings
        of a claim that is run, by its name: arguments of its measurement, such as `{"edge_of_stability": {"steps": 500}}`.
    processes
        over claims; `"auto"` is one a core.
    results
        folder; tables, a picture for each claim, and `points/` go to `claims` in it. None: in memory.

    Raises
    ------
    SMEError
        for a claim or a setting that there is not, or settings of a claim that is not run.
    """
    wanted = list(BY_NAME) if only is None else [choose("claim", each, BY_NAME) for each in several(only)]
    if not wanted:
        raise SMEError("only is empty: give the names of claims, such as only=[edge_of_stability], or leave it out")
    small = choose("sizes", sizes, SIZES) == SIZES[1]
    asked = asked_of(settings or {}, small, wanted)
    place = effort.place(results, "claims")
    codes = {each.name: identity(each.measure) for each in CLAIMS}
    kept = {} if place is None else {each.name: store.read(place, each, asked[each.name], codes[each.name]) for each in CLAIMS}
    there: dict[str, Result] = {name: each for name, each in kept.items() if each is not None}
    lacking = [name for name in wanted if name not in there]
    done = spread(_measured, [(name, asked[name]) for name in lacking], effort.processes(processes, "cpu"), ordered=False)
    for name, found, seconds in progress(done, total=len(lacking), unit="claim", desc="claims", leave=True):
        claim = BY_NAME[name]
        there[name] = (Result(name, asked[name], codes[name], found, round(seconds, 1), "") if place is None
                       else store.write(place, claim, asked[name], codes[name], found, seconds))
    made = Claims([there[name] for name in BY_NAME if name in there], small, folder=place)
    return made.saved()


def _measured(name: str, settings: dict[str, Any]) -> tuple[str, Found, float]:
    """What the claim leaves behind; of settings that it has no number for, so far from its own, `SMEError`."""
    began, claim = time.process_time(), BY_NAME[name]
    try:
        found = claim.measure(**settings)
    except (IndexError, ValueError, ArithmeticError) as fault:
        if isinstance(fault, SMEError) or not (far := told(claim, settings)):
            raise
        raise SMEError(f"{name} cannot be measured with {far} ({reason(fault)}): give settings nearer to its own") from fault
    return name, found, time.process_time() - began
