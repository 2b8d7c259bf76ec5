"""The equations of signSGD and Signum, from the moments of the sign."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from sme.common.errors import SMEError
from sme.equations.base import Equation, X, join
from sme.equations.drivers.names import MEMORIES
from sme.optimizers.base import Optimizer
from sme.optimizers.signum import Signum
from sme.problems.base import Problem
from sme.problems.noise.wrapped.orthants import NEAR, covariance, root


class BallisticSignSGD(Equation):
    """Ballistic. For Gaussian noise, with `u = ∇f/√(2σ)` and `ρ = sign(ĝ)`, `E ρ = erf(u)`:

        b = −erf(u)      b₁ = −½ ∇b b      noise: −√τ (L dW¹ + (Cov ρ − L Lᵀ)^{1/2} dW²)

    with `L = E[ρ zᵀ] = 2φ(√2 u)∘S/√σ`, `(Cov ρ)_ij = 4 ∫₀^r φ₂(√2 u_i, √2 u_j; s) ds`, `r` the
    correlation of the noise (Plackett's identity), and `(Cov ρ)_ii = 1 − erf(u_i)²`. Order 1 has
    `b` and the same noise. For another law, independent between parameters, `E ρ` stands for `erf(u)` (`2F_ν(∇f/scale) − 1` for
    Student's t), and the noise is `−√τ √(1 − (E ρ)²)∘dW¹`. Source: docs/theory/rules.md, section 11.

    Raises
    ------
    SMEError
        for a minibatch, whose signs have no closed moments, a law whose mean sign jumps, or noise that is 0 in a coordinate.
    """

    small_noise = True
    latex: ClassVar = {
        "leading drift, theta": r"-\operatorname{erf}(u)",
        "drift correction, theta": r"-\tau\,\tfrac12\,\nabla b\,b",
        "noise of the first motion, theta": r"-\sqrt\tau\,2\,\varphi(\sqrt2\,u)/\sqrt\sigma\circ S\,dW^1",
        "noise of the second motion, theta": r"-\sqrt\tau\,(\operatorname{Cov}\rho - L\,L^\top)^{1/2}\,dW^2",
    }

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        origin = torch.zeros(1, problem.dim, dtype=torch.float64)
        if not problem.noise.paired:
            problem.noise.sign_mean(origin, origin)
        elif bool((problem.noise.variance(origin) <= 0).any()) and problem.noise.constant:
            raise SMEError("signSGD has an equation only where every coordinate's noise has variance > 0")
        super().__init__(problem, optimizer, tau, order, "independent" if brownian in MEMORIES else brownian)
        self.second = problem.dim if self.first and problem.noise.paired else 0

    @classmethod
    def parts(cls, problem: Problem) -> tuple[str, ...]:
        """`signs` where the covariance of two signs may be taken from the end `|r| = 1`."""
        law, origin = problem.noise, torch.zeros(1, problem.dim, dtype=torch.float64)
        if law.apart or not law.paired:
            return ()
        if not law.constant:
            return ("signs",)
        s = _standard(problem, origin)[2]
        return ("signs",) if bool(((s @ s.mT).tril(-1).abs() > NEAR).any()) else ()

    def drift(self, t: float, x: X) -> X:
        g = self.problem.gradient(x)
        if self.law.apart:
            b = -self.law.sign_mean(x, g)
            if self.order == 1:
                return b
            return b + 0.5 * self.tau * jvp(self.law.sign_mean, (x, g), (b, self.problem.hessian(x, b)))[1]
        sigma = self.law.variance(x)
        u = g / (2 * sigma).sqrt()
        b = -torch.erf(u)
        if self.order == 1:
            return b
        change = self.problem.hessian(x, b) / (2 * sigma).sqrt() - 0.5 * u * self.law.variance_slope(x, b) / sigma
        return b + self.tau * torch.exp(-u * u) * change / math.sqrt(math.pi)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        if self.law.apart:
            mean = self.law.sign_mean(x, self.problem.gradient(x))
            return -self.tau**0.5 * (1 - mean * mean).clamp(min=0).sqrt() * dW
        deviation, a, s = _standard(self.problem, x)
        density = 2 * torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
        linear = density / deviation * self.law.diffuse(x, dW[:, : self.first])
        part = density.unsqueeze(-1) * s
        rest = covariance(a, s) - part @ part.mT
        return -self.tau**0.5 * (linear + (root(rest) @ dW[:, self.first :].unsqueeze(-1)).squeeze(-1))


class IndependentSignSGD(BallisticSignSGD):
    """The same for a law that is not Gaussian, with `p = E ρ`: `b = −p`, `b₁ = ½ ∂_b p`, noise `−√τ √(1 − p∘p)∘dW¹`."""

    latex: ClassVar = {
        "leading drift, theta": r"-p",
        "drift correction, theta": r"\tau\,\tfrac12\,\partial_bp",
        "noise of the first motion, theta": r"-\sqrt\tau\,(1 - p^2)^{1/2}\,dW^1",
    }


def sign_moments(problem: Problem, theta: Float[Tensor, "paths d"], share: float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean and covariance of `sign(share ∇f + S z)`, for `z` Gaussian or independent between parameters."""
    if problem.noise.apart:
        mean = problem.noise.sign_mean(theta, share * problem.gradient(theta))
        return mean, torch.diag_embed(1 - mean * mean)
    _, a, s = _standard(problem, theta)
    a = share * a
    return torch.erf(a / math.sqrt(2)), covariance(a, s)


def _standard(problem: Problem, theta: Tensor) -> tuple[Tensor, Tensor, Float[Tensor, "paths d m"]]:
    """`√σ`, `∇f/√σ` and `S/√σ`."""
    deviation = problem.noise.variance(theta).sqrt()
    columns = torch.eye(problem.noise.motions, dtype=theta.dtype, device=theta.device)
    s = torch.stack([problem.noise.diffuse(theta, e.expand(len(theta), -1)) for e in columns], -1)
    return deviation, problem.gradient(theta) / deviation, s / deviation.unsqueeze(-1)


class BallisticSignum(Equation):
    """Ballistic, any law:

        b_θ = −sign(m)   b_m = c (∇f − m)   τ b₁_m = −τ ½ c (∇²f b_θ − b_m)   noise on m: √τ c S dW¹
        b_θ + τ b₁_θ = −sign(m + τ ½ b_m)

    The shift under the sign is the correction `−δ(m) b_m` of a step that moves by the sign of the
    *new* momentum, in the only form in which it can be integrated. It is of order 2 while `m` crosses 0, and of order 1
    where `m` rests there. Order 1 has `b` and the same noise. Source: docs/theory/rules.md, section 11.
    """

    small_noise = True
    shifted = True
    optimizer: Signum
    latex: ClassVar = {
        "leading drift, theta": r"-\operatorname{sign}(m)",
        "drift correction, theta": r"-\operatorname{sign}(m + \tau\,\tfrac12\,b_m) + \operatorname{sign}(m)",
        "leading drift, m": r"c\,(g - m)",
        "drift correction, m": r"-\tau\,\tfrac12\,c\,(H\,b_\theta - b_m)",
        "noise of the first motion, m": r"\sqrt\tau\,c\,S\,dW^1",
    }

    def drift(self, t: float, x: X) -> X:
        theta, m = self.split(x)
        c = self.optimizer.c
        b_m = c * (self.problem.gradient(theta) - m)
        if self.order == 1:
            return join(-m.sign(), b_m)
        b_theta = -(m + 0.5 * self.tau * b_m).sign()
        return join(b_theta, b_m - 0.5 * self.tau * c * (self.problem.hessian(theta, b_theta) - b_m))

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, m = self.split(x)
        return self.tau**0.5 * join(torch.zeros_like(m), self.optimizer.c * self.law.diffuse(theta, dW[:, : self.first]))
