"""Which observables a noise with heavy tails leaves without a mean or a variance."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.random.increments import Increments
from sme.equations.chain import Chain
from sme.equations.derived.step import Step
from sme.optimizers.base import Optimizer, State
from sme.optimizers.regimes import BATCH_EQUIVALENT, Regime
from sme.problems.base import Problem
from sme.simulate.observables import observe

BEFORE, AFTER = 2, 3
"""steps of usual noise before and after the one that is driven far"""
DRIVEN = (1.0, 1e8, 1e9, 1e10)
"""how many times its usual size its noise has; the first is the yardstick"""
BASES, AXES = 16, 8
"""usual runs, and components of the noise that are driven alone"""
TAU = 2.0**-6
NEGLIGIBLE = 1e-9
"""a change below this share of the value is rounding"""
TIE = 0.02
"""accuracy of a growth: it is mostly a whole number"""
SEED = 40_503
MEAN, VARIANCE = "infinite mean", "infinite variance"
LEFT = "in general under this tail"
"""of the order that is left, in a note"""


def doubts(chain: Chain, start: State, observables: Mapping[str, Callable[[State], Tensor]]) -> dict[str, str]:
    """`infinite mean` or `infinite variance` for the observables of which the discrete run has none.

    An observable that grows like `|z|^p` in the noise of one step has a mean if `E |z|^p` is finite, and a variance if
    `E |z|^2p` is.
    """
    moments = chain.problem.noise.moments
    if math.isinf(moments):
        return {}
    found = {}
    for name, power in growth(chain, start, observables).items():
        if power + TIE >= moments:
            found[name] = MEAN
        elif 2 * (power + TIE) >= moments:
            found[name] = VARIANCE
    return found


def order(problem: Problem, optimizer: Optimizer, regime: Regime) -> float:
    """The order that the tail of the noise leaves in general, whatever the equation; ∞ for one with all its moments.

    With moments below the `ν`-th alone, one step `τz` leaves `O(τ^ν)`, and `√τ z` and `τz²` leave `O(τ^(ν/2))`.
    """
    moments = problem.noise.moments
    if math.isinf(moments) or optimizer.signed:
        return math.inf
    squares = "v" in optimizer.fields
    with suppress(SMEError):  # a rule without an expansion
        squares = Step.of(optimizer, problem.dim).squares
    return max(0.0, (moments / 2 if squares or regime == BATCH_EQUIVALENT else moments) - 1)


def growth(chain: Chain, start: State, observables: Mapping[str, Callable[[State], Tensor]]) -> dict[str, float]:
    """The power `p` of each observable's growth like `|z|^p` as the noise of one step goes to infinity; 0 if it is bounded.

    All components of `z` are driven together, and some alone, from several usual runs, and the observables are taken at once and
    some steps later. The power is the smaller of those of two decades, lest a sign change be taken for a growth.
    """
    with torch.no_grad():
        values = _driven(chain, start, observables)
    usual, near, far, last = values.unbind(0)
    size = NEGLIGIBLE * usual.abs()
    moved = [torch.where((each - usual).abs() > size, (each - usual).abs(), 0.0) for each in (near, far, last)]
    steep = [torch.log10(b / a).nan_to_num(nan=0.0, posinf=math.inf, neginf=0.0).clamp(min=0)
             for a, b in pairwise(moved)]
    power = torch.where(last.isinf(), math.inf, torch.minimum(*steep)).flatten(0, -2).amax(0)
    return dict(zip(observables, power.tolist(), strict=True))


def _driven(chain: Chain, start: State, observables: Mapping[str, Callable[[State], Tensor]]) -> Float[Tensor, "drive ... rows"]:
    """The observables' values, by how far the noise is driven; infinite where the state is not finite."""
    law = chain.problem.noise
    increments = Increments((SEED, 0, 0, 0), BASES // 2, 1, chain.tau, start["theta"].device)
    draws = [law.draw(increments.first(k, law.motions)[0] if law.coupled else None, chain.tau, increments.draws(k), BASES)
             for k in range(BEFORE + 1 + AFTER)]
    shape, size = draws[0].shape[1:], draws[0][0].numel()
    axes = torch.eye(size, dtype=torch.float64)[torch.linspace(0, size - 1, min(size, AXES)).long()]
    rays = torch.cat((torch.ones(1, size, dtype=torch.float64), axes))
    factors = torch.stack([1 + (drive - 1) * rays for drive in DRIVEN]).reshape(len(DRIVEN), len(rays), 1, *shape)
    copies = len(DRIVEN) * len(rays)
    state = {name: field.expand(copies * BASES, -1) for name, field in start.items()}
    rows = []
    for k, z in enumerate(draws):
        whole = z.expand(len(DRIVEN), len(rays), *z.shape)
        whole = (factors * whole if k == BEFORE else whole).reshape(-1, *shape)
        state, _ = chain.step(state, whole, k)
        if k >= BEFORE:
            lost = ~torch.stack([torch.isfinite(field).all(-1) for field in state.values()]).all(0)
            seen = observe(observables, state)
            rows.append(torch.where(lost.unsqueeze(-1), math.inf, seen).reshape(len(DRIVEN), len(rays), BASES, -1))
    return torch.stack(rows, 1)
