"""The equation of a rule that takes the raw gradient apart, from mean and covariance of one step."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.chain import Chain
from sme.equations.derived.shifted.nodes import OneStep
from sme.equations.drivers.names import MEMORIES
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC
from sme.problems.base import Problem
from sme.problems.noise.wrapped.moments import joint

NEAR = 1e-5
"""step of the differences of the mean, relative to the state"""


class Shifted(Equation):
    """Ballistic, any update rule. With mean `m_τ` and covariance `C` of `(x' − x)/τ`, at the `τ` in question:

        order 1: dx = m_τ(t, x) dt + √τ C^{1/2} dW
        order 2: dx = m_τ(t − ½τ, x − ½τ m_τ(t, x)) dt + √τ C^{1/2} dW

    The shift is `−½τ (∂_t + m·∇) m` to `O(τ²)`: no derivative of the rule enters, which may jump in the gradient; only the means
    over the noise must be smooth. `C^{1/2} = (E[φ zᵀ], L)`, `L` Cholesky's factor of what is left, so that the first motion is
    the run's own noise. Source: docs/theory/rules.md, section 11.
    """

    small_noise = True
    numerics = ("shifted",)
    latex: ClassVar = {
        "leading drift, theta": r"m_\tau(t, x),\quad m_\tau = \operatorname E[x' - x]/\tau",
        "drift correction, theta": r"m_\tau\left(t - \tfrac\tau2,\ x - \tfrac\tau2\,m_\tau(t, x)\right) - m_\tau(t, x)",
        "noise of the first motion, theta": r"\sqrt\tau\,\operatorname E[\varphi\,z^\top]\,dW^1,\quad \varphi = (x' - x)/\tau",
        "noise of the second motion, theta": r"\sqrt\tau\,(\operatorname{Cov}\varphi - \operatorname E[\varphi\,z^\top]"
                                             r"\operatorname E[\varphi\,z^\top]^\top)^{1/2}\,dW^2",
    }

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        self.step = OneStep(Chain(problem, optimizer, BALLISTIC, tau))
        super().__init__(problem, optimizer, tau, order, "independent" if brownian in MEMORIES else brownian)
        self.second = problem.dim * len(optimizer.fields) if self.first else 0
        self._last: tuple[float, Tensor, tuple[Tensor, Tensor, Tensor]] | None = None

    @property
    def bilinear(self) -> bool:
        """Its noise is linear in both motions, whatever the law's own second noise is."""
        return False

    def _moments(self, t: float, x: X) -> tuple[Tensor, Tensor, Tensor]:
        """Those of the last state are asked for twice, by drift and noise."""
        if self._last is None or self._last[0] != t or not torch.equal(self._last[1], x):
            self._last = (t, x.clone(), self._once(t, x))
        return self._last[2]

    def _once(self, t: float, x: X) -> tuple[Tensor, Tensor, Tensor]:
        places, which = torch.unique(x, dim=0, return_inverse=True)
        if len(places) > len(x) / 2:
            return self.step.moments(t, x)
        mean, covariance, along = (part[which] for part in self.step.moments(t, places))
        return mean, covariance, along

    def drift(self, t: float, x: X) -> X:
        mean = self._moments(t, x)[0]
        if self.order == 1:
            return mean
        return self.step.moments(t - 0.5 * self.tau, x - 0.5 * self.tau * mean)[0]

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        if not self.motions:
            return torch.zeros_like(x)
        _, covariance, along = self._moments(t, x)
        factor, own = joint(covariance, along), dW[:, self.first:]
        if along.shape[-1]:
            own = torch.cat((dW[:, : self.first], own), 1)
        return self.tau**0.5 * (factor @ own.unsqueeze(-1)).squeeze(-1)

    def remark(self, t: float, x: Float[Tensor, "1 state"]) -> str:
        """`τ‖∇m_τ‖`, which must be far below 1 for the order to show: the largest singular value, by differences."""
        units = NEAR * (1 + x.abs().max()) * torch.eye(x.shape[1], dtype=x.dtype)
        up, down = self.step.moments(t, torch.cat((x + units, x - units)))[0].chunk(2)
        slope = (up - down) / (2 * units.diagonal().unsqueeze(1))
        return f", τ‖∇b‖ = {self.tau * float(torch.linalg.matrix_norm(slope, 2)):.3g} (to be far below 1)"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}
