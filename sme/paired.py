"""The paired run: discrete optimizer and equations on the same increments."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.controls import Controls, Responses, responses
from sme.equations.base import Equation, join
from sme.moments import Moments
from sme.optimizers.base import Optimizer, State
from sme.regimes import BALLISTIC
from sme.setup import Setup
from sme.simulate.increments import Increments, coarsen, together
from sme.simulate.schemes import scheme
from sme.simulate.torchsde_adapter import integrate

BLOCKS = 4
"""Blocks a shard, each with moments of its own: the folds of the control variates' coefficients."""
BLOCK_PAIRS = 4096
SHARD_PAIRS = BLOCKS * BLOCK_PAIRS
LARGEST = 2**18
"""normals drawn at once for a substep"""
DIVERGED = 1e50
"""a pair with a value beyond this, or not finite, is diverged: its square would still be a number"""
LEVELS = (1, 2, 4)
"""Substeps of the three levels, in units of the finest."""


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


class Ladder:
    """An equation on three levels of one path, extrapolated pairwise."""

    def __init__(self, equation: Equation, x: Float[Tensor, "paths state"]) -> None:
        self.equation, self.scheme = equation, scheme(equation)
        self.levels = [x] * len(LEVELS)

    def step(self, k: int, t: float, dW: Float[Tensor, "substeps paths motions"]) -> None:
        """Advance every level by one optimizer step."""
        self.levels = [integrate(self.equation, self.scheme, x, coarsen(dW, factor), k, t)
                       for x, factor in zip(self.levels, LEVELS, strict=True)]

    def values(self, observe: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The extrapolated observables, and how far halving the substep moved them."""
        fine, middle, coarse = (observe(x) for x in self.levels)
        best = self.scheme.extrapolate(fine, middle)
        return best, best - self.scheme.extrapolate(middle, coarse)


def ordinary(setup: Setup) -> Float[np.ndarray, "marks observables"] | None:
    """The observables along the order-1 ODE, or None where no ODE is a reference."""
    if setup.order == 1 or setup.regime != BALLISTIC:
        return None
    substeps = scheme(setup.reference()).substeps(setup.tau)
    ladder = Ladder(setup.reference(), setup.whole(1))
    values = []
    for k in range(setup.marks[-1]):
        ladder.step(k, setup.chain.time(k), torch.zeros(substeps, 1, 0, dtype=torch.float64))
        if k + 1 in setup.marks:
            values.append(ladder.values(lambda x: setup.observe(setup.fields(x)))[0])
    return torch.cat(values).cpu().numpy()


def run_block(setup: Setup, key: tuple[int, ...], weights: Responses | None, pairs: int = BLOCK_PAIRS) -> Block:
    """Run `pairs` antithetic pairs of discrete run and equation; `key = (seed, steps, shard, block, piece)`."""
    law, chain, tau, paths = setup.problem.noise, setup.chain, setup.tau, 2 * pairs
    device = setup.start["theta"].device
    equations = [setup.equation()]
    if setup.order == 2 and setup.ordinary is None:  # the reference is an equation with noise of its own
        equations.append(setup.reference())
    ladders = [Ladder(each, setup.whole(paths if each.motions else 1)) for each in equations]
    increments = Increments(key, pairs, ladders[0].scheme.substeps(tau), tau, device)
    state = setup.fields(setup.whole(paths))
    controls = Controls(weights, equations[0], paths)
    floor = Floor(setup.optimizer, paths, device)
    floor.see(state)
    rows: list[tuple[np.ndarray, ...]] = []
    for k in range(setup.marks[-1]):
        dW = increments.first(law.motions) if law.paired or any(each.motions for each in equations) else None
        second = max(each.second for each in equations)
        dW2 = increments.second(second) if second else None
        z = law.draw(coarsen(dW, len(dW))[0] if law.paired and dW is not None else None, tau, increments.draws, paths)
        before, y = state, ladders[0].levels[0]
        state, noise = chain.step(state, z, k)
        shares = [_share(each, dW, dW2, increments.substeps) for each in equations]
        if weights is not None:
            theta = before["theta"]
            x = join(*(before[name] for name in setup.optimizer.fields))
            controls.add(k, x, chain.centred(theta, noise), law.variance(theta))
            controls.follow(k, y, shares[0])
        for ladder, share in zip(ladders, shares, strict=True):
            ladder.step(k, chain.time(k), share)
        floor.see(state)
        floor.see(setup.fields(ladders[0].levels[0]))
        if k + 1 in setup.marks:
            rows.append(_differences(setup, state, ladders, len(rows)))
    values = np.concatenate([np.concatenate(part, -1) for part in zip(*rows, strict=True)] + [controls.values()], -1)
    return _block(setup, values, floor)


def _block(setup: Setup, values: Float[np.ndarray, "paths variables"], floor: "Floor") -> Block:
    """The moments of the pairs that did not diverge."""
    pairs = len(values) // 2
    with np.errstate(invalid="ignore", over="ignore"):  # a diverged pair is counted below
        values = 0.5 * (values[:pairs] + values[pairs:])
    judged = np.ones(values.shape[1], dtype=bool)
    if setup.ordinary is not None:  # an ODE that blows up is no fault of the pairs
        size = setup.ordinary.size
        judged[2 * size : 3 * size] = np.isfinite(setup.ordinary.ravel())
    finite = (np.abs(values[:, judged]) < DIVERGED).all(-1)  # NaN is not
    return Block(Moments.of(values[finite]), int(2 * (~finite).sum()), floor.count())


def _share(each: Equation, dW: Tensor | None, dW2: Tensor | None, substeps: int) -> Tensor:
    if not each.motions or dW is None:
        return torch.zeros(substeps, 1, 0, dtype=torch.float64)
    return together(dW, dW2) if each.second and dW2 is not None else dW


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


class Floor:
    """Which paths saw the floor."""

    def __init__(self, optimizer: Optimizer, paths: int, device: torch.device) -> None:
        self.active = optimizer.v_floor > 0 and "v" in optimizer.fields
        self.level = optimizer.v_floor
        self.seen = torch.zeros(paths, dtype=torch.bool, device=device)

    def see(self, state: State) -> None:
        """Note the paths whose second moment is below the floor in any coordinate."""
        if self.active:
            self.seen = self.seen | (state["v"] < self.level).any(-1)

    def count(self) -> int:
        """How many."""
        return int(self.seen.sum())


def run_shard(setup: Setup, seed: int, shard: int) -> list[Block]:
    """The blocks of one shard: a function of `(seed, steps, shard)` and the setup alone."""
    law = setup.problem.noise
    # so many motions that a block's increments leave the cache: run it in pieces
    pieces = 1
    while (law.motions + law.second_motions) * BLOCK_PAIRS // pieces > LARGEST and pieces < BLOCK_PAIRS // 32:
        pieces *= 2
    with torch.no_grad():
        weights = responses(setup.chain, setup.start, setup.marks, setup.observables)
        return [reduce(Block.merge, (run_block(setup, (seed, setup.steps, shard, block, piece), weights,
                                               BLOCK_PAIRS // pieces) for piece in range(pieces)))
                for block in range(BLOCKS)]
