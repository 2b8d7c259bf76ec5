"""The expectation over one step of the optimizer: by quadrature of the noise, or the sum over all minibatches."""

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.common.errors import SMEError
from sme.common.inputs import short
from sme.equations.chain import Chain
from sme.equations.closed.signs import sign_moments
from sme.equations.derived.shifted.nodes import COUNTS, OneStep
from sme.equations.registry import is_raw
from sme.optimizers.base import updated
from sme.optimizers.regimes import Gradient

Test = Callable[[Float[Tensor, " state"]], Float[Tensor, " functions"]]
"""from a whole state to a vector of test functions φ"""
Ends = Float[Tensor, "nodes state"]
"""states after one step"""

NODES = 2**14
"""of the quadrature at a time"""
SETTLED = 1e-13
"""relative change of the chain's expectation below which its quadrature is taken as exact"""
AMPLIFIED, FALLS = 1e-11, 4.0
"""relative change that may be rounding, if a finer rule does not make it so many times smaller"""
RULES = 6
"""finer rules than these are not tried where, at the pace of the last two, they would not be enough"""


class UnsettledError(SMEError):
    """An expectation over one step that is not finite, or that no quadrature settles."""


def outcomes(chain: Chain, x: Float[Tensor, " state"], t: float) -> Iterator[tuple[Ends, Tensor]]:
    """The states after one step from `x` at time `t` and their probabilities, on finer and finer rules for the noise."""
    dim, fields = chain.problem.dim, chain.optimizer.fields
    if chain.optimizer.signed:
        yield _by_signs(chain, x, t)
        return
    theta = x[:dim]
    if rules := raw_rules(chain, x, t):
        yield from rules
        return
    for z, weights in chain.problem.noise.quadrature_at(theta, chain.mean(theta.unsqueeze(0))[0]):
        parts = []
        for nodes in z.split(NODES):
            state, _ = chain.step_at(chain.layout.named(x.expand(len(nodes), -1)), nodes, t)
            parts.append(chain.layout.whole(state))
        ends = torch.cat(parts)
        lost = ~torch.isfinite(ends).all(0)
        if bool(lost.any()):
            field = fields[int(lost.nonzero()[0]) // dim]
            raise UnsettledError(f"the field {field} is not finite (NaN or ∞) after one step of τ = {chain.tau:g} from the "
                                 f"state {short(x)} of {', '.join(fields)}: change the state, or name the fields that are "
                                 "never negative in `nonnegative`")
        yield ends, weights


def raw_rules(chain: Chain, x: Float[Tensor, " state"], t: float) -> Iterator[tuple[Ends, Tensor]] | None:
    """The same of a rule that takes the raw gradient apart, in panels that end at its kinks and jumps; None for any other."""
    law = chain.problem.noise
    if law.exact or not law.paired or not is_raw(chain.optimizer, chain.problem.dim):
        return None
    step = OneStep(chain)

    def rules() -> Iterator[tuple[Ends, Tensor]]:
        for level in range(len(COUNTS)):
            y, weights, _ = step.nodes(t, x.unsqueeze(0), level)
            yield step.moved(x.expand(y.shape[1], -1), y[0], t), weights[0]

    return rules()


def settled(chain: Chain, x: Float[Tensor, " state"], t: float,
            expected: Callable[[Ends, Tensor], tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The expectations over the law of one step that `expected` makes of nodes and weights, and their last change.

    Finer rules are taken until the change is within the tolerance that it gives beside them, or is small, by the sizes that it
    gives too, and falls no more: then it is rounding, which a rule may amplify.

    Raises
    ------
    UnsettledError
        if it does not settle, or is not finite.
    """
    last, before, excess = None, None, math.inf
    for ends, weights in outcomes(chain, x, t):
        value, tolerance, sizes = expected(ends, weights)
        if not bool(torch.isfinite(value).all()):
            raise UnsettledError("the expectation of the test functions over one step is not finite at the state "
                                 f"{short(x)} of {', '.join(chain.optimizer.fields)}: change the state or the test functions, "
                                 "or name the fields that are never negative in `nonnegative`")
        if chain.optimizer.signed or chain.problem.noise.exact:
            return value, torch.zeros_like(value)
        if last is not None:
            change = (value - last).abs()
            open_ = change > tolerance
            if before is not None:
                open_ &= (change > AMPLIFIED * sizes) | (change <= before / FALLS)
            if not bool(open_.any()):
                return value, change
            now = float((change / tolerance)[open_].max())
            if now * min(1.0, now / excess) ** RULES > 1 and before is not None:
                break
            before, excess = change, now
        last = value
    raise UnsettledError("the expectation over one step of the optimizer does not settle: the update rule is not smooth in the "
                         "noise, or has too many motions for a quadrature")


def chain_expectation(chain: Chain, x: Float[Tensor, " state"], phi: Test, t: float) -> Tensor:
    """`E φ(x')` over the law of one step from `x` at time `t`, on ever finer rules until it settles.

    Raises
    ------
    SMEError
        if it does not settle.
    """

    def expected(ends: Ends, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value = weights @ vmap(phi)(ends)
        return value, SETTLED * (1 + value.abs()), value.abs()

    return settled(chain, x, t, expected)[0]


def _by_signs(chain: Chain, x: Tensor, t: float) -> tuple[Ends, Tensor]:
    """The ends for the signs of at most two coordinates, with the probabilities of their quadrants."""
    theta = x[: chain.problem.dim].unsqueeze(0)
    if chain.problem.dim > 2:
        raise SMEError(f"{chain.optimizer.name} is checked for at most two parameters, got dim = {chain.problem.dim}: the "
                       "probabilities of more signs have no closed form")
    mean, covariance = sign_moments(chain.problem, theta, chain.scale)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=chain.problem.dim)), dtype=torch.float64)
    chance = 0.5 ** chain.problem.dim * (1 + signs @ mean[0])
    if chain.problem.dim == 2:
        chance = chance + 0.25 * signs.prod(-1) * (covariance[0, 0, 1] + mean[0].prod())
    zero, scale = torch.zeros_like(theta[0]), chain.tau ** (chain.regime.step_power / 2)
    state = chain.layout.named(x)
    ends = [updated(chain.optimizer, state, Gradient(zero, zero, scale * sign), chain.tau, t) for sign in signs]
    return torch.stack([chain.layout.whole(end) for end in ends]), chance
