"""One side of independent laws that are given by their distribution functions: its moments, and which there are."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from sme.problems.noise.independent.quantiles import LARGEST, Distribution, quantile

MOST = 4
"""moments that rules may ask for"""
INNER, OUTER, LAST = 1e-6, 1e-10, 1e-15
"""probabilities: a tail is read between the quantiles of the first two, and looked for up to the last"""
POWERS, GROWTH, SPAN = 24.0, 0.15, 0.3
"""a tail is one of a power that is smaller, and grows by no more, between quantiles that are no closer in `log z`"""
STRIDE = 0.1
"""in `log z`, by which a light tail is followed on"""
NODES, WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(12))
REST, SHARES = (torch.from_numpy(part) for part in np.polynomial.laguerre.laggauss(30))
PANELS, SPLITS, OPEN = 64, 44, 4096
"""of an integral: panels to begin with, how often one is halved, and how many more than that are left as they are"""
SETTLED = 1e-12
"""change of a panel, in units of the integral's absolute value, below which it is not halved"""
LEAST = 1e-12
"""scales, for the quantile of a side with less"""
LIGHT = 3.0
"""how many times the power of a moment a tail without a density must fall for it to end before it matters"""
MARGIN = 1e-3
"""by which the power of a tail must exceed that of a moment"""


@dataclass(frozen=True)
class Side:
    """`∫₀^∞ xᵏ f(±x s) s dx` for `k = 0 … 4`, infinite where there is none, and `ν` of a density that falls like `x^{−1−ν}`."""

    moments: Float[Tensor, "d 5"]
    power: Float[Tensor, " d"]
    end: Float[Tensor, " d"]
    """`log x` of the last quantile that can be told"""


def density(cdf: Distribution, z: Float[Tensor, "*paths d"]) -> Float[Tensor, "*paths d"]:
    """`F'`."""
    slope: Tensor = jvp(cdf, (z,), (torch.ones_like(z),))[1]
    return slope.nan_to_num(nan=0.0)


def side(cdf: Distribution, s: Float[Tensor, " d"], sign: int) -> Side:
    """The upper side, or the lower one for `sign = −1`, in units of the scales `s`.

    The density is integrated in `arsinh x`. A tail of a power is integrated to the quantile of `1 − 10⁻¹⁰` and continued by
    `log f = c₀ − (1 + ν) w + c₂ e^{−2w} + c₄ e^{−4w}`, `w = log x`, fitted below it; another as far as it can be followed.
    """

    def unit(x: Tensor) -> Tensor:
        return s * density(cdf, sign * s * x)

    inner, outer, last_seen = (_reach(cdf, s, sign, each) for each in (INNER, OUTER, LAST))
    w = inner + (outer - inner) * torch.linspace(0, 1, 25, dtype=torch.float64).unsqueeze(1)
    logs = unit(w.exp()).clamp(min=torch.finfo(torch.float64).tiny).log()
    first, last = (-(logs[i + 1] - logs[i]) / (w[i + 1] - w[i]) - 1 for i in (0, -2))
    heavy = (outer - inner > SPAN) & (last > 0) & (last < POWERS) & (last < (1 + GROWTH) * first)
    end = torch.where(heavy, outer, _followed(unit, outer, torch.maximum(last_seen, outer)))

    found = integral(lambda u: unit(torch.sinh(u)) * torch.cosh(u), torch.asinh(end.exp()))
    terms = torch.stack([torch.ones_like(w), w, torch.exp(-2 * w), torch.exp(-4 * w)], -1)
    fit = torch.zeros(len(s), 4, dtype=torch.float64)
    fit[heavy] = torch.linalg.lstsq(terms[:, heavy].transpose(0, 1), logs[:, heavy].T.unsqueeze(-1),
                                    driver="gelsd").solution.squeeze(-1)
    power = torch.where(heavy, -1 - fit[:, 1], math.inf)
    for k in range(MOST + 1):
        excess = power - k
        beyond = end + REST.unsqueeze(1) / excess
        c0, c1, c2, c4 = fit.unbind(-1)
        value = torch.exp(c0 + (c1 + k + 1) * beyond + c2 * torch.exp(-2 * beyond) + c4 * torch.exp(-4 * beyond)
                          + REST.unsqueeze(1))
        rest = torch.where(excess > MARGIN, SHARES @ value / excess, math.inf)
        found[:, k] += torch.where(heavy, rest, 0.0)
    return Side(found, power, torch.maximum(end, last_seen))


def side_by_chances(cdf: Distribution, s: Float[Tensor, " d"], sign: int) -> Side:
    """The same without a density, `∫ xᵏ dF = k ∫₀^∞ x^{k−1} P(±z > s x) dx`, infinite where it takes more than a tail shows."""

    def chance(x: Tensor) -> Tensor:
        return cdf(-s * x) if sign < 0 else 1 - cdf(s * x)

    inner, outer, last = (_reach(cdf, s, sign, each) for each in (INNER, OUTER, LAST))
    power = math.log(INNER / OUTER) / (outer - inner).clamp(min=SPAN)
    found = integral(lambda u: chance(torch.sinh(u)) * torch.cosh(u), torch.asinh(last.exp()))
    degrees = torch.arange(1, MOST + 1)
    moments = torch.cat([chance(torch.zeros_like(s)).unsqueeze(-1), degrees * found[:, :MOST]], -1)
    there = power.unsqueeze(-1) > LIGHT * torch.arange(MOST + 1)
    return Side(torch.where(there, moments, math.inf), torch.where(power > LIGHT * MOST, math.inf, power), last)


def _reach(cdf: Distribution, s: Float[Tensor, " d"], sign: int, chance: float) -> Float[Tensor, " d"]:
    """`log x` of the quantile `±x s` of this chance to lie beyond."""
    at = torch.full_like(s, chance if sign < 0 else 1 - chance)
    return (sign * quantile(cdf, s, at) / s).clamp(min=LEAST).log()


def _followed(density: Callable[[Tensor], Tensor], outer: Tensor, end: Tensor) -> Tensor:
    """From `end` on as long as the density falls no slower than at `outer`: rounding does not fall."""
    steepest = _slope(density, outer)
    going = torch.ones_like(end, dtype=torch.bool)
    while bool((going := going & (_slope(density, end) < steepest) & (end < math.log(LARGEST))).any()):
        end = torch.where(going, end + STRIDE, end)
    return end


def _slope(density: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    """Of `log f` in `w`, over one stride; NaN where nothing is left."""
    return density((w + STRIDE).exp()).log() - density(w.exp()).log()


def nodes(count: int, end: Float[Tensor, " d"]) -> tuple[Float[Tensor, "nodes d"], Float[Tensor, "nodes d"]]:
    """Gauss and Legendre's rule on so many panels of `[0, end]`."""
    low, width = torch.arange(count, dtype=torch.float64) / count, 1 / count
    at = (low.unsqueeze(1) + 0.5 * width * (NODES + 1)).reshape(-1, 1)
    return end * at, (0.5 * width * WEIGHTS).repeat(count).unsqueeze(1) * end


def integral(f: Callable[[Float[Tensor, "points d"]], Float[Tensor, "points d"]], end: Float[Tensor, " d"]
             ) -> Float[Tensor, "d 5"]:
    """`∫₀^end sinhᵏ(u) f(u) du`, by Gauss and Legendre's rule on panels that are halved where that changes anything."""

    def panels(low: Tensor, width: float) -> Float[Tensor, "panels d 5"]:
        u = end * (low.unsqueeze(1) + 0.5 * width * (NODES + 1)).reshape(-1, 1)
        value, x = f(u), torch.sinh(u)
        parts = [torch.einsum("pnd,n->pd", (value * x**k).reshape(len(low), len(NODES), -1), WEIGHTS) for k in range(MOST + 1)]
        return 0.5 * width * end.unsqueeze(-1) * torch.stack(parts, -1)

    width = 1 / PANELS
    low = torch.arange(PANELS, dtype=torch.float64) * width
    one = panels(low, width)
    size, total = one.abs().sum(0), torch.zeros(len(end), MOST + 1, dtype=torch.float64)
    for _ in range(SPLITS):
        width *= 0.5
        low = torch.stack((low, low + width), 1).reshape(-1)
        halves = panels(low, width)
        two = halves.reshape(len(one), 2, *one.shape[1:]).sum(1)
        unsettled = ((one - two).abs() > SETTLED * size).flatten(1).any(1)
        if int(unsettled.sum()) > OPEN:
            unsettled = torch.zeros_like(unsettled)
        total = total + two[~unsettled].sum(0)
        again = unsettled.repeat_interleave(2)
        low, one = low[again], halves[again]
        if not len(low):
            break
    return total + one.sum(0)
