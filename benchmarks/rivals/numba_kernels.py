"""The work item fused by hand: what one core can do at most.

The state is of double precision and the normals of single; the rates are of the precision asked for. There is no
floor: `v` starts at 1 and stays above ½ until 1, far from the floor at 0.01.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rivals.item import FACTOR, OPTIMIZER, START, TAU, VARIANCE, Advance, second_factor
from rivals.numba_normals import LANES, fill_four, fill_two, fused, generators, njit

X0, X1, V0, V1 = START
DOUBLE = np.float64


def substep(real: type[np.floating[Any]]) -> Callable[..., tuple[float, ...]]:
    """One Euler substep of one path on its four normals, with rates of this precision."""
    half, one, two, c, eps, tau = map(real, (0.5, 1, 2, OPTIMIZER.c, OPTIMIZER.eps, TAU))
    variance, s_on, s_off, f_on, f_off = map(real, (VARIANCE, *FACTOR[0], *second_factor()[0]))

    @fused
    def step(x0, x1, v0, v1, z0, z1, z2, z3, length):  # type: ignore[no-untyped-def]
        dt, scale = real(length), real(math.sqrt(TAU * length))
        a0, a1, a2, a3 = scale * real(z0), scale * real(z1), c * scale * real(z2), c * scale * real(z3)
        y0, y1, s0, s1 = real(x0), real(x1), real(v0), real(v1)
        g0, g1 = y0 + half * y1, half * y0 + y1
        r0, r1 = math.sqrt(s0), math.sqrt(s1)
        q0, q1 = one / (r0 * (r0 + eps)), one / (r1 * (r1 + eps))  # one division: P = q r, P' = −½ P q
        p0, p1 = q0 * r0, q1 * r1
        t0, t1 = -p0 * g0, -p1 * g1
        b0, b1 = c * (g0 * g0 + variance - s0), c * (g1 * g1 + variance - s1)
        h0, h1 = t0 + half * t1, half * t0 + t1
        u0, u1 = p0 * (h0 - half * q0 * g0 * b0), p1 * (h1 - half * q1 * g1 * b1)
        w0, w1 = c * (b0 - two * g0 * h0), c * (b1 - two * g1 * h1)
        n0, n1 = s_on * a0 + s_off * a1, s_off * a0 + s_on * a1
        m0, m1 = f_on * a2 + f_off * a3, f_off * a2 + f_on * a3
        return (x0 + DOUBLE(dt * (t0 + half * tau * u0) - p0 * n0), x1 + DOUBLE(dt * (t1 + half * tau * u1) - p1 * n1),
                v0 + DOUBLE(dt * (b0 + half * tau * w0) + two * c * g0 * n0 + m0),
                v1 + DOUBLE(dt * (b1 + half * tau * w1) + two * c * g1 * n1 + m1))

    return step


def rule(real: type[np.floating[Any]]) -> Callable[..., tuple[float, ...]]:
    """One step of RMSProp on two normals, with rates of this precision; the last three arguments are not used."""
    half, one, eps, tau = map(real, (0.5, 1, OPTIMIZER.eps, TAU))
    decay, s_on, s_off = map(real, (TAU * OPTIMIZER.c, *FACTOR[0]))

    @fused
    def step(x0, x1, v0, v1, z0, z1, z2, z3, length):  # type: ignore[no-untyped-def]
        y0, y1, s0, s1, a0, a1 = real(x0), real(x1), real(v0), real(v1), real(z0), real(z1)
        g0 = y0 + half * y1 + s_on * a0 + s_off * a1
        g1 = half * y0 + y1 + s_off * a0 + s_on * a1
        return (x0 - DOUBLE(tau * g0 * (one / (math.sqrt(s0) + eps))), x1 - DOUBLE(tau * g1 * (one / (math.sqrt(s1) + eps))),
                v0 + DOUBLE(decay * (g0 * g0 - s0)), v1 + DOUBLE(decay * (g1 * g1 - s1)))

    return step


def kernel(step: Callable[..., tuple[float, ...]], four: bool, pairs: bool) -> Callable[..., None]:
    """All paths, block by block; normals and steps in two loops, which the compiler turns into vectors better than one."""
    fill, kinds = fill_four if four else fill_two, 2 if pairs else 1
    second, third = (2 * LANES, 3 * LANES) if four else (0, 0)

    @njit(fastmath=True, error_model="numpy", nogil=True)
    def advance(s, out, substeps, length):  # type: ignore[no-untyped-def]
        x, z = np.empty(4 * kinds * LANES), np.zeros(4 * LANES, np.float32)
        for start in range(0, out.shape[1] // kinds, LANES):
            for i in range(kinds * LANES):
                j = i if i < LANES else i + 3 * LANES
                x[j], x[j + LANES], x[j + 2 * LANES], x[j + 3 * LANES] = X0, X1, V0, V1
            for _ in range(substeps):
                fill(s, z)
                # one array and fixed distances in it: the compiler sees that nothing overlaps
                for i in range(LANES):
                    z0, z1, z2, z3 = z[i], z[i + LANES], z[i + second], z[i + third]
                    x[i], x[i + LANES], x[i + 2 * LANES], x[i + 3 * LANES] = step(
                        x[i], x[i + LANES], x[i + 2 * LANES], x[i + 3 * LANES], z0, z1, z2, z3, length)
                    if pairs:
                        x[i + 4 * LANES], x[i + 5 * LANES], x[i + 6 * LANES], x[i + 7 * LANES] = step(
                            x[i + 4 * LANES], x[i + 5 * LANES], x[i + 6 * LANES], x[i + 7 * LANES],
                            -z0, -z1, -z2, -z3, length)
            for field in range(4):
                for i in range(LANES):
                    out[field, start + i] = x[field * LANES + i]
                    if pairs:
                        out[field, out.shape[1] // 2 + start + i] = x[(4 + field) * LANES + i]

    return advance


def rival(step: Callable[..., tuple[float, ...]], four: bool, pairs: bool) -> Advance:
    """The kernel as an `Advance`; the number of paths must be a multiple of 512."""
    run = kernel(step, four, pairs)

    def advance(paths: int, substeps: int, seed: int) -> np.ndarray:
        if paths % (2 * LANES):
            raise ValueError(f"paths must be a multiple of {2 * LANES}, got {paths}")
        out = np.empty((4, paths))
        run(generators(seed), out, substeps, 1 / substeps)
        return out.T

    return advance


_KINDS = (("double", np.float64), ("mixed", np.float32))
_PAIRS = (("fresh", False), ("pairs", True))
EQUATION: dict[str, Advance] = {f"numba {kind}, {name}": rival(substep(real), True, pairs)
                                for kind, real in _KINDS for name, pairs in _PAIRS}
CHAIN: dict[str, Advance] = {f"numba {kind}, {name}": rival(rule(real), False, pairs)
                             for kind, real in _KINDS for name, pairs in _PAIRS}
