"""The states that a run visits: the noiseless path and a few noisy ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import number, short
from sme.common.random.increments import Increments
from sme.equations.chain import Chain
from sme.optimizers.base import Optimizer, initial
from sme.optimizers.regimes import Regime
from sme.problems.base import Problem

STEPS, MOST = 128, 2048
"""least and most steps of a run"""
SHARE = 0.5
"""largest `1 − β` of a step, where `MOST` allows it"""
NEAR = 0.1
"""share of its range by which the noiseless path may move when the step size is halved"""
FINER = 12
"""most halvings"""
PAIRS, SEED = 4, 0
"""antithetic pairs of noisy paths, and their seed"""
HORIZON = 1.0
"""of a run whose horizon is not given"""

States = Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Visited:
    """Paths of the discrete run, the noiseless one first.

    Attributes
    ----------
    given
        whether a run was named; if not, the paths are single states at `t0` that stand for any.
    times
        of the steps.
    paths
        whole states, fields side by side; each path ends where it is no longer finite, with `NaN` from there on.
    """

    given: bool
    times: Float[Tensor, " steps"]
    paths: Float[Tensor, "paths steps state"]


def visited(problem: Problem, optimizer: Optimizer, regime: Regime, start: Mapping[str, Tensor] | None = None,
            horizon: float | None = None, states: States | None = None) -> Visited:
    """The run from `start` over `horizon` from `t0`; without both, `states`, by default two off every axis.

    The step size is small against the horizon, the memory of the rule and the curvature. A start that is not given is the
    problem's own, a horizon 1. Deterministic.

    Raises
    ------
    SMEError
        for a horizon that is not positive, or a start or states that do not fit.
    """
    if start is None and horizon is None:
        points = [whole(optimizer, state, problem.dim) for state in _several(states, optimizer, problem.dim)]
        return Visited(False, torch.tensor([optimizer.t0], dtype=torch.float64), torch.stack(points).unsqueeze(1))
    length = HORIZON if horizon is None else number("horizon", horizon)
    if not 0 < length < math.inf:
        raise SMEError(f"horizon must be positive and finite, got {length:g}: give one such as 1")
    if start is not None and not isinstance(start, Mapping):
        raise SMEError(f"start must map field names to tensors, got {short(start)}: give start={{'theta': tensor, …}}")
    own = {name: field for name, field in problem.start.items() if name in optimizer.fields}
    first = initial(optimizer, {**own, **(start or {})}, problem.dim)
    fastest = max(optimizer.rates().values(), default=0.0)
    tau = length / max(STEPS, math.ceil(fastest * length / SHARE))
    for _ in range(FINER):  # the step size may be too large for the curvature
        mean, finer = (_noiseless(Chain(problem, optimizer, regime, step), first, _steps(length, step))
                       for step in (tau, tau / 2))
        both = min(len(mean), len(finer[::2]))
        span, apart = (finer - finer[0]).abs().max(), (finer[::2][:both] - mean[:both]).abs()
        if bool((apart <= NEAR * (span + finer[::2][:both].abs())).all()):
            break
        tau /= 2
    chain = Chain(problem, optimizer, regime, tau)
    paths = torch.cat((mean.unsqueeze(0), _noisy(chain, first, len(mean) - 1)))
    return Visited(True, torch.tensor([chain.time(k) for k in range(len(mean))], dtype=torch.float64), paths)


def _steps(length: float, tau: float) -> int:
    """Of a stiff run its first part alone, in which it comes to rest."""
    return min(MOST, round(length / tau))


def whole(optimizer: Optimizer, state: Mapping[str, Tensor], dim: int) -> Float[Tensor, " state"]:
    """A named state as one row, defaults filled in and checked."""
    return torch.cat(list(initial(optimizer, state, dim).values()))


def _noiseless(chain: Chain, state: dict[str, Tensor], steps: int) -> Float[Tensor, "steps state"]:
    """The path of `E[gradient]`."""
    found = [torch.cat(list(state.values()))]
    with torch.no_grad():
        for k in range(steps):
            state = chain.mean_step(state, chain.time(k))
            found.append(chain.layout.whole(state))
    return torch.stack(found)


def _noisy(chain: Chain, start: dict[str, Tensor], steps: int) -> Float[Tensor, "paths steps state"]:
    law = chain.problem.noise
    increments = Increments((SEED, steps, 0, 0), PAIRS, 1, chain.tau, torch.device("cpu"))
    state = {name: field.expand(2 * PAIRS, -1).contiguous() for name, field in start.items()}
    found = [chain.layout.whole(state)]
    with torch.no_grad():
        for k in range(steps):
            state = chain.run(state, law.draw(None, chain.tau, increments.draws(k), 2 * PAIRS), k)
            found.append(chain.layout.whole(state))
    return torch.stack(found, 1)


def _several(states: States | None, optimizer: Optimizer, dim: int) -> Sequence[Mapping[str, Tensor]]:
    given = standing(optimizer, dim) if states is None else [states] if isinstance(states, Mapping) else states
    if not isinstance(given, Sequence) or not given or not all(isinstance(each, Mapping) for each in given):
        raise SMEError(f"states must map field names to tensors, or be a list of such, got {short(states)}")
    return given


def standing(optimizer: Optimizer, dim: int, count: int = 2) -> list[dict[str, Tensor]]:
    """States off every axis."""
    generator = torch.Generator().manual_seed(0)

    def draw(name: str) -> Tensor:
        uniform = torch.rand(dim, generator=generator, dtype=torch.float64)
        return 0.5 + 0.7 * uniform if name in optimizer.nonnegative else 2 * uniform - 1

    return [{name: draw(name) for name in optimizer.fields} for _ in range(count)]
