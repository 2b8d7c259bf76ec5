"""The closed-form equations of Adam."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from sme.equations.base import X, join
from sme.equations.closed.second_moment import SecondMoment
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.bias import Correction
from sme.optimizers.preconditioner import Preconditioner


class _Adam(SecondMoment):
    """What both regimes share: `b_θ = −Γ P∘m`, `b_m = c₁ (g − m)` and their part of `b₁`.

    `b₁_θ = ½ (−Γ P∘b_m + Γ P'∘m∘b_v + m∘∂_t(Γ P))`, `b₁_m = −½ c₁ (H b_θ − b_m)`; the updated
    denominator turns the sign of the term in `P'`, since it adds `−Γ m∘P'∘b_v`.
    """

    optimizer: Adam
    latex: ClassVar = {
        "leading drift, theta": r"-\Gamma\,P\circ m",
        "drift correction, theta":
            r"\tau\,\tfrac12\,(-\Gamma\,P\circ b_m + \Gamma\,P'\circ m\circ b_v + m\circ\partial_t(\Gamma\,P))",
        "drift correction, theta, updated denominator": r"-\tau\,\Gamma\,m\circ P'\circ b_v",
        "leading drift, m": r"c_1\,(g - m)",
        "drift correction, m": r"-\tau\,\tfrac12\,c_1\,(H\,b_\theta - b_m)",
        "noise of the second motion, v": r"\sqrt\tau\,c_2\,\sqrt2\,(\Sigma\circ\Sigma)^{1/2}\,dW^2",
        "step memory, v": r"2\,c_2\,S\,y\circ S\,dW",
    }

    def _at(self, t: float, v: Tensor) -> tuple[Correction, Preconditioner]:
        factor = self.optimizer.correction(t, self.tau)
        eps = self.optimizer.eps * factor.root
        return factor, self.precondition(v, eps)

    def _velocity(self, theta: Tensor, b_theta: Tensor) -> Tensor:
        """`b_θ`."""
        return b_theta

    def _bent(self, b_theta: Tensor, b1_theta: Tensor) -> Tensor:
        """`b₁_θ`."""
        return b1_theta

    def _leading(self, t: float, theta: Tensor, m: Tensor, v: Tensor, b_v: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        """`b_θ`, `b_m`, and at order 2 also `b₁_θ`, `b₁_m`, `H b_θ`."""
        factor, p = self._at(t, v)
        c1 = self.optimizer.c1
        b_theta, b_m = self._velocity(theta, -factor.gain * p.value * m), c1 * (g - m)
        if self.order == 1:
            return b_theta, b_m
        h = self.problem.hessian(theta, b_theta)
        sign = -1.0 if self.optimizer.denominator == "updated" else 1.0
        # ∂_t (Γ P) = Γ' P − Γ P² ε ∂_t √γ₂
        in_time = factor.gain_slope - factor.gain * p.value * self.optimizer.eps * factor.root_slope
        b1_theta = self._bent(b_theta, 0.5 * (factor.gain * (sign * p.slope * m * b_v - p.value * b_m) + m * p.value * in_time))
        b1_m = -0.5 * c1 * (h - b_m)
        return b_theta, b_m, b1_theta, b1_m, h

    @abstractmethod
    def _bent_moment(self, g: Tensor, h: Tensor, b_v: Tensor) -> Tensor:
        """`b₁_v` of constant noise."""

    def drift(self, t: float, x: X) -> X:
        theta, m, v = self.split(x)
        c2, tau = self.optimizer.c2, self.tau
        g, sigma = self.problem.gradient(theta), self.law.variance(theta)
        b_v = c2 * (self._moment(g, sigma) - v)
        b_theta, b_m, *rest = self._leading(t, theta, m, v, b_v, g)
        if self.order == 1:
            return join(b_theta, b_m, b_v)
        b1_theta, b1_m, h = rest
        b1_v = self._bent_moment(g, h, b_v)
        if not self.law.constant:
            b1_v = b1_v - 0.5 * c2 * self.law.variance_slope(theta, b_theta)
        return join(b_theta + tau * b1_theta, b_m + tau * b1_m, b_v + tau * b1_v)


class BallisticAdam(_Adam):
    """Ballistic. With `g = ∇f`, `σ = diag Σ`, `H = ∇²f`, `Γ`, `P` with `ε√γ₂`:

        b_θ = −Γ P∘m   b_m = c₁ (g − m)   b_v = c₂ (g∘g + σ − v)
        b₁_v = −½ c₂ (2 g∘H b_θ + ∂σ b_θ − b_v),   b₁_θ, b₁_m as in `_Adam`
        noise on m: √τ c₁ S dW¹        noise on v: √τ c₂ (2 g∘S dW¹ + (third moments) + √2 (Σ∘Σ)^{1/2} dW²)

    In `latex` the third moments are `K dW¹`, `(K Sᵀ)_ij = κ_iij`, 0 for a Gaussian law. Order 1 has
    `b` and the same noise. Source: docs/theory/equations.md, section 3, (3.4).
    """

    small_noise = True
    latex: ClassVar = _Adam.latex | {
        "noise of the first motion, m": r"\sqrt\tau\,c_1\,S\,dW^1",
        "leading drift, v": r"c_2\,(g\circ g + \sigma - v)",
        "drift correction, v": r"-\tau\,\tfrac12\,c_2\,(2\,g\circ H\,b_\theta + \partial\sigma\,b_\theta - b_v)",
        "noise of the first motion, v": r"\sqrt\tau\,c_2\,(2\,g\circ S + K)\,dW^1",
    }

    def _moment(self, g: Tensor, sigma: Tensor) -> Tensor:
        return g * g + sigma

    def _bent_moment(self, g: Tensor, h: Tensor, b_v: Tensor) -> Tensor:
        return -0.5 * self.optimizer.c2 * (2 * g * h - b_v)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, _, v = self.split(x)
        noise, skew = self.law.diffuse_square(theta, dW[:, : self.first])
        second = self.second_noise(theta, dW)
        square = 2 * self.problem.gradient(theta) * noise + skew + second
        on = (torch.zeros_like(v), self.optimizer.c1 * noise, self.optimizer.c2 * square)
        return self.tau**0.5 * join(*on)


class BatchEquivalentAdam(_Adam):
    """Batch-equivalent, Gaussian noise with any `S(θ)`:

        b_θ = −Γ P∘m   b_m = c₁ (g − m)   b_v = c₂ (σ − v)
        b₁_v = c₂ g∘g − ½ c₂ (∂σ b_θ − b_v),   b₁_θ, b₁_m as in `_Adam`
        noise on θ: −τ ½ c₁ Γ P∘S dW¹
        noise on m: c₁ (S + τ ½ (c₁ S − ∂S b_θ)) dW¹
        noise on v: τ 2c₂ g∘S dW¹ + √τ c₂ √2 (Σ∘Σ)^{1/2} dW²

    Order 1 has `b` and `c₁ S dW¹` on `m`. Source: docs/theory/equations.md, section 4, (4.6).
    """

    small_noise = False
    latex: ClassVar = _Adam.latex | {
        "noise correction, theta": r"-\tau\,\tfrac12\,c_1\,\Gamma\,P\circ S\,dW^1",
        "noise of the first motion, m": r"c_1\,S\,dW^1",
        "noise correction, m": r"c_1\,\tau\,\tfrac12\,(c_1\,S - \partial S\,b_\theta)\,dW^1",
        "leading drift, v": r"c_2\,(\sigma - v)",
        "drift correction, v": r"\tau\,(c_2\,g\circ g - \tfrac12\,c_2\,(\partial\sigma\,b_\theta - b_v))",
        "noise correction, v": r"\tau\,2\,c_2\,g\circ S\,dW^1",
    }

    def _moment(self, g: Tensor, sigma: Tensor) -> Tensor:
        return sigma

    def _bent_moment(self, g: Tensor, h: Tensor, b_v: Tensor) -> Tensor:
        c2 = self.optimizer.c2
        return c2 * g * g + 0.5 * c2 * b_v

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, m, v = self.split(x)
        c1, c2, tau = self.optimizer.c1, self.optimizer.c2, self.tau
        noise = self.law.diffuse(theta, dW[:, : self.first])
        zero = torch.zeros_like(v)
        if self.order == 1:
            return join(zero, c1 * noise, zero)
        factor, p = self._at(t, v)
        on_theta = -0.5 * tau * c1 * factor.gain * p.value * noise
        on_m = c1 * (1 + 0.5 * tau * c1) * noise
        if not self.law.constant:
            b_theta = self._velocity(theta, -factor.gain * p.value * m)
            on_m = on_m - 0.5 * tau * c1 * self.law.diffuse_slope(theta, b_theta, dW[:, : self.first])
        second = self.second_noise(theta, dW)
        on_v = 2 * tau * c2 * self.problem.gradient(theta) * noise + tau**0.5 * c2 * second
        return join(on_theta, on_m, on_v)


class _AdamW(_Adam):
    """With decoupled decay: `−λ θ` more in `b_θ`, so `+½ λ b_θ` more in `b₁_θ`; `H b_θ`, `∂σ b_θ` and `∂S b_θ` have it too."""

    optimizer: AdamW
    decayed: ClassVar = {
        "leading drift, theta": r"-\Gamma\,P\circ m - \lambda\,\theta",
        "drift correction, theta":
            r"\tau\,\tfrac12\,(-\Gamma\,P\circ b_m + \Gamma\,P'\circ m\circ b_v + m\circ\partial_t(\Gamma\,P) "
            r"+ \lambda\,b_\theta)",
    }

    def _velocity(self, theta: Tensor, b_theta: Tensor) -> Tensor:
        return b_theta - self.optimizer.decay * theta

    def _bent(self, b_theta: Tensor, b1_theta: Tensor) -> Tensor:
        return b1_theta + 0.5 * self.optimizer.decay * b_theta


class BallisticAdamW(_AdamW, BallisticAdam):
    """Ballistic AdamW: `BallisticAdam` with the decay of `_AdamW`."""

    latex: ClassVar = BallisticAdam.latex | _AdamW.decayed


class BatchEquivalentAdamW(_AdamW, BatchEquivalentAdam):
    """Batch-equivalent AdamW: `BatchEquivalentAdam` with the decay of `_AdamW`."""

    latex: ClassVar = BatchEquivalentAdam.latex | _AdamW.decayed
