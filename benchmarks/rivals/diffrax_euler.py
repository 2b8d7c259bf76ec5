"""diffrax: the equation of one path with its matrix, `vmap` over paths, `jit`."""

import functools
import math

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from rivals.item import FACTOR, HORIZON, MATRIX, OPTIMIZER, START, TAU, VARIANCE, Advance, second_factor
from rivals.jax_settings import jax

C, EPS = OPTIMIZER.c, OPTIMIZER.eps
SECOND = second_factor()


def drift(t: jax.Array, x: jax.Array, args: None) -> jax.Array:
    """`b + τ b₁` of one path, `(4,)`."""
    theta, v = x[:2], x[2:]
    a = jnp.asarray(MATRIX, x.dtype)
    g, root = a @ theta, jnp.sqrt(v)
    p = 1 / (root + EPS)
    b_theta, b_v = -p * g, C * (g * g + VARIANCE - v)
    h, slope = a @ b_theta, -0.5 * p * p / root
    return jnp.concatenate([b_theta + 0.5 * TAU * (slope * g * b_v + p * h), b_v - 0.5 * TAU * C * (2 * g * h - b_v)])


def diffusion(t: jax.Array, x: jax.Array, args: None) -> jax.Array:
    """`G` of one path, `(4, 4)`."""
    theta, v = x[:2], x[2:]
    factor, second = jnp.asarray(FACTOR, x.dtype), jnp.asarray(SECOND, x.dtype)
    g, p = jnp.asarray(MATRIX, x.dtype) @ theta, 1 / (jnp.sqrt(v) + EPS)
    return math.sqrt(TAU) * jnp.block([[-p[:, None] * factor, jnp.zeros_like(factor)], [2 * C * g[:, None] * factor, C * second]])


@functools.partial(jax.jit, static_argnames=("paths", "substeps", "dtype"))
def solve(key: jax.Array, paths: int, substeps: int, dtype: type) -> jax.Array:
    """The end states."""

    def one(key: jax.Array) -> jax.Array:
        motion = diffrax.UnsafeBrownianPath(shape=jax.ShapeDtypeStruct((4,), dtype), key=key)
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, motion))
        solution = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, HORIZON, HORIZON / substeps, jnp.array(START, dtype),
                                       saveat=diffrax.SaveAt(t1=True), adjoint=diffrax.ForwardMode(), max_steps=None)
        return solution.ys[0]

    return jax.vmap(one)(jr.split(key, paths))


def rival(dtype: type) -> Advance:
    """diffrax as an `Advance`."""
    return lambda paths, substeps, seed: np.asarray(solve(jr.key(seed), paths, substeps, dtype))


EQUATION: dict[str, Advance] = {"diffrax, float64": rival(jnp.float64), "diffrax, float32": rival(jnp.float32)}
CHAIN: dict[str, Advance] = {}
