"""The Poissonised minibatch: the examples one by one at random times, of order 1 for every law."""

from typing import ClassVar

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import X
from sme.equations.derived.batch_equivalent import DerivedBatchEquivalent
from sme.equations.derived.expectation import Separate
from sme.equations.derived.states import every_field, repeat
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import minibatches

MOST = 256
"""draws of one example in a step, in the mean, above which they are all but a Brownian motion"""


class Poissonised(DerivedBatchEquivalent):
    """Batch-equivalent, order 1, a minibatch. With `n` the examples' scaled noise `X_i`, drawn at the rate `Λ/τ`:

        dx = (rate(∇f, 0) + h E δ₃) dt + Σ over draws (kick(h ρ X_i) + push(0, τ ρ² X_i∘X_i))

    `ρ = s₃/s₂`, `Λ = s₂/ρ²` of the sampling's shares, `1/B` and `B` with replacement: covariance and third moments of a step's
    noise are those of the batch. `Σ_i X_i = 0`, so that the draws have no mean; `v` is an average of squares, never negative.
    `dW` counts the draws of every example. Source: docs/theory/drivers.md, section 19.

    Raises
    ------
    SMEError
        for another law, a batch mean without third moments, or so many draws in a step that each is nothing.
    """

    numerics: ClassVar[tuple[str, ...]] = ("derived", "poisson")

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        law = minibatches("driver='poisson'", problem.noise)
        if not law.uniform:
            raise SMEError("driver='poisson' draws every example as often as every other, and this law does not: use "
                           "driver='independent' or sme.MinibatchNoise")
        self.minibatch = law
        count, self.share = self.draws()
        if not 0 < count <= MOST * law.motions:
            raise SMEError(f"driver='poisson' needs a batch mean with third moments, and batch_size = {law.batch_size} of "
                           f"{law.motions} {law.sampling.name.replace('_', ' ')} leaves {'hardly any' if count else 'none'}: "
                           "use driver='independent', which is of order 1 without them")
        super().__init__(problem, optimizer, tau, 1, "independent")
        self.brownian, self.second, self.each = brownian, 0, count / self.first
        self.jumps = torch.full((self.first,), self.each, dtype=torch.float64)
        self.cubic = not self._vanishes(lambda t, x, y, w: self._cube(t, x, self.law.diffuse(x[:, : problem.dim], w)))

    def draws(self) -> tuple[float, float]:
        """`Λ` and `ρ`."""
        return self.minibatch.draws()

    def drift(self, t: float, x: X) -> X:
        theta = x[:, : self.problem.dim]
        g = self.problem.gradient(theta)
        rate = self.expansion.rate(t, x, g, torch.zeros_like(g))
        return rate + self.tau**0.5 * self._third(t, x) if self.cubic else rate

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        noise, squares = self.minibatch.drawn(x[:, : self.problem.dim], dW, self.share)
        return (self.expansion.kick(t, x, self.tau**0.5 * noise)
                + self.expansion.push(t, x, torch.zeros_like(squares), self.tau * squares))

    def _cube(self, t: float, x: X, n: Tensor) -> X:
        """The part of `δ₃(n) = c₁ n + c₃ n³` that is cubic."""
        return (self.increment(3, t, x, 2 * n) - 2 * self.increment(3, t, x, n)) / 6

    def _third(self, t: float, x: X) -> X:
        """`E δ₃`, its cubic part's mean."""
        theta = x[:, : self.problem.dim]
        if isinstance(self.expect, Separate):
            return self._cube(t, x, torch.ones_like(theta)) * every_field(self.law.third(theta), x)
        n = self.first  # one by one: the rule mixes coordinates
        wide, units = repeat(x, n), torch.eye(n, dtype=x.dtype, device=x.device).repeat_interleave(len(x), 0)
        noise, _ = self.minibatch.drawn(wide[:, : self.problem.dim], units, self.share)
        return self.each * self._cube(t, wide, noise).reshape(n, *x.shape).sum(0)
