"""The paired run: discrete optimizer and equations on the same increments."""

import dataclasses
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp

from sme.compiled import ensemble
from sme.controls import LONGEST, responses
from sme.ensemble import Ladder
from sme.moments import Moments
from sme.optimizers.base import State
from sme.regimes import BALLISTIC
from sme.setup import Setup
from sme.simulate.schemes import scheme

BLOCKS = 4
"""Blocks a shard, each with moments of its own: the folds of the control variates' coefficients."""
BLOCK_PAIRS = 4096
SHARD_PAIRS = BLOCKS * BLOCK_PAIRS
LARGEST, HELD, FEWEST = 2**15, 2**20, 64
"""numbers of all pairs' states, or increments, at a time by torchsde; by compiled code; and the least number of pairs"""
DIVERGED = 1e50
"""a pair with a value beyond this, or not finite, is diverged: its square would still be a number"""


@dataclass(frozen=True)
class Block:
    """What one block of pairs leaves behind."""

    moments: Moments
    """of [errors, integrator biases, errors of the order-1 reference, control variates], pair by pair"""
    diverged: int
    """paths left out of the moments because a value of their pair was not finite or beyond `DIVERGED`"""
    floored: int
    """paths whose second moment was below the floor at the start or the end of a step"""

    def merge(self, other: "Block") -> "Block":
        """Both together."""
        return Block(self.moments.merge(other.moments), self.diverged + other.diverged, self.floored + other.floored)


def ordinary(setup: Setup) -> Float[np.ndarray, "marks observables"] | None:
    """The observables along the order-1 ODE, or None where no ODE is a reference."""
    if setup.order == 1 or setup.regime != BALLISTIC:
        return None
    if setup.marks[-1] > LONGEST:
        return _solved(setup)
    substeps = setup.substeps(scheme(setup.reference()))
    ladder = Ladder(setup.reference(), setup.whole(1))
    values = []
    for k in range(setup.marks[-1]):
        ladder.step(k, setup.chain.time(k), torch.zeros(substeps, 1, 0, dtype=torch.float64))
        if k + 1 in setup.marks:
            values.append(ladder.values(lambda x: setup.observe(setup.fields(x)))[0])
    return torch.cat(values).cpu().numpy()


def _solved(setup: Setup) -> Float[np.ndarray, "marks observables"]:
    """The same by a solver with steps of its own, so that a long run costs what its horizon does; NaN where it blows up."""
    ode, like, begin = setup.reference(), setup.whole(1), setup.optimizer.t0

    def drift(t: float, x: np.ndarray) -> np.ndarray:
        return ode.drift(t, torch.as_tensor(x, device=like.device)[None])[0].cpu().numpy()

    times = [setup.chain.time(mark) for mark in setup.marks]
    with np.errstate(over="ignore", invalid="ignore"):
        found = solve_ivp(drift, (begin, times[-1]), like[0].cpu().numpy(), "DOP853", times, rtol=1e-12, atol=1e-14)
    values = np.full((len(times), len(setup.observables)), np.nan)
    for row, x in zip(values, np.reshape(found.y, (like.shape[1], -1)).T, strict=False):
        row[:] = setup.observe(setup.fields(torch.as_tensor(x, device=like.device)[None]))[0].cpu().numpy()
    return values


def run_block(setup: Setup, numbers: tuple[int, ...], pairs: int | None = None) -> Block:
    """Run `pairs` antithetic pairs of discrete run and equation, some at a time; `numbers = (seed, steps, shard, block)`."""
    pairs, size = BLOCK_PAIRS if pairs is None else pairs, chunk(setup)
    return reduce(Block.merge, (_run(setup, numbers, min(size, pairs - offset), offset)
                                for offset in range(0, pairs, size)))


def chunk(setup: Setup) -> int:
    """So many pairs at a time that they fit: a step's numbers into the processor's cache, compiled runs into memory."""
    law, size = setup.problem.noise, BLOCK_PAIRS
    if setup.start["theta"].device.type != "cpu":
        return size
    state = setup.problem.dim * len(setup.optimizer.fields)
    numbers, most = (state, HELD) if setup.source else (max(state, law.motions + law.second_motions), LARGEST)
    while numbers * size > most and size > FEWEST:
        size //= 2
    return size


def _run(setup: Setup, numbers: tuple[int, ...], pairs: int, offset: int) -> Block:
    run = ensemble(setup, numbers, pairs, offset)
    rows: list[tuple[np.ndarray, ...]] = []
    for mark in setup.marks:
        run.advance(mark)
        rows.append(_differences(setup, run.state, run.ladders, len(rows)))
    values = np.concatenate([np.concatenate(part, -1) for part in zip(*rows, strict=True)] + [run.carry.cpu().numpy()], -1)
    return _block(setup, values, int(run.floored.sum()))


def _block(setup: Setup, values: Float[np.ndarray, "paths variables"], floored: int) -> Block:
    """The moments of the pairs that did not diverge."""
    pairs = len(values) // 2
    with np.errstate(invalid="ignore", over="ignore"):  # a diverged pair is counted below
        values = 0.5 * (values[:pairs] + values[pairs:])
    judged = np.ones(values.shape[1], dtype=bool)
    if setup.ordinary is not None:  # an ODE that blows up is no fault of the pairs
        size = setup.ordinary.size
        judged[2 * size : 3 * size] = np.isfinite(setup.ordinary.ravel())
    finite = (np.abs(values[:, judged]) < DIVERGED).all(-1)  # NaN is not
    return Block(Moments.of(values[finite]), int(2 * (~finite).sum()), floored)


def _differences(setup: Setup, state: State, ladders: list[Ladder], mark: int) -> tuple[np.ndarray, ...]:
    """Errors, biases and (order 2) errors of the reference at one mark, path by path."""
    discrete = setup.observe(state)
    best, bias = ladders[0].values(lambda x: setup.observe(setup.fields(x)))
    parts = [discrete - best, bias.expand_as(discrete)]
    if len(ladders) > 1:
        parts.append(discrete - ladders[1].values(lambda x: setup.observe(setup.fields(x)))[0])
    elif setup.ordinary is not None:
        parts.append(discrete - torch.from_numpy(setup.ordinary[mark]).to(discrete.device))
    return tuple(part.cpu().numpy() for part in parts)


def run_shard(setup: Setup, seed: int, shard: int) -> list[Block]:
    """The blocks of one shard: a function of `(seed, steps, shard)` and the setup (see `prepared`) alone."""
    with torch.no_grad():
        return [run_block(setup, (seed, setup.steps, shard, block)) for block in range(BLOCKS)]


def prepared(setup: Setup) -> Setup:
    """The setup with what all its shards share: the ODE's observables and the weights of the control variates."""
    with torch.no_grad():
        weights = responses(setup.chain, setup.start, setup.marks, setup.observables)
        return dataclasses.replace(setup, ordinary=ordinary(setup), weights=weights)
