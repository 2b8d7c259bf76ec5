"""What tells two functions, classes or objects of the user's own apart."""

import enum
import functools
import logging
import sys
import types
import typing
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from sme.common.errors import SMEError
from sme.common.identity import layers, members, outside, reach, syntax, values
from sme.common.identity.members import OF_MODULES
from sme.common.identity.owned import name, own, whose
from sme.common.identity.trail import Trail
from sme.common.identity.values import sha_of

PASSING = logging.Logger | weakref.WeakKeyDictionary | weakref.WeakValueDictionary | weakref.WeakSet
"""what makes no numbers: logs, and caches that empty themselves, as those of functools.singledispatch"""
METHODS = types.BuiltinMethodType | types.MethodWrapperType


class Teller(Trail):
    """Describes values in full, each object once."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        """A JSON-able description.

        Raises
        ------
        SMEError
            for what cannot be told apart.
        """
        if value is None or type(value) in (bool, int, str, float):
            return value
        key = id(value)
        if (place := self.place(value)) is not None:
            return place
        if key not in self._known:
            with self.within(value):
                found = values.simple(value)
                self._known[key] = value, self._tell(value) if found is None else self._noted(value, found)
        return self._known[key][1]

    def _noted(self, value: Any, found: Any) -> Any:
        """With what the user has noted on a tensor as attributes."""
        noted = {each: item for each, item in sorted(vars(value).items()) if each not in members.OF_TORCH} if isinstance(
            value, torch.Tensor) else {}
        return [*found, {each: self(item) for each, item in noted.items()}] if noted else found

    def _tell(self, value: Any) -> Any:
        if (what := outside.named(value)) is not None:
            return self._outside(what)
        if outside.reads_a_file(value):
            self._reading(value)
        if type(value) in (dict, types.MappingProxyType):
            return ["dict", *([self(key), self(item)] for key, item in value.items())]
        if type(value) in (list, tuple):
            return [type(value).__name__, *map(self, value)]
        if type(value) in (set, frozenset):
            return ["set", *sorted(map(self, value), key=repr)]
        if type(value) is functools.partial:
            return ["partial", *map(self, (value.func, value.args, value.keywords))]
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}" if not own(value.__name__) else self._names(value.__name__, vars(value))
        if isinstance(value, types.MethodType):
            return ["method", self(value.__func__), self(value.__self__)]
        if isinstance(value, METHODS) and not isinstance(value.__self__, types.ModuleType | None):
            return ["method", value.__name__, self(value.__self__)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self.kind(value)
        if isinstance(value, staticmethod | classmethod | property | functools.cached_property | functools.partialmethod):
            return [type(value).__name__, *map(self, members.parts(value))]
        if isinstance(value, PASSING):
            return type(value).__name__
        if isinstance(getattr(value, "__wrapped__", None), types.FunctionType) and not own(type(value).__module__):
            return ["wrapped", name(type(value)), self(value.__wrapped__)]  # by functools.lru_cache
        if typing.get_origin(value) is not None:
            return ["alias", self(typing.get_origin(value)), *map(self, typing.get_args(value))]
        if isinstance(value, torch.jit.ScriptFunction):
            return ["script", value.inlined_graph.str(False)]  # type: ignore[attr-defined]
        if callable(value) and hasattr(value, "__qualname__") and not own(type(value).__module__):
            return self._compiled(value)
        return self.thing(value)

    def _compiled(self, value: Any) -> Any:
        """A function that Python has no code of: of an installed module its name, of one of the user's own its file as well."""
        place = getattr(sys.modules.get(whose(value)), "__file__", None) if own(whose(value)) else None
        return name(value) if place is None else [name(value), values.sha(Path(place).read_bytes())]

    def _function(self, value: types.FunctionType) -> str:
        if not own(whose(value)):
            return self._installed(value)
        with self._at(value.__qualname__.removeprefix("<lambda>") or "a lambda"):
            told = syntax.code(value)
            cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
            held = {key: self(reach.held(cell)) for key, cell in sorted(cells.items())
                    if not isinstance(reach.held(cell), types.ModuleType)}
            noted = {key: self(item) for key, item in sorted(vars(value).items()) if not key.startswith(("__", "_torch"))}
            given = [self(value.__defaults__), self(value.__kwdefaults__)]
            parts = [told.form, given, held, self._reads(value, told, cells), noted]
        return f"function {value.__qualname__.split('.')[-1]} code {sha_of(parts)}"

    def _installed(self, value: types.FunctionType) -> Any:
        inner = value.__code__.co_qualname
        if hasattr(value, "_torchdynamo_orig_callable"):  # of torch.compile
            return self(value._torchdynamo_orig_callable)
        if "<locals>" not in inner:
            return name(value)
        held = [self(reach.held(cell)) for cell in value.__closure__ or ()]
        return f"function {whose(value)}.{inner} sha256 {sha_of([held, self(value.__defaults__), self(value.__kwdefaults__)])}"

    def _reads(self, value: types.FunctionType, told: syntax.Code, cells: Mapping[str, Any]) -> dict[str, Any]:
        """What a function reads from outside, by name."""
        free, found = syntax.names(value.__code__), {}
        for root, *attributes in sorted(told.reads):
            if (what := outside.hidden(attributes)) is not None:
                self._outside(what)
            if root in told.imports:
                base = reach.imported(told.imports[root], value.__globals__)
            elif root in cells:
                base = reach.held(cells[root])
                if not isinstance(base, types.ModuleType):
                    continue
            elif root in free and root in value.__globals__:
                base = value.__globals__[root]
            elif root in free and root in ("globals", "eval", "exec", "__import__"):
                if root == "__import__":
                    self._outside(outside.MODULE)
                base, root = value.__globals__, "globals()"
                found[root] = self._names(whose(value), base)
                continue
            else:
                continue
            used, description = self._follow(base, [root], attributes)
            found[used] = description
        return found

    def _follow(self, value: Any, used: list[str], attributes: list[str]) -> tuple[str, Any]:
        """Through modules to what is read of them."""
        rest = list(attributes)
        while isinstance(value, types.ModuleType) and rest:
            module, attribute = value, rest.pop(0)
            value, used = getattr(module, attribute, reach.ABSENT), [*used, attribute]
            if isinstance(value, types.ModuleType) or own(module.__name__) or outside.named(value) or callable(value):
                continue
            return ".".join(used), values.simple(value) or f"{module.__name__}.{attribute}"
        with self._at(".".join(used)):
            return ".".join(used), self(value)

    def _names(self, called: str, names: Mapping[str, Any]) -> str:
        """All of a module, where it cannot be told what is read of it."""
        if (place := self.place(names)) is not None:
            return place
        with self.within(names), self._at(called):
            return f"module {sha_of({each: self(item) for each, item in sorted(names.items()) if each not in OF_MODULES})}"

    def kind(self, value: type) -> Any:
        """A class: its name, and of one of the user's own the hash of its members and those of its bases."""
        if not own(value.__module__):
            return [name(value), None]
        if issubclass(value, enum.Enum):
            parts: list[Any] = [[each.name, self(each.value)] for each in value.__members__.values()]
        else:
            parts = []
        for base in value.__mro__:
            if not own(base.__module__):
                parts.append(name(base))
                continue
            found = {}
            for each, item in members.of(base):
                with self._at(f"{base.__qualname__}.{each}"), self._constructing(each in members.CONSTRUCTORS):
                    found[each] = self(item)
            parts.append(found)
        if own(type(value).__module__):
            parts.append(self(type(value)))
        return [name(value), f"class {sha_of(parts)}"]

    def part(self, value: Any) -> tuple[Any, dict[str, Any]] | None:
        """What a part of a study says of itself, and beside it its code and attributes, if its class is the user's own."""
        kind = type(value)
        if isinstance(value, torch.nn.Module) or not reach.packages(kind) or not reach.describes(kind):
            return None
        if own(kind.__module__):
            return reach.says(value), self._own(value)
        return reach.says(value), value.rewritten() if hasattr(value, "rewritten") else {}

    def thing(self, value: Any) -> Any:
        """An object: its class and its attributes, and what it says of itself."""
        kind = type(value)
        if isinstance(value, torch.nn.Module):
            return self._module(value)
        if isinstance(value, enum.Enum):
            return ["enum", self(kind), value.name]
        if (part := self.part(value)) is not None:
            return ["part", *map(self, part)]
        if not own(kind.__module__):
            return self._reduced(value)
        said = [self(reach.says(value))] if reach.describes(kind) else []
        return f"object {name(kind)} sha256 {sha_of([self._own(value), *said])}"

    def _own(self, value: Any) -> dict[str, Any]:
        kind, packages = type(value), reach.packages(type(value))
        attributes, contents = {}, members.contents(value)
        for each, item in members.attributes(value):
            if packages and each in members.CHANGING:
                continue
            try:
                with self._at(f"{kind.__qualname__}.{each}"):
                    attributes[each] = self(item)
            except SMEError:
                if not reach.describes(kind) or not own(whose(kind.describe)):
                    raise
                attributes[each] = "untold"  # what it says of itself stands for it
        return {"code": self(kind)[1], "attributes": sha_of([attributes, None if contents is None else self(contents)])}

    def _module(self, value: torch.nn.Module) -> Any:
        kind = self(type(value))
        further = layers.further(value, self)
        numbers = {each: values.array(item) if isinstance(item, torch.Tensor) else self(item)
                   for each, item in layers.numbers(value).items()}
        return [*kind, layers.tree(value), numbers, *([sha_of(further)] if further else [])]

    def _reduced(self, value: Any) -> Any:
        """An object of an installed class is what it would be saved as."""
        kind, saved = type(value), None
        if kind is not object:
            try:
                saved = value.__reduce_ex__(2)
            except Exception:
                saved = None
        if saved is None:
            where = f" (in {' → '.join(self._trail)})" if self._trail else ""
            raise SMEError(f"cannot tell two {name(kind)} apart{where}, so a study with one has no name: "
                           "use numbers, tensors or plain functions in the loss, the noise and the observables")
        if isinstance(saved, str):
            return [name(kind), saved]
        return [name(kind), sha_of([self(list(each) if isinstance(each, Iterator) else each) for each in saved])]
