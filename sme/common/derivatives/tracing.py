"""Whether a function is being traced: its tensors then have no values to decide by."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TRACED = ContextVar("traced", default=False)


def traced() -> bool:
    """Whether tensors stand for values that are not known yet; no branch may ask for them."""
    return _TRACED.get()


@contextmanager
def tracing() -> Iterator[None]:
    """What is called within is traced."""
    token = _TRACED.set(True)
    try:
        yield
    finally:
        _TRACED.reset(token)
