"""Where a value stands that is being described: in what, and on the way from where."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sme.common.errors import SMEError, warn
from sme.common.identity.owned import name


class Trail:
    """The values that are being described, each in the one before."""

    def __init__(self) -> None:
        self._path: dict[int, int] = {}
        self._trail: list[str] = []
        self._building = 0

    def place(self, value: Any) -> str | None:
        """Where a value is being described already, as a function that calls itself is."""
        return f"itself {self._path[id(value)]}" if id(value) in self._path else None

    @contextmanager
    def within(self, value: Any) -> Iterator[None]:
        """While a value is described."""
        self._path[id(value)] = len(self._path)
        try:
            yield
        finally:
            del self._path[id(value)]

    def _outside(self, what: str) -> str:
        if self._building:
            return "outside"
        raise SMEError(f"{self._where} {what}, which a study's name cannot tell: read it once before, and hand over what "
                       "comes out")

    def _reading(self, value: Any) -> None:
        if not self._building:
            warn(f"{self._where} a file ({name(value)}), whose contents are not in the study's name: read it once before, and "
                 "hand over what comes out")

    @property
    def _where(self) -> str:
        return f"{' → '.join(self._trail)} reads" if self._trail else "the study reads"

    @contextmanager
    def _at(self, place: str) -> Iterator[None]:
        self._trail.append(place)
        try:
            yield
        finally:
            self._trail.pop()

    @contextmanager
    def _constructing(self, constructing: bool) -> Iterator[None]:
        """What a constructor reads, its object holds."""
        self._building += constructing
        try:
            yield
        finally:
            self._building -= constructing
