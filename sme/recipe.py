"""How a part of a study was made, as plain data, so that a study can be taken up again without the program that began it."""

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from sme.errors import SMEError
from sme.identity import PACKAGE, public
from sme.inputs import short

TARGET = "_target_"


def path(part: Any) -> str | None:
    """`module.name` of a class or function that can be imported (`sme.Adam` of a public class); None for one that cannot."""
    if isinstance(part, type) and public(part):
        return f"{PACKAGE}.{part.__qualname__}"
    module, name = getattr(part, "__module__", None), getattr(part, "__qualname__", "<locals>")
    if not module or module == "__main__" or "<" in name:
        return None
    try:
        return f"{module}.{name}" if located(f"{module}.{name}") is part else None
    except SMEError:
        return None


def located(dotted: str) -> Any:
    """What a dotted path names; a public name of the package that has moved is found where it is.

    Raises
    ------
    SMEError
        if there is nothing of that name.
    """
    if not isinstance(dotted, str):
        raise SMEError(f"a dotted path is a text such as mine.MyOptimizer, got {short(dotted)}")
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as fault:
            if fault.name is not None and (module == fault.name or module.startswith(f"{fault.name}.")):
                continue
            raise SMEError(f"{dotted} cannot be imported: {fault}") from fault
        except Exception as fault:
            raise SMEError(f"{dotted} cannot be imported: {type(fault).__name__}: {fault}") from fault
        for name in parts[cut:]:
            if not hasattr(found, name):
                if parts[0] == PACKAGE and hasattr(sys.modules[PACKAGE], parts[-1]):
                    return getattr(sys.modules[PACKAGE], parts[-1])
                raise SMEError(f"{module} has no {'.'.join(parts[cut:])}: give the dotted path of something that it has")
            found = getattr(found, name)
        return found
    raise SMEError(f"nothing can be imported as {dotted!r}: give a dotted path such as mine.MyOptimizer, of a module in this "
                   "folder or an installed one")


def of(part: Any) -> dict[str, Any] | None:
    """`{"_target_": "sme.problems.quadratic.Quadratic", "dim": 2, …}`, from which `make` makes an equal part.

    None if there is no such.
    """
    recorded = getattr(part, "recipe", None)
    if recorded is not None:
        return dict(recorded) if _plain(recorded) else None
    target = path(type(part))
    arguments: dict[str, Any] | None
    if is_dataclass(part):
        arguments = {each.name: getattr(part, each.name) for each in fields(part) if each.init}
    else:
        arguments = _given(part)
    return {TARGET: target, **arguments} if target and arguments is not None and _plain(arguments) else None


def make(recipe: dict[str, Any]) -> Any:
    """The part again.

    Raises
    ------
    SMEError
        if its code cannot be imported any more.
    """
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in recipe.items() if name != TARGET}
    return located(recipe[TARGET])(**arguments)


def _given(part: Any) -> dict[str, Any] | None:
    """The arguments that a part was made with (`Problem` notes them), by name."""
    made_with = getattr(part, "made_with", None)
    if made_with is None:
        return None
    initialise: Callable[..., None] = type(part).__init__
    signature = inspect.signature(initialise)
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in signature.parameters.values()):
        return None
    bound = signature.bind(part, *made_with[0], **made_with[1])
    defaults = {name: each.default for name, each in signature.parameters.items() if each.default is not each.empty}
    whole = {**{name: value for name, value in defaults.items() if _plain(value)}, **bound.arguments}
    return {name: whole[name] for name in list(signature.parameters)[1:] if name in whole}


def _plain(value: Any) -> bool:
    """Whether JSON gives it back as it is."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
