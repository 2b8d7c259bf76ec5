"""`claims`: what papers say of optimizers and their equations, each tested by a number and a criterion set before."""

import inspect
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, several, short, whole
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.convergence.spec import effort
from sme.studies.claims import store
from sme.studies.claims.claim import Claim, Found
from sme.studies.claims.code import identity
from sme.studies.claims.registry import BY_NAME, CLAIMS
from sme.studies.claims.report import Claims
from sme.studies.claims.store import Result

SIZES = ("full", "smoke")


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
        of a claim, by its name: arguments of its measurement, such as `{"edge_of_stability": {"steps": 500}}`.
    processes
        over claims; `"auto"` is one a core.
    results
        folder; tables, a picture for each claim, and `points/` go to `claims` in it. None: in memory.

    Raises
    ------
    SMEError
        for a claim or a setting that there is not.
    """
    wanted = list(BY_NAME) if only is None else [choose("claim", each, BY_NAME) for each in several(only)]
    if not wanted:
        raise SMEError("only is empty: give the names of claims, such as only=[edge_of_stability], or leave it out")
    small = choose("sizes", sizes, SIZES) == SIZES[1]
    asked = _asked(settings or {}, small)
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


def _asked(settings: Mapping[str, Mapping[str, Any]], small: bool) -> dict[str, dict[str, Any]]:
    """All arguments of each measurement, as they stand in a file."""
    found = {each.name: _settings(each, small) for each in CLAIMS}
    if not isinstance(settings, Mapping):
        raise SMEError(f"settings must map a claim's name to a group such as {{valley: {{near: 1e-3}}}}, got {short(settings)}")
    for name, own in settings.items():
        there = found[choose("claim", name, BY_NAME)]
        if not isinstance(own, Mapping):
            raise SMEError(f"settings of {name} must be a group such as {{{next(iter(there), 'runs')}: 8}}, got {short(own)}")
        for key, value in own.items():
            choose(f"setting of {name}", key, there)
            _alike(f"{name}.{key}", value, there[key])
        found[name] = _plain({**there, **own})
    return found


def _alike(what: str, value: Any, there: Any) -> None:
    """Raise `SMEError` for a setting that is not of the kind of its default: numbers above 0 stay there, lists have entries."""
    if isinstance(there, list):
        if not isinstance(value, list | tuple) or not value:
            raise SMEError(f"{what} must be a list such as {there}, got {short(value)}")
        for each in value:
            if there:
                _alike(what, each, there[0])
    elif isinstance(there, int | float) and not isinstance(there, bool):
        given = whole(what, value, 0 if there == 0 else 1) if isinstance(there, int) else number(what, value)
        if not math.isfinite(given) or (there > 0 and given <= 0):
            raise SMEError(f"{what} must be finite{' and positive' if there > 0 else ''}, as {there} is, got {short(value)}")
    elif there is not None and not isinstance(value, type(there)):
        raise SMEError(f"{what} must be like {short(there)}, got {short(value)}")


def _settings(claim: Claim, small: bool) -> dict[str, Any]:
    given = {name: each.default for name, each in inspect.signature(claim.measure).parameters.items()}
    return _plain({**given, **(claim.smoke if small else {})})


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as JSON has them."""
    read: dict[str, Any] = json.loads(json.dumps(given, default=list))
    return read


def _measured(name: str, settings: dict[str, Any]) -> tuple[str, Found, float]:
    began = time.process_time()
    return name, BY_NAME[name].measure(**settings), time.process_time() - began
