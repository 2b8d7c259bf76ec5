"""The equation of a rule that takes the raw gradient apart, from mean and covariance of one step."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import Equation, X
from sme.equations.chain import Chain
from sme.equations.derived.probes import probes
from sme.equations.derived.shifted.nodes import OneStep
from sme.equations.drivers.names import MEMORIES
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.problems.base import Problem
from sme.problems.noise.wrapped.moments import joint

NEAR = 1e-5
"""step of the differences of the mean, relative to the state"""
SMALL, SMALLER = 2.0**-10, 2.0**-14
"""two step sizes at which a mean step with a limit is nearly the same"""
GROWS = 2.0
"""times by which one without a limit, which grows like `1/√τ`, is larger at the smaller, at least"""


class Shifted(Equation):
    """Ballistic, any update rule. With mean `m_τ` and covariance `C` of `(x' − x)/τ`, at the `τ` in question:

        order 1: dx = m_τ(t, x) dt + √τ C^{1/2} dW
        order 2: dx = m_τ(t − ½τ, x − ½τ m_τ(t, x)) dt + √τ C^{1/2} dW

    The shift is `−½τ (∂_t + m·∇) m` to `O(τ²)`: no derivative of the rule enters, which may jump in the gradient; only the means
    over the noise must be smooth. `C^{1/2} = (E[φ zᵀ], L)`, `L` Cholesky's factor of what is left, so that the first motion is
    the run's own noise. Source: docs/theory/rules.md, section 11.
    """

    small_noise = True
    regime: ClassVar[Regime] = BALLISTIC
    numerics = ("shifted",)
    latex: ClassVar = {
        "leading drift, theta": r"m_\tau(t, x),\quad m_\tau = \operatorname E[x' - x]/\tau",
        "drift correction, theta": r"m_\tau\left(t - \tfrac\tau2,\ x - \tfrac\tau2\,m_\tau(t, x)\right) - m_\tau(t, x)",
        "noise of the first motion, theta": r"\sqrt\tau\,\operatorname E[\varphi\,z^\top]\,dW^1,\quad \varphi = (x' - x)/\tau",
        "noise of the second motion, theta": r"\sqrt\tau\,(\operatorname{Cov}\varphi - \operatorname E[\varphi\,z^\top]"
                                             r"\operatorname E[\varphi\,z^\top]^\top)^{1/2}\,dW^2",
    }

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        self.step = OneStep(Chain(problem, optimizer, self.regime, tau))
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


class ScaleFree(Shifted):
    """Batch-equivalent, a rule whose mean step has a limit. With mean `m_τ` and covariance `C` of `(x' − x)/τ`:

        order 1: dx = m_τ(t, x) dt + √τ C^{1/2} dW,   √τ C^{1/2} of size 1

    For `x' = x − √τ φ(√τ ∇f + S z)`, `φ` odd and `z` Gaussian, `m_τ → −E[φ(Sz) zᵀ] S⁻¹ ∇f` and `τ C → E φ(Sz) φ(Sz)ᵀ`. No
    order 2: one step has fourth moments, `T₄ = (E φ⊗⁴ − 3 C⊗C)/24`, that no Itô equation has, and third ones, `T₃`.
    Source: docs/theory/rules.md, section 11.

    Raises
    ------
    SMEError
        at order 2; for a minibatch; where the mean step grows like `1/√τ`.
    """

    small_noise = False
    regime = BATCH_EQUIVALENT
    latex: ClassVar = {
        "leading drift, theta": r"m_\tau(t, x),\quad m_\tau = \operatorname E[x' - x]/\tau",
        "noise of the first motion, theta": r"\sqrt\tau\,\operatorname E[\varphi\,z^\top]\,dW^1,\quad \varphi = (x' - x)/\tau",
        "noise of the second motion, theta": r"\sqrt\tau\,(\operatorname{Cov}\varphi - \operatorname E[\varphi\,z^\top]"
                                             r"\operatorname E[\varphi\,z^\top]^\top)^{1/2}\,dW^2",
    }

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        name = optimizer.name
        if order == 2:
            raise SMEError(f"{name} is a function of the raw gradient, and in the batch-equivalent regime no Itô equation is of "
                           "order 2 for it: one step has third and fourth moments of order τ² (T₃, T₄) that none has. Use "
                           "order=1 or regime='ballistic'")
        if problem.noise.exact:
            raise SMEError(f"{name} is a function of the raw gradient, and in the batch-equivalent regime it needs noise with a "
                           "density: of a minibatch's finitely many gradients the mean step has no smooth limit as τ → 0. Use "
                           "sme.GaussianNoise or regime='ballistic'")
        super().__init__(problem, optimizer, tau, order, brownian)
        self._check_limit()

    def third_moments(self) -> bool:
        return True

    def _check_limit(self) -> None:
        """Raise `SMEError` where the mean step has none."""
        x, t = probes(self.optimizer, self.problem.dim)[0], self.optimizer.t0 + 0.37
        large, small = (OneStep(Chain(self.problem, self.optimizer, self.regime, tau)).moments(t, x)[0].abs().amax()
                        for tau in (SMALL, SMALLER))
        if bool(small > GROWS * large):
            raise SMEError(f"in the batch-equivalent regime the mean step of {self.optimizer.name} over τ grows without bound as "
                           "τ → 0, so there is no limit equation: on noise alone the step must have mean 0, as that of an odd "
                           "function has under symmetric noise. Use regime='ballistic'")
