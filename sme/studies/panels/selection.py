"""Results on disk, chosen by what their specifications say, and what tells them apart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sme.common.errors import SMEError, choose, reason
from sme.common.inputs import number
from sme.convergence.spec.outline import FILE, opened

MEASURED = ("times", "observables")
"""parts of a specification that say what is looked at, and not at what"""
TITLES = {"name": "", "problem": "", "regime": "", "level": "noise level", "dim": "d", "theta": "start θ", "tau": "τ",
          "batch_size": "batch"}
"""what a label calls a setting, by the last part of its name, if not so; nothing: its value says enough"""

Settings = dict[str, Any]


def settings(folder: Path) -> Settings:
    """The specification in a folder's `spec.json` by dotted names, such as `problem.dim`.

    Raises
    ------
    SMEError
        if it cannot be read.
    """
    try:
        spec = opened(folder)["specification"]
        return dict(_flat("", {name: part for name, part in spec.items() if name not in MEASURED}))
    except (AttributeError, RecursionError) as fault:
        raise SMEError(f"{folder / FILE} is not a whole specification ({reason(fault)}): run the command that made "
                       "it again") from fault


def _flat(prefix: str, part: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value


def select(there: Mapping[Path, Settings], conditions: Sequence[str]) -> dict[Path, Settings]:
    """Those that meet every condition `name=value`, or `name=one,other`.

    A number may be a fraction; a list, such as a start, meets one that all its entries are.

    Raises
    ------
    SMEError
        for a name that none has, or if none meets them.
    """
    names = sorted({name for each in there.values() for name in each})
    chosen = dict(there)
    for condition in conditions:
        name, equals, values = condition.partition("=")
        if not equals:
            raise SMEError(f"'{condition}' is no condition: write name=value, such as horizon=10")
        if there:
            choose("setting", name, names)
        chosen = {path: each for path, each in chosen.items()
                  if any(_meets(each.get(name), value.strip()) for value in values.split(","))}
    if not chosen:
        have = {name: sorted({str(each[name]) for each in there.values() if name in each})
                for name in (condition.partition("=")[0] for condition in conditions)}
        words = "; ".join(f"{name} is {', '.join(values)}" for name, values in have.items() if values)
        raise SMEError(f"none of the {len(there)} results meets {' '.join(conditions) or 'this'}"
                       f"{f' ({words} there)' if words else ''}: run their command first, or change the conditions")
    return chosen


def _meets(value: Any, given: str) -> bool:
    if isinstance(value, list):
        return all(_meets(entry, given) for entry in value)
    if isinstance(value, bool | str) or value is None:
        return str(value).lower() == given.lower()
    try:
        return math.isclose(value, number("a condition", given), rel_tol=1e-5)  # a folder's name has six digits of τ
    except SMEError:
        return False


def telling(chosen: Iterable[Settings], apart: Iterable[str] = ()) -> list[str]:
    """The names of the settings that all have and that differ, but those `apart`.

    Of two optimizers or problems the names say enough, and of two dimensions the dimension.
    """
    each = list(chosen)
    shared = [name for name in each[0] if all(name in other for other in each)]
    differ = [name for name in shared if any(other[name] != each[0][name] for other in each) and name not in apart]
    for whole, parts in (("optimizer.name", "optimizer."), ("problem.problem", "problem."), ("problem.dim", "start.")):
        if whole in differ:
            differ = [name for name in differ if name == whole or not name.startswith(parts)]
    return differ


def following(chosen: Iterable[Settings], leading: Sequence[str]) -> list[str]:
    """The names of the settings that the `leading` ones fix, themselves too: batch and noise that follow the step size."""
    each = list(chosen)
    groups: dict[str, list[Settings]] = {}
    for one in each:
        groups.setdefault(repr([one.get(name) for name in leading]), []).append(one)
    return [name for name in each[0]
            if all(one.get(name) == group[0].get(name) for group in groups.values() for one in group)]


def label(one: Settings, names: Iterable[str]) -> str:
    """The settings of these names in words: `adam, ballistic, d = 6`."""
    return ", ".join(_words(name.rpartition(".")[2], one[name]) for name in names)


def _words(name: str, value: Any) -> str:
    if isinstance(value, list) and len(set(value)) == 1:
        value = value[0]
    shown = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    title = TITLES.get(name, name.replace("_", " "))
    return f"{title} = {shown}" if title else shown
