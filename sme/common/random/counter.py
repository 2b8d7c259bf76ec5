"""Random numbers that are a function of their place: the only generator in the program.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw 2011) turns a key and a pair of counters
into 64 random bits, Box and Muller turn these into two normals of 24 bits. So the numbers do not depend
on the order in which they are made, on chunks, threads or processes, and devices agree to rounding.
"""

import ctypes
import functools
import math
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sme.common.library import INCLUDES, NoCompilerError, load
from sme.common.pointers import pointer

Key = tuple[int, int]
"""two 32-bit words"""

_TURNS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_LANES = 64


def key(*numbers: int) -> Key:
    """A key from any whole numbers ≥ 0."""
    first, second = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return int(first), int(second)


def _signed(word: int) -> int:
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word


def threefry(key: Key, one: Int[Tensor, "..."], other: Int[Tensor, "..."]) -> tuple[Int[Tensor, "..."], Int[Tensor, "..."]]:
    """Two random 32-bit words for each pair of counters, all of them int32."""
    k = [_signed(word) for word in (*key, key[0] ^ key[1] ^ _PARITY)]
    a, b = one + k[0], other + k[1]
    for block in range(5):
        for by in _TURNS[block % 2]:
            a = a + b
            b = ((b << by) | ((b >> (32 - by)) & ((1 << by) - 1))) ^ a
        a, b = a + k[(block + 1) % 3], b + _signed(k[(block + 2) % 3] + block + 1)
    return a, b


def words(key: Key, call: int, calls: int, offset: int, pairs: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two words for each of `calls` calls from number `call` on and each pair from number `offset` on."""
    pair = torch.arange(offset, offset + pairs, dtype=torch.int32, device=device)
    number = torch.arange(call, call + calls, dtype=torch.int64, device=device).to(torch.int32).unsqueeze(1)
    return threefry(key, pair.expand(calls, pairs), number.expand(calls, pairs))


def normals(key: Key, call: int, calls: int, offset: int, pairs: int, device: torch.device) -> Float[Tensor, "2*calls pairs"]:
    """Two standard normals for each of `calls` calls and each pair, by compiled code where there is some."""
    if device.type == "cpu" and (library := generator()):
        made = torch.empty(2 * calls, pairs, dtype=torch.float64, device=device)
        library.fill((ctypes.c_uint32 * 2)(*key), *map(ctypes.c_int64, (pairs, offset, call, calls)),
                     pointer("numbers", made, (2 * calls, pairs)))
        return made
    return box_muller(*words(key, call, calls, offset, pairs, device)).to(torch.float64)


def box_muller(a: Int[Tensor, "calls pairs"], b: Int[Tensor, "calls pairs"]) -> Float[Tensor, "2*calls pairs"]:
    """`√(−2 log u) (cos φ, sin φ)` in float32, `u` from the last 31 bits of `a`, `φ` from all of `b`."""
    u = (a & 0x7FFFFFFF).to(torch.float32) * 2.0**-31 + 2.0**-32
    angle = b.to(torch.float32) * (math.pi * 2.0**-31)
    radius = (-2 * u.log()).sqrt()
    return torch.stack((radius * angle.cos(), radius * angle.sin()), 1).reshape(2 * len(a), -1)


@functools.cache
def generator() -> ctypes.CDLL | None:
    """The compiled `fill` of normals.c, or None without a compiler."""
    try:
        return load(f"{INCLUDES}#define W {_LANES}\n#define FILL\n{source()}")
    except NoCompilerError:
        return None


def source() -> str:
    """The same in C, for `W` pairs at a time."""
    return (files("sme.common.random") / "normals.c").read_text(encoding="utf-8")
