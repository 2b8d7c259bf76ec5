"""The paired run: discrete optimizer and equations on the same increments."""

from functools import reduce

import numpy as np
import torch
from jaxtyping import Bool, Float

from sme.common.process.progress import fraction, phase
from sme.common.storage.records import Arrays, Records
from sme.convergence.estimator.block import Block
from sme.convergence.estimator.shared import filled, shared
from sme.convergence.estimator.thinned import Portion, portions
from sme.optimizers.base import State
from sme.simulate.codegen.ensemble import ensemble
from sme.simulate.control_variates.controls import LONGEST, responses
from sme.simulate.control_variates.values import followed
from sme.simulate.ensemble import ExtrapolatedPath
from sme.simulate.halving import halving
from sme.simulate.integrators.schemes import scheme
from sme.simulate.setup import Setup

BLOCKS = 4
"""Blocks a shard, each with moments of its own: the folds of the control variates' coefficients."""
BLOCK_PAIRS = 4096
SHARD_PAIRS = BLOCKS * BLOCK_PAIRS
LARGEST, HELD, FEWEST = 2**15, 2**20, 64
"""numbers of all pairs' states, or increments, at a time by torchsde; by compiled code; and the least number of pairs"""
LAYERS = 2**25
"""numbers of what goes into and out of a network's layers, of all paths at a time"""


def ordinary(setup: Setup) -> Float[np.ndarray, "marks observables"] | None:
    """The observables along the order-1 ODE, or None where no ODE is a reference."""
    if setup.order == 1 or not setup.plain:
        return None
    if setup.marks[-1] > LONGEST:
        return _solved(setup)
    substeps = setup.substeps(scheme(setup.reference()))
    ladder = ExtrapolatedPath(setup.reference(), setup.whole(1))
    values = []
    for k in range(setup.marks[-1]):
        ladder.step(k, setup.chain.time(k), torch.zeros(substeps, 1, 0, dtype=torch.float64))
        if k + 1 in setup.marks:
            values.append(ladder.values(lambda x: setup.observe(setup.fields(x)))[0])
    return torch.cat(values).cpu().numpy()


def _solved(setup: Setup) -> Float[np.ndarray, "marks observables"]:
    """The same by a solver with steps of its own, so that a long run costs what its horizon does; NaN where it blows up."""
    from scipy.integrate import solve_ivp  # takes half a second, and few runs ask for it

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
    size = chunk(setup)
    return reduce(Block.merge, (_run(portion, numbers, min(size, portion.pairs - offset), portion.first + offset)
                                for portion in portions(setup, BLOCK_PAIRS if pairs is None else pairs)
                                for offset in range(0, portion.pairs, size)))


def chunk(setup: Setup) -> int:
    """So many pairs at a time that they fit: a step's numbers into the processor's cache, compiled runs into memory."""
    law, size = setup.problem.noise, BLOCK_PAIRS
    if setup.start["theta"].device.type != "cpu":
        return size
    state = setup.problem.dim * len(setup.optimizer.fields)
    numbers, most = (state, HELD) if setup.source else (max(state, law.motions + law.second_motions), LARGEST)
    while numbers * size > most and size > FEWEST:
        size //= 2
    while not setup.source and 2 * size * law.footprint > LAYERS and size > 1:
        size //= 2
    return size


def _run(portion: Portion, numbers: tuple[int, ...], pairs: int, offset: int) -> Block:
    setup = portion.setup
    run = ensemble(setup, numbers, pairs, offset, portion.levels)
    rows: list[tuple[np.ndarray, ...]] = []
    sound = np.ones(2 * pairs, dtype=bool)
    for mark in setup.marks:
        run.advance(mark)
        rows.append(_differences(portion, run.state, run.ladders, len(rows)))
        sound &= run.sound().cpu().numpy()
    known = np.broadcast_to(portion.known, (2 * pairs, len(portion.known)))
    values = np.concatenate([*(np.concatenate(part, -1) for part in zip(*rows, strict=True)), run.carry.cpu().numpy(), known], -1)
    return _block(setup, values, sound, len(rows[0]), int(run.floored.sum()))


def _block(setup: Setup, values: Float[np.ndarray, "paths variables"], sound: Bool[np.ndarray, " paths"], kinds: int,
           floored: int) -> Block:
    """Of the antithetic pairs."""
    rows = len(setup.marks) * len(setup.observables)
    judged = np.ones(kinds * rows, dtype=bool)
    if setup.ordinary is not None:  # an ODE that blows up is no fault of the pairs
        judged[2 * rows :] = np.isfinite(setup.ordinary.ravel())
    return Block.of(halves(values), np.logical_and(*sound.reshape(2, -1)), kinds, rows, judged, floored)


def halves(values: Float[np.ndarray, "paths variables"]) -> Float[np.ndarray, "pairs variables"]:
    """The means of the antithetic pairs."""
    pairs = len(values) // 2
    with np.errstate(invalid="ignore", over="ignore"):  # of a diverged pair
        return 0.5 * (values[:pairs] + values[pairs:])


def _differences(portion: Portion, state: State, ladders: list[ExtrapolatedPath], mark: int) -> tuple[np.ndarray, ...]:
    """Errors, biases and (order 2) errors of the reference at one mark, path by path."""
    setup = portion.setup
    discrete = setup.observe(state)
    parts = list(portion.error(discrete, ladders[0]))
    if len(ladders) > 1:
        parts.append(portion.error(discrete, ladders[1])[0])
    elif setup.ordinary is not None:
        parts.append(discrete - torch.from_numpy(setup.ordinary[mark]).to(discrete.device))
    return tuple(part.cpu().numpy() for part in parts)


def run_shard(setup: Setup, seed: int, shard: int) -> list[Block]:
    """The blocks of one shard: a function of `(seed, steps, shard)` and the setup (see `prepared`) alone."""
    with torch.no_grad():
        return [run_block(setup, (seed, setup.steps, shard, block)) for block in range(BLOCKS)]



def prepared(setup: Setup, records: Records | None = None) -> Setup:
    """The setup with what all its shards share: the ODE's observables, the weights of the control variates, the `Halving`."""
    arrays = (records or Records(None)).get(f"prepared, order {setup.order}, {setup.steps} steps", lambda: _prepare(setup))
    return filled(setup, arrays)


def _prepare(setup: Setup) -> Arrays:
    with torch.no_grad(), phase(f"control variates, order {setup.order}, τ = {fraction(setup.tau)}"):
        weights = responses(setup.chain, setup.start, setup.marks, setup.observables)
        if weights is not None and not followed(setup.equation()):
            weights = weights.without_values()
        return shared(weights, ordinary(setup), halving(setup, setup.equation()))
