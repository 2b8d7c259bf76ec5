"""What a claim is measured with: all arguments of its measurement, which of them were changed, and the command that has them."""

import inspect
import json
import math
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from sme.common.errors import SMEError, choose
from sme.common.inputs import number, short, whole
from sme.studies.claims.claim import Claim
from sme.studies.claims.registry import BY_NAME, CLAIMS

SIZES = ("full", "smoke")


def asked_of(settings: Mapping[str, Mapping[str, Any]], small: bool, run: Collection[str]) -> dict[str, dict[str, Any]]:
    """All arguments of each measurement, as they stand in a file; `run` are the claims that may have some changed.

    Raises
    ------
    SMEError
        for settings that are not of the kind of the defaults, of a claim that is not run, or over which no slope can be fitted.
    """
    found = {each.name: defaults(each, small) for each in CLAIMS}
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
        for key in BY_NAME[name].fitted:
            if len({*found[name][key]}) < 2:
                raise SMEError(f"{name}.{key} must have two different values or more, such as {short(there[key])}: a slope is "
                               f"fitted over them; got {short(found[name][key])}")
    idle = [name for name in settings if name not in run]
    if idle:
        raise SMEError(f"settings has a group for {idle[0]}, which is not run: put it into only as well, "
                       f"only=[{','.join([*run, idle[0]])}], or leave the group out")
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


def defaults(claim: Claim, small: bool = False) -> dict[str, Any]:
    """All arguments of a measurement as they are if nobody changes them."""
    given = {name: each.default for name, each in inspect.signature(claim.measure).parameters.items()}
    return _plain({**given, **(claim.smoke if small else {})})


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as JSON has them."""
    read: dict[str, Any] = json.loads(json.dumps(given, default=list))
    return read


def changed(claim: Claim, settings: Mapping[str, Any], small: bool = False) -> dict[str, Any]:
    """The settings that are not the defaults."""
    there = defaults(claim, small)
    return {name: value for name, value in settings.items() if value != there.get(name)}


def told(claim: Claim, settings: Mapping[str, Any]) -> str:
    """`steps = 500 in place of 3000; …`, of what differs from the full sizes; empty if nothing does."""
    full = defaults(claim)
    return "; ".join(f"{name} = {_written(value)} in place of {_written(full.get(name))}"
                     for name, value in changed(claim, settings).items())


def command(claim: Claim, settings: Mapping[str, Any], small: bool = False) -> str:
    """What runs it again."""
    own = changed(claim, settings, small)
    words = [f"only=[{claim.name}]"] + ["sizes=smoke"] * small
    if own:
        words.append(f"settings={{{claim.name}:{{{','.join(f'{name}:{_written(value)}' for name, value in own.items())}}}}}")
    return f"python scripts/claims.py {shlex.join(words)}"


def _written(value: Any) -> str:
    """As the command line reads it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
