"""Mean, covariance and third cumulant of a run around its noiseless one, to second order in the size of the noise.

With `M = I + τ∇f̄` and everything at the noiseless state, `C = C₁ + C₂`, `μ = μ₁ + μ₂`, `(C₁, μ₁) = O(τ)`, the rest `O(τ²)`:

    C₁⁺ = M C₁ Mᵀ + τ²Q       μ₁⁺ = M μ₁ + ½τ f̄'':C₁       δM = τ (f̄''μ₁ + ½ f̄''':C₁)
    K⁺  = M⊗M⊗M K + τ Σ₃ f̄''[MC₁, MC₁] + τ² Σ₃ Q'MC₁ + τ³κ₃
    C₂⁺ = M C₂ Mᵀ + δM C₁Mᵀ + ᵀ + ½τ (MK:f̄'' + ᵀ) + τ² (Q'μ₁ + ½ Q'':C₁) + ½τ² f̄''f̄'':C₁C₁
    μ₂⁺ = M μ₂ + τ (½ f̄''[μ₁, μ₁] + ½ f̄'':C₂ + ½ f̄'''[μ₁]:C₁ + ⅙ f̄''':K + ⅛ f̄'''':C₁C₁)

An equation has the same in continuous time, without the products of two increments.
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from sme.convergence.estimator.closure.stencils import Function, Points, Tensors, laplacian, twice_laplacian

E = np.einsum
ROOTED = 1e-14
"""share of the largest eigenvalue of a covariance below which another is rounding"""


@dataclass
class Cumulants:
    """Of the state's law: the noiseless state, and what the noise adds in first and in second order."""

    state: Float[np.ndarray, " state"]
    mean: Float[np.ndarray, " state"]
    covariance: Float[np.ndarray, "state state"]
    mean2: Float[np.ndarray, " state"]
    covariance2: Float[np.ndarray, "state state"]
    third: Float[np.ndarray, "state state state"]


@dataclass
class Local:
    """The derivatives of `f̄` (or a drift) and `Q` (or a covariance per time) at each point of the noiseless run."""

    slope: Float[np.ndarray, "points state state"]
    bend: Float[np.ndarray, "points state state state"]
    third: Float[np.ndarray, "points state state state state"]
    noise: Float[np.ndarray, "points state state"]
    noise_slope: Float[np.ndarray, "points state state state"]
    skew: Float[np.ndarray, "points state state state"]
    fourth: Points | None = None
    """`f̄''''::C₁C₁`"""
    noise_bend: Float[np.ndarray, "points state state"] | None = None
    """`Q'':C₁`"""

    @classmethod
    def of(cls, mean: Function, covariance: Function, skew: np.ndarray, x: Points, scale: Points) -> "Local":
        """All that does not need `C₁`."""
        rate, noise = Tensors(mean, x, scale, 3), Tensors(covariance, x, scale, 1)
        return cls(rate.first, rate.second, rate.third, noise.value, noise.first, skew)

    def finish(self, mean: Function, covariance: Function, x: Points, scale: Points,
               spread: Float[np.ndarray, "points state state"]) -> None:
        """The rest, given `C₁` at each point."""
        roots = root(spread)
        self.fourth = twice_laplacian(mean, x, scale, roots)
        self.noise_bend = laplacian(covariance, x, scale, roots)

    def at(self, k: int) -> tuple[np.ndarray, ...]:
        return tuple(getattr(self, each.name)[k] for each in fields(self))


def root(covariance: Float[np.ndarray, "points state state"]) -> Float[np.ndarray, "points state rank"]:
    """`L` with `L Lᵀ = C`, with as many columns as the largest rank."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.where(values > ROOTED * values[:, -1:], values, 0.0)
    rank = max(1, int((values > 0).sum(1).max()))
    found: Float[np.ndarray, "points state rank"] = (vectors * np.sqrt(values)[:, None])[:, :, -rank:]
    return found


def spread_of_chain(local: Local, tau: float) -> Float[np.ndarray, "points state state"]:
    """`C₁` at each step of a discrete run, before it."""
    found = np.zeros((len(local.slope), *local.noise.shape[1:]))
    for k in range(len(found) - 1):
        step = np.eye(found.shape[1]) + tau * local.slope[k]
        found[k + 1] = step @ found[k] @ step.T + tau**2 * local.noise[k]
    return found


def spread_of_equation(local: Local, span: float) -> Float[np.ndarray, "points state state"]:
    """`C₁` at the points of an equation, every second of which is the middle of a Runge–Kutta step of length `span`."""
    found = np.zeros((len(local.slope), *local.noise.shape[1:]))

    def rate(k: int, c: np.ndarray) -> np.ndarray:
        moved = local.slope[k] @ c
        return moved + moved.T + local.noise[k]

    for k in range(0, len(found) - 1, 2):
        c = found[k]
        one = rate(k, c)
        two = rate(k + 1, c + span / 2 * one)
        three = rate(k + 1, c + span / 2 * two)
        found[k + 2] = c + span / 6 * (one + 2 * two + 2 * three + rate(k + 2, c + span * three))
        found[k + 1] = (c + found[k + 2]) / 2 + span / 8 * (one - rate(k + 2, found[k + 2]))
    return found


def placed(a: np.ndarray) -> np.ndarray:
    """`Σ₃`: the index that stands first in each place, of what is symmetric in the others."""
    return a + a.transpose(1, 0, 2) + a.transpose(1, 2, 0)


def through_chain(local: Local, state: Points, tau: float) -> Cumulants:
    """Carry the cumulants from the start, where they are 0, through every step; `state` has one more point, the end."""
    n = state.shape[1]
    mean, mean2, cov, cov2, third = (np.zeros((n,) * order) for order in (1, 1, 2, 2, 3))
    for k in range(len(local.slope)):
        slope, bend, three, noise, noise_slope, skew, four, noise_bend = local.at(k)
        step = np.eye(n) + tau * slope
        moved = step @ cov
        change = tau * (bend @ mean + 0.5 * E("ijkl,kl->ij", three, cov))
        bent = E("ijk,jk->i", bend, cov)
        turned = change @ moved.T
        skewed = 0.5 * tau * E("iab,jab->ij", E("ip,pab->iab", step, third), bend)
        half = E("ilm,lp->ipm", bend, cov)
        new_mean2 = step @ mean2 + tau * (
            0.5 * E("ijk,j,k->i", bend, mean, mean) + 0.5 * E("ijk,jk->i", bend, cov2)
            + 0.5 * E("ijk,jk->i", E("ijkl,l->ijk", three, mean), cov) + E("ijkl,jkl->i", three, third) / 6 + four / 8)
        cov2 = (step @ cov2 @ step.T + turned + turned.T + skewed + skewed.T
                + tau**2 * (noise_slope @ mean + 0.5 * noise_bend) + 0.5 * tau**2 * E("ipm,jpq,mq->ij", half, bend, cov))
        turned3 = E("kc,abc->abk", step, E("jb,abk->ajk", step, E("ia,abc->ibc", step, third)))
        third = (turned3 + tau * placed(E("klm,il,jm->kij", bend, moved, moved))
                 + tau**2 * placed(E("jkl,il->ijk", noise_slope, moved)) + tau**3 * skew)
        cov, mean, mean2 = step @ moved.T + tau**2 * noise, step @ mean + 0.5 * tau * bent, new_mean2
    return Cumulants(state[-1], mean, cov, mean2, cov2, third)


def through_equation(local: Local, state: Points, span: float, spread: Float[np.ndarray, "points state state"]) -> Cumulants:
    """The same by Runge–Kutta steps of this length."""
    n = state.shape[1]
    shapes = [(n,), (n,), (n, n), (n, n, n)]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def rate(k: int, y: np.ndarray) -> np.ndarray:
        mean, mean2, cov2, third = (part.reshape(shape) for part, shape in zip(np.split(y, cuts[:-1]), shapes, strict=True))
        slope, bend, three, _, noise_slope, skew, four, noise_bend = local.at(k)
        cov = spread[k]
        change = bend @ mean + 0.5 * E("ijkl,kl->ij", three, cov)
        new_mean = slope @ mean + 0.5 * E("ijk,jk->i", bend, cov)
        new_mean2 = (slope @ mean2 + 0.5 * E("ijk,j,k->i", bend, mean, mean) + 0.5 * E("ijk,jk->i", bend, cov2)
                     + 0.5 * E("ijk,jk->i", E("ijkl,l->ijk", three, mean), cov) + E("ijkl,jkl->i", three, third) / 6 + four / 8)
        moved = slope @ cov2 + change @ cov + 0.5 * E("jlm,ilm->ij", third, bend)
        new_cov2 = moved + moved.T + noise_slope @ mean + 0.5 * noise_bend
        new_third = (placed(E("ip,pjk->ijk", slope, third)) + placed(E("klm,il,jm->kij", bend, cov, cov))
                     + placed(E("jkl,il->ijk", noise_slope, cov)) + skew)
        return np.concatenate([part.ravel() for part in (new_mean, new_mean2, new_cov2, new_third)])

    y = np.zeros(cuts[-1])
    for k in range(0, len(local.slope) - 1, 2):
        one = rate(k, y)
        two = rate(k + 1, y + span / 2 * one)
        three = rate(k + 1, y + span / 2 * two)
        y = y + span / 6 * (one + 2 * two + 2 * three + rate(k + 2, y + span * three))
    mean, mean2, cov2, third = (part.reshape(shape) for part, shape in zip(np.split(y, cuts[:-1]), shapes, strict=True))
    return Cumulants(state[-1], mean, spread[-1], mean2, cov2, third)


def expected(observe: Function, at: Cumulants, scale: Float[np.ndarray, " state"]) -> Float[np.ndarray, "3 observables"]:
    """`E φ` in three parts: `φ` of the noiseless state, and the noise's first and second order,

        φ'μ₁ + ½φ'':C₁,   φ'μ₂ + ½φ'':(C₂ + μ₁μ₁) + ½φ'''[μ₁]:C₁ + ⅙φ''':K + ⅛φ'''':C₁C₁
    """
    x, size = at.state[None], scale[None]
    found = Tensors(observe, x, size, 3)
    first, second, third = found.first[0], found.second[0], found.third[0]
    four = twice_laplacian(observe, x, size, root(at.covariance[None]))[0]
    one = first @ at.mean + 0.5 * E("oij,ij->o", second, at.covariance)
    two = (first @ at.mean2 + 0.5 * E("oij,ij->o", second, at.covariance2 + np.outer(at.mean, at.mean))
           + 0.5 * E("oij,ij->o", third @ at.mean, at.covariance) + E("oijk,ijk->o", third, at.third) / 6 + four / 8)
    return np.stack([found.value[0], one, two])
