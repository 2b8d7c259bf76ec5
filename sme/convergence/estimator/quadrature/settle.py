"""The errors of one setup, by finer and finer rungs until they settle."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from sme.common.random.increments import Increments, together
from sme.common.random.jumps import counts
from sme.convergence.estimator.quadrature.frames import Course
from sme.convergence.estimator.quadrature.method import equations
from sme.convergence.estimator.quadrature.steps import ChainStep, SignStep, Step, substep
from sme.convergence.estimator.quadrature.sweep import observed
from sme.equations.base import Equation
from sme.simulate import discrete
from sme.simulate.ensemble import FAR, LEVELS, has_floor
from sme.simulate.halving import Halving
from sme.simulate.integrators.schemes import scheme
from sme.simulate.integrators.torchsde import integrate
from sme.simulate.setup import Setup

RUNGS = ((4, 3, 0.95), (5, 4, 1.0), (6, 5, 0.95), (7, 5, 1.0), (8, 6, 0.95), (10, 7, 1.0))
"""total degree of the polynomials, nodes for each motion of an equation, and width of the frames"""
SMALL, FEWER = 3, 3
"""numbers of a state with so many rungs at most that one more has fewer"""
PATHS, SEED = 512, 26_011
"""of the few runs that say where the state is: an error depends on them within its bound alone"""
SHARE, BIASED, EXACT = 1e-3, 1e-2, 1e-10
"""a bound is small below these shares of the error, of the integrator bias, or of the observable itself"""
ALIKE = 0.1
"""the bound of an observable is at least so much of any other's at the same time, each as a share of its observable"""
STEADY = 0.5
"""a rung is off by at least so much of the change before its own: two rungs may be alike by chance"""
ALMOST = 2.0
"""times the least that any rung is off, up to which a later one is taken"""
LOST = 1e-3
"""share of the observable above which a bound says nothing"""
FURTHER = 2 * LEVELS[-1]
"""substep of a fourth level, by which the bias is judged as `Halving` does"""

Kinds = Float[Tensor, "kinds marks observables"]


@dataclass(frozen=True)
class Settled:
    """By kind (errors, integrator biases, and of order 2 errors of the reference) the numbers and their bounds, row by row.

    They are not a number where they do not settle. `diverged` and `floored` are shares of the few runs that say where it is.
    """

    values: Float[np.ndarray, "kinds rows"]
    bounds: Float[np.ndarray, "kinds rows"]
    diverged: float
    floored: float


def settled(setup: Setup) -> Settled:
    """Of one setup: of each number the rung that is least off, and by how much."""
    with torch.no_grad():
        states, diverged, floored = _pilot(setup)
        if states.shape[1] < PATHS // 2:
            nothing = np.full((3 if setup.order == 2 else 2, len(setup.marks) * len(setup.observables)), np.nan)
            return Settled(nothing, nothing, diverged, floored)
        chain, courses, beside = _courses(setup, states)
        floored = max(floored, beside)
        size = torch.stack([setup.observe(setup.fields(states[mark])).abs().mean(0) for mark in setup.marks])
        values, changes = list[Kinds](), list[Kinds]()
        largest = max(course.means.shape[1] for course in (chain, *courses))
        rungs = RUNGS if largest <= SMALL else RUNGS[:FEWER]
        for (degree, nodes, width), step in zip(rungs, _steps(setup), strict=False):
            values.append(_kinds(setup, step, chain, courses, degree, nodes, width))
            if len(values) == 1:
                continue
            changes.append(_change(values[-1] - values[-2], size))
            value, bound = _best(values[1:], changes, kinked=floored > 0)
            enough = torch.maximum(torch.maximum(SHARE * value.abs(), BIASED * value[1].abs()), EXACT * size)
            if bool((bound <= enough)[::2].all() and bound.isfinite().all()):
                break
    lost = ~(bound <= LOST * size)
    numbers, bounds = (torch.where(lost, torch.nan, each).flatten(1).numpy() for each in (value, bound))
    return Settled(numbers, bounds, diverged, floored)


def first(setup: Setup) -> Kinds:
    """The first rung alone."""
    chain, courses, _ = _courses(setup, _pilot(setup)[0])
    degree, nodes, width = RUNGS[0]
    return _kinds(setup, next(_steps(setup)), chain, courses, degree, nodes, width)


def _courses(setup: Setup, states: Float[Tensor, "steps paths state"]) -> tuple[Course, list[Course], float]:
    """That of the discrete run, and those of the equations: the same, but for a memory or equations of somebody else's.

    And the share of the equations' runs that see the floor, where that may be another than of the discrete ones.
    """
    fields = setup.optimizer.nonnegative
    nonnegative = torch.tensor([name in fields for name in setup.optimizer.fields]).repeat_interleave(setup.problem.dim)
    chain, courses, floored = Course.of(states, nonnegative), [], 0.0
    for each in equations(setup):
        beside = torch.cat((nonnegative, torch.zeros(each.hidden, dtype=torch.bool)))
        other, both = setup.kind is not None or each.hidden > 0, _diffuses(each, pad(states[-1], (0, each.hidden)), beside)
        followed = _follow(setup, each) if other or both else states
        floored = max(floored, _floored(setup, followed))
        courses.append(Course.of(followed if other else states, beside, both))
    return chain, courses, floored


def _diffuses(equation: Equation, x: Float[Tensor, "paths state"], nonnegative: Bool[Tensor, " state"]) -> bool:
    """Whether a motion moves numbers that stay ≥ 0 in the discrete run."""
    if equation.jumps is not None or not equation.motions:
        return False
    dW = torch.ones(len(x), equation.motions, dtype=x.dtype)
    _, noise = scheme(equation).step(equation, equation.optimizer.t0, equation.tau, x, dW, torch.zeros_like(dW))
    return bool((torch.as_tensor(noise).expand_as(x)[:, nonnegative] != 0).any())


def _best(values: list[Kinds], changes: list[Kinds], kinked: bool) -> tuple[Kinds, Kinds]:
    """Of each number the last rung that is almost least off, and by how much: its change, half of that before, and the next one.

    Where a later change is above the first one, so that the rungs do not come closer, the first one too; and where any of the few
    runs sees the kink of a floor, which polynomials come near so slowly that changes say little.
    """
    before = [torch.zeros_like(changes[0]), *(STEADY * each for each in changes[:-1])]
    after = [*changes[1:], torch.zeros_like(changes[0])]
    bounds = torch.stack([torch.stack(each).amax(0) for each in zip(before, changes, after, strict=True)])
    apart = (torch.stack(changes).amax(0) > changes[0]) | kinked
    number = torch.arange(len(bounds)).reshape(-1, *[1] * changes[0].dim())
    place = torch.where(bounds <= ALMOST * bounds.amin(0), number, 0).amax(0, keepdim=True)
    value, bound = (each.gather(0, place)[0] for each in (torch.stack(values), bounds))
    return value, torch.where(apart, torch.maximum(bound, changes[0]), bound)


def _change(difference: Kinds, size: Float[Tensor, "marks observables"]) -> Kinds:
    """Its size, and no less than what other observables of the time lead to expect: one may be small by chance."""
    share = (difference.abs() / size.clamp_min(1e-300)).nan_to_num(torch.inf, torch.inf)
    return torch.maximum(share, ALIKE * share[::2].amax((0, 2)).unsqueeze(-1)) * size


def _kinds(setup: Setup, step: Step, chain: Course, courses: list[Course], degree: int, nodes: int, width: float) -> Kinds:
    """At one rung."""
    discretely = observed(setup, step, chain.frames(degree, width))
    found: list[Tensor] = []
    for equation, course in zip(equations(setup), courses, strict=True):
        method, frames = scheme(equation), course.frames(degree, width)
        finest = setup.substeps(method)
        levels = LEVELS if found or finest % FURTHER else (*LEVELS, FURTHER)
        seen = [observed(setup, substep(equation, finest // level, nodes), frames) for level in levels]
        best, bias = method.extrapolate(*seen[:3])
        if len(seen) > 3:
            bias = torch.from_numpy(Halving(method.powers[1], method.extrapolate(*seen[1:])[1].numpy()).bias(bias.numpy()))
        found += [discretely - best] if found else [discretely - best, bias]
    return torch.stack(found)


def _steps(setup: Setup) -> Iterator[Step]:
    """Of the discrete run, under finer and finer rules for its noise, the last one again and again."""
    chain, last = setup.chain, None
    if setup.optimizer.signed:
        yield from itertools.repeat(SignStep(chain))
    for last in (ChainStep(chain, rule) for rule in chain.problem.noise.quadrature()):
        yield last
    if last is not None:
        yield from itertools.repeat(last)


def _pilot(setup: Setup) -> tuple[Float[Tensor, "steps paths state"], float, float]:
    """The states of a few discrete runs after each step, without those that diverge; which share does, or sees the floor."""
    steps = range(setup.marks[-1] + 1)
    states = discrete.runs(setup.chain, setup.start, steps, setup.layout.whole, PATHS, SEED)
    sound = (states.abs() < FAR).all(-1).all(0)
    return states[:, sound], float(1 - sound.double().mean()), _floored(setup, states)


def _floored(setup: Setup, states: Float[Tensor, "steps paths state"]) -> float:
    """The share of these paths that see the floor."""
    if not has_floor(setup.optimizer):
        return 0.0
    v = setup.fields(states[..., : setup.whole(1).shape[1]])["v"]
    return float((v < setup.optimizer.v_floor).any(-1).any(0).double().mean())


def _follow(setup: Setup, equation: Equation) -> Float[Tensor, "steps paths state"]:
    """The states of a few runs of an equation, on its coarsest level, with what it hides."""
    method = scheme(equation)
    substeps = setup.substeps(method) // LEVELS[-1]
    increments = Increments((SEED, setup.steps, 0, 0), PATHS // 2, substeps, setup.tau, setup.start["theta"].device)
    states = [pad(setup.whole(PATHS), (0, equation.hidden))]
    for k in range(setup.marks[-1]):
        dW = together(increments.first(k, equation.first), increments.second(k, equation.second))
        dW = dW if equation.jumps is None else counts(dW, equation.jumps, setup.tau)
        states.append(integrate(equation, method, states[-1], dW, k, setup.chain.time(k)))
    return torch.stack(states)
