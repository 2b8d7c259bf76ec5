"""What is public takes turns, and leaves the state of whoever calls it alone.

torch's function transforms and tracers keep their nesting in globals of the process, so two threads that differentiate at once
get wrong numbers: one lock is around all that computes. Within it gradients are off, as inference mode is, tensors are made on
the processor, and random numbers that are drawn are not missed by the caller.
"""

import functools
import os
import random
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sme.common.derivatives.inferred import Plain, tensors
from sme.common.process.blame import theirs

F = TypeVar("F", bound=Callable[..., Any])

_turn = threading.RLock()
_mine = threading.local()


def _forked() -> None:
    """In the child of a fork no other thread is left that could give the lock back."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def alone(function: F) -> F:
    """The same function, run by one thread at a time; it may call others of its kind."""

    @functools.wraps(function)
    def taking_turns(*args: Any, **kwargs: Any) -> Any:
        if getattr(_mine, "turn", False):
            return function(*args, **kwargs)
        with _turn:
            _mine.turn = True
            try:
                return function(*args, **kwargs)
            finally:
                _mine.turn = False

    return taking_turns  # type: ignore[return-value]


@contextmanager
def in_turn() -> Iterator[None]:
    """A thread that works for the one whose turn it is, which waits for it: it has torch as that one has it."""
    _mine.turn = _mine.entered = True
    with torch.no_grad():
        yield


def entry(function: F) -> F:
    """`alone`, with torch as it is by default and the caller's own settings and random numbers back at the end.

    A fault in the caller's own code is an `SMEError` that says where.
    """

    @functools.wraps(function)
    def entered(*args: Any, **kwargs: Any) -> Any:
        if getattr(_mine, "entered", False):
            return function(*args, **kwargs)
        with theirs(), ordinary((args, kwargs)):
            _mine.entered = True
            try:
                return function(*args, **kwargs)
            finally:
                _mine.entered = False

    return alone(entered)  # type: ignore[return-value]


class Turns:
    """The package's own subclasses of this compute in turns: their public methods are `alone`, making one is an `entry`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.partition(".")[0] != __name__.partition(".")[0]:
            return  # a user's own code stays as it is: it is part of a study's name
        for name, each in list(vars(cls).items()):
            if isinstance(each, types.FunctionType) and (name == "__init__" or not name.startswith("_")):
                setattr(cls, name, (entry if name == "__init__" else alone)(each))


@contextmanager
def ordinary(given: object) -> Iterator[None]:
    """No gradients, no inference mode, the processor as the default device, numpy's own way of printing; random numbers as they
    were at the end.
    """
    states, device, made = _states(), torch.get_default_device(), tensors(given)
    with ExitStack() as stack:
        stack.callback(_restore, *states)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(np.printoptions(legacy=False))  # which writes tables with all their digits
        if device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if made:
            stack.enter_context(Plain(made))
        yield


def _states() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda, torch.get_default_dtype()


def _restore(own: Any, numbers: Any, here: Tensor, cuda: list[Tensor] | None, dtype: torch.dtype) -> None:
    random.setstate(own)
    np.random.set_state(numbers)
    torch.set_rng_state(here)
    torch.set_default_dtype(dtype)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
    elif torch.cuda.is_initialized():  # begun meanwhile, from its seed
        for each in torch.cuda.default_generators:
            each.manual_seed(each.initial_seed())
