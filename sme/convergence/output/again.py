"""The lines of Python that make a study again."""

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sme.common.identity.hashing import PACKAGE
from sme.common.identity.recipe import TARGET
from sme.common.process.progress import fraction

BUILT_IN = "built-in"
MOST = 64
"""numbers of a start that are spelled out"""
WIDEST = 118


def lines(recipe: Mapping[str, Any], asked: Mapping[str, Any], folder: str | None) -> str:
    """A program that makes the study of a recipe; empty where nothing says what it was made from.

    A study with a long start, or with observables of the user's own, is made again from its folder.

    Parameters
    ----------
    recipe
        as in `spec.json` (see `Specification.recipe`).
    asked
        what its points were asked for: `order`, `tau`, and `paths` and `seed` where they are not the default ones.
    folder
        of the study.
    """
    if not recipe or not all(isinstance(recipe.get(name), dict) and TARGET in recipe[name] for name in ("problem", "optimizer")):
        return ""
    how = [f"{name}={_steps(value) if name == 'tau' else repr(value)}" for name, value in asked.items()]
    start, observables = recipe.get("start"), recipe.get("observables") or {}
    short = start is not None and sum(map(len, start.values())) <= MOST
    if start is None or not short or not observables or set(observables.values()) != {BUILT_IN}:
        grown = [word for word in how if not word.startswith("method=")]  # which the folder says
        return f"import sme\n\nstudy = sme.load({folder!r}).extend({', '.join(grown)})\n" if folder else ""
    problem, optimizer = (_call(recipe[name]) for name in ("problem", "optimizer"))
    vectors = ", ".join(f"{name!r}: torch.tensor({field!r}, dtype=torch.float64)" for name, field in start.items())
    words = [problem, optimizer, f"regime={recipe['regime_name']!r}", f"brownian={recipe['brownian']!r}",
             *([f"model={recipe['model_name']!r}"] if "model_name" in recipe else []),
             f"horizon={recipe['horizon']!r}", f"times={recipe['times']!r}", f"observables={list(observables)!r}",
             f"start={{{vectors}}}", *how, "results='results'"]
    modules = sorted({_root(each) for name in ("problem", "optimizer") for each in targets(recipe[name])} | {PACKAGE, "torch"})
    inner = textwrap.fill(", ".join(word.replace(" ", "\0") for word in words) + ")", WIDEST, initial_indent="    ",
                          subsequent_indent="    ", break_long_words=False, break_on_hyphens=False).replace("\0", " ")
    return "\n".join([*(f"import {module}" for module in modules), "", "study = sme.weak_error(", inner, ""])


def _steps(values: Sequence[float]) -> str:
    return f"[{', '.join(map(fraction, values))}]"


def _call(recipe: Mapping[str, Any]) -> str:
    """`sme.Adam(c1=2.0)`: the arguments that are not the default ones."""
    target, given = str(recipe[TARGET]), {name: value for name, value in recipe.items() if name != TARGET}
    defaults = _defaults(target)
    words = [f"{name}={_value(value)}" for name, value in given.items()
             if name not in defaults or not _same(defaults[name], value)]
    return f"{target}({', '.join(words)})"


def _value(value: Any) -> str:
    return _call(value) if isinstance(value, dict) and TARGET in value else repr(value)


def _defaults(target: str) -> dict[str, Any]:
    """Of the arguments of a class that is public here; of others everything is spelled out."""
    package, _, name = target.partition(".")
    home = __import__(PACKAGE)
    if package != PACKAGE or name not in home.__all__:
        return {}
    return {name: each.default for name, each in inspect.signature(getattr(home, name)).parameters.items()}


def _same(default: Any, value: Any) -> bool:
    default = list(default) if isinstance(default, tuple) else default
    return type(default) is type(value) and default == value


def targets(recipe: Any) -> list[str]:
    """What a recipe names, and the recipes in its arguments."""
    if not isinstance(recipe, dict):
        return []
    return [*([str(recipe[TARGET])] if TARGET in recipe else []), *(each for value in recipe.values() for each in targets(value))]


def _root(target: str) -> str:
    """The module that a target needs: `sme` of one that is public here."""
    package, _, name = target.partition(".")
    return PACKAGE if package == PACKAGE and "." not in name else target.rpartition(".")[0]
