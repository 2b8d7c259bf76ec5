"""The closed-form equations of RMSProp."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from sme.equations.base import X, join
from sme.equations.closed.curvature import curvature
from sme.equations.closed.second_moment import SecondMoment
from sme.optimizers.preconditioner import Preconditioner
from sme.optimizers.rmsprop import RMSProp


class _RMSProp(SecondMoment):
    optimizer: RMSProp
    latex: ClassVar = {
        "leading drift, theta": r"-P\circ g",
        "noise of the second motion, v": r"\sqrt\tau\,c\,\sqrt2\,(\Sigma\circ\Sigma)^{1/2}\,dW^2",
        "step memory, v": r"2\,c\,S\,y\circ S\,dW",
    }

    def _preconditioner(self, v: Tensor) -> Preconditioner:
        return self.precondition(v, self.optimizer.eps)

    @property
    def _updated(self) -> bool:
        return self.optimizer.denominator == "updated"

    @abstractmethod
    def _corrections(self, theta: Tensor, v: Tensor, g: Tensor, sigma: Tensor, p: Preconditioner, b_v: Tensor
                     ) -> tuple[Tensor, Tensor]:
        """`b₁_θ` and `b₁_v`."""

    def drift(self, t: float, x: X) -> X:
        theta, v = self.split(x)
        g, sigma = self.problem.gradient(theta), self.law.variance(theta)
        p = self._preconditioner(v)
        b_theta, b_v = -p.value * g, self.rate * (self._moment(g, sigma) - v)
        if self.order == 1:
            return join(b_theta, b_v)
        b1_theta, b1_v = self._corrections(theta, v, g, sigma, p, b_v)
        return join(b_theta + self.tau * b1_theta, b_v + self.tau * b1_v)


class BallisticRMSProp(_RMSProp):
    """Ballistic. With `g = ∇f`, `σ = diag Σ`, `H = ∇²f`, `κ = κ_iii`:

        b_θ = −P∘g                        τ b₁_θ = τ ½ (P'∘g∘b_v + P∘H b_θ)
        b_v = c (g∘g + σ − v)             τ b₁_v = −τ ½ c (2 g∘H b_θ + ∂σ b_θ − b_v)
        noise on θ: −√τ P∘S dW¹           noise on v: √τ c (2 g∘S dW¹ + (third moments) + √2 (Σ∘Σ)^{1/2} dW²)

    The updated denominator adds `−τ c P'∘(g³ + 3 g∘σ + κ − v∘g)` to the drift of θ. In `latex` the
    third moments are `K dW¹`, `(K Sᵀ)_ij = κ_iij`, 0 for a Gaussian law. Order 1 has
    `b` and the same noise. Source: docs/theory/equations.md, section 3, (3.3).
    """

    small_noise = True
    latex: ClassVar = _RMSProp.latex | {
        "drift correction, theta": r"\tau\,\tfrac12\,(P'\circ g\circ b_v + P\circ H\,b_\theta)",
        "drift correction, theta, updated denominator":
            r"-\tau\,c\,P'\circ(g^3 + 3\,g\circ\sigma + \kappa - v\circ g)",
        "noise of the first motion, theta": r"-\sqrt\tau\,P\circ S\,dW^1",
        "leading drift, v": r"c\,(g\circ g + \sigma - v)",
        "drift correction, v": r"-\tau\,\tfrac12\,c\,(2\,g\circ H\,b_\theta + \partial\sigma\,b_\theta - b_v)",
        "noise of the first motion, v": r"\sqrt\tau\,c\,(2\,g\circ S + K)\,dW^1",
    }

    def _moment(self, g: Tensor, sigma: Tensor) -> Tensor:
        return g * g + sigma

    def _corrections(self, theta: Tensor, v: Tensor, g: Tensor, sigma: Tensor, p: Preconditioner, b_v: Tensor
                     ) -> tuple[Tensor, Tensor]:
        c, b_theta = self.rate, -p.value * g
        h = self.problem.hessian(theta, b_theta)
        b1_theta = 0.5 * (p.slope * g * b_v + p.value * h)
        b1_v = -0.5 * c * (2 * g * h - b_v)
        if not self.law.constant:
            b1_v = b1_v - 0.5 * c * self.law.variance_slope(theta, b_theta)
        if self._updated:
            kappa = self.law.third(theta)
            b1_theta = b1_theta - c * p.slope * (g * (g * g + 3 * sigma - v) + kappa)
        return b1_theta, b1_v

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, v = self.split(x)
        noise, skew = self.law.diffuse_square(theta, dW[:, : self.first])
        second = self.second_noise(theta, dW)
        square = 2 * self.problem.gradient(theta) * noise + skew + second
        scale = self.tau**0.5
        return scale * join(-self._preconditioner(v).value * noise, self.optimizer.c * square)


class BatchEquivalentRMSProp(_RMSProp):
    """Batch-equivalent, Gaussian noise; order 2 for constant `S`. With `D_θθ = P_i P_j Σ_ij`:

        b_θ = −P∘g      τ b₁_θ = −τ ½ (P∘H(P∘g) − c P'∘(σ − v)∘g − ½ P∘(D_θθ:∇²∇f))
        b_v = c (σ − v)   τ b₁_v = τ c (g∘g + ½ c (σ − v))
        noise on θ: −(P∘S + τ (½ P∘H(P∘S) − ½ c P'∘(σ − v)∘S)) dW¹
        noise on v: τ 2c g∘S dW¹ + √τ c √2 (Σ∘Σ)^{1/2} dW²

    The updated denominator adds `−τ c P'∘g∘(3σ − v)` to the drift of θ and `−τ c P'∘(3σ − v)∘S dW¹`
    to its noise. Order 1 has `b` and `−P∘S dW¹`. Source: docs/theory/equations.md, section 4, (4.3).
    """

    small_noise = False
    latex: ClassVar = _RMSProp.latex | {
        "drift correction, theta":
            r"-\tau\,\tfrac12\,(P\circ H\,(P\circ g) - c\,P'\circ(\sigma - v)\circ g "
            r"- \tfrac12\,P\circ(D_{\theta\theta}:\nabla^2 g))",
        "drift correction, theta, updated denominator": r"-\tau\,c\,P'\circ g\circ(3\,\sigma - v)",
        "noise of the first motion, theta": r"-P\circ S\,dW^1",
        "noise correction, theta":
            r"-\tau\,(\tfrac12\,P\circ H\,(P\circ S) - \tfrac12\,c\,P'\circ(\sigma - v)\circ S)\,dW^1",
        "noise correction, theta, updated denominator": r"-\tau\,c\,P'\circ(3\,\sigma - v)\circ S\,dW^1",
        "leading drift, v": r"c\,(\sigma - v)",
        "drift correction, v": r"\tau\,c\,(g\circ g + \tfrac12\,c\,(\sigma - v))",
        "noise correction, v": r"\tau\,2\,c\,g\circ S\,dW^1",
    }

    def _moment(self, g: Tensor, sigma: Tensor) -> Tensor:
        return sigma

    def _corrections(self, theta: Tensor, v: Tensor, g: Tensor, sigma: Tensor, p: Preconditioner, b_v: Tensor
                     ) -> tuple[Tensor, Tensor]:
        c = self.rate
        bent = self.problem.hessian(theta, p.value * g) - 0.5 * curvature(self.problem, theta, p.value)
        b1_theta = -0.5 * (p.value * bent - p.slope * b_v * g)
        b1_v = c * g * g + 0.5 * c * b_v
        if self._updated:
            b1_theta = b1_theta - c * p.slope * g * (3 * sigma - v)
        return b1_theta, b1_v

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, v = self.split(x)
        c, tau = self.optimizer.c, self.tau
        p = self._preconditioner(v)
        noise = self.law.diffuse(theta, dW[:, : self.first])
        on_theta = p.value * noise
        if self.order == 1:
            return join(-on_theta, torch.zeros_like(v))
        sigma, g = self.law.variance(theta), self.problem.gradient(theta)
        change = 0.5 * p.value * self.problem.hessian(theta, on_theta) - 0.5 * c * p.slope * (sigma - v) * noise
        if self._updated:
            change = change + c * p.slope * (3 * sigma - v) * noise
        second = self.second_noise(theta, dW)
        on_v = 2 * tau * c * g * noise + tau**0.5 * c * second
        return join(-on_theta - tau * change, on_v)
