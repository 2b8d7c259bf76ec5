"""How a part of a study was made, as plain data, so that a study can be taken up again without the program that began it."""

import importlib
import importlib.util
import inspect
import re
import sys
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sme.common.errors import SMEError, reason
from sme.common.identity.hashing import PACKAGE, public
from sme.common.inputs import short
from sme.common.moved import NEW

TARGET = "_target_"
INSTALLED = {"site-packages", "dist-packages"}
"""folders of packages that are not the user's own"""


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


def here() -> None:
    """Have modules of the user's own be found where the command is given."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def held(part: Any, *functions: Any) -> str | None:
    """`module.name` of an object that a module of one of these functions holds; None if none does."""
    for each in functions:
        module = getattr(each, "__module__", None)
        if module and module != "__main__":
            for name, value in vars(sys.modules.get(module, types)).items():
                if value is part:
                    return f"{module}.{name}"
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
            found: Any = importlib.import_module(NEW.get(module, module))
        except ModuleNotFoundError as fault:
            if fault.name is not None and (module == fault.name or module.startswith(f"{fault.name}.")):
                continue
            raise SMEError(f"{dotted} cannot be imported: {fault}") from fault
        except (Exception, SystemExit) as fault:  # a script that ends with sys.exit()
            raise SMEError(f"{dotted} cannot be imported: {reason(fault)}") from fault
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


def make(recipe: Any, kind: type, inner: type | None = None) -> Any:
    """The part again: an Optimizer, or a Problem, which a function of the user's may make.

    The recipe is data that may be anybody's. So what it names is resolved first, and called only if it is such a class, or of
    problems a function of a module of the user's own, or one of the package's that says that it returns one. The same is true
    of recipes in its arguments, which make an `inner`, such as a law of a Problem, and of none if there is no such.

    Raises
    ------
    SMEError
        if it names anything else, its code cannot be imported any more, or it refuses.
    """
    if not isinstance(recipe, dict) or not isinstance(recipe.get(TARGET), str):
        raise SMEError(f"a recipe must be a group of settings with a {TARGET}, got {short(recipe)}: hand the part over")
    given, target = dict(recipe), recipe[TARGET]
    del given[TARGET]
    maker = _maker(target, kind)
    arguments = {name: tuple(_argument(value, inner)) if isinstance(value, list) else _argument(value, inner)
                 for name, value in given.items()}
    try:
        made = maker(**arguments)
    except SMEError:
        raise
    except Exception as fault:
        raise SMEError(f"{target} cannot be made with what its recipe gives it ({reason(fault)}): hand the part over") from fault
    if not isinstance(made, kind):
        raise SMEError(f"{target} makes a {type(made).__name__}, and not an sme.{kind.__name__}: hand the part over")
    return made


def function(dotted: Any) -> Callable[..., Any]:
    """The function of a module of the user's own that a recipe names.

    Raises
    ------
    SMEError
        for anything else.
    """
    if (found := _function(dotted)).__module__.partition(".")[0] == PACKAGE:
        raise _refusal(dotted, "function of a module of yours")
    return found


def thing(dotted: Any, *kinds: type) -> Any:
    """What a recipe names of a module of the user's own, an object or a subclass of one of these kinds.

    Raises
    ------
    SMEError
        for anything else.
    """
    found = _resolved(dotted)
    if isinstance(found, kinds) or (isinstance(found, type) and issubclass(found, kinds)):
        return found
    raise _refusal(dotted, " or ".join(f"sme.{kind.__name__}" for kind in kinds))


def _function(dotted: Any) -> Callable[..., Any]:
    found = _resolved(dotted)
    if isinstance(found, types.FunctionType) and _own(found.__module__) and _own(found.__globals__.get("__name__")):
        return found
    raise _refusal(dotted, "function of a module of yours")


def _maker(dotted: str, kind: type) -> Callable[..., Any]:
    found = _resolved(dotted)
    if isinstance(found, type):
        if issubclass(found, kind) and not inspect.isabstract(found):
            return found
        raise _refusal(dotted, f"sme.{kind.__name__}")
    made = _function(dotted)
    back = made.__annotations__.get("return")
    if made.__module__.partition(".")[0] == PACKAGE and not (isinstance(back, type) and issubclass(back, kind)):
        raise _refusal(dotted, f"sme.{kind.__name__}")
    return made


def _refusal(dotted: str, what: str) -> SMEError:
    return SMEError(f"{dotted} is no {what}, and what a study's folder names is not called otherwise: hand the part over")


def _argument(value: Any, inner: type | None) -> Any:
    """An argument, made where it is a recipe itself."""
    if isinstance(value, dict):
        if inner is not None and TARGET in value:
            return make(value, inner, inner)
        return {name: _argument(each, inner) for name, each in value.items()}
    return [_argument(each, inner) for each in value] if isinstance(value, list) else value


def _resolved(dotted: Any) -> Any:
    """What a recipe names, of a module that may be imported for it."""
    if not isinstance(dotted, str) or not all(part.isidentifier() and part[:2] != "__" for part in dotted.split(".")):
        raise SMEError(f"a dotted path such as mine.MyOptimizer is needed, got {short(dotted)}: hand the part over")
    root = dotted.partition(".")[0]
    if root in sys.stdlib_module_names or not (root in sys.modules or _own(root)):
        raise SMEError(f"{dotted} is not of a module of yours, so that a study's folder has no say in running it: import {root} "
                       "first, or hand the part over")
    return located(dotted)


def _own(module: Any) -> bool:
    """Whether a module is the package's, the user's, or of an installed package that builds on this one."""
    root = str(module).partition(".")[0]
    if root == PACKAGE or root in sys.stdlib_module_names:
        return root == PACKAGE
    try:
        spec = importlib.util.find_spec(root)  # runs nothing: there is no dot in it
    except (ImportError, ValueError):
        return root in sys.modules
    places = [*(spec.submodule_search_locations or []), *([spec.origin] if spec.origin else [])] if spec else []
    if not places:
        return root in sys.modules
    if not any(INSTALLED & set(Path(place).parts) for place in places):
        return True
    return any(re.match(rf"{PACKAGE}\b", needed) for name in metadata.packages_distributions().get(root, ())
               for needed in metadata.requires(name) or ())


def _given(part: Any) -> dict[str, Any] | None:
    """The arguments that a part was made with (`Problem` notes them), by name."""
    made_with = getattr(part, "made_with", None)
    if made_with is None:
        return None
    initialise: Callable[..., None] = type(part).__init__
    signature = inspect.signature(initialise)
    if any(each.kind == each.VAR_POSITIONAL for each in signature.parameters.values()):
        return None
    bound = signature.bind(part, *made_with[0], **made_with[1])
    further = next((name for name, each in signature.parameters.items() if each.kind == each.VAR_KEYWORD), "")
    others = bound.arguments.pop(further, {})
    defaults = {name: each.default for name, each in signature.parameters.items() if each.default is not each.empty}
    whole = {**{name: value for name, value in defaults.items() if _plain(value)}, **bound.arguments}
    return {name: whole[name] for name in list(signature.parameters)[1:] if name in whole} | others


def _plain(value: Any) -> bool:
    """Whether JSON gives it back as it is."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
