"""What the one-step moment test says of one equation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from tabulate import tabulate

from sme.common.output.brief import Brief
from sme.equations.order.differences.cumulants import quoted
from sme.equations.order.moments.agreement import Verdict
from sme.problems.smooth.obstacles import Obstacle

LEFT_OUT = "the terms of order 2 are left out"
NEARLY = 1.85  # least exponent of the residual, less one, of an equation of order 2


@dataclass(frozen=True, repr=False)
class OrderCheck(Brief):
    """What the one-step moment test says of one equation.

    Attributes
    ----------
    residuals
        one row for each state, test function and τ: `residual = E φ(x') − (φ + τ𝓛φ + ½τ²𝓛²φ)`, its
        `ratio` to that at the next smaller τ, `t3 = T₃φ`, and `without_t3 = residual − τ² t3`, with its
        own ratio; `error`, what rounding and differences may have done to the residual.
    rate
        the least exponent `log₂ ratio` over states and test functions at the finest pair of τ, those left out whose
        residual is within its error or a small share of the state's largest (it changes sign there, and its ratio means
        nothing); the residual of an equation of order `p` is `O(τ^{p+1})`. NaN if none is left.
    proved
        the highest order that the test supports: 2, 3/2, 1, ½ or 0.
    rate_without_obstruction
        the same of the residual without `τ² T₃φ`.
    without_obstruction
        the order that would follow without `T₃`: 2 where `T₃` is all that stands in the way.
    sizes
        norms of the symbols that no Itô equation matches, at the first state.
    obstacle
        what keeps it from the next order, in words, or why nothing is decided; None if nothing does.
    decided
        whether the order is known not to be higher, up to the resolution; else `proved` is what is certain.
    resolution
        the largest relative error in a term that the test would have missed, of terms that make up a twentieth of their
        coefficient or more; NaN for noise with heavy tails, which has not all the moments.
    moments
        the moments of one step: for each state, product of increments (`fields`, of this `degree`) and power of `τ` the
        coefficient `expected` of the optimizer's step, the one `found` in the equation, the error of their difference, whether
        they are `off` from each other, and the `order` that is left then.
    differences
        what of that is new at each degree, a row for each joint cumulant (mean, covariance, κ₃, κ₄) and power of `τ` that is off,
        at the state where it is clearest: `name` as one would quote it, `fields`, `degree`, `power of τ`, `expected`, `found`,
        `off by` = found − expected, its `error`, `state`, `time`, the `order` that is left, for an equation of the caller's the
        `formula` of `off by` in the letters of the rule, if it is a product of them at many states, and the note `T₃` where it
        is the third moment that no Itô equation with independent motions has.
    """

    title: str
    residuals: pd.DataFrame
    rate: float
    rate_without_obstruction: float
    proved: float
    without_obstruction: float
    sizes: Mapping[str, float]
    obstacle: str | None
    decided: bool = True
    resolution: float = math.nan
    moments: pd.DataFrame = field(default_factory=pd.DataFrame)
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    origin: str = ""
    """whose the equation is, in a sentence, where it is the caller's"""
    exact: bool = False
    """whether every residual is rounding, at large step sizes too: no order is refuted, and `proved` is the one asked for"""

    def __str__(self) -> str:
        table = tabulate(self.residuals, headers="keys", showindex=False, floatfmt=".4g")  # type: ignore[arg-type]
        rest = f" (residual − τ² T₃φ ~ τ^{self.rate_without_obstruction:.2f})" if self.residuals["t3"].any() else ""
        seen = "residual: rounding" if math.isnan(self.rate) else f"residual ~ τ^{self.rate:.2f} at least{rest}"
        said = f"{self._order} by the one-step test" if self.decided else self._order
        fine = "" if math.isnan(self.resolution) else f"; a term that is wrong by {self.resolution:.1g} would have been seen"
        lines = [self.title, table, f"{seen}: {said}{fine}", "\n".join(self._reasons)]
        return "\n\n".join(line for line in lines if line)

    @property
    def report(self) -> str:
        """What one would quote: the title, the order, and every moment of one step that is off, a sentence each."""
        return "\n".join([f"{self.title}: {self._order} by the one-step test.", *self._reasons])

    @property
    def _order(self) -> str:
        if self.exact:
            return "exact to rounding, no order refuted"
        return f"order {self.proved:g}" if self.decided else f"order {self.proved:g} at least, not decided"

    @property
    def _reasons(self) -> list[str]:
        """Every moment of one step that is off, what stands in the way, and whose the equation is: a sentence each."""
        none = ["- no moment is off"] if self.decided and len(self.moments) else []
        said = [f"- {each}" for each in quoted(self.differences)] or none
        return [*said, *(each for each in (self.obstacle, self.origin) if each)]


def met(rough: Sequence[Obstacle], proved: float, decided: bool, obstacle: str | None) -> tuple[float, bool, str | None]:
    """The order, whether it is decided, and the obstacle, with the operations that are not smooth."""
    lower = [each for each in rough if each.order < proved]
    if not lower:
        return proved, decided, obstacle
    order = min(each.order for each in lower)
    most = min([proved, *(each.most for each in lower)])
    said = "; ".join(str(each) for each in lower)
    return order, decided and most <= order, said if most <= order else f"not decided: {said}"


def halves(found: Verdict, rate: float, skewed: bool) -> Verdict:
    """With half powers the moments are compared up to `τ²`, and order 2 needs those of `τ^{5/2}`, which the residuals see."""
    return replace(found, order=1.5) if skewed and found.order == 2 and not rate - 1 > NEARLY else found


def obstacle_of(order: int, proved: float, without: float, sizes: Mapping[str, float], skewed: bool) -> str | None:
    """What stands in the way of the next order, if it is no term that is wrong."""
    if proved >= order:
        return None if order == 2 else LEFT_OUT
    if skewed and proved == 0.5:
        return f"skewness: E δ₁⊗³/6 of size {sizes['skewness']:.3g}, at half order, and T₄ of size {sizes['T₄']:.3g}"
    if without >= order:
        return f"T₃ of size {sizes['T₃']:.3g}: the third moments of one step, which no Itô equation with independent motions has"
    return None


def tail(order: int, proved: float, moments: float) -> str | None:
    """What stands in the way under heavy tails."""
    if proved >= order:
        return None if order == 2 else LEFT_OUT
    return f"heavy tails: the noise has moments below the {moments:g}th alone, and the residual is that of its tail"
