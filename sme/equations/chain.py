"""The discrete optimizer on a noisy gradient."""

from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.common.errors import SMEError
from sme.optimizers.base import Optimizer, State, updated
from sme.optimizers.layout import Layout
from sme.optimizers.regimes import BALLISTIC, Gradient, Regime
from sme.problems.base import Problem
from sme.problems.noise.wrapped.driven import Driven
from sme.problems.noise.wrapped.transformed import TransformedNoise


class Chain:
    """`step(state, z, k)` applies the optimizer's own `update` to every path."""

    def __init__(self, problem: Problem, optimizer: Optimizer, regime: Regime, tau: float) -> None:
        optimizer.suits(regime)
        if isinstance(problem.noise, TransformedNoise) and regime != BALLISTIC:
            raise SMEError(problem.noise.elsewhere)
        self.problem, self.optimizer, self.regime, self.tau = Driven.of(problem), optimizer, regime, tau

    def mean(self, theta: Float[Tensor, "paths d"]) -> Float[Tensor, "paths d"]:
        """`∇f(θ)` that every step takes, with or without noise: a run on examples sees theirs alone."""
        return self.problem.noise.mean(theta, self.problem.gradient)

    @property
    def scale(self) -> float:
        """`h^mean_power`: `ĝ = scale · ∇f + S z`."""
        return self.tau ** (self.regime.mean_power / 2)

    @property
    def layout(self) -> Layout:
        """How its fields stand in a whole state."""
        return Layout(self.optimizer.fields, self.problem.dim)

    def time(self, k: int) -> float:
        """`t_k = t₀ + kτ`, never accumulated."""
        return self.optimizer.t0 + k * self.tau

    def step(self, state: State, z: Tensor, k: int) -> tuple[State, Float[Tensor, "paths d"]]:
        """The state after step `k` with draw `z`, and the noise `S z` that the step saw."""
        return self.step_at(state, z, self.time(k))

    def step_at(self, state: State, z: Tensor, t: float) -> tuple[State, Float[Tensor, "paths d"]]:
        """`step` at time `t`."""
        theta = state["theta"]
        noise = self.problem.noise.sample(theta, z)
        return self.moved(state, self.scale * self.mean(theta) + noise, t), noise

    def run(self, state: State, z: Tensor, k: int) -> State:
        """`step` alone, where nobody asks for the noise: a law may know a shorter way to the noisy gradient."""
        noisy = self.problem.noise.noisy(state["theta"], z, self.mean, self.scale)
        return self.moved(state, noisy, self.time(k))

    def expected(self, theta: Float[Tensor, " d"], mean: Float[Tensor, " d"]) -> Gradient:
        """`E[gradient]` of one path at `θ` with `∇f(θ) = mean`; with `E[gradient.sign]` for a rule of signs."""
        law, regime, tau, point = self.problem.noise, self.regime, self.tau, theta.unsqueeze(0)
        size = law.spread if self.optimizer.signed else law.variance  # the square of a heavy tail has no mean
        seen = regime.expected(mean, size(point)[0], tau)
        if not self.optimizer.signed:
            return seen
        sign = law.sign_mean(point, self.scale * mean.unsqueeze(0))[0]
        return seen._replace(sign=tau ** (regime.step_power / 2) * sign)

    def mean_step(self, state: State, t: float) -> State:
        """The step that one path takes from `E[gradient]`: one of the noiseless run."""
        theta = state["theta"]
        return updated(self.optimizer, state, self.expected(theta, self.mean(theta.unsqueeze(0))[0]), self.tau, t)

    def centred(self, theta: Float[Tensor, "paths d"], noise: Float[Tensor, "paths d"]) -> Float[Tensor, "paths d"]:
        """What of the noise the rule reads, with mean 0: `S z`, or for a rule of signs `sign(ĝ) − E sign(ĝ)`."""
        if not self.optimizer.signed:
            return noise
        g = self.scale * self.mean(theta)
        return (g + noise).sign() - self.problem.noise.sign_mean(theta, g)

    def moved(self, state: State, scaled: Float[Tensor, "paths d"], t: float) -> State:
        """The state after a step at time `t` on the scaled gradients `ĝ`."""

        def update(state: State, scaled: Tensor) -> State:
            return updated(self.optimizer, state, self.regime.seen(scaled, self.tau, self.optimizer.signed), self.tau, t)

        new: State = update(state, scaled) if self.optimizer.opaque else vmap(update)(state, scaled)
        return new
