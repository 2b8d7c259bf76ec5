"""Zero-mean control variates: each observable's response to the noise of every step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.chain import Chain
from sme.optimizers.base import State, updated
from sme.simulate.control_variates.curvatures import Curvatures, Curved, curvatures
from sme.simulate.observables import real

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

    def rows(self, which: slice) -> "Responses":
        """Those of some of the rows."""
        curvatures = self.curvatures.rows(which) if self.curvatures is not None else None
        return Responses(self.linear[..., which], self.quadratic[..., which], curvatures)


def responses(chain: Chain, start: State, marks: Sequence[int], observables: Mapping[str, Callable[[State], Tensor]],
              curved: bool = True) -> Responses | None:
    """Differentiate every observable at every mark by the noise of every step before it.

    The noiseless run feeds `update` with `E[gradient.step] + s` and `E[gradient.square] + q` at
    `s = q = 0`; the weights are the derivatives by `s` and `q`, found by one reverse sweep a row.
    A rule of signs is fed with `E[gradient.sign] + s` and responds to `sign(ĝ) − E sign(ĝ)`.
    With `curved` also how they change with the state. None if the run is longer than `LONGEST`, if the rule is not
    differentiated, or if its steps depend on each other: then the sums have a mean. Source: docs/theory/measurement.md,
    section 6, (6.1).
    """
    steps, tau, regime = marks[-1], chain.tau, chain.regime
    if steps > LONGEST or not chain.problem.noise.independent_steps or chain.optimizer.opaque:
        return None
    device = start["theta"].device
    shape = (steps, *start["theta"].shape)
    s = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
    q = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
    values, means, state = [], [], start
    with torch.enable_grad():
        for k in range(steps):
            mean = chain.problem.gradient(state["theta"].unsqueeze(0))[0]
            means.append(mean.detach())
            expected = chain.expected(state["theta"], mean)
            if expected.sign is None:
                noisy = expected._replace(step=expected.step + s[k], square=expected.square + q[k])
            else:
                noisy = expected._replace(sign=expected.sign + s[k])
            state = updated(chain.optimizer, state, noisy, tau, chain.time(k))
            if k + 1 in marks:
                batch = {name: field.unsqueeze(0) for name, field in state.items()}
                values += [real(name, observable, batch)[0] for name, observable in observables.items()]
        rows = [_slopes(value, s, q) for value in values]
    by_step, by_square = (torch.stack(part, -1) for part in zip(*rows, strict=True))
    # d ĝ∘ĝ = 2 h^mean_power ∇f∘(S z) + (S z)∘(S z): its linear part joins the weights of S z
    slope = 2 * tau ** (regime.mean_power / 2) * torch.stack(means).unsqueeze(-1)
    linear = tau ** (regime.step_power / 2) * by_step + slope * by_square
    # any weights will do where an observable is not a number along the noiseless run
    linear, by_square = (part.nan_to_num(0, 0, 0) for part in (linear, by_square))
    return Responses(linear, by_square, curvatures(chain, start, marks, observables) if curved else None)


class Controls:
    """The control variates of an ensemble: sums over the steps, each of mean zero.

    Attributes
    ----------
    carried, followed
        how many numbers a path carries from step to step, and from substep to substep.
    responds
        whether the equation's noise is followed at its own state in every substep, with the responses of its own to it: the
        chain's are the equation's as well only where both have the same noise.
    shared
        `(steps, weights)`: what all paths share.
    """

    def __init__(self, weights: Responses, equation: Equation) -> None:
        self.shape = weights.linear.shape[1:]
        self.curved = Curved(weights.curvatures, equation) if weights.curvatures is not None else None
        self.responds = self.curved is not None and bool(self.curved.followed) and equation.law.responds and not equation.samples
        self.carried = self.shape[1] * (2 + (self.curved.kinds if self.curved else 0) + 2 * self.responds)
        self.followed = self.curved.followed if self.curved else 0
        parts = [weights.linear.flatten(1), weights.quadratic.flatten(1), *([self.curved.shared] if self.curved else [])]
        self.shared: Float[Tensor, "steps weights"] = torch.cat(parts, 1).contiguous()

    def _own(self, shared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = self.shape[0] * self.shape[1]
        linear, quadratic, rest = shared.split((size, size, len(shared) - 2 * size))
        return linear.reshape(self.shape), quadratic.reshape(self.shape), rest

    def chain(self, carry: Float[Tensor, "paths carried"], shared: Float[Tensor, " weights"], x: X,
              noise: Float[Tensor, "paths d"], variance: Float[Tensor, "paths d"]) -> Float[Tensor, "paths carried"]:
        """The sums with the chain's step from `x`: its noise, its centred squares, their products with `x`."""
        linear, quadratic, rest = self._own(shared)
        centred = noise * noise - variance
        parts = [noise @ linear, centred @ quadratic]
        if self.curved:
            parts.append(self.curved.chain(rest, x, noise, centred))
        return carry + _padded(parts, carry)

    def substep(self, followed: Float[Tensor, "paths followed"], shared: Float[Tensor, " weights"], tau: float, y: X,
                dW: Float[Tensor, "paths motions"], middle: float, share: float) -> Float[Tensor, "paths followed"]:
        """What is followed within a step, after one more substep of the equation; needs `followed > 0`."""
        assert self.curved is not None
        return self.curved.substep(followed, self._own(shared)[2], tau, y, dW, middle, share)

    def step(self, carry: Float[Tensor, "paths carried"], followed: Float[Tensor, "paths followed"],
             shared: Float[Tensor, " weights"], y: X) -> Float[Tensor, "paths carried"]:
        """The sums with the equation's step from `y`; needs `followed > 0`."""
        assert self.curved is not None
        linear, quadratic, rest = self._own(shared)
        new = self.curved.step(followed, rest, y)
        if self.responds:
            noise, square, _ = followed.split((self.shape[0], self.shape[0], followed.shape[1] - 2 * self.shape[0]), -1)
            new = torch.cat((new, noise @ linear, square @ quadratic), -1)
        return torch.cat((carry[:, : -new.shape[1]], carry[:, -new.shape[1]:] + new), -1)


class Following:
    """The sums of one step of the equation: called with its state and increment before each of `count` substeps."""

    def __init__(self, controls: Controls, shared: Float[Tensor, " weights"], tau: float, count: int, y: X,
                 followed: Float[Tensor, "paths followed"]) -> None:
        self.controls, self.shared, self.tau, self.count = controls, shared, tau, count
        self.begun, self.followed, self.done = y, followed, 0

    def __call__(self, y: X, dW: Float[Tensor, "paths motions"]) -> None:
        middle, share = (self.done + 0.5) / self.count - 0.5, 1 / self.count
        at = y if self.controls.responds else self.begun
        self.followed = self.controls.substep(self.followed, self.shared, self.tau, at, dW, middle, share)
        self.done += 1

    def step(self, carry: Float[Tensor, "paths carried"]) -> Float[Tensor, "paths carried"]:
        """The sums over the steps with this one."""
        return self.controls.step(carry, self.followed, self.shared, self.begun)


def _padded(parts: list[Tensor], like: Tensor) -> Tensor:
    width = sum(part.shape[1] for part in parts)
    return torch.cat((*parts, torch.zeros_like(like[:, width:])), -1)
