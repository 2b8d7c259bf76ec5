"""XLA itself: `jax.lax.scan` over substeps, all paths in each array, coordinate by coordinate."""

import functools
import math

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from rivals.item import FACTOR, OPTIMIZER, START, TAU, VARIANCE, Advance, second_factor
from rivals.jax_settings import jax

C, EPS = OPTIMIZER.c, OPTIMIZER.eps
S_ON, S_OFF = (float(each) for each in FACTOR[0])
F_ON, F_OFF = (float(each) for each in second_factor()[0])

State = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def substep(x: State, z: jax.Array, dt: float) -> State:
    """One Euler substep."""
    x0, x1, v0, v1 = x
    a0, a1, a2, a3 = math.sqrt(TAU * dt) * z
    g0, g1 = x0 + 0.5 * x1, 0.5 * x0 + x1
    r0, r1 = jnp.sqrt(v0), jnp.sqrt(v1)
    q0, q1 = 1 / (r0 * (r0 + EPS)), 1 / (r1 * (r1 + EPS))
    p0, p1 = q0 * r0, q1 * r1
    t0, t1 = -p0 * g0, -p1 * g1
    b0, b1 = C * (g0 * g0 + VARIANCE - v0), C * (g1 * g1 + VARIANCE - v1)
    h0, h1 = t0 + 0.5 * t1, 0.5 * t0 + t1
    u0, u1 = p0 * (h0 - 0.5 * q0 * g0 * b0), p1 * (h1 - 0.5 * q1 * g1 * b1)
    w0, w1 = C * (b0 - 2 * g0 * h0), C * (b1 - 2 * g1 * h1)
    n0, n1 = S_ON * a0 + S_OFF * a1, S_OFF * a0 + S_ON * a1
    m0, m1 = F_ON * a2 + F_OFF * a3, F_OFF * a2 + F_ON * a3
    return (x0 + dt * (t0 + 0.5 * TAU * u0) - p0 * n0, x1 + dt * (t1 + 0.5 * TAU * u1) - p1 * n1,
            v0 + dt * (b0 + 0.5 * TAU * w0) + C * (2 * g0 * n0 + m0), v1 + dt * (b1 + 0.5 * TAU * w1) + C * (2 * g1 * n1 + m1))


@functools.partial(jax.jit, static_argnames=("paths", "substeps", "state", "noise"))
def solve(key: jax.Array, paths: int, substeps: int, state: type, noise: type) -> jax.Array:
    """The end states; normals of type `noise`, the faster in single precision."""

    def body(x: State, k: jax.Array) -> tuple[State, None]:
        return substep(x, jr.normal(jr.fold_in(key, k), (4, paths), noise).astype(state), 1 / substeps), None

    start = tuple(jnp.full(paths, each, state) for each in START)
    return jnp.stack(jax.lax.scan(body, start, jnp.arange(substeps))[0], 1)


def rival(state: type) -> Advance:
    """The scan as an `Advance`."""
    return lambda paths, substeps, seed: np.asarray(solve(jr.key(seed), paths, substeps, state, jnp.float32))


EQUATION: dict[str, Advance] = {"jax scan, float64": rival(jnp.float64), "jax scan, float32": rival(jnp.float32)}
CHAIN: dict[str, Advance] = {}
