"""Which code is the user's own, and which is installed: a name is enough for that."""

import importlib.metadata
import site
import sys
import sysconfig
import types
from functools import cache
from pathlib import Path
from typing import Any

from sme.common.moved import OLD

PACKAGE = "sme"
KNOWN = ("torch", "numpy", "scipy", PACKAGE)
"""installed packages that go by their names alone, whatever the version"""
KEPT = {f"{PACKAGE}.{each}": f"{PACKAGE}.problems.network.{each}" for each in ("_entropy", "_squared")}
"""private names that studies were named by, as they were then"""


def own(module: str) -> bool:
    """Whether a module is the user's own: neither of the standard library nor of a package that was installed as released."""
    root = module.partition(".")[0]
    if root in (*KNOWN, "builtins") or root.startswith("_cython_"):  # where Cython keeps the types of its functions
        return False
    found = sys.modules.get(root)
    if found is None:
        return root not in sys.stdlib_module_names
    return _own(root, found)


def label(module: str) -> str:
    """The version of an installed package, where its name alone is not enough: ` 1.2.0`, or nothing."""
    root = module.partition(".")[0]
    if root in KNOWN or root in sys.stdlib_module_names or own(module):
        return ""
    found = _distribution(root)
    return f" {found.version}" if found is not None else ""


def whose(value: Any) -> str:
    """The module that a function's code stands in, or a class is of; a wrapper may carry another's name."""
    if isinstance(value, types.FunctionType):
        return str(value.__globals__.get("__name__") or value.__module__ or "")
    return str(getattr(value, "__module__", None) or "")


def _own(root: str, found: types.ModuleType) -> bool:
    places = [getattr(found, "__file__", None), *(getattr(found, "__path__", None) or ())]
    place = next((str(each) for each in places if each), None)
    if place is None:  # frozen or built in, or made by hand
        return root not in sys.stdlib_module_names and root not in sys.builtin_module_names
    return _place(root, place)


@cache
def _place(root: str, place: str) -> bool:
    """Whether a file belongs to nothing that was installed; a folder of one's own, installed from there, is one's own."""
    path = Path(place).resolve()
    if any(path.is_relative_to(each) for each in _packages()):
        found = _distribution(root)
        return found is not None and found.read_text("direct_url.json") is not None
    return not any(path.is_relative_to(each) for each in _standard())


@cache
def _packages() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(each).resolve() for each in {paths["purelib"], paths["platlib"], *site.getsitepackages(),
                                              site.getusersitepackages()}]


@cache
def _standard() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(each).resolve() for each in {paths["stdlib"], paths["platstdlib"]}]


@cache
def _distribution(root: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(root)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(root)
        return importlib.metadata.distribution(names[0]) if names else None


def public(value: Any) -> bool:
    """Whether `sme.<name>` is this very class or function."""
    return getattr(sys.modules[PACKAGE], value.__qualname__, None) is value


def name(value: Any) -> str:
    """`module.name`; of the package's own by the public name, `sme.Adam`, wherever its file is."""
    module, called = getattr(value, "__module__", None) or "", value.__qualname__
    if module.partition(".")[0] != PACKAGE:
        return f"{module}.{called}{label(module)}"
    return f"{PACKAGE}.{called}" if public(value) else KEPT.get(f"{PACKAGE}.{called}", f"{OLD.get(module, module)}.{called}")
