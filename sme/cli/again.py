"""The shell command that makes a study again, found from what its folder says and from `conf/`."""

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sme.cli import command, spellings
from sme.common.inputs import number
from sme.common.process.progress import fraction
from sme.convergence.findings import Findings
from sme.convergence.output.again import BUILT_IN, MOST

TARGET = "_target_"
PLAIN = {"regime": "ballistic", "horizon": 1.0}
"""settings of `weak_error` that need no word where they are these"""
HIDDEN = "mean m"
"""of the built-in observables the one that is not there by default"""


def words(study: Findings) -> str:
    """`python scripts/weak_error.py optimizer=adam …`; empty where no such command makes it."""
    recipe = (study.outline.recipe(study.folder) if study.folder is not None else None) or {}
    parts: list[Any] = [recipe.get(group) for group in ("optimizer", "problem")]
    start, observables = recipe.get("start"), recipe.get("observables")
    if not all(map(_simple, parts)) or not observables or set(observables.values()) != {BUILT_IN}:
        return ""
    if start is None or sum(map(len, start.values())) > MOST:
        return ""
    optimizer, problem = (_nearest(group, part) for group, part in zip(("optimizer", "problem"), parts, strict=True))
    given = [f"optimizer={optimizer}", f"problem={problem}"]
    for group, option, part in zip(("optimizer", "problem"), (optimizer, problem), parts, strict=True):
        given += _changes(group, _option(group, option)[0], part)
    given += _start(start, _option("problem", problem)[1])
    given += [f"{name}={recipe[key]}" for name, key in (("regime", "regime_name"), ("horizon", "horizon"))
              if recipe[key] != PLAIN[name]]
    if (model := recipe.get("model_name")) is not None:
        given.append(f"model={model}")
    elif recipe["brownian"] != "independent":
        given.append(f"brownian={recipe['brownian']}")
    if recipe["times"] != [recipe["horizon"]]:
        given.append(f"times={_list(recipe['times'])}")
    default = {*(f"|{field}|^2" for field in start), *(f"mean {field}" for field in start), "loss"} - {HIDDEN}
    if set(observables) != default:
        given.append(f"observables=[{','.join(map(spellings._quoted, observables))}]")
    for name, value in study.requested.items():
        shown = [fraction(each) for each in value] if name == "tau" else value
        given.append(f"{name}={_list(shown) if isinstance(shown, list) else shown}")
    return f"python scripts/weak_error.py {' '.join(map(_shell, given))}"


def _shell(word: str) -> str:
    """A word as a shell takes it; one with apostrophes between double quotes, where these change nothing in it."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _simple(part: Any) -> bool:
    """Whether a recipe's arguments are numbers, words and lists of them, as `conf/` has them."""
    return isinstance(part, Mapping) and TARGET in part and not any(isinstance(value, Mapping) for value in part.values())


@cache
def _option(group: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of an option of `conf/`, and the start that goes with it."""
    place = command.CONF / group
    read: Any = OmegaConf.to_container(OmegaConf.load(place / f"{name}.yaml"), resolve=False)
    for base in read.pop("defaults", []):
        read = {**_option(group, base)[0], **read}
    return (read[group], read.get("start", {})) if group in read else (read, {})


def _nearest(group: str, part: Mapping[str, Any]) -> str:
    """The option of this class from which the fewest settings differ; `own` of a class that has none."""
    names = [path.stem for path in sorted(Path(command.CONF / group).glob("*.yaml"))]
    there = [name for name in names if _public(_option(group, name)[0].get(TARGET)) == _public(part[TARGET])]
    return min(there, key=lambda name: len(_changes(group, _option(group, name)[0], part)), default="own")


def _public(target: Any) -> str:
    """`sme.Adam` of `sme.optimizers.adam.Adam`, as older studies name it."""
    first, _, rest = str(target).partition(".")
    return f"sme.{rest.rpartition('.')[2]}" if first == "sme" else str(target)


def _changes(group: str, option: Mapping[str, Any], part: Mapping[str, Any]) -> list[str]:
    """What is to be said beside the option; `+` before a setting that it has not."""
    changed = [name for name, value in part.items() if not _same(name, option.get(name), value)]
    return [f"{'' if name in option else '+'}{group}.{name}={_value(part[name])}" for name in changed]


def _same(name: str, one: Any, other: Any) -> bool:
    if name == TARGET:
        return _public(one) == _public(other)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _start(start: Mapping[str, Sequence[float]], option: Mapping[str, Any]) -> list[str]:
    """The fields that do not begin where the problem's option has them."""
    found = []
    for field, values in start.items():
        given = option.get(field)
        there = None if given is None else [number(field, each) for each in (given if isinstance(given, list) else [given])]
        if there is None and not any(values):
            continue
        if there is None or list(islice(cycle(there), len(values))) != list(values):
            found.append(f"{'' if field in ('theta', 'm', 'v') else '+'}start.{field}="
                         f"{_value(list(values) if len(set(values)) > 1 else values[0])}")
    return found


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return _list(value)
    return spellings._quoted(str(value))


def _list(values: Sequence[Any]) -> str:
    return f"[{','.join(map(_value, values))}]"
