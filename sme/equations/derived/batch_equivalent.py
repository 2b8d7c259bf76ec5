"""The derived equation in the batch-equivalent regime."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import Equation, X
from sme.equations.derived.along_curve import diffuse, gradient, variance
from sme.equations.derived.expectation import Coupled, Separate
from sme.equations.derived.probes import moments
from sme.equations.derived.states import repeat, theta_of
from sme.equations.derived.step import Step
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem

VANISHED = 1e-11


class DerivedBatchEquivalent(Equation):
    """Batch-equivalent, any update rule, Gaussian noise. With `x' = x + h δ₁ + h² δ₂ + h³ δ₃ + h⁴ δ₄`:

        b = E δ₂      G₀ = E[δ₁ zᵀ]      Q[y, w] = E[δ₂ yᵀ(zzᵀ − I)w]      R[y, w] = Q[y, w] − ∂_{G₀y}(G₀ w)
        b₁ = E δ₄ − ½ L₀ b,    L₀ = ∂_t + b·∇ + ½ G₀G₀ᵀ:∇²
        G₁ = E[δ₃ zᵀ] − ½ ∇b G₀ − ½ (∂_t + b·∇) G₀ − ¼ ∂²G₀:G₀G₀ᵀ [− ½ Σ_j ∂_{G₀e_j} R[e_j, ·]]
        independent: (G₀ + τ G₁) dW¹ + √τ noise on q, √2 (Σ∘Σ)^{1/2} dW²
        step memory: (G₀ + τ G₁) dW + R[y, dW], y the motion since the step began; G₁ with its last term
        fast memory: the same with ỹ, dỹ = −(4/τ) ỹ dt + 2 S dW, for S y, which is held where R is differentiated in G₁

    Order 1 has `b` and `G₀ dW¹`. Source: docs/theory/derivation.md, section 9, (9.7).

    Raises
    ------
    SMEError
        at order 2 with independent motions, if the leading noise depends on what it moves.
    """

    small_noise = False
    repeats = True
    numerics: ClassVar[tuple[str, ...]] = ("derived",)

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        self.expansion = Step.of(optimizer, problem.dim)
        if not self.expansion.linear:
            through = f" (through {self.expansion.through})" if self.expansion.through else ""
            raise SMEError(f"{optimizer.name} multiplies gradient.step by itself{through}, which is as large as τ ĝ∘ĝ in the "
                           "batch-equivalent regime: let the product be τ gradient.square there, or use regime='ballistic'")
        super().__init__(problem, optimizer, tau, order, brownian)
        kind = Separate if self.expansion.separate else Coupled
        self.expect = kind(problem.noise, problem.dim)
        self.additive = order == 1 or self._vanishes(self._turn)
        if order == 2 and brownian == "independent" and not self.additive:
            raise SMEError(f"no order-2 equation of {optimizer.name} has independent motions here, because its leading noise "
                           "depends on the parameters that it moves: use brownian='step_memory', which is of order 2, or order=1")
        self.fixed = not (self.remembers or self.fades) or self._vanishes(self._memory_slope)
        self.straight = order == 1 or self._vanishes(lambda t, x, y, w: self._spread(self.leading, t, x))
        if order == 2:
            self._check_degrees()

    def squares_noise(self) -> bool:
        return self.order == 2 and self.expansion.squares

    def third_moments(self) -> bool:
        return self.expansion.squares or not self.additive

    def _vanishes(self, form: Callable[[float, X, Tensor, Tensor], X]) -> bool:
        """Whether a form of the state and two increments is 0, at some random ones, large and small."""
        x, _ = self.expansion.places(every=True)
        generator = torch.Generator().manual_seed(2)
        y, w = torch.randn((2, len(x), self.law.motions), generator=generator, dtype=torch.float64)
        found = [form(t, x, y, w).abs() for t in moments(self.optimizer)]
        least = VANISHED * (1 + x.abs().amax(-1, keepdim=True))
        return all(bool(((each < least) | ~torch.isfinite(each)).all()) for each in found)

    def _check_degrees(self) -> None:
        """Raise `SMEError` unless `δ₃` is odd and cubic and `δ₄` even and quartic in the noise, as their moments are taken."""
        x, (n, *_) = self.expansion.places()
        for t in moments(self.optimizer):
            third, fourth = ([self.increment(j, t, x, k * n) for k in range(4)] for j in (3, 4))
            odd = third[3] - 4 * third[2] + 5 * third[1]
            even = fourth[3] - 6 * fourth[2] + 15 * fourth[1] - 10 * fourth[0]
            size = 1 + third[3].abs() + fourth[3].abs()
            if all(bool((left.abs() < 1e-9 * size).all()) for left in (odd, even)):
                continue
            raise SMEError(f"the increments of {self.optimizer.name} at second order in τ are of too high a degree in "
                           "gradient.step and gradient.square, so order 2 cannot be derived from their moments: use order=1")

    def leading(self, t: Any, x: X) -> X:
        """`b`."""
        theta = theta_of(x, self.problem.dim)
        return self.expansion.rate(t, x, gradient(self.problem, theta), variance(self.law, theta))

    def leading_noise(self, t: Any, x: X, dW: Tensor) -> X:
        """`G₀ dW`."""
        return self.expansion.kick(t, x, diffuse(self.law, theta_of(x, self.problem.dim), dW))

    def increment(self, j: int, t: float, x: X, n: Tensor) -> X:
        """`δⱼ(x, n)` for the noise `n = S z`."""
        g = self.problem.gradient(x[:, : self.problem.dim])

        def curve(h: Any) -> Any:
            scaled = n + h * g
            return self.expansion(t, x, h * scaled, scaled * scaled, h * h)

        return self.expansion.slope(curve, x, j)

    def drift(self, t: float, x: X) -> X:
        b = self.leading(t, x)
        if self.order == 1:
            return b
        fourth = self.expect.even(lambda wide, n: self.increment(4, t, wide, n), x)
        change = self.expansion.slope(lambda e: self.leading(t + e, x + e * b), x)
        if not self.straight:
            change = change + 0.5 * self._spread(self.leading, t, x)
        return b + self.tau * (fourth - 0.5 * change)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        first = dW[:, : self.first]
        leading = self.leading_noise(t, x, first)
        if self.order == 1:
            return leading
        total = leading + self.tau * self._noise_correction(t, x, first, leading)
        if self.second:
            second = self.law.second(x[:, : self.problem.dim], dW[:, self.first :])
            total = total + self.tau**0.5 * self.expansion.push(t, x, torch.zeros_like(second), second)
        return total

    def _noise_correction(self, t: float, x: X, dW: Tensor, leading: X) -> X:
        """`G₁ dW`."""
        b = self.leading(t, x)
        total = self.expect.odd(lambda wide, n: self.increment(3, t, wide, n), x, dW)
        total = total - 0.5 * self.expansion.slope(lambda e: self.leading(t, x + e * leading), x)
        total = total - 0.5 * self.expansion.slope(lambda e: self.leading_noise(t + e, x + e * b, dW), x)
        if not self.additive:
            wide = dW.repeat(self.law.motions, 1)
            total = total - 0.25 * self._spread(lambda s, z: self.leading_noise(s, z, wide), t, x)
        return total if self.fixed else total - 0.5 * self._memory_slope(t, x, dW, dW)

    def _spread(self, function: Callable[[Any, Any], Any], t: float, x: X) -> X:
        """`Σ_j ∂²function[G₀e_j, G₀e_j]`."""
        wide, columns = self._columns(x)
        u = self.leading_noise(t, wide, columns)
        return 2 * self.expansion.slope(lambda e: function(t, wide + e * u), wide, 2).reshape(-1, *x.shape).sum(0)

    def _memory_slope(self, t: float, x: X, _: Tensor, dW: Tensor) -> X:
        """`Σ_j ∂_{u_j} R[e_j, dW]`, `u_j = G₀e_j`; of fast memory with `ỹ = S e_j` held, which is a number of its own there.

        Of the turn it is `∂²(G₀dW)[u_j, u_j] + ∂_{M_jj}(G₀dW)`, `M_jj = ∂_{u_j}(G₀e_j)`, or `(∂_{u_j} kick)(ỹ)` with `ỹ` held.
        """
        wide, columns = self._columns(x)
        wide_dW = dW.repeat(self.law.motions, 1)
        u = self.leading_noise(t, wide, columns)
        past = diffuse(self.law, wide[:, : self.problem.dim], columns) if self.fades else None
        total = self.expansion.slope(lambda e: self.quadratic(t, wide + e * u, columns, wide_dW, past), wide)
        if not self.additive:
            turned = (self._turn(t, wide, columns, columns) if past is None
                      else self.expansion.slope(lambda e: self.expansion.kick(t, wide + e * u, past), wide))
            total = total - self.expansion.slope(lambda e: self.leading_noise(t, wide + e * turned, wide_dW), wide)
            total = total - 2 * self.expansion.slope(lambda e: self.leading_noise(t, wide + e * u, wide_dW), wide, 2)
        return total.reshape(-1, *x.shape).sum(0)

    def _columns(self, x: X) -> tuple[X, Tensor]:
        m = self.law.motions
        return repeat(x, m), torch.eye(m, dtype=x.dtype, device=x.device).repeat_interleave(len(x), 0)

    def _turn(self, t: float, x: X, y: Tensor, dW: Tensor) -> X:
        """`∂_{G₀y}(G₀ dW)`."""
        return self._along(t, x, self.leading_noise(t, x, y), dW)

    def _along(self, t: float, x: X, u: X, dW: Tensor) -> X:
        """`∂_u(G₀ dW)`."""
        return self.expansion.slope(lambda e: self.leading_noise(t, x + e * u, dW), x)

    def quadratic(self, t: float, x: X, y: Tensor, dW: Tensor, past: Tensor | None = None) -> X:
        """`Q[y, dW]`, or with `past` for `S y`."""
        theta = theta_of(x, self.problem.dim)
        square = 2 * (diffuse(self.law, theta, y) if past is None else past) * diffuse(self.law, theta, dW)
        return self.expansion.push(t, x, 0 * square, square)

    def recall(self, t: float, x: X, past: Tensor, dW: Tensor) -> X:
        total = self.quadratic(t, x, dW, dW, past)
        return total if self.additive else total - self._along(t, x, self.expansion.kick(t, x, past), dW)

    def memory_trace(self, t: float, x: X) -> X:
        wide, columns = self._columns(x)
        return self.memory(t, wide, columns, columns).reshape(-1, *x.shape).sum(0)
