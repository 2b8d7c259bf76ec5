"""Expectations of a discrete run and of an equation at one step size without paths, and the weak error that follows from them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.convergence.estimator.closure import cumulants
from sme.convergence.estimator.closure.condensed import condensed
from sme.convergence.estimator.closure.cumulants import Local
from sme.convergence.estimator.closure.rates import ChainRates, EquationRates, Rates
from sme.convergence.estimator.closure.stencils import Function, Points
from sme.simulate.setup import Setup

GATE = 0.19
"""the spread of a second moment, as a share of its mean, up to which the series in its noise is trusted"""
RATIO, GROWTH = 0.75, 2.0
"""of two orders of the noise's terms that follow one another, up to which the rest is bounded by a geometric series; the third is
taken to be smaller than the second by `GROWTH` times what that is by the first: of `E v^(−1/2)` with Gaussian `v` it is 1.9 times
"""
ROUNDED = 1e-3
"""share of the first noise term, and of the noiseless difference times the squared spectral radius, in the half-width"""
LARGEST = 24
"""numbers of a state whose third derivatives are formed"""
FEWEST, MOST, FINER = 24, 512, 8
"""Runge–Kutta steps of an equation's cumulants: per unit of the largest rate so many"""
TOLERANCE = 1e-11
EVALUATIONS = 40_000
OWN, POSITIVE, SMALLEST = 0.3, 0.5, 1e-6
"""the scale of a field as a share of its size, that of one that stays ≥ 0, and where it is 0"""
TINY = 1e-12
ACCIDENT = 0.1
"""the noise's first order in an observable, as a share of its value, is taken to be at least so much of that in any other"""


@dataclass(frozen=True)
class Expectations:
    """What a closure finds of one run.

    Attributes
    ----------
    parts
        of each observable the value of the noiseless run, and what the noise adds in first and second order.
    ratio
        the largest of second over first, times `GROWTH`, at most `RATIO`.
    spread
        the largest standard deviation of a number that stays ≥ 0 over its mean along the run.
    radius
        the largest spectral radius of `τ∇f̄`.
    """

    parts: Float[np.ndarray, "3 observables"]
    ratio: float
    spread: float = 0.0
    radius: float = 0.0

    @property
    def tail(self) -> Float[np.ndarray, " observables"]:
        """A bound of what follows the second order, if it goes on like a geometric series."""
        return np.abs(self.parts[2]) * self.ratio / (1 - self.ratio)

    @property
    def doubt(self) -> str:
        """Why the series cannot be trusted; empty if it can."""
        if not np.isfinite(self.parts).all():
            return "the closure is not finite"
        if self.spread >= GATE:
            return f"the second moment spreads over {self.spread:.2g} of its mean, and {GATE} is the limit of its series"
        if self.ratio >= RATIO:
            return f"the noise's second order is {RATIO / GROWTH:g} of its first or more"
        return ""


@dataclass(frozen=True)
class Predicted:
    """Weak errors, half-widths of their intervals, and why they cannot be trusted (empty if they can)."""

    error: Float[np.ndarray, " observables"]
    half: Float[np.ndarray, " observables"]
    doubt: str


def error(chain: Expectations, equation: Expectations) -> Predicted:
    """`E φ(discrete) − E φ(equation)` with its interval."""
    difference = chain.parts - equation.parts
    half = chain.tail + equation.tail + ROUNDED * (np.abs(difference[1]) + chain.radius**2 * np.abs(difference[0]))
    return Predicted(difference.sum(0), half, chain.doubt or equation.doubt)


def of_chain(setup: Setup) -> Expectations:
    """Of the discrete run.

    Raises
    ------
    SMEError
        for a state that is too large, or a rule or law that has no closure.
    """
    check(setup)
    chain = setup.chain
    with torch.no_grad():
        marks = range(setup.marks[-1] + 1)
        rates = ChainRates(chain, setup.whole(1), chain.time(0))
        state = _means(setup, rates)
        times = [chain.time(k) for k in marks]
        x, scale = state[:-1], _scales(setup, state)
        mean, covariance, skew = _functions(rates, x, times[:-1])
        local = Local.of(mean, covariance, skew, x, scale[:-1])
        spread = cumulants.spread_of_chain(local, setup.tau)
        local.finish(mean, covariance, x, scale[:-1], spread)
        found = cumulants.through_chain(local, state, setup.tau)
        parts = cumulants.expected(_observed(setup), found, scale[-1])
        wide = _wide(setup, np.concatenate((spread, found.covariance[None])), state)
        radius = setup.tau * float(np.abs(np.linalg.eigvals(local.slope)).max()) if np.isfinite(local.slope).all() else math.inf
    return Expectations(parts, _ratio(parts), wide, radius)


def of_equation(setup: Setup) -> Expectations:
    """Of the equation under test; raises `SMEError` as `of_chain`."""
    check(setup)
    with torch.no_grad():
        given = replace(setup, problem=condensed(setup.problem))
        rates = EquationRates(given.equation())
        state, times = _solved(setup, rates)
        scale = _scales(setup, state)
        mean, covariance, skew = _functions(rates, state, times)
        local = Local.of(mean, covariance, skew, state, scale)
        span = 2 * (times[1] - times[0])
        spread = cumulants.spread_of_equation(local, span)
        local.finish(mean, covariance, state, scale, spread)
        found = cumulants.through_equation(local, state, span, spread)
        parts = cumulants.expected(_observed(setup), found, scale[-1])
    return Expectations(parts, _ratio(parts))


def check(setup: Setup) -> None:
    """Raise `SMEError` for a state that is too large."""
    size = setup.problem.dim * len(setup.optimizer.fields)
    if size > LARGEST:
        raise SMEError(f"the state has {size} numbers, and the closure takes at most {LARGEST}")


def _ratio(parts: np.ndarray) -> float:
    """The largest of second over first order, which is no less in one observable than others lead to expect."""
    value, first, second = np.abs(parts)
    share = float((first / value.clip(TINY)).clip(max=1.0).max())
    expected = np.maximum(first, ACCIDENT * share * value)
    return min(RATIO, GROWTH * float((second / expected.clip(TINY))[expected > TINY].max(initial=0.0)))


def _means(setup: Setup, rates: Rates) -> Points:
    """The noiseless run."""
    x = [setup.whole(1)]
    for k in range(setup.marks[-1]):
        x.append(x[-1] + setup.tau * rates.mean(x[-1], setup.chain.time(k)))
    state = torch.cat(x).numpy()
    if not np.isfinite(state).all():
        raise SMEError("the run without noise is not finite")
    return state


def _solved(setup: Setup, rates: Rates) -> tuple[Points, list[float]]:
    """The noiseless equation, at the ends and the middles of Runge–Kutta steps fine enough for its cumulants."""
    from scipy.integrate import solve_ivp  # takes half a second, and few runs ask for it

    start, begin = setup.whole(1), setup.chain.time(0)
    end, count = setup.chain.time(setup.marks[-1]), 0

    def move(t: float, x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count > EVALUATIONS or not np.isfinite(x).all():
            raise SMEError("the equation without noise diverges")
        return rates.mean(torch.from_numpy(x)[None], t)[0].numpy()

    unit = float(start.abs().max()) or 1.0
    solved = solve_ivp(move, (begin, end), start[0].numpy(), "DOP853", rtol=TOLERANCE, atol=TOLERANCE * 1e-2 * unit,
                       dense_output=True)
    if not solved.success:
        raise SMEError("the equation without noise diverges")
    looks = np.linspace(begin, end, 9)
    rate = max(_rate(rates, solved.sol(t), t) for t in looks)
    steps = int(np.clip(math.ceil(FINER * rate * (end - begin)), FEWEST, MOST))
    times = np.linspace(begin, end, 2 * steps + 1)
    state = solved.sol(times).T
    return state, times.tolist()


def _rate(rates: Rates, x: np.ndarray, t: float) -> float:
    """The spectral radius of the drift's Jacobian, by differences."""
    at, step = torch.from_numpy(x)[None], 1e-5 * (1e-3 + np.abs(x))
    moved = torch.from_numpy(np.diag(step))
    slope = (rates.mean(at + moved, t) - rates.mean(at - moved, t)).numpy() / (2 * step[:, None])
    return float(np.abs(np.linalg.eigvals(slope)).max()) if np.isfinite(slope).all() else 1.0


def _scales(setup: Setup, state: Points) -> Points:
    """Within which the functions of the state have no singularity: a share of each number that stays ≥ 0, or of its field."""
    found = []
    for name, part in zip(setup.optimizer.fields, np.split(state, len(setup.optimizer.fields), 1), strict=True):
        if name in setup.optimizer.nonnegative:
            found.append(np.maximum(POSITIVE * np.abs(part), SMALLEST))
        else:
            found.append(np.full_like(part, OWN * (np.abs(part).max() or 1.0)))
    return np.concatenate(found, 1)


def _functions(rates: Rates, x: Points, times: list[float]) -> tuple[Function, Function, np.ndarray]:
    """Mean and covariance of several states at each point, and the third cumulants of the points themselves."""
    states = torch.from_numpy(x)
    still = rates.still(states[:1], times)

    def every(function: Callable[[Tensor, float], Tensor]) -> Function:
        def at(states: Tensor, part: slice) -> Tensor:
            if still:
                found = function(states.flatten(0, 1), times[0])
                return found.reshape(*states.shape[:2], *found.shape[1:])
            return torch.stack([function(each, t) for each, t in zip(states, times[part], strict=True)])

        return at

    skew = every(rates.third)(states[:, None], slice(None))[:, 0].numpy()
    return every(rates.mean), every(rates.covariance), skew


def _observed(setup: Setup) -> Function:
    def at(states: Tensor, part: slice) -> Tensor:
        found = setup.observe(setup.fields(states.flatten(0, 1)))
        return found.reshape(*states.shape[:2], -1)

    return at


def _wide(setup: Setup, spread: np.ndarray, state: Points) -> float:
    """The largest deviation of a number that stays ≥ 0 over its mean, after the start."""
    stays = np.repeat([name in setup.optimizer.nonnegative for name in setup.optimizer.fields], setup.problem.dim)
    if not stays.any():
        return 0.0
    deviation = np.sqrt(spread.diagonal(axis1=1, axis2=2)[1:, stays].clip(0))
    return float((deviation / np.abs(state[1:, stays]).clip(TINY)).max())
