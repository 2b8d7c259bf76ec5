"""Numbers and lists as a user may write them."""

import math
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sme.common.errors import SMEError, printed

T = TypeVar("T")

LONGEST, NAMES = 80, 20
"""characters of what is printed in a message, and names of a group"""
MOST, LONG = 10**12, 10**9
"""of what is counted, and of steps one after the other: more than a machine can do, and surely a slip"""
SEEDS, TORCH_SEEDS = 2**128 - 1, 2**64 - 1
"""the largest seed of a counter, and of torch's own generator"""


def number(what: str, given: Any) -> float:
    """A number given as such or as a fraction in text (`1/16`).

    Raises
    ------
    SMEError
        for anything else.
    """
    try:
        if isinstance(given, bool | np.bool_) or (isinstance(given, Tensor | np.ndarray) and str(given.dtype).endswith("bool")):
            raise ValueError
        return float(Fraction(given.strip()) if isinstance(given, str) else given)
    except (TypeError, ValueError, ArithmeticError, RuntimeError):  # torch's own of a tensor of several numbers
        raise SMEError(f"{what} must be a number such as 0.0625 or 1/16, got {short(given)}") from None


def several(given: Any) -> list[Any]:
    """A list of one or more values from a value, a sequence, or text such as `[1/4, 1/8]`."""
    if isinstance(given, str):
        text = given.strip()
        inner = text.removeprefix("[").removesuffix("]") if text.startswith("[") else text  # theta[0] is no list
        return [part.strip() for part in inner.split(",") if part.strip()]
    if isinstance(given, Tensor | np.ndarray | np.generic) or type(given).__module__.partition(".")[0] == "pandas":
        given = given.tolist()
    return list(given) if isinstance(given, Sequence) else [given]


def dense(what: str, given: Tensor) -> Tensor:
    """The same numbers one after the other, of a sparse or quantized tensor too.

    Raises
    ------
    SMEError
        for a tensor that has none, on the device meta or of several lengths.
    """
    if given.is_meta or given.is_nested:
        raise SMEError(f"{what} has no numbers of its own ({'on the device meta' if given.is_meta else 'nested'}): give "
                       "a plain tensor")
    given = given.dequantize() if given.is_quantized else given
    return given if given.layout == torch.strided else given.to_dense()


def short(given: Any, most: int = 4, depth: int = 3) -> str:
    """What was given in one line: of numbers the first few and how many there are, of anything else the beginning.

    Groups in groups, `depth` deep: a group may hold itself.
    """
    if isinstance(given, Tensor) and not given.is_complex():
        flat = given.detach().reshape(-1)
        text = ", ".join(f"{float(f'{each:.6g}')}" for each in flat[:most].tolist())
        return f"[{text}, … {len(flat)} numbers]" if len(flat) > most else f"[{text}]"
    if isinstance(given, Mapping):
        first = islice(given.items(), NAMES if depth else 0)
        shown = [f"{printed(name)}: {short(each, most, depth - 1)}" for name, each in first]
        return f"{{{', '.join(shown)}{', …' if len(given) > len(shown) else ''}}}".replace("{, …", "{…")
    line = printed(given)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def first_or_second(given: Any) -> bool:
    """Whether it is the order 1 or 2, one number and no truth value."""
    try:
        return not isinstance(given, bool) and bool(given in (1, 2))
    except (TypeError, ValueError, RuntimeError):  # several numbers, which are neither equal nor not
        return False


def word(given: object) -> str:
    """As text without blanks at its ends; nothing of what cannot be written."""
    try:
        return str(given).strip()
    except Exception:
        return ""


def whole(what: str, given: Any, least: int, most: int = MOST) -> int:
    """A whole number from `least` to `most`.

    Raises
    ------
    SMEError
        for anything else.
    """
    exact = given if isinstance(given, int) and not isinstance(given, bool) else None
    if exact is None:
        try:
            value = number(what, given)
            exact = int(value) if value == int(value) else None
        except (SMEError, ValueError, OverflowError):
            exact = None
    if exact is None or exact < least:
        raise SMEError(f"{what} must be a whole number ≥ {least}, got {short(given)}: give {least} or more")
    if exact > most:
        raise SMEError(f"{what} must be a whole number from {least} to {most}, got {short(given)}: give {most} or less")
    return exact


def room(what: str, *sizes: int) -> None:
    """Refuse what so many numbers of eight bytes make larger than this machine's memory.

    Raises
    ------
    SMEError
        naming both.
    """
    need, there = 8 * math.prod(sizes), _memory()
    if need > there:
        raise SMEError(f"{what} would take {need / 2**30:.3g} GiB of memory, and this machine has {there / 2**30:.3g}: give less")


def _memory() -> float:
    """Of this machine, in bytes; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def instance(what: str, given: Any, kind: type[T], allowed: str, change: str = "") -> T:
    """Of this type.

    Raises
    ------
    SMEError
        for anything else: what is allowed, what was given, what to change.
    """
    if not isinstance(given, kind):
        raise SMEError(f"{what} must be {allowed}, got {short(given)}{': ' if change else ''}{change}")
    return given


def flag(what: str, given: Any) -> bool:
    """True or false."""
    return instance(what, given, bool, "true or false")


def seed_of(given: Any, most: int = SEEDS) -> int:
    """A seed of random numbers."""
    return whole("seed", given, 0, most)


def size(what: str, given: Any, least: str = "≥ 0") -> float:
    """A finite number, `least` of which is `"≥ 0"` or `"> 0"`.

    Raises
    ------
    SMEError
        for anything else.
    """
    value = number(what, given)
    if not (0 <= value < math.inf and (value > 0 or least == "≥ 0")):
        raise SMEError(f"{what} must be finite and {least}, got {value:g}")
    return value
