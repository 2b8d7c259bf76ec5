"""Second-order equations that differ from ours in one term each, as the published scripts have it.

Read off the public code that goes with arXiv 2509.21614 (commit 20e4203); the text of its theorems was not seen. A class
names what differs and adds `theirs − ours` to the term of ours; the terms below are in the symbols of `BallisticRMSProp`,
`BatchEquivalentRMSProp`, `BallisticAdam` and `BatchEquivalentAdam`. All are of order 2 in what else they hold.
"""

import torch
from torch import Tensor
from torch.func import jvp

from sme.equations.base import Equation, X, join
from sme.equations.closed.adam import BallisticAdam, BatchEquivalentAdam
from sme.equations.closed.curvature import curvature
from sme.equations.closed.rmsprop import BallisticRMSProp, BatchEquivalentRMSProp
from sme.equations.derived.batch_equivalent import DerivedBatchEquivalent
from sme.optimizers.bias import Correction
from sme.optimizers.preconditioner import Preconditioner
from sme.optimizers.rmsprop import RMSProp


class Cubed(Equation):
    """`P' = −½ P³` in place of `−½ P²/√v`; with `√v P = 1 − ε P`, which is 1 for `ε = 0`."""

    def precondition(self, v: Tensor, eps: float | Tensor) -> Preconditioner:
        p = super().precondition(v, eps)
        return Preconditioner(p.value, p.slope * (1 - eps * p.value))


class CubedRMSProp(Cubed, BallisticRMSProp):
    """Ballistic RMSProp, the slope of `P` that of `ε = 0`."""


class OneMotionRMSProp(BallisticRMSProp):
    """Ballistic RMSProp without `√τ c √2 (Σ∘Σ)^{1/2} dW²` on `v`."""

    def second_noise(self, theta: Tensor, dW: Tensor) -> Tensor | float:
        return 0.0


class FlatVarianceRMSProp(BallisticRMSProp):
    """Ballistic RMSProp without `+½ c ∂σ(P∘g)` in `b₁_v`."""

    def drift(self, t: float, x: X) -> X:
        theta, v = self.split(x)
        moved = self._preconditioner(v).value * self.problem.gradient(theta)
        change = -0.5 * self.optimizer.c * self.law.variance_slope(theta, moved)
        return super().drift(t, x) + self.tau * join(torch.zeros_like(v), change)


class BentRMSProp(BatchEquivalentRMSProp):
    """Batch-equivalent RMSProp with `−P∘(D_θθ:∇²g)` in place of `+¼ P∘(D_θθ:∇²g)` in `b₁_θ`."""

    def drift(self, t: float, x: X) -> X:
        theta, v = self.split(x)
        p = self._preconditioner(v).value
        change = -1.25 * p * curvature(self.problem, theta, p)
        return super().drift(t, x) + self.tau * join(change, torch.zeros_like(v))


class ScaledHessianRMSProp(BatchEquivalentRMSProp):
    """Batch-equivalent RMSProp with `−τ c ½ P∘H(P∘S) dW¹` in place of `−τ ½ P∘H(P∘S) dW¹` on `θ`."""

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, v = self.split(x)
        p = self._preconditioner(v).value
        pulled = p * self.problem.hessian(theta, p * self.law.diffuse(theta, dW[:, : self.first]))
        change = 0.5 * self.tau * (1 - self.optimizer.c) * pulled
        return super().diffuse(t, x, dW) + join(change, torch.zeros_like(v))


class SwayedRMSProp(DerivedBatchEquivalent):
    """Batch-equivalent RMSProp, `S(θ)`, with `−½ ∂σ(P∘g) − ½ τ D_θθ:∇²σ` in place of `½ c ∂σ(P∘g) − ¼ c D_θθ:∇²σ` in `b₁_v`."""

    optimizer: RMSProp

    def drift(self, t: float, x: X) -> X:
        theta, v = self.split(x)
        c, law = self.optimizer.c, self.law
        p = self.precondition(v, self.optimizer.eps).value
        bend = torch.zeros_like(theta)
        for unit in torch.eye(law.motions, dtype=theta.dtype, device=theta.device):
            u = p * law.diffuse(theta, unit.expand(theta.shape[0], -1))
            bend = bend + jvp(lambda point, u=u: law.variance_slope(point, u), (theta,), (u,))[1]
        slope = law.variance_slope(theta, p * self.problem.gradient(theta))
        change = -0.5 * (1 + c) * slope + (0.25 * c - 0.5 * self.tau) * bend
        return super().drift(t, x) + self.tau * join(torch.zeros_like(v), change)


class EarlyAdam(BallisticAdam):
    """Ballistic Adam with the bias correction of one step before, `γᵢ(t − τ)`, in the equation alone."""

    def _at(self, t: float, v: Tensor) -> tuple[Correction, Preconditioner]:
        return super()._at(t - self.tau, v)


class GrowingAdam(BallisticAdam):
    """Ballistic Adam with `∂_t P = +P² ∂_t √γ₂` in place of `−ε P² ∂_t √γ₂` in `b₁_θ`."""

    def drift(self, t: float, x: X) -> X:
        _, m, v = self.split(x)
        factor, p = self._at(t, v)
        change = 0.5 * factor.gain * factor.root_slope * (1 + self.optimizer.eps) * p.value * p.value * m
        return super().drift(t, x) + self.tau * join(change, torch.zeros_like(m), torch.zeros_like(v))


class GradientAdam(BallisticAdam):
    """Ballistic Adam with `c₂ Γ g∘H(P∘g)` in place of `c₂ Γ g∘H(P∘m)` in `b₁_v`."""

    def drift(self, t: float, x: X) -> X:
        theta, m, v = self.split(x)
        g = self.problem.gradient(theta)
        factor, p = self._at(t, v)
        change = self.optimizer.c2 * factor.gain * g * self.problem.hessian(theta, p.value * (g - m))
        return super().drift(t, x) + self.tau * join(torch.zeros_like(theta), torch.zeros_like(m), change)


class OpposedAdam(BallisticAdam):
    """Ballistic Adam with `−√τ 2c₂ g∘S dW¹` in place of `+√τ 2c₂ g∘S dW¹` on `v`, `m` having `+√τ c₁ S dW¹`."""

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, m, _ = self.split(x)
        noise = self.problem.gradient(theta) * self.law.diffuse(theta, dW[:, : self.first])
        change = -4 * self.tau**0.5 * self.optimizer.c2 * noise
        return super().diffuse(t, x, dW) + join(torch.zeros_like(theta), torch.zeros_like(m), change)


class LeadingAdam(BatchEquivalentAdam):
    """Batch-equivalent Adam without `τ ½ c₁² S dW¹` on `m`."""

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, _, v = self.split(x)
        change = -0.5 * self.tau * self.optimizer.c1**2 * self.law.diffuse(theta, dW[:, : self.first])
        return super().diffuse(t, x, dW) + join(torch.zeros_like(theta), change, torch.zeros_like(v))


class UnscaledAdam(BatchEquivalentAdam):
    """Batch-equivalent Adam with `−τ ½ Γ P∘S dW¹` in place of `−τ ½ c₁ Γ P∘S dW¹` on `θ`."""

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, m, v = self.split(x)
        factor, p = self._at(t, v)
        noise = factor.gain * p.value * self.law.diffuse(theta, dW[:, : self.first])
        change = 0.5 * self.tau * (self.optimizer.c1 - 1) * noise
        return super().diffuse(t, x, dW) + join(change, torch.zeros_like(m), torch.zeros_like(v))
