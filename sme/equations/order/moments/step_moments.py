"""The moments of one step term by term: powers of `τ` in those of the chain, beside those of the equation.

Two one-step laws agree up to `τ^p` against every smooth function if, and only if, their moments of all degrees do; degrees
above 4 are of higher order than `τ²`.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.derivatives.differences import EPSILON
from sme.equations.base import Equation
from sme.equations.chain import Chain
from sme.equations.order.expectation import SETTLED, UnsettledError, settled
from sme.equations.order.moments.coefficients import Coefficients
from sme.equations.order.one_step import twice_of_product

DEGREE = 4
"""of the products of increments"""
MOST = 6
"""increments in the products"""
ORDERS = 6
"""powers in a fit, to as many step sizes"""
WINDOWS = 4
"""fits at the least, each with step sizes of half the size"""
BETTER = 0.05
"""mean gain, as a logarithm, for which further step sizes are tried"""
LIMIT = 2.0**-44
"""share of the largest step size at which `𝓛²` is taken to be at its limit for `τ → 0`"""
STEADY = 2.0**-6
"""the same of an equation with jumps, whose rates are `1/τ`: there the size of `𝓛²` alone is taken from it"""
SHARE = 1e-3
"""of the change between two such step sizes that may be left when both are extrapolated"""
STEPS = 44
"""step sizes at the most"""
UNSEEN = 1e-6
"""share of the state that is nothing beside it"""
TINY = 1e-300
ROUNDED = 0.5
"""rounding error of one step, in units of the state: each addition leaves so much"""

Name = tuple[int, ...]


@dataclass(frozen=True)
class Increments:
    """The numbers whose products are the moments: all of a small state, else sums over a field with fixed weights."""

    names: tuple[str, ...]
    weights: Float[Tensor, "increments state"]

    @classmethod
    def of(cls, fields: Sequence[str], dim: int) -> "Increments":
        """Those of a state of these fields."""
        if dim <= 2:
            names = tuple(f"{name}[{i}]" if dim > 1 else name for name in fields for i in range(dim))
            return cls(names, torch.eye(len(fields) * dim, dtype=torch.float64))
        count = max(1, MOST // len(fields))
        rows = torch.cos(torch.arange(1.0, count * dim + 1, dtype=torch.float64) ** 1.3).reshape(count, dim)
        weights = torch.zeros(len(fields), count, len(fields), dim, dtype=torch.float64)
        for i in range(len(fields)):
            weights[i, :, i] = rows
        names = tuple(f"{name}·w{k + 1}" for name in fields for k in range(count))
        return cls(names, weights.reshape(len(fields) * count, -1))

    @property
    def products(self) -> list[Name]:
        """The increments in each product, of degrees 1 to `DEGREE`."""
        return [each for degree in range(1, DEGREE + 1)
                for each in itertools.combinations_with_replacement(range(len(self.names)), degree)]


@dataclass(frozen=True)
class Terms:
    """Coefficients of the powers of `τ`, products by powers: of the chain, of the equation, the error of their difference.

    `size` is that of the parts that a coefficient is made of.
    """

    powers: tuple[float, ...]
    chain: Float[Tensor, "products powers"]
    equation: Float[Tensor, "products powers"]
    error: Float[Tensor, "products powers"]
    size: Float[Tensor, "products powers"]


def terms(make: Callable[[float], tuple[Chain, Equation]], increments: Increments, x: Float[Tensor, " state"], t: float,
          largest: float, half: bool, enough: Callable[[Terms], bool], progress: Callable[[], object] = lambda: None) -> Terms:
    """The coefficients by fits at step sizes from `largest` down, of each product and power the fit that changes least.

    With `half` in powers of `√τ`. Smaller and smaller step sizes are tried until `enough`, and as long as it helps.
    """
    powers = tuple(0.5 * k for k in range(1, 5)) if half else (1.0, 2.0)
    rows: list[Tensor] = []
    tau: list[float] = []
    found, worst = None, math.inf
    jumping = make(largest)[1].jumps is not None
    limit = largest * (STEADY if jumping else LIMIT)
    equation = make(limit)[1]
    far, near = (_second(each, increments, x, t) for each in (equation, make(limit / 2)[1]))
    size = torch.maximum((2 * near[2] - far[2]).clamp_min(0), near[0].abs())
    # a coefficient that tends to 0 leaves nothing but its remainder, so both are extrapolated
    second = torch.stack((2 * near[0] - far[0], far[1] + near[1] + SHARE * (near[0] - far[0]).abs(), size))
    within, step = _within(equation, increments, x, t, size), largest
    second = second if equation.order == 2 and not jumping else torch.zeros_like(second)
    for count in range(STEPS):
        progress()
        try:
            rows.append(_seen(_one(*make(step), increments, x, t), second[0], step, increments, x))
            tau.append(step)
        except UnsettledError:  # too large a step for the noise or the domain
            rows, tau, found, worst = [], [], None, math.inf
            if count == STEPS - 1:
                raise
        step *= 0.25 if half else 0.5
        if len(tau) >= ORDERS + WINDOWS and (len(tau) - ORDERS) % WINDOWS == 0 and tau[-ORDERS] <= within.min():
            found = _fitted(torch.tensor(tau, dtype=torch.float64), torch.stack(rows), second, powers, within, half)
            now = float((found.error / found.size.clamp_min(TINY)).clamp(1e-12, 1e3).log().mean())
            if enough(found) or now > worst - BETTER:
                break
            worst = now
    if found is None:
        raise UnsettledError(f"the moments of one step are not finite at any step size down to {step:g}")
    return found


def _seen(row: Float[Tensor, "kinds products"], second: Float[Tensor, " products"], tau: float, increments: Increments,
          x: Tensor) -> Float[Tensor, "kinds products"]:
    """The same; an increment that is 0 where the equation moves by less than rounding is lost in it, and is not surely 0."""
    n = len(increments.names)
    least, moves = ROUNDED * EPSILON * (increments.weights.abs() @ x.abs()), row[2, :n].abs() + second[:n].abs() * tau**2
    row[1, :n] = torch.where((row[0, :n] == 0) & (moves > 0) & (moves < least), torch.maximum(row[1, :n], least), row[1, :n])
    return row


def _within(equation: Equation, increments: Increments, x: Tensor, t: float,
            second: Float[Tensor, " products"]) -> Float[Tensor, " products"]:
    """Of every product the largest step size from which a fit may start: `τ²` does not lead yet in the motion of its members.

    Above it the moments may follow other powers of `τ` over decades, as those of a quotient by `v + τ g²` do where `v` is small.
    """
    both, n = Coefficients(equation, increments.weights), len(increments.names)
    here = both(t, both.generator.start(x).unsqueeze(0))[0]
    b, spread, still = here[:n].abs(), here[both.place.diagonal()].abs(), UNSEEN * (increments.weights.abs() @ x.abs())
    times = 2.0 ** -torch.arange(0.0, STEPS - ORDERS - 2 * WINDOWS, dtype=x.dtype)
    moved = b[:, None] * times + (spread[:, None] * times).sqrt() + still[:, None]
    own = times[(second[:n, None] * times**2 <= moved).to(x.dtype).argmax(1)]
    return torch.stack([own[list(each)].min() for each in increments.products])


def _one(chain: Chain, equation: Equation, increments: Increments, x: Tensor, t: float) -> Float[Tensor, "kinds products"]:
    """Of one step size: the chain's moments, their rounding errors, and `τ𝓛` of the equation."""
    products, both = increments.products, Coefficients(equation, increments.weights)
    moments, rounding = _chain(chain, increments, products, x, t)
    here = both(t, both.generator.start(x).unsqueeze(0))[0]
    value = [here[each[0]] if len(each) == 1 else here[both.place[each]] if len(each) == 2 else here.new_zeros(())
             for each in products]
    found = equation.tau * (torch.stack(value) + both.higher(t, x, products))
    if equation.jumps is not None and equation.order == 2:  # jumps of √τ have half powers in 𝓛² too
        second, error, _ = both.twice(t, x, products)
        found, rounding = found + equation.tau**2 * second, rounding + equation.tau**2 * error
    return torch.stack((moments, rounding, found))


def _chain(chain: Chain, increments: Increments, products: list[Name], x: Tensor, t: float) -> tuple[Tensor, Tensor]:
    n, pairs = len(increments.names), [each for each in products if len(each) == 2]
    one, other = torch.tensor(pairs).T
    place: dict[Name, int] = {each: n + k for k, each in enumerate(pairs)} | {(i,): i for i in range(n)} | {(): n + len(pairs)}
    rows, columns = torch.tensor([(place[each[2:]], place[each[:2]]) for each in products]).T

    def moments(moved: Float[Tensor, "increments nodes"], weights: Tensor) -> Float[Tensor, " products"]:
        parts = torch.cat((moved, moved[one] * moved[other], torch.ones_like(moved[:1])))
        return ((weights * parts) @ parts.T)[rows, columns]  # a product of two parts that are there

    def rounding(sizes: Tensor) -> Tensor:
        single = sizes[:n].clamp_min(TINY)
        return sizes * (counts @ (noise / single))

    def expected(ends: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moved = increments.weights @ (ends - x).T
        sizes = moments(moved.abs(), weights.abs())
        last[:] = moved, weights
        return moments(moved, weights), SETTLED * sizes + weights.abs().sum() * rounding(sizes), sizes

    last: list[Tensor] = []
    counts = torch.tensor([[each.count(i) for i in range(n)] for each in products], dtype=x.dtype)
    noise = ROUNDED * EPSILON * (increments.weights.abs() @ x.abs())
    value, change = settled(chain, x, t, expected)
    sizes = moments(last[0].abs(), last[1]).abs()
    return value, torch.maximum(rounding(sizes), change)


def _second(equation: Equation, increments: Increments, x: Tensor, t: float) -> Float[Tensor, "3 products"]:
    """`½𝓛²` of every product at `x`, its error and the size of its parts, from derivatives of drift and covariance alone."""
    both = Coefficients(equation, increments.weights)
    if equation.jumps is not None:
        return both.twice(t, x, increments.products)
    around = both.generator.around(both, t, both.generator.start(x))
    here, along = around.centre, around.along
    second, error = around.generator
    parts = along.first[0].abs() + 0.5 * along.second[1:].abs().sum(0)
    c = (around.directions[1:, : len(x)] @ increments.weights.T).T
    cross, wrong, sizes = c @ along.first[1:], c.abs() @ along.first_error[1:], c.abs() @ along.first[1:].abs()
    rows = [(twice_of_product(each, both.place, here, second, cross), twice_of_product(each, both.place, 0 * here, error, wrong),
             twice_of_product(each, both.place, here.abs(), parts, sizes)) for each in increments.products]
    return 0.5 * torch.stack([torch.stack(row) for row in rows]).T


def _fitted(tau: Float[Tensor, " steps"], rows: Float[Tensor, "steps kinds products"], second: Float[Tensor, "3 products"],
            powers: tuple[float, ...], within: Float[Tensor, " products"], half: bool) -> Terms:
    unit = 0.5 if half else 1.0
    exponents = unit * torch.arange(1.0, ORDERS + 1, dtype=torch.float64)
    wanted = [round(power / unit) - 1 for power in powers]
    fits, errors = [], []
    for first in range(len(tau) - ORDERS + 1):
        part, window = rows[first : first + ORDERS], tau[first : first + ORDERS]
        weights = torch.linalg.inv((window / window[0])[:, None] ** exponents)[wanted] / window[0] ** exponents[wanted, None]
        fits.append(torch.stack([torch.einsum("ps,sa->ap", weights, part[:, kind]) for kind in (0, 2)]))
        errors.append(torch.einsum("ps,sa->ap", weights.abs(), part[:, 1]))
    fit, own = torch.stack(fits), torch.stack(errors)
    difference = fit[:, 0] - fit[:, 1]
    change = (difference[1:] - difference[:-1]).abs()
    change = torch.cat((change, change[-1:]))
    change = torch.maximum(change, torch.cat((change[:1], change[:-1])) / 16)  # not by accident
    total = (change + own).nan_to_num(math.inf, math.inf)
    total = torch.where((tau[: len(fits), None] <= within).unsqueeze(-1), total, math.inf)
    best = total.argmin(0, keepdim=True)
    chain, equation = fit.gather(0, best.unsqueeze(1).expand(1, 2, *best.shape[1:]))[0]
    error = total.gather(0, best)[0]
    at = powers.index(2.0)
    equation[:, at] = equation[:, at] + second[0]
    error[:, at] = error[:, at] + second[1] + 8 * LIMIT * second[2]
    size = torch.maximum(chain.abs(), equation.abs())
    size[:, at] = size[:, at] + second[2]
    return Terms(powers, chain, equation, error, size)
