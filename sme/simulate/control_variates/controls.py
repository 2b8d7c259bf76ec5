"""Zero-mean control variates: each observable's response to the noise of every step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sme.equations.base import Equation, X
from sme.equations.chain import Chain
from sme.optimizers.base import State, updated
from sme.simulate.control_variates.curvatures import Curvatures, Curved, curvatures
from sme.simulate.control_variates.values import Parts, Valued, Watch
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

    def without_values(self) -> "Responses":
        """The same for an equation that is not followed on each of its levels (`followed`)."""
        return self if self.curvatures is None else replace(self, curvatures=replace(self.curvatures, values=None))

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
    kicks, summed
        how many of a substep of a level are looked at, and how many of those carried they add to: the last ones.
    valued
        those of each level of the equation, of a law that `responds`: the chain's responses are the equation's as well only where
        both have the same noise.
    shared
        `(steps, weights)`: what all paths share.
    """

    def __init__(self, weights: Responses, equation: Equation) -> None:
        self.shape = weights.linear.shape[1:]
        self.curved = Curved(weights.curvatures, equation) if weights.curvatures is not None else None
        values = weights.curvatures.values if weights.curvatures is not None else None
        self.valued = Valued(values, equation) if values is not None else None
        kinds = 2 + (self.curved.kinds if self.curved else 0) + (self.valued is not None)
        self.followed = self.curved.followed if self.curved else 0
        self.kicks, self.summed = (self.valued.kicks, self.valued.carried) if self.valued else (0, 0)
        self.carried = self.shape[1] * kinds + self.summed
        further = [each.shared for each in (self.curved, self.valued) if each]
        parts = [weights.linear.flatten(1), weights.quadratic.flatten(1), *further]
        self.shared: Float[Tensor, "steps weights"] = torch.cat(parts, 1).contiguous()
        self.sizes = [part.shape[1] for part in parts]

    def _own(self, shared: Tensor) -> list[Tensor]:
        linear, quadratic, *rest = shared.split(self.sizes)
        return [linear.reshape(self.shape), quadratic.reshape(self.shape), *rest]

    def chain(self, carry: Float[Tensor, "paths carried"], shared: Float[Tensor, " weights"], x: X,
              noise: Float[Tensor, "paths d"], variance: Float[Tensor, "paths d"]) -> Float[Tensor, "paths carried"]:
        """The sums with the chain's step from `x`: its noise, its centred squares, their products with `x`."""
        linear, quadratic, *rest = self._own(shared)
        centred = noise * noise - variance
        parts = [noise @ linear, centred @ quadratic]
        if self.curved:
            parts.append(self.curved.chain(rest[0], x, noise, centred))
        if self.valued:
            parts.append(self.valued.chain(rest[1], centred))
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
        new = self.curved.step(followed, self._own(shared)[2], y)
        return torch.cat((carry[:, : -new.shape[1]], carry[:, -new.shape[1]:] + new), -1)

    def level(self, sums: Float[Tensor, "paths sums"], shared: Float[Tensor, " weights"], y: X,
              kicks: Float[Tensor, "paths kicks"], begin: float, share: float, parts: Parts
              ) -> Float[Tensor, "paths sums"]:
        """The last of the sums after one more substep of a level (`Valued.substep`); needs `valued`."""
        assert self.valued is not None
        return self.valued.substep(sums, self._own(shared)[3], y, kicks, begin, share, parts)


class Following:
    """The sums of one step of the equation: called with the increment of each of `count` substeps."""

    def __init__(self, controls: Controls, shared: Float[Tensor, " weights"], tau: float, count: int, y: X,
                 followed: Float[Tensor, "paths followed"]) -> None:
        self.controls, self.shared, self.tau, self.count = controls, shared, tau, count
        self.begun, self.followed, self.done = y, followed, 0
        self.watch: list[Watch] = [self]

    def __call__(self, t: float, y: X, dW: Float[Tensor, "paths motions"], noise: Tensor) -> None:
        middle, share = (self.done + 0.5) / self.count - 0.5, 1 / self.count
        self.followed = self.controls.substep(self.followed, self.shared, self.tau, self.begun, dW, middle, share)
        self.done += 1

    def step(self, carry: Float[Tensor, "paths carried"]) -> Float[Tensor, "paths carried"]:
        """The sums over the steps with this one."""
        return self.controls.step(carry, self.followed, self.shared, self.begun)


class Valuing:
    """The sums of one step of the equation over all its levels, of so many substeps each and with such `parts` in the sums."""

    def __init__(self, controls: Controls, equation: Equation, shared: Float[Tensor, " weights"], counts: Sequence[int],
                 parts: Sequence[Parts], paths: int) -> None:
        assert controls.valued is not None
        self.controls, self.valued, self.equation, self.shared = controls, controls.valued, equation, shared
        self.sums = shared.new_zeros(paths, self.valued.carried)
        self.watch = [self._level(*each) for each in zip(counts, parts, strict=True)]

    def _level(self, count: int, parts: Parts) -> Watch:
        """What sees the substeps of a level."""
        done = 0

        def see(t: float, y: X, dW: Tensor, noise: Tensor) -> None:
            nonlocal done
            kicks = self.valued.noise(self.equation, t, self.equation.tau / count, y, dW, noise)
            self.sums = self.controls.level(self.sums, self.shared, y, kicks, done / count, 1 / count, parts)
            done += 1

        return see

    def step(self, carry: Float[Tensor, "paths carried"]) -> Float[Tensor, "paths carried"]:
        """The sums over the steps with this one."""
        size = self.sums.shape[1]
        return torch.cat((carry[:, :-size], carry[:, -size:] + self.sums), -1)


def _padded(parts: list[Tensor], like: Tensor) -> Tensor:
    width = sum(part.shape[1] for part in parts)
    return torch.cat((*parts, torch.zeros_like(like[:, width:])), -1)
