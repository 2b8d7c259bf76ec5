"""A template: copy this file to the folder where you work, and edit it.

    python scripts/weak_error.py optimizer=own optimizer._target_=mine.MyOptimizer +optimizer.c=0.5
    python scripts/check_order.py model=mine.paper regime=batch_equivalent
"""

from dataclasses import dataclass

import torch

import sme


@dataclass(frozen=True)
class MyOptimizer(sme.Optimizer):
    """RMSProp with a cube root: v ← v + c τ (g∘g − v), θ ← θ − τ g / (v + eps)^(1/3)."""

    c: float = 0.5
    eps: float = 0.1

    fields = ("theta", "v")      # the state, each a tensor (d,); the first is always theta
    defaults = {"v": 1.0}        # noqa: RUF012  where a field starts if the command does not say
    nonnegative = ("v",)         # fields that are never negative

    def update(self, state, gradient, tau, t):
        """One step: `gradient.step` is τ times the gradient, `gradient.square` what a second moment averages."""
        theta, v = state["theta"], state["v"]
        return {"theta": theta - gradient.step / (v + self.eps) ** (1 / 3), "v": v + tau * self.c * (gradient.square - v)}


def my_problem(noise: float = 0.2) -> sme.Problem:
    """A bent valley in two dimensions, with noise of constant size."""
    return sme.Problem(
        loss=lambda theta: 0.5 * theta[0] ** 2 + 0.25 * (theta[1] - 0.3 * theta[0] ** 2) ** 2,   # theta (d,) -> scalar
        dim=2,
        noise=sme.GaussianNoise(noise * torch.eye(2, dtype=torch.float64)),                     # S, or a function of theta
        name="valley",
    )


def spread(state):
    """An observable: named fields (paths, d) -> (paths,)."""
    return (state["theta"][:, 0] - state["theta"][:, 1]).square()


def drift(state, tau, t, problem, optimizer, eta, sigma):
    """A paper's equation of RMSProp, in its own variables: named fields (paths, d) -> named fields."""
    theta, v, rho, eps = state["theta"], state["v"], optimizer.c * tau, optimizer.eps / eta
    return {"theta": -eta * problem.gradient(theta) / (v.sqrt() + eps),
            "v": rho * (sigma**2 * problem.noise.variance(theta) - v)}


def diffusion(state, dW, tau, t, problem, optimizer, eta, sigma):
    """Its noise: the product with the increments dW (paths, motions)."""
    noise = sigma * problem.noise.diffuse(state["theta"], dW)
    return {"theta": -eta * noise / (state["v"].sqrt() + optimizer.eps / eta)}


paper = sme.equation(
    drift, diffusion, order=2, name="paper",
    units={"v": -1, "time": -1},   # the paper's v is that here over τ, and its time counts steps
    symbols={"eta": lambda tau: tau**0.5, "sigma": lambda tau: tau**-0.5},
)


def net():
    """A module of one's own, for diagnose."""
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))


def data():
    """Its inputs and classes."""
    inputs = torch.randn(96, 4, generator=torch.Generator().manual_seed(1))
    return inputs, (inputs[:, :3] ** 2).argmax(1)
