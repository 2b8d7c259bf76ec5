"""Tensors from `torch.inference_mode()`, of which torch has no derivatives."""

import functools
import types
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

INSTALLED = ("sme", "torch", "numpy", "scipy", "pandas", "matplotlib", "builtins", "abc", "collections", "functools", "typing")


class Plain(TorchFunctionMode):
    """While it lasts, outside of inference mode, such tensors are taken as copies."""

    def __init__(self, made: Sequence[Tensor]) -> None:
        super().__init__()
        self.copies = {id(each): (each, each.clone()) for each in made}  # an id is taken while its tensor is kept

    def _plain(self, given: Any) -> Any:
        if isinstance(given, Tensor):
            return self.copies[id(given)][1] if id(given) in self.copies else given
        return type(given)(map(self._plain, given)) if type(given) in (list, tuple) else given

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*map(self._plain, args), **{name: self._plain(each) for name, each in (kwargs or {}).items()})


def tensors(given: object) -> list[Tensor]:
    """Those in all that objects, and the functions among them, hold and name."""
    waiting, seen, found = [given], set[int](), list[Tensor]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, str | int | float | type | types.ModuleType | None):
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            found += [each] if not is_lazy(each) and each.is_inference() else []
        else:
            waiting += _parts(each)
    return found


def _parts(given: Any) -> list[Any]:
    if isinstance(given, dict | types.MappingProxyType):
        return list(given.values())
    if isinstance(given, list | tuple | set | frozenset):
        return list(given)
    if isinstance(given, types.FunctionType):
        cells = [part for cell in given.__closure__ or () for part in _held(cell)]
        named = [] if _installed(given) else [given.__globals__[name] for name in _names(given.__code__)
                                              if name in given.__globals__]
        return [*cells, *named, given.__defaults__, given.__kwdefaults__, getattr(given, "__wrapped__", None)]
    if isinstance(given, types.MethodType):
        return [given.__self__, given.__func__]
    if isinstance(given, functools.partial):
        return [given.func, given.args, given.keywords]
    if not hasattr(given, "__dict__"):
        return []
    own = [each for kind in type(given).__mro__ if not _installed(kind) for each in vars(kind).values()]
    return [vars(given), *(each for each in own if isinstance(each, types.FunctionType | Tensor))]


def _installed(given: Any) -> bool:
    """Whether it is code of this or another package, which names no tensors of the user's."""
    return (given.__module__ or "").partition(".")[0] in INSTALLED


def _held(cell: types.CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # not assigned yet
        return []


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(each) for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*inner)
