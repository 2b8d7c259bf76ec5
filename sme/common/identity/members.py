"""What belongs to a class and to an object of the user's own."""

import dataclasses
import enum
import functools
import types
from collections.abc import Iterator
from typing import Any

import torch

from sme.common.identity.owned import own, whose

CONSTRUCTORS = ("__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__")
GENERATED = ("__init__", "__repr__", "__eq__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__", "__setattr__", "__delattr__",
             "__getstate__", "__setstate__", "__replace__")
"""methods that `dataclass` writes from the fields"""
TUPLES = ("_fields", "_field_defaults", "_make", "_replace", "_asdict", "__new__", "__getnewargs__", "__repr__", "__replace__")
"""members that `NamedTuple` writes from the fields"""
DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)
CHANGING = ("_last", "_slope", "_agrees", "_made", "made_with", "recipe")
"""attributes of the package's own parts that a run changes, or that only say how they were made"""
OF_MODULES = frozenset(("__name__", "__file__", "__doc__", "__loader__", "__spec__", "__builtins__", "__cached__", "__package__",
                        "__path__", "__warningregistry__", "__annotations__", "__annotate__", "__conditional_annotations__"))
"""names that Python keeps in a module for itself"""
OF_TORCH = ("persistent", "_is_buffer")
"""attributes that torch notes on buffers"""
FUNCTIONS = types.FunctionType | staticmethod | classmethod | property | functools.cached_property | functools.partialmethod


def of(kind: type) -> Iterator[tuple[str, Any]]:
    """The members of a class itself, sorted by name, without what Python keeps there for itself."""
    dataclass = "__dataclass_fields__" in vars(kind)
    for name, item in sorted(vars(kind).items()):
        if isinstance(item, DESCRIPTORS) or name in ("_abc_impl", "__classcell__"):
            continue
        if name == "__dataclass_fields__":
            yield name, {each: _default(field) for each, field in item.items()}
        elif dataclass and name in GENERATED and isinstance(item, types.FunctionType) and _written(item):
            continue
        elif issubclass(kind, tuple) and hasattr(kind, "_fields") and name in TUPLES:
            if name in ("_fields", "_field_defaults"):
                yield name, item
        elif issubclass(kind, enum.Enum) and not (isinstance(item, FUNCTIONS) and _mine(item)):
            continue
        elif isinstance(item, FUNCTIONS) or not (name.startswith("__") and name.endswith("__")):
            yield name, item


def parts(item: Any) -> list[Any]:
    """The functions behind a descriptor."""
    if isinstance(item, property):
        return [item.fget, item.fset, item.fdel]
    if isinstance(item, functools.partialmethod):
        return [item.func, item.args, item.keywords]
    return [item.func if isinstance(item, functools.cached_property) else item.__func__]


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object, sorted by name: those in slots as well, none that a `cached_property` has kept."""
    found = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            hidden = f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if name not in ("__dict__", "__weakref__") and hasattr(value, hidden):
                found[hidden] = getattr(value, hidden)
    for name, item in sorted(found.items()):
        if not isinstance(getattr(type(value), name, None), functools.cached_property):
            yield name, item


def contents(value: Any) -> Any:
    """What an object of a class derived from a container, a number or a tensor holds; None for any other."""
    if isinstance(value, dict):
        return list(value.items())
    plain: tuple[Any, ...] = (list, tuple, set, frozenset, str, int, float, complex, bytes)
    for base in plain:
        if isinstance(value, base):
            return base(value)
    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor)
    return None


def _default(field: Any) -> list[Any]:
    given = [field.default, field.default_factory]
    return [None if each is dataclasses.MISSING else [each] for each in given]


def _written(item: types.FunctionType) -> bool:
    return item.__code__.co_filename == "<string>" or not own(whose(item))


def _mine(item: Any) -> bool:
    functions = [item] if isinstance(item, types.FunctionType) else parts(item)
    return any(isinstance(each, types.FunctionType) and own(whose(each)) for each in functions)
