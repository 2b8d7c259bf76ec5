"""Two equations on common noise: the difference of their expectations, path by path."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.random.increments import Increments, together
from sme.convergence.estimator import paired
from sme.convergence.estimator.block import Block
from sme.convergence.estimator.paired import BLOCKS, chunk, halves
from sme.equations.base import Equation, Kind
from sme.equations.registry import equation
from sme.simulate.codegen.ensemble import ensemble
from sme.simulate.control_variates.controls import LONGEST
from sme.simulate.ensemble import ExtrapolatedPath
from sme.simulate.integrators.schemes import Scheme, scheme
from sme.simulate.setup import Setup

VARIABLES = 256
"""most noise variables of the quadratic forms"""
FINEST = 256
"""substeps in a unit of time"""
KINDS = 2
"""of rows: differences and their integrator biases"""


@dataclass(frozen=True)
class EquationPair(Setup):
    """A setup with a second equation beside the one under test."""

    rival: tuple[int, str, Kind | None] = (1, "independent", None)
    """order and Brownian motions of the second equation, and its class if it is not the registry's"""
    forms: "QuadraticControls | None" = None

    @classmethod
    def of(cls, setup: Setup, order: int, brownian: str, kind: Kind | None = None) -> "EquationPair":
        """A setup's own equation against this one."""
        return cls(**{each.name: getattr(setup, each.name) for each in fields(Setup)}, rival=(order, brownian, kind))

    def substeps(self, scheme: Scheme) -> int:
        """At least `FINEST` to a unit of time: so little noise is left that the integrator's bias would decide."""
        count = super().substeps(scheme)
        while count < FINEST * self.tau:
            count *= 2
        return count

    def equations(self) -> list[Equation]:
        """The equation under test and its rival."""
        return [self.equation(), equation(self.problem, self.optimizer, self.regime, self.tau, *self.rival)]

    @property
    def motions(self) -> tuple[int, int]:
        """First and second motions behind both."""
        return max(each.first for each in self.equations()), max(each.second for each in self.equations())

    def groups(self, substeps: int) -> int:
        """The largest number of equal groups of substeps for which the forms have at most `VARIABLES` variables."""
        total, most = self.steps * substeps, VARIABLES // max(1, sum(self.motions))
        return max((count for count in range(1, min(most, total) + 1) if total % count == 0), default=0)


@dataclass(frozen=True)
class QuadraticControls:
    """Quadratic forms `½ (wᵀQw − s² tr Q)` of the noise, of mean zero: control variates of the difference.

    `w` are the motions' increments over equal groups of substeps, of variance `s²`. `Q` are the second derivatives by `w` of
    the difference between both equations, from its slopes at `w = ±s` in one variable and 0 in all others, with every increment
    spread evenly over its group. Whatever `Q` is, the mean is zero.
    """

    matrices: Float[Tensor, "rows variables variables"]
    variance: float

    def values(self, w: Float[Tensor, "pairs variables"]) -> Float[Tensor, "pairs rows"]:
        """The forms, pair by pair (they are even)."""
        traces = self.variance * self.matrices.diagonal(dim1=1, dim2=2).sum(-1)
        return 0.5 * (torch.einsum("pi,rij,pj->pr", w, self.matrices, w) - traces)


def forms(duel: EquationPair) -> QuadraticControls | None:
    """The control variates of this duel; None if there are too many motions, or steps to differentiate through."""
    if duel.marks[-1] > LONGEST:
        return None
    equations, (first, second) = duel.equations(), duel.motions
    groups, motions = duel.groups(duel.substeps(scheme(equations[0]))), first + second
    if not groups or not motions:
        return None
    size = groups * motions
    spread = max(2, groups // math.gcd(groups, duel.steps))  # substeps a step here: as coarse as the groups allow
    variance = duel.steps * duel.tau / groups
    unit = math.sqrt(variance) * torch.eye(size, dtype=torch.float64, device=duel.start["theta"].device)
    w = torch.cat((unit, -unit)).requires_grad_()
    with torch.enable_grad():
        rows = _noiseless(duel, equations, groups, spread)(w).sum(0)
        slopes = torch.stack([_slope(row, w) for row in rows])
    matrices = (slopes[:, :size] - slopes[:, size:]) / (2 * math.sqrt(variance))
    return QuadraticControls((0.5 * (matrices + matrices.mT)).nan_to_num(0, 0, 0), variance)


def _slope(row: Tensor, w: Tensor) -> Tensor:
    if not row.requires_grad:  # an indicator, a constant
        return torch.zeros_like(w)
    (slope,) = torch.autograd.grad(row, w, retain_graph=True, materialize_grads=True)
    return slope


def _noiseless(duel: EquationPair, equations: list[Equation], groups: int, spread: int) -> Callable[[Tensor], Tensor]:
    """The difference of both equations, `(paths, rows)`, as a function of the groups' increments `(paths, variables)`."""
    first, _ = duel.motions
    each = duel.steps * spread // groups

    def run(w: Tensor) -> Tensor:
        fine = (w.reshape(len(w), groups, -1) / each).repeat_interleave(each, 1).transpose(0, 1)
        ladders, rows = [ExtrapolatedPath(one, duel.whole(len(w)), (1,)) for one in equations], []
        for k in range(duel.marks[-1]):
            part = fine[k * spread : (k + 1) * spread]
            for ladder in ladders:
                ladder.step(k, duel.chain.time(k), _motions(ladder.equation, part[..., :first], part[..., first:]))
            if k + 1 in duel.marks:
                one, other = (duel.observe(duel.fields(ladder.states[0])) for ladder in ladders)
                rows.append(one - other)
        return torch.cat(rows, -1)

    return run


def _motions(one: Equation, first: Tensor, second: Tensor) -> Tensor:
    if not one.motions:
        return first[..., :0]
    return together(first[..., : one.first], second[..., : one.second]) if one.second else first[..., : one.first]


def run_block(duel: EquationPair, numbers: tuple[int, ...]) -> Block:
    """A block's pairs: differences, their integrator biases, forms."""
    size = chunk(duel)
    return reduce(Block.merge, (_pairs(duel, numbers, min(size, paired.BLOCK_PAIRS - offset), offset)
                                for offset in range(0, paired.BLOCK_PAIRS, size)))


def _pairs(duel: EquationPair, numbers: tuple[int, ...], pairs: int, offset: int) -> Block:
    run = ensemble(duel, numbers, pairs, offset)
    sound = torch.ones(2 * pairs, dtype=torch.bool, device=run.device)
    differences, biases = [], []
    for mark in duel.marks:
        run.advance(mark)
        (one, bias), (other, rival) = (ladder.values(lambda x: duel.observe(duel.fields(x))) for ladder in run.ladders)
        differences.append((one - other).expand(run.paths, -1))
        biases.append((bias - rival).expand(run.paths, -1))
        sound &= run.sound()
    values = halves(torch.cat([*differences, *biases], -1).cpu().numpy())
    if duel.forms is not None:
        values = np.concatenate((values, duel.forms.values(_groups(duel, run.increments)).cpu().numpy()), -1)
    return Block.of(values, sound.reshape(2, -1).all(0).cpu().numpy(), KINDS, len(duel.marks) * len(duel.observables))


def _groups(duel: EquationPair, increments: Increments) -> Float[Tensor, "pairs variables"]:
    """The motions' increments over the forms' groups, along the first path of every pair."""
    first, second = duel.motions
    groups = duel.groups(increments.substeps)
    each, device = duel.steps * increments.substeps // groups, increments.device
    total = torch.zeros(groups, increments.pairs, first + second, dtype=torch.float64, device=device)
    for k in range(duel.steps):
        whole = increments.first(k, duel.problem.noise.motions)[:, : increments.pairs, :first]
        if second:
            whole = torch.cat((whole, increments.second(k, second)[:, : increments.pairs]), -1)
        place = torch.arange(k * increments.substeps, (k + 1) * increments.substeps, device=device) // each
        total.index_add_(0, place, whole)
    return total.transpose(0, 1).flatten(1)


def run_shard(duel: EquationPair, seed: int, shard: int) -> list[Block]:
    """The blocks of one shard."""
    with torch.no_grad():
        return [run_block(duel, (seed, duel.steps, shard, block)) for block in range(BLOCKS)]


def prepared(duel: EquationPair) -> EquationPair:
    """The duel with its control variates."""
    with torch.no_grad():
        return replace(duel, forms=forms(duel))
