"""What code of the user's own reaches: what its closures hold, what it imports, and the package's own below it."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from sme.common.errors import SMEError, reason
from sme.common.identity import syntax
from sme.common.identity.owned import PACKAGE

ABSENT = "absent"


def packages(kind: type) -> tuple[type, ...]:
    """The bases that are the package's own."""
    return tuple(base for base in kind.__mro__ if base.__module__.partition(".")[0] == PACKAGE)


def describes(kind: type) -> bool:
    """Whether objects of a class say themselves what they are."""
    describe = getattr(kind, "describe", None)
    return describe is not None and len(inspect.signature(describe).parameters) == 1


def says(value: Any) -> Any:
    """What an object says of itself.

    Raises
    ------
    SMEError
        if it fails to.
    """
    try:
        return value.describe()
    except SMEError:
        raise
    except Exception as fault:
        raise SMEError(f"{type(value).__name__}.describe fails: {reason(fault)}. It says what identifies the part") from fault


def held(cell: Any) -> Any:
    """What a closure holds in a cell; `ABSENT` where it is filled later."""
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def imported(given: syntax.Import, names: Mapping[str, Any]) -> Any:
    """What an import within a function brings, in a module of these names; `ABSENT` where it fails."""
    try:
        module = given.module
        if given.level:
            module = importlib.util.resolve_name("." * given.level + module, names.get("__package__"))
        found = sys.modules.get(module) or importlib.import_module(module)
        if given.attribute is None:
            return found
        return getattr(found, given.attribute) if hasattr(found, given.attribute) else importlib.import_module(
            f"{module}.{given.attribute}")
    except Exception:
        return ABSENT
