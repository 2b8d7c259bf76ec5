"""Moments of `γ = w(|ĝ|) ĝ` for `ĝ ~ N(g, s² I)` in any number of dimensions, by mixtures of χ²."""

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from scipy import special, stats
from torch import Tensor

from sme.problems.noise.wrapped.moments import Moments, joint

KINDS = ((1, 2), (1, 4), (2, 2), (2, 4), (2, 6), (3, 4), (3, 6), (4, 4), (4, 6), (4, 8))
"""powers of `w`, and degrees of freedom beyond `d`, of the means that the moments are made of"""
TERMS = 16
"""of the series about a whole number"""
SAME = 1e-14
"""relative distance to `s² I` that is rounding"""


def deviation(factor: Float[Tensor, "d m"]) -> float | None:
    """`s` where `S Sᵀ = s² I`, else None."""
    sigma = factor @ factor.mT
    size = sigma.diagonal().mean()
    off = (sigma - size * torch.eye(len(sigma), dtype=sigma.dtype, device=sigma.device)).abs().max()
    return float(size.sqrt()) if bool(size > 0) and bool(off <= SAME * size) else None


def radial(g: Float[Tensor, "paths d"], factor: Float[Tensor, "d m"], s: float, limit: float | None) -> Moments:
    """The moments of the clip `w = min(1, C/|ĝ|)`, or without `limit` of the direction `w = 1/|ĝ|`.

    With `u = g/s`, `X_k ~ χ'²_k(|u|²)` and `W_k[f] = E f(s√X_k)`, by parts in the normal density, in units of `s`:

        E γ         = u W_{d+2}[w]
        E γγᵀ       = I W_{d+2}[w²] + uuᵀ W_{d+4}[w²]
        E γ⊗γ⊗γ     = (3 terms u I) W_{d+4}[w³] + uuu W_{d+6}[w³]
        E γ⊗γ⊗γ⊗γ   = (3 terms I I) W_{d+4}[w⁴] + (6 terms uu I) W_{d+6}[w⁴] + uuuu W_{d+8}[w⁴]

    and `E γ ĝᵀ`, `E γ∘γ ĝᵀ` by the same with fewer `w`. Source: docs/theory/rules.md, section 11.
    """
    u, unit = g / s, 1.0 if limit is None else s
    a, b, c, d, e, f, h, p, q, r = _means(u.square().sum(-1), g.shape[1], None if limit is None else limit / s).split(1, -1)
    one = torch.eye(g.shape[1], dtype=g.dtype, device=g.device)
    uu, squares = u.unsqueeze(2) * u.unsqueeze(1), u * u
    a_, b_, c_, d_, e_, f_, h_, p_, q_, r_ = (each.unsqueeze(-1) for each in (a, b, c, d, e, f, h, p, q, r))
    mean, square = u * a, c + squares * d
    both = c_ * one + uu * d_
    cubic = f_ * (u.unsqueeze(2) + 2 * u.unsqueeze(1) * one) + h_ * u.unsqueeze(2) * squares.unsqueeze(1)  # E γ_i γ_j²
    across = squares.unsqueeze(2) + squares.unsqueeze(1) + 4 * uu * one
    quartic = p_ * (1 + 2 * one) + q_ * across + r_ * squares.unsqueeze(2) * squares.unsqueeze(1)  # E γ_i² γ_j²
    variance, cube, fourth = square - mean * mean, cubic.diagonal(dim1=1, dim2=2), quartic.diagonal(dim1=1, dim2=2)
    corner = cubic - mean.unsqueeze(2) * square.unsqueeze(1)
    top = torch.cat((both - mean.unsqueeze(2) * mean.unsqueeze(1), corner), 2)
    low = torch.cat((corner.mT, quartic - square.unsqueeze(2) * square.unsqueeze(1)), 2)
    first = a_ * one + uu * (b_ - a_)
    second = d_ * (u.unsqueeze(1) + 2 * u.unsqueeze(2) * one) + squares.unsqueeze(2) * u.unsqueeze(1) * e_
    along = torch.cat((first, second - square.unsqueeze(2) * u.unsqueeze(1)), 1) @ (factor / s)
    scale = torch.cat((torch.full_like(g[0], unit), torch.full_like(g[0], unit**2))).unsqueeze(-1)
    return Moments(unit * mean, unit**2 * variance, unit**3 * (cube - 3 * mean * square + 2 * mean**3),
                   unit**4 * (fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4),
                   scale * joint(torch.cat((top, low), 1), along))


def mean(g: Float[Tensor, "paths d"], s: float, limit: float | None) -> Float[Tensor, "paths d"]:
    """`E γ` alone."""
    reach = None if limit is None else limit / s
    return (g if limit is not None else g / s) * _means((g / s).square().sum(-1), g.shape[1], reach, 1)


def _means(noncentral: Float[Tensor, " paths"], dim: int, limit: float | None, kinds: int | None = None,
           ) -> Float[Tensor, "paths kinds"]:
    """`W` of the first kinds: `W_k(λ) = e^{−δ} Σ_j δ^j/j! W_{k+2j}(λ − 2δ)`, `|δ| ≤ ½`, by Horner.

    It is a power series in `λ`, which may be differentiated, at 0 too.
    """
    half = 0.5 * noncentral
    whole, which = torch.unique(half.detach().round(), return_inverse=True)
    table = torch.stack([_table(dim, limit, int(each))[:, :kinds] for each in whole]).to(half)
    rest = (half - whole.detach()[which]).unsqueeze(1)
    total = table[which, TERMS - 1]
    for j in reversed(range(TERMS - 1)):
        total = table[which, j] + total * rest / (j + 1)
    return total * torch.exp(-rest)


@cache
def _table(dim: int, limit: float | None, half: int) -> Float[Tensor, "terms kinds"]:
    """`W_{k+2j}(2 half)` for every `j`: `E f(√χ²_{k+2i+2j})`, `i` Poisson."""
    low = max(0, int(half - 10 * math.sqrt(half)))
    i = np.arange(low, low + int(20 * math.sqrt(half)) + 40 if half else 1)
    chance, degrees = stats.poisson.pmf(i, half), np.arange(low, i[-1] + TERMS)
    chance /= chance.sum()  # large means leave few digits
    columns = [np.convolve(_central(power, dim + more + 2.0 * degrees, limit), chance[::-1], "valid") for power, more in KINDS]
    return torch.from_numpy(np.stack(columns, 1))


def _central(power: int, n: np.ndarray, limit: float | None) -> np.ndarray:
    """`E w(√X)^power` for `X ~ χ²_n`."""
    inverse = np.exp(special.gammaln(0.5 * (n - power)) - special.gammaln(0.5 * n)) * 2 ** (-0.5 * power)
    if limit is None:
        return inverse
    at = 0.5 * limit**2
    return special.gammainc(0.5 * n, at) + limit**power * inverse * special.gammaincc(0.5 * (n - power), at)
