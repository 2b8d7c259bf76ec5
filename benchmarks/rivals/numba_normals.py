"""Normals for `numba_kernels`: a xoshiro128+ for each lane, and Box–Muller in single precision without a branch.

Every function here turns into straight arithmetic, so that a loop over lanes becomes vector instructions.
"""

import math
import os

import llvmlite.binding as llvm
import numpy as np
from jaxtyping import UInt32
from numpy.polynomial import Chebyshev, Polynomial

if llvm.get_host_cpu_features().get("avx512f"):
    # LLVM keeps to 256 bits on these processors unless told otherwise; numba reads this when it is imported
    os.environ.setdefault("NUMBA_CPU_NAME", llvm.get_host_cpu_name())
    os.environ.setdefault("NUMBA_CPU_FEATURES", llvm.get_host_cpu_features().flatten() + ",-prefer-256-bit")

from numba import njit

LANES = 256
"""paths advanced together: their state and their generators stay in the nearest cache"""

fused = njit(fastmath=True, forceinline=True, error_model="numpy")
F, U, INT = np.float32, np.uint32, np.int32


def _fit(y: np.ndarray, degree: int, x: np.ndarray) -> list[np.float32]:
    return [F(each) for each in Chebyshev.fit(x, y, degree).convert(kind=Polynomial).coef]


_NODES = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
_F = 0.25 * math.sqrt(2) * (_NODES + 3) - 1  # 1 + f from √½ to √2
L0, L1, L2, L3, L4, L5, L6, L7 = _fit(-2 * np.log1p(_F) / _F, 7, _F)
_Y = 0.125 * (_NODES + 1) + 1e-9  # turns, to a quarter
S0, S1, S2, S3, S4 = _fit(np.sin(2 * np.pi * _Y) / _Y, 4, _Y**2)
C0, C1, C2, C3, C4, C5 = _fit(np.cos(2 * np.pi * _Y), 5, _Y**2)

ZERO, HALF, ONE, WORD, TURN = F(0), F(0.5), F(1), F(2.0**-32), F(2.0**-33)
MINUS_TWO_LOG_TWO, ROOT_HALF = F(-2 * math.log(2)), INT(0x3F3504F3)
NINE, ELEVEN, TWENTY_ONE, TWENTY_THREE, THIRTY_ONE = U(9), U(11), U(21), INT(23), U(31)


def generators(seed: int) -> UInt32[np.ndarray, " words"]:
    """The states of all lanes, word by word."""
    return np.random.SeedSequence(seed).generate_state(4 * LANES)


@fused
def word(a, b, c, d):  # type: ignore[no-untyped-def]
    """32 random bits and the next state."""
    w, t = U(a + d), U(b << NINE)
    c, d = U(c ^ a), U(d ^ b)
    b, a = U(b ^ c), U(a ^ d)
    return w, a, b, U(c ^ t), U(U(d << ELEVEN) | U(d >> TWENTY_ONE))


@fused
def normals(a, b):  # type: ignore[no-untyped-def]
    """Two normals of two words: `√(−2 log u) (sin 2πy, ± cos 2πy)`, `y` in a half turn, its sign the last bit."""
    bits = F((F(a) + HALF) * WORD).view(np.int32)
    k = INT(INT(bits - ROOT_HALF) >> TWENTY_THREE)
    f = INT(bits - INT(k << TWENTY_THREE)).view(np.float32) - ONE
    log = f * (L0 + f * (L1 + f * (L2 + f * (L3 + f * (L4 + f * (L5 + f * (L6 + f * L7)))))))
    r = math.sqrt(max(F(k) * MINUS_TWO_LOG_TWO + log, ZERO))
    y = F(INT(b)) * TURN
    w = y * y
    sine = y * (S0 + w * (S1 + w * (S2 + w * (S3 + w * S4))))
    cosine = C0 + w * (C1 + w * (C2 + w * (C3 + w * (C4 + w * C5))))
    signed = U(F(r).view(np.uint32) | U(b << THIRTY_ONE)).view(np.float32)
    return r * sine, signed * cosine


@fused
def fill_two(s, z):  # type: ignore[no-untyped-def]
    """Two fresh normals for each lane."""
    for i in range(LANES):
        a, b, c, d = s[i], s[i + LANES], s[i + 2 * LANES], s[i + 3 * LANES]
        w0, a, b, c, d = word(a, b, c, d)
        w1, a, b, c, d = word(a, b, c, d)
        s[i], s[i + LANES], s[i + 2 * LANES], s[i + 3 * LANES] = a, b, c, d
        z[i], z[i + LANES] = normals(w0, w1)


@fused
def fill_four(s, z):  # type: ignore[no-untyped-def]
    """Four fresh normals for each lane."""
    for i in range(LANES):
        a, b, c, d = s[i], s[i + LANES], s[i + 2 * LANES], s[i + 3 * LANES]
        w0, a, b, c, d = word(a, b, c, d)
        w1, a, b, c, d = word(a, b, c, d)
        w2, a, b, c, d = word(a, b, c, d)
        w3, a, b, c, d = word(a, b, c, d)
        s[i], s[i + LANES], s[i + 2 * LANES], s[i + 3 * LANES] = a, b, c, d
        z[i], z[i + LANES] = normals(w0, w1)
        z[i + 2 * LANES], z[i + 3 * LANES] = normals(w2, w3)
