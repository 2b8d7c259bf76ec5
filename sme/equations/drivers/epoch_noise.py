"""Reshuffled epochs in the batch-equivalent regime, of order 1: a flow where they are short, arrivals where they are long."""

from typing import ClassVar

import torch
from torch import Tensor

from sme.equations.base import X
from sme.equations.derived.along_curve import gradient, smooth
from sme.equations.derived.batch_equivalent import DerivedBatchEquivalent
from sme.equations.derived.states import repeat, theta_of
from sme.equations.drivers.poisson import Poissonised
from sme.optimizers.base import Optimizer
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import minibatches


class EpochFlow(DerivedBatchEquivalent):
    """Batch-equivalent, order 1, `m` steps an epoch and `τ → 0`. The mean over the batches of the field whose flow is their step:

        ẋ = E[δ₂ − ½ ∂δ₁δ₁] + h E[δ₃ − ½ (∂δ₂δ₁ + ∂δ₁δ₂) + ⅓ ∂δ₁∂δ₁δ₁ + ¹⁄₁₂ ∂²δ₁[δ₁, δ₁]]

    No noise at all: an epoch ends where its examples, taken all alike, lead. SGD has `−∇f − ¼ ∇ tr Σ`. Source:
    docs/theory/drivers.md, section 21.
    """

    numerics: ClassVar[tuple[str, ...]] = ("derived", "epochs")

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        self.minibatch = minibatches("an epoch", problem.noise)
        super().__init__(problem, optimizer, tau, 1, "none")

    def drift(self, t: float, x: X) -> X:
        n, theta = self.minibatch.motions, x[:, : self.problem.dim]
        wide, weights = repeat(x, n), torch.eye(n, dtype=x.dtype, device=x.device).repeat_interleave(len(x), 0)
        step = self.expansion

        def noise(at: X) -> Tensor:
            return smooth(lambda point: self.minibatch.deviation(point, weights), theta_of(at, self.problem.dim))

        def one(at: X) -> X:
            return step.kick(t, at, noise(at))

        def two(at: X) -> X:
            own = noise(at)
            return step.rate(t, at, gradient(self.problem, theta_of(at, self.problem.dim)), own * own)

        u, w = one(wide), two(wide)
        turn = step.slope(lambda e: one(wide + e * u), wide)
        cubic = (self.increment(3, t, wide, noise(wide))
                 - 0.5 * (step.slope(lambda e: two(wide + e * u), wide) + step.slope(lambda e: one(wide + e * w), wide))
                 + step.slope(lambda e: one(wide + e * turn), wide) / 3
                 + step.slope(lambda e: one(wide + e * u), wide, 2) / 6)
        still = self.problem.gradient(theta)
        mean = step.rate(t, x, still, torch.zeros_like(still))
        second, third = self.minibatch.sampling.shares[:2]
        square = (w - 0.5 * turn).reshape(n, *x.shape).mean(0) - mean
        return mean + second * square + self.tau**0.5 * third * cubic.reshape(n, *x.shape).mean(0)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        return torch.zeros_like(x)


class Arrivals(Poissonised):
    """Batch-equivalent, order 1, for epochs as long as the run: every example once an epoch, at a uniform time.

    `Poissonised` with `dW` counting these arrivals, of `kick(h X_i/B) + push(0, τ X_i∘X_i/B²)` each. Source:
    docs/theory/drivers.md, section 21.
    """

    numerics: ClassVar[tuple[str, ...]] = ("derived", "epochs")

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        self.epoch = self.minibatch.motions // self.minibatch.batch_size

    def draws(self) -> tuple[float, float]:
        return 1.0 * self.minibatch.batch_size, 1 / self.minibatch.batch_size
