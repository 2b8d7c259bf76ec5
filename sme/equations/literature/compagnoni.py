"""The equations that are named after Monzio Compagnoni et al. (arXiv 2411.15958), which keep the gradient beside the noise.

The text of their theorems was not seen: the form in scaled variables, and where it has which order, is derived and tested here.
In physical variables, with the learning rate `η`, time in units of it and `1 − β = η ρ`, RMSPropW's is
`dθ = −P (∇f dt + √η S dW) − λθ dt`, `dv = ρ ((∇f)² + diag Σ − v) dt`; AdamW's moves `θ` by `m + η ρ₁ (∇f − m)`, has the noise
`√η ρ₁ S dW` on `m`; and signSGD's is `dθ = −E sign(ĝ) dt − √η √(1 − (E sign(ĝ))²) dW`.
"""

from typing import ClassVar

import torch
from torch import Tensor

from sme.equations.base import Equation, X, join
from sme.equations.closed.adam import BallisticAdam, BatchEquivalentAdam
from sme.equations.closed.rmsprop import BallisticRMSProp, BatchEquivalentRMSProp
from sme.equations.literature.model import Claim, Model, skewed, table
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.rmspropw import RMSPropW
from sme.optimizers.signsgd import SignSGD
from sme.problems.base import Problem


class _Faithful(Equation):
    """What both rules share: no noise on `v`, and decoupled decay `−λ θ`, 0 where the rule has none."""

    def squares_noise(self) -> bool:
        return False

    def decay(self, theta: Tensor) -> Tensor:
        """`−λ θ`."""
        return -getattr(self.optimizer, "decay", 0.0) * theta


class _RMSProp(_Faithful):
    latex: ClassVar = {"leading drift, theta": r"-P\circ g - \lambda\,\theta"}

    def drift(self, t: float, x: X) -> X:
        theta, v = self.split(x)
        return super().drift(t, x) + join(self.decay(theta), torch.zeros_like(v))  # type: ignore[safe-super]


class BallisticCompagnoniRMSProp(_RMSProp, BallisticRMSProp):
    """Ballistic RMSProp and RMSPropW, of order 1. With `g = ∇f`, `σ = diag Σ`:

        b_θ = −P∘g − λθ      b_v = c (g∘g + σ − v)      noise on θ: −√τ P∘S dW¹

    Order 1 of `sme` beside it has noise on `v` too.
    """

    latex: ClassVar = _RMSProp.latex | {
        "leading drift, v": r"c\,(g\circ g + \sigma - v)",
        "noise of the first motion, theta": r"-\sqrt\tau\,P\circ S\,dW^1",
    }

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, v = self.split(x)
        noise = self.law.diffuse(theta, dW)
        return -self.tau**0.5 * join(self._preconditioner(v).value * noise, torch.zeros_like(v))


class BatchEquivalentCompagnoniRMSProp(_RMSProp, BatchEquivalentRMSProp):
    """Batch-equivalent RMSProp and RMSPropW, of order 1 for Gaussian noise:

        b_θ = −P∘g − λθ      b_v = c (τ g∘g + σ − v)      noise on θ: −P∘S dW¹

    The physical `v` sees `g∘g + σ/τ`; scaled, `g∘g` has the factor `τ`.
    """

    latex: ClassVar = _RMSProp.latex | {
        "leading drift, v": r"c\,(\tau\,g\circ g + \sigma - v)",
        "noise of the first motion, theta": r"-P\circ S\,dW^1",
    }

    def drift(self, t: float, x: X) -> X:
        theta, v = self.split(x)
        square = self.problem.gradient(theta).square()
        return super().drift(t, x) + self.tau * self.optimizer.c * join(torch.zeros_like(v), square)


class _Adam(_Faithful):
    optimizer: Adam
    latex: ClassVar = {
        "leading drift, theta": r"-\Gamma\,P\circ(m + \tau\,c_1\,(g - m)) - \lambda\,\theta",
        "leading drift, m": r"c_1\,(g - m)",
    }

    def drift(self, t: float, x: X) -> X:
        theta, m, v = self.split(x)
        factor, p = self._at(t, v)  # type: ignore[attr-defined]
        ahead = self.tau * self.optimizer.c1 * (self.problem.gradient(theta) - m)
        on_theta = self.decay(theta) - factor.gain * p.value * ahead
        return super().drift(t, x) + join(on_theta, torch.zeros_like(m), torch.zeros_like(v))  # type: ignore[safe-super]


class BallisticCompagnoniAdam(_Adam, BallisticAdam):
    """Ballistic Adam and AdamW, of order 1. With `g = ∇f`, `σ = diag Σ`, `Γ`, `P` with `ε√γ₂` as in `BallisticAdam`:

        b_θ = −Γ P∘(m + τ c₁ (g − m)) − λθ   b_m = c₁ (g − m)   b_v = c₂ (g∘g + σ − v)
        noise on m: √τ c₁ S dW¹

    The term in `τ` is the step's new momentum. Order 1 of `sme` beside it has noise on `v` too.
    """

    latex: ClassVar = _Adam.latex | {
        "leading drift, v": r"c_2\,(g\circ g + \sigma - v)",
        "noise of the first motion, m": r"\sqrt\tau\,c_1\,S\,dW^1",
    }

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta, _, v = self.split(x)
        zero = torch.zeros_like(v)
        return self.tau**0.5 * join(zero, self.optimizer.c1 * self.law.diffuse(theta, dW), zero)


class BatchEquivalentCompagnoniAdam(_Adam, BatchEquivalentAdam):
    """Batch-equivalent Adam and AdamW, of order 1 for Gaussian noise:

        b_θ = −Γ P∘(m + τ c₁ (g − m)) − λθ   b_m = c₁ (g − m)   b_v = c₂ (τ g∘g + σ − v)
        noise on m: c₁ S dW¹
    """

    latex: ClassVar = _Adam.latex | {
        "leading drift, v": r"c_2\,(\tau\,g\circ g + \sigma - v)",
        "noise of the first motion, m": r"c_1\,S\,dW^1",
    }

    def drift(self, t: float, x: X) -> X:
        theta, m, v = self.split(x)
        square = self.problem.gradient(theta).square()
        return super().drift(t, x) + self.tau * self.optimizer.c2 * join(torch.zeros_like(v), torch.zeros_like(m), square)


class BallisticCompagnoniSignSGD(Equation):
    """Ballistic signSGD, of order 1. With `ρ̄ = E sign(∇f + S z)`, which is `erf(∇f/√(2σ))` for Gaussian noise:

        b = −ρ̄      noise: −√τ √(1 − ρ̄²)∘B,   B = S dW¹/√σ for Gaussian noise, else one motion for each coordinate

    The covariance of the signs of different coordinates is left out; `sme` has it.

    Raises
    ------
    SMEError
        for a law that does not know `E sign`.
    """

    small_noise = True
    latex: ClassVar = {
        "leading drift, theta": r"-\bar\rho",
        "noise of the first motion, theta": r"-\sqrt\tau\,\sqrt{1 - \bar\rho^2}\circ S\,dW^1/\sqrt\sigma",
    }

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        origin = torch.zeros(1, problem.dim, dtype=torch.float64)
        self.law.sign_mean(origin, origin)  # or says why not
        self.second = 0 if self.law.paired else problem.dim

    @property
    def share(self) -> float:
        """Of the gradient beside the noise, and of a step's mean beside its noise: 1, batch-equivalent `√τ`."""
        return 1.0 if self.small_noise else self.tau**0.5

    def mean(self, theta: Tensor) -> Tensor:
        """`ρ̄`."""
        return self.law.sign_mean(theta, self.share * self.problem.gradient(theta))

    def drift(self, t: float, x: X) -> X:
        return -self.mean(x) / self.share

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        first, own = dW[:, : self.first], dW[:, self.first :]
        unit = own if self.second else self.law.diffuse(x, first) / self.law.variance(x).sqrt()
        return -self.tau**0.5 / self.share * (1 - self.mean(x).square()).sqrt() * unit


class BatchEquivalentCompagnoniSignSGD(BallisticCompagnoniSignSGD):
    """Batch-equivalent signSGD, of order 1 for noise that is independent between coordinates. With `ρ̄ = E sign(√τ ∇f + S z)`:

        b = −ρ̄/√τ      noise: −√(1 − ρ̄²)∘B
    """

    small_noise = False
    latex: ClassVar = {
        "leading drift, theta": r"-\bar\rho/\sqrt\tau",
        "noise of the first motion, theta": r"-\sqrt{1 - \bar\rho^2}\circ S\,dW^1/\sqrt\sigma",
    }


def _claim(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    if optimizer.signed and regime == BATCH_EQUIVALENT and _correlated(problem):
        return Claim(0, "the signs are taken to be as correlated as their noise, which is not small in this regime")
    return skewed(problem, regime)


def _correlated(problem: Problem) -> bool:
    points = torch.sin(torch.arange(1.0, 3 * problem.dim + 1, dtype=torch.float64)).reshape(3, problem.dim)
    return problem.noise.correlated(points)


MODEL = Model("compagnoni", table({
    (SignSGD, BALLISTIC): BallisticCompagnoniSignSGD,
    (SignSGD, BATCH_EQUIVALENT): BatchEquivalentCompagnoniSignSGD,
    **{(rule, BALLISTIC): BallisticCompagnoniRMSProp for rule in (RMSProp, RMSPropW)},
    **{(rule, BATCH_EQUIVALENT): BatchEquivalentCompagnoniRMSProp for rule in (RMSProp, RMSPropW)},
    **{(rule, BALLISTIC): BallisticCompagnoniAdam for rule in (Adam, AdamW)},
    **{(rule, BATCH_EQUIVALENT): BatchEquivalentCompagnoniAdam for rule in (Adam, AdamW)},
}), "RMSProp, RMSPropW, Adam and AdamW, with ε outside the root, and SignSGD", _claim)
