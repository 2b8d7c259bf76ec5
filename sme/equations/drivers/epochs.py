"""Reshuffled epochs in the ballistic regime: of order 2 at every step, whatever the law."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import vjp

from sme.common.errors import SMEError
from sme.equations.base import X
from sme.equations.derived.along_curve import gradient, smooth
from sme.equations.derived.ballistic import DerivedBallistic
from sme.equations.derived.probes import moments
from sme.equations.derived.states import repeat, theta_of
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.problems.base import Problem
from sme.problems.noise.minibatch.law import MinibatchNoise, minibatches

FEW = 8
"""examples by which a rule is looked at"""
ALIVE = 1e-9
"""share of what a term is a difference of, below which it is 0"""
AT_ONCE = 2**27
"""numbers of the gradients of all examples that are had at a time, for all paths"""


def whole(law: object) -> bool:
    """Whether a law has epochs that use every example."""
    return isinstance(law, MinibatchNoise) and not law.independent_steps and law.motions % law.batch_size == 0


def instead(problem: Problem, regime: Regime) -> str:
    """What knows the epochs of this law, in words; empty where nothing does."""
    if not whole(problem.noise) or regime == BALLISTIC:
        return ""
    return ": driver='none' is of order 1 for short ones, driver='arrivals' for some that are as long as the run"


class _Epochs(DerivedBallistic):
    """What both have: `ρ = (n − 2)/(n − B − 1)`, the variance of `ĝ∘ĝ` over an epoch in that of independent batches."""

    numerics: ClassVar[tuple[str, ...]] = ("derived", "epochs")

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        self.minibatch = minibatches("an epoch", problem.noise)
        super().__init__(problem, optimizer, tau, order, "independent")
        self.brownian = brownian
        n, batch = self.minibatch.motions, self.minibatch.batch_size
        self.share = math.sqrt((n - 2) / (n - batch - 1)) if self.second else 1.0

    def second_noise(self, theta: Tensor, dW: Tensor) -> Tensor | float:
        return self.share * super().second_noise(theta, dW)


class ShortEpochs(_Epochs):
    """Ballistic, order 2, `m` steps an epoch. With `δ̃₂ = push(n, 2 ∇f∘n + n∘n − σ)`, what `n = X̄` of one batch adds to `δ₂`:

        dx = (b + τ (b₁ − ½ E[∂δ̃₂ δ̃₂])) dt + √τ √ρ ∂rate/∂q (noise of ĝ∘ĝ that no sum over examples has) dW²

    An epoch takes every example once, so that the noise that is a sum over examples ends it at 0: what is left is the order in
    which they came, in the drift. No `W¹`; with one example a batch an ODE. Source: docs/theory/drivers.md, section 21.

    Raises
    ------
    SMEError
        for a rule whose `δ̃₂` moves what its own squares are multiplied by.
    """

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        self.first = self.first if self.second else 0  # the second motion's columns stand behind them
        n, batch = self.minibatch.motions, self.minibatch.batch_size
        self.shares = self.minibatch.sampling.shares
        self.plain = optimizer.fields == ("theta",) and self._follows_gradient()
        self.turned = batch < n and not self.plain and self._turns()

    def drift(self, t: float, x: X) -> X:
        drift = super().drift(t, x)
        if self.plain:  # −½ E[∂n n] = −¼ ∇ tr Cov n
            theta = x[:, : self.problem.dim]
            spread, back, *_ = vjp(self.law.variance, theta)
            return drift - 0.25 * self.tau * back(torch.ones_like(spread))[0]
        return drift - 0.5 * self.tau * self._turn(t, x) if self.turned else drift

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        theta = x[:, : self.problem.dim]
        square = torch.zeros_like(theta) + self.second_noise(theta, dW)
        return self.tau**0.5 * self.expansion.push(t, x, torch.zeros_like(square), square)

    def _turn(self, t: float, x: X) -> X:
        """`E[∂δ̃₂ δ̃₂]`: `s₂` times the mean over the examples of its quadratic part and `s₃` times that of its cubic part."""
        n, (second, third, *_) = self.minibatch.motions, self.shares
        total = torch.zeros_like(x)
        size = max(1, AT_ONCE // (2 * n * x.numel()))
        for begin in range(0, n, size):
            some = slice(begin, min(begin + size, n))
            count = some.stop - begin
            up, down = self._along(t, repeat(x, 2 * count), self._signs(x, some)).reshape(2, count, *x.shape)
            total = total + (second * (up + down) + third * (up - down)).sum(0)
        return 0.5 / n * total

    def _signs(self, x: X, examples: slice, size: float = 1.0) -> Tensor:
        """Each of these examples alone, once with each sign, for each path."""
        units = size * torch.eye(self.minibatch.motions, dtype=x.dtype, device=x.device)[examples]
        return torch.cat((units, -units)).repeat_interleave(len(x), 0)

    def _along(self, t: float, wide: X, weights: Tensor) -> X:
        """`∂δ̃₂ δ̃₂` for `n = Σ_i weights_i X_i`, without `σ`, which has no part in the mean."""
        def increment(at: X) -> X:
            theta = theta_of(at, self.problem.dim)
            n = smooth(lambda point: self.minibatch.deviation(point, weights), theta)
            return self.expansion.push(t, at, n, (2 * gradient(self.problem, theta) + n) * n)

        move = increment(wide)
        return self.expansion.slope(lambda e: increment(wide + e * move), wide)

    def _follows_gradient(self) -> bool:
        """Whether a step is `θ − s`, all that it is."""
        x, (a, _, q, _) = self.expansion.places(every=True)
        return all(bool((self.expansion.rate(t, x, a, q) + a).abs().max() <= ALIVE * (1 + a.abs().max()))
                   for t in moments(self.optimizer))

    def _turns(self) -> bool:
        """Whether `E[∂δ̃₂ δ̃₂]` is not 0, at some states; raises `SMEError` where it has a part of fourth degree.

        The rule says so, not the data: a few examples are enough.
        """
        x, _ = self.expansion.places()
        few = min(FEW, self.minibatch.motions)
        alive = False
        for t in moments(self.optimizer):
            wide = repeat(x, 2 * few)
            one, two = (self._along(t, wide, self._signs(x, slice(few), size)).nan_to_num(0, 0, 0).reshape(2, -1, x.shape[1])
                        for size in (1.0, 2.0))
            if bool(((two.sum(0) - 4 * one.sum(0)).abs() > ALIVE * (1 + two.abs().max())).any()):
                raise SMEError(f"order 2 with reshuffled epochs is not known for {self.optimizer.name}, whose squares are "
                               "multiplied by what they move: use order=1, or sampling='without_replacement'")
            alive = alive or bool((one.abs() > ALIVE).any())
        return alive


class Bridged(_Epochs):
    """Ballistic, order 2, for epochs as long as the run: `W¹` is a Brownian bridge on each of them.

        dx = (b + τ b₁) dt + √τ ∂rate/∂ξ (√(n/(n − B)) of the first noise of ξ, dβ; √ρ of its second, dW²)

    with `dβ = dW − (their mean over the epoch)`, of every example: covariances of two steps of an epoch are those of two of its
    batches. Source: docs/theory/drivers.md, section 21.
    """

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        n, batch = self.minibatch.motions, self.minibatch.batch_size
        self.epoch = n // batch
        self.stretch = math.sqrt(n / (n - batch)) if batch < n else 0.0

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        first = self.stretch * dW[:, : self.first]
        return super().diffuse(t, x, torch.cat((first.T, dW[:, self.first :].T)).T)
