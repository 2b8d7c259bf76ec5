"""Zero-mean control variates: each observable's response to the noise of every step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sme.curvatures import Curvatures, Curved, curvatures
from sme.equations.base import Equation, X
from sme.optimizers.base import State
from sme.simulate.chain import Chain

LONGEST = 4096
"""Runs of more steps get no control variates (the response is differentiated through all steps)."""


def _slopes(value: Tensor, s: Tensor, q: Tensor) -> tuple[Tensor, ...]:
    if not value.requires_grad:  # an indicator, a constant: no first-order response
        return torch.zeros_like(s), torch.zeros_like(q)
    return torch.autograd.grad(value, (s, q), retain_graph=True, materialize_grads=True)


@dataclass(frozen=True)
class Responses:
    """Weights of the noise of step `k` in each row, a row being an observable at a time.

    With `n_k = S z_k`, or for a rule of signs `sign(ĝ_k) − E sign(ĝ_k)`, `Σ_k n_k·linear_k` and
    `Σ_k (n_k∘n_k − diag Σ(θ_k))·quadratic_k` (0 for signs) have mean zero
    whatever the weights, which are taken along the noiseless run.
    """

    linear: Float[Tensor, "steps d rows"]
    quadratic: Float[Tensor, "steps d rows"]
    curvatures: Curvatures | None = None
    """how these weights change with the state"""


def responses(chain: Chain, start: State, marks: Sequence[int],
              observables: Mapping[str, Callable[[State], Tensor]]) -> Responses | None:
    """Differentiate every observable at every mark by the noise of every step before it.

    The noiseless run feeds `update` with `E[gradient.step] + s` and `E[gradient.square] + q` at
    `s = q = 0`; the weights are the derivatives by `s` and `q`, found by one reverse sweep a row.
    A rule of signs is fed with `E[gradient.sign] + s` and responds to `sign(ĝ) − E sign(ĝ)`.
    None if the run is longer than `LONGEST`. Source: docs/derivation.md, section 6.
    """
    steps, tau, regime = marks[-1], chain.tau, chain.regime
    if steps > LONGEST:
        return None
    device = start["theta"].device
    shape = (steps, *start["theta"].shape)
    s = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
    q = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
    values, means, state = [], [], start
    with torch.enable_grad():
        for k in range(steps):
            theta = state["theta"].unsqueeze(0)
            mean = chain.problem.gradient(theta)[0]
            means.append(mean.detach())
            expected = regime.expected(mean, chain.problem.noise.variance(theta)[0], tau)
            noisy = expected._replace(step=expected.step + s[k], square=expected.square + q[k])
            if chain.optimizer.signed:
                scaled = tau ** (regime.mean_power / 2) * mean.unsqueeze(0)
                sign = chain.problem.noise.sign_mean(theta, scaled)[0]
                noisy = expected._replace(sign=tau ** (regime.step_power / 2) * sign + s[k])
            state = chain.optimizer.update(state, noisy, tau, chain.time(k))
            if k + 1 in marks:
                batch = {name: field.unsqueeze(0) for name, field in state.items()}
                values += [observable(batch)[0] for observable in observables.values()]
        rows = [_slopes(value, s, q) for value in values]
    by_step, by_square = (torch.stack(part, -1) for part in zip(*rows, strict=True))
    # d ĝ∘ĝ = 2 h^mean_power ∇f∘(S z) + (S z)∘(S z): its linear part joins the weights of S z
    slope = 2 * tau ** (regime.mean_power / 2) * torch.stack(means).unsqueeze(-1)
    linear = tau ** (regime.step_power / 2) * by_step + slope * by_square
    return Responses(linear, by_square, curvatures(chain, start, marks, observables))


class Controls:
    """The running control variates of a block."""

    def __init__(self, weights: Responses | None, equation: Equation, paths: int) -> None:
        self.weights, self.paths = weights, paths
        self.sums: list[Tensor | float] = [0.0, 0.0]
        self.curved = Curved(weights.curvatures, equation) if weights and weights.curvatures else None

    def add(self, k: int, x: X, noise: Tensor, variance: Tensor) -> None:
        """Add the noise and centred squares of the chain's step `k` from `x`."""
        if self.weights is not None:
            centred = noise * noise - variance
            self.sums[0] = self.sums[0] + noise @ self.weights.linear[k]
            self.sums[1] = self.sums[1] + centred @ self.weights.quadratic[k]
            if self.curved is not None:
                self.curved.add(k, x, noise, centred)

    def follow(self, k: int, y: X, dW: Float[Tensor, "substeps paths motions"]) -> None:
        """Add the motions of the equation's step `k` from `y`."""
        if self.curved is not None and dW.shape[-1]:
            self.curved.follow(k, y, dW)

    def values(self) -> Float[np.ndarray, "paths controls"]:
        """One column a row and kind."""
        if self.weights is None:
            return np.zeros((self.paths, 0))
        parts = [torch.as_tensor(part) for part in self.sums] + (self.curved.values() if self.curved is not None else [])
        return torch.cat(parts, -1).cpu().numpy()
