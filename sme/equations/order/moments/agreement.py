"""Where the moments of one step of the chain and of the equation agree, power by power of `τ`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.derivatives.differences import EPSILON
from sme.equations.order.moments.step_moments import Increments, Terms

SAFE = 10.0
"""estimates of the error within which two coefficients count as equal"""
EQUAL = 1e-6
"""share of a coefficient, with its parts, within which they do too"""
SHARE = 0.05
"""of a coefficient that a term is whose relative error is told"""
SHORT = 1e-3
"""share of its natural size below which a coefficient counts as this share"""
FINE = 0.005
"""relative error of a term that must be seen for an order to be decided"""
NOTHING = 1e-18
"""share of the state, per natural time, by which an increment may be off"""
COLUMNS = ["state", "time", "fields", "degree", "power of τ", "expected", "found", "error", "off", "order"]
TIMES = 2.0 ** -torch.arange(0.0, 50.0, dtype=torch.float64)


@dataclass(frozen=True)
class Verdict:
    """The order that follows from the moments.

    Attributes
    ----------
    order
        highest that is certain.
    decided
        whether it is known not to be higher, or is the highest asked for.
    wrong, unseen
        where the first power is wrong, and where one could not be told: (state, product, power); None if there is none.
    """

    order: float
    decided: bool
    wrong: tuple[int, int, float] | None
    unseen: tuple[int, int, float] | None


class Agreement:
    """The coefficients at several states and times, and what they say."""

    def __init__(self, increments: Increments, points: Sequence[tuple[float, Tensor]], found: Sequence[Terms],
                 order: int) -> None:
        self.increments, self.points, self.found, self.order = increments, points, found, order
        powers = sorted({power for each in found for power in each.powers if order == 2 or power < 2})
        self.powers = tuple(powers)
        natural = [_natural(each, increments, x) for each, (_, x) in zip(found, points, strict=True)]
        self.times = torch.stack([own[0] for own in natural])
        self.natural = torch.stack([self.spread(each, own[1]) for each, own in zip(found, natural, strict=True)])
        self.size = torch.stack([self.spread(each, each.size) for each in found])
        self.scale = torch.maximum(self.size, SHORT * self.natural)
        self.error = torch.stack([self.spread(each, each.error) for each in found])
        floor = torch.stack([self.spread(each, own[2]) for each, own in zip(found, natural, strict=True)])
        self.tolerance = SAFE * self.error + EQUAL * self.scale + floor
        self.difference = torch.stack([self.spread(each, each.chain - each.equation) for each in found])

    def beside(self, other: "Agreement") -> "Agreement":
        """Both at once: what is told at one state need not be at another."""
        return Agreement(self.increments, [*self.points, *other.points], [*self.found, *other.found], self.order)

    def spread(self, each: Terms, values: Tensor) -> Float[Tensor, "products powers"]:
        """In the columns of all powers, 0 where a fit has none."""
        whole = torch.zeros(len(values), len(self.powers), dtype=values.dtype)
        for i, power in enumerate(each.powers):
            if power in self.powers:
                whole[:, self.powers.index(power)] = values[:, i]
        return whole

    @property
    def unit(self) -> float:
        """The shortest of the natural times of all increments and states."""
        return float(self.times.min())

    @property
    def resolutions(self) -> Float[Tensor, "products powers"]:
        """Of every coefficient, the relative error of a term that would have been missed at all states."""
        seen = torch.where(self.size >= SHORT * self.natural, self.tolerance / self.scale / SHARE, self.tolerance / self.natural)
        share = torch.where((self.natural > 0) & (self.tolerance > 0), seen.nan_to_num(math.inf), 0.0)
        return share.amin(0)

    @property
    def resolution(self) -> float:
        """The largest of them among the powers of this order."""
        kept = [i for i, power in enumerate(self.powers) if power <= self.order]
        return float(self.resolutions[:, kept].max())

    def verdict(self, known: Float[Tensor, "states products"] | None = None) -> Verdict:
        """What follows, with `known` coefficients of `τ²` that the chain has and the equation cannot have."""
        difference = self.difference.clone()
        if known is not None and 2.0 in self.powers:
            difference[..., self.powers.index(2.0)] -= known
        off = ~(difference.abs() <= self.tolerance) & torch.isfinite(self.tolerance)
        unseen = self.resolutions > FINE
        for i, power in enumerate(self.powers):
            if bool(off[..., i].any()):
                excess = torch.where(off[..., i], difference[..., i].abs() / self.scale[..., i], 0.0)
                state, product = divmod(int(excess.argmax()), excess.shape[1])
                return Verdict(max(0.0, power - 1), True, (state, product, power), None)
            if bool(unseen[:, i].any()):
                product = int(self.resolutions[:, i].argmax())
                return Verdict(max(0.0, power - 1), False, None, (0, product, power))
        return Verdict(float(self.order), True, None, None)

    def name(self, product: int) -> str:
        """The increments in a product."""
        return " ".join(self.increments.names[i] for i in self.increments.products[product])

    def words(self, where: tuple[int, int, float]) -> str:
        """What is wrong there."""
        state, product, power = where
        each, (t, x) = self.found[state], self.points[state]
        i = each.powers.index(power)
        one, other = float(each.chain[product, i]), float(each.equation[product, i])
        values = f"{one:.6g} τ^{power:g} in one step of the optimizer and {other:.6g}"
        return (f"E[Δ {self.name(product)}] has {values} in the equation, at t = {t:g} and the state "
                f"{[*map(_short, x.tolist())]}")

    def table(self) -> pd.DataFrame:
        """A row for each state, product of increments and power of `τ`; `expected` of the chain, `found` of the equation.

        Where both are `off` from each other, `order` is what is left then.
        """
        products, rows = self.increments.products, []
        for state, ((t, _), each) in enumerate(zip(self.points, self.found, strict=True)):
            for i, power in enumerate(each.powers):
                if power not in self.powers:
                    continue
                tolerance = self.tolerance[state, :, self.powers.index(power)].tolist()
                values = zip(each.chain[:, i].tolist(), each.equation[:, i].tolist(), each.error[:, i].tolist(), strict=True)
                for k, ((one, other, error), most) in enumerate(zip(values, tolerance, strict=True)):
                    off = math.isfinite(most) and not abs(one - other) <= most
                    rows.append((state, t, self.name(k), len(products[k]), power, one, other, error, off,
                                 max(0.0, power - 1) if off else math.nan))
        return pd.DataFrame(rows, columns=COLUMNS)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _natural(each: Terms, increments: Increments, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of every increment the longest time over which `τ²` does not lead; of every coefficient its natural size.

    And what is nothing beside it: one of its increments is off by a share `NOTHING` of the state, the others move as they do, by
    the root of rounding at the least.
    """
    products = increments.products
    n = len(increments.names)
    first, second = (each.powers.index(power) for power in (1.0, 2.0))
    own = torch.tensor([products.index((i, i)) for i in range(n)])
    b, bend = each.chain[:n, first].abs(), each.size[:n, second]
    spread, square = each.chain[own, first].abs(), each.chain[own, second].abs()
    length = b[:, None] * TIMES + (spread[:, None] * TIMES + square[:, None] * TIMES**2).sqrt()
    longest = (bend[:, None] * TIMES**2 <= length).to(torch.float64).argmax(1)
    # over the longest of the times of its members: one of a slow field may not be small because another is fast
    over = [int(longest[list(product)].min()) for product in products]
    powers, least = torch.tensor(each.powers).to(TIMES), NOTHING * (increments.weights.abs() @ x.abs())
    sizes, floors = [], []
    for product, k in zip(products, over, strict=True):
        members, rounded = length[list(product), k], least[list(product)]
        moved = members.maximum(EPSILON**0.5 / NOTHING * rounded)
        others = torch.stack([torch.cat((moved[:i], moved[i + 1 :])).prod() for i in range(len(product))])
        sizes.append(members.prod() / TIMES[k] ** powers)
        floors.append((rounded * others).max() / TIMES[k] ** powers)
    return TIMES[longest], torch.stack(sizes), torch.stack(floors)
