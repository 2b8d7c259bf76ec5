"""Where a module uses its parameters, seen while it runs."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sme.common.derivatives import written
from sme.problems.noise.minibatch.forms import FORMS
from sme.problems.noise.minibatch.rules import RULES, Part, Product, Rule

Places = Int[Tensor, "*shape"]
VIEWED = ("chunk clone contiguous flatten movedim narrow permute reshape select split squeeze swapaxes t tensor_split transpose "
          "unbind unflatten unsqueeze view view_as __getitem__")
VIEWS = {getattr(kind, name) for kind in (Tensor, torch) for name in VIEWED.split() if hasattr(kind, name)}
VIEWS |= {vars(torch._C.TensorBase)[name].__get__ for name in ("T", "mT", "H", "mH")}
"""functions of one parameter whose result has some of its numbers, each once"""


_signature = functools.cache(inspect.signature)


def _smaller(part: Part | None) -> Part | None:
    """The gradient of one example itself, where its factors are more numbers: of many places, or of few channels."""
    if not isinstance(part, Product) or part.into.shape[0] == 1:
        return part
    (places, into), out = part.into.shape, part.out.shape[1]
    return part.out.mT @ part.into if places * (into + out) > into * out else part


class Known(NamedTuple):
    """A parameter, or a view of it."""

    tensor: Tensor
    places: Places
    """where in θ its entries are"""
    name: str


class Site(NamedTuple):
    """One use of parameters by a layer that has a rule."""

    rule: Rule
    settings: dict[str, Any]
    """the rule's arguments that are no tensors"""
    tensors: dict[str, Tensor]
    parameters: dict[str, Known]
    """by the name of the argument, or of the module's parameter"""
    shape: tuple[int, ...]
    """of what the layer returns"""

    def parts(self, delta: Tensor, tensors: Mapping[str, Tensor]) -> list[Part | None]:
        """The gradients of one example, in the order of `parameters`; None where the rule has none."""
        found = self.rule(delta, **self.settings, **tensors)
        return [_smaller(found.get(name)) for name in self.parameters]


class Watch(TorchFunctionMode):
    """While it lasts, what every layer with a rule is given is noted, and `shift(number, output)` taken for what it returns.

    Parameters
    ----------
    parameters, places
        the module's, as it is called with them, and where their entries are in θ; those without places are not watched.
    shift
        of the number of the use and of the layer's output.
    """

    def __init__(self, parameters: Mapping[str, Tensor], places: Mapping[str, Places],
                 shift: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__()
        self.shift, self.sites, self.paused = shift, list[Site](), 0
        self.known = {id(parameters[name]): Known(parameters[name], each, name) for name, each in places.items()}
        self.wrote = False
        """whether a layer was written out whose own derivatives are not trusted"""
        self.lost: set[str] = set()
        """names of parameters that are used where there is no rule"""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.paused or not (found := self._found((*args, *kwargs.values()))):
            return func(*args, **kwargs)
        if func in VIEWS:
            return self._viewed(func, args, kwargs)
        if func in RULES:
            return self._ruled(func, args, kwargs)
        if func in FORMS:
            self.wrote = self.wrote or func in written.FORMS
            try:
                with self:
                    return FORMS[func](*args, **kwargs)
            except NotImplementedError:
                pass
        out = func(*args, **kwargs)
        attribute = getattr(func, "__name__", "") == "__get__"  # such as its shape
        if id(out) not in self.known and not attribute and isinstance(out, Tensor | tuple | list):
            self.lost |= {each.name for each in found}
        return out

    def _found(self, given: Sequence[Any]) -> list[Known]:
        """The parameters among these."""
        found = []
        for each in given:
            if isinstance(each, Tensor):
                found += [self.known[id(each)]] if id(each) in self.known else []
            elif isinstance(each, tuple | list):
                found += self._found(each)
        return found

    def _viewed(self, func: Any, args: Any, kwargs: Any) -> Any:
        out, (of,) = func(*args, **kwargs), self._found(args)
        where = func(*(of.places if each is of.tensor else each for each in args), **kwargs)
        for one, places in zip(*((each if isinstance(each, tuple | list) else (each,)) for each in (out, where)), strict=True):
            self.known.setdefault(id(one), Known(one, places, of.name))
        return out

    def _ruled(self, func: Any, args: Any, kwargs: Any) -> Any:
        given = _signature(RULES[func]).bind(None, *args, **kwargs).arguments
        given = dict(list(given.items())[1:])
        own = {name: self.known[id(each)] for name, each in given.items() if id(each) in self.known}
        return self._noted(RULES[func], given, own, func(*args, **kwargs))

    def _noted(self, rule: Rule, given: Mapping[str, Any], own: dict[str, Known], out: Tensor) -> Tensor:
        tensors = {name: each for name, each in given.items() if isinstance(each, Tensor)}
        settings = {name: each for name, each in given.items() if name not in tensors}
        self.sites.append(Site(rule, settings, tensors, own, tuple(out.shape)))
        return self.shift(len(self.sites) - 1, out)

    @contextmanager
    def over(self, module: nn.Module) -> Iterator[None]:
        """It lasts, for what this module does, and the layers in it that have a rule by their class."""
        hooks = []
        for part in module.modules():
            if type(part) in RULES:
                hooks += [part.register_forward_pre_hook(self._enter), part.register_forward_hook(self._leave)]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, *_: Any) -> None:
        self.paused += 1

    def _leave(self, layer: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
        self.paused -= 1
        own = {name: self.known[id(each)] for name, each in layer._parameters.items() if id(each) in self.known}
        if self.paused or not own:
            return out
        seen = copy.copy(layer)
        seen._parameters = dict(layer._parameters)  # as they are now, not when the rule is called
        given = _signature(RULES[type(layer)]).bind(None, seen, *args).arguments
        return self._noted(RULES[type(layer)], dict(list(given.items())[1:]), own, out)
