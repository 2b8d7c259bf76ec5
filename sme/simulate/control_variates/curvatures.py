"""Second-order control variates: responses that follow each path to first order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacfwd, jacrev, vmap

from sme.equations.base import Equation, X
from sme.equations.chain import Chain
from sme.optimizers.base import State, updated
from sme.simulate.control_variates.values import Values
from sme.simulate.observables import seen

LARGEST = 2**13
"""weights of one step, state × noise × rows, beyond which paths go without these control variates"""
CHUNK = 2**20
"""second derivatives of the update taken at once"""


@dataclass(frozen=True)
class Curvatures:
    """Mixed derivatives of each row, a row being an observable at a time, by state and noise of step `k`.

    `u = (n, q)` is the noise of a step: `ĝ` gains `n`, `ĝ∘ĝ` gains `2 h^mean_power ∇f∘n + q`. With
    `Φ_k(x, u)` the row's value after step `k` from `x` with noise `u` and noiseless steps after it,
    all at the noiseless run `x̄`:

        noise_k = ∂_u ∂_x Φ_k     shift_k = noise_{k+1} ∂_x x_{k+1} − noise_k     area_k = noise_k ∂_u x_{k+1}

    `shift_k` is how the former changes from the step's beginning to its end. The rows of a matrix are
    numbered `(entry of u, row)`.
    """

    run: Float[Tensor, "steps state"]
    noise: Float[Tensor, "steps weights state"]
    shift: Float[Tensor, "steps weights state"]
    area: Float[Tensor, "steps weights noise"]
    values: Values | None = None
    """of a law whose equations are followed on each of their levels"""

    def rows(self, which: slice) -> "Curvatures":
        """Those of some of the rows."""
        entries = self.area.shape[2]
        noise, shift, area = (each.unflatten(1, (entries, -1))[:, :, which].flatten(1, 2)
                              for each in (self.noise, self.shift, self.area))
        return Curvatures(self.run, noise, shift, area, self.values.rows(which) if self.values is not None else None)


def _rule(chain: Chain) -> Callable[[Tensor, Tensor | float], Tensor]:
    """One step of a path as a function of `(x, n, q)` side by side and of time."""
    problem, optimizer, regime, tau = chain.problem, chain.optimizer, chain.regime, chain.tau
    d = problem.dim
    scaled, step = tau ** (regime.mean_power / 2), tau ** (regime.step_power / 2)

    def rule(point: Tensor, t: Tensor | float) -> Tensor:
        *parts, n, q = point.split(d)
        state = dict(zip(optimizer.fields, parts, strict=True))
        mean = problem.gradient(state["theta"].unsqueeze(0))[0]
        still = chain.expected(state["theta"], mean)
        noisy = still._replace(step=still.step + step * n, square=still.square + 2 * scaled * mean * n + q)
        new = updated(optimizer, state, noisy, tau, t)  # type: ignore[arg-type]
        return chain.layout.whole(new)

    return rule


def _derivatives(rule: Callable[[Tensor, Tensor | float], Tensor], points: Float[Tensor, "steps point"],
                 times: list[float], state: int, backward: bool) -> tuple[Tensor, Tensor]:
    """First and second derivatives of the rule in every step, `backward` by reverse passes alone.

    Else by forward ones, for which torch need not import its compiler.
    """
    derivative = jacrev if backward else jacfwd
    first = derivative(rule)

    def both(point: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        return first(point, t), derivative(first)(point, t)

    try:  # all steps at once, if the rule takes its time as a tensor
        chunk = max(1, CHUNK // (state * points.shape[1] ** 2))
        clock = torch.tensor(times, dtype=torch.float64, device=points.device)
        jacobian, hessian = vmap(both, chunk_size=chunk)(points, clock)
    except (RuntimeError, TypeError, ValueError):
        each = [both(point, t) for point, t in zip(points, times, strict=True)]
        jacobian, hessian = (torch.stack(part) for part in zip(*each, strict=True))
    return jacobian, hessian


def _observed(value: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of an observable, 0 for an indicator or a constant."""
    size = len(x)
    zero = x.new_zeros(size), x.new_zeros(size, size)
    if not value.requires_grad:
        return zero
    slope = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)[0]
    if not slope.requires_grad:
        return slope.detach(), zero[1]
    rows = [torch.autograd.grad(part, x, retain_graph=True, materialize_grads=True)[0] for part in slope]
    return slope.detach(), torch.stack(rows)


def curvatures(chain: Chain, start: State, marks: Sequence[int],
               observables: Mapping[str, Callable[[State], Tensor]]) -> Curvatures | None:
    """The mixed derivatives along the noiseless run, by one backward recursion of value functions.

    None for a rule of signs, for more than `LARGEST` weights a step, or where the rule or an
    observable cannot be differentiated twice. Source: docs/theory/measurement.md, section 6, (6.3).
    """
    fields, d = chain.optimizer.fields, chain.problem.dim
    state, noise, rows = len(fields) * d, 2 * d, len(marks) * len(observables)
    if chain.optimizer.signed or state * noise * rows > LARGEST:
        return None
    times = [chain.time(k) for k in range(marks[-1])]
    rule, still = _rule(chain), start["theta"].new_zeros(noise)
    x = chain.layout.whole(start)
    points = [torch.cat((x, still))]
    for t in times:
        points.append(torch.cat((rule(points[-1], t), still)))
    run = torch.stack(points)
    try:
        jacobian, hessian = _derivatives(rule, run[:-1], times, state, chain.problem.backward)
        ends = {mark: _ends(run[mark, :state], fields, observables) for mark in marks}
    except RuntimeError:
        return None
    slope, bend = run.new_zeros(rows, state), run.new_zeros(rows, state, state)
    later = run.new_zeros(rows, state, noise)
    parts, values = [], []
    for k in reversed(range(marks[-1])):
        by_state, by_noise = jacobian[k].split((state, noise), -1)
        if k + 1 in ends:
            here = slice(marks.index(k + 1) * len(observables), (marks.index(k + 1) + 1) * len(observables))
            slope[here], bend[here] = ends[k + 1]
            # a noise at the very end moves the observable as if it had come with the last step
            later[here] = bend[here] @ by_noise + torch.einsum("rs,sab->rab", slope[here], hessian[k][:, :state, state:])
        whole = torch.einsum("rs,sab->rab", slope, hessian[k]) + jacobian[k].T @ bend @ jacobian[k]
        end = slope.clone(), bend.clone()  # which are written into at a checkpoint
        slope, bend, mixed = slope @ by_state, whole[:, :state, :state], whole[:, :state, state:]
        kick = 0.5 * whole[:, state : state + d, state : state + d].diagonal(dim1=1, dim2=2)
        values.append((run[k : k + 2, :state], *(torch.stack(both) for both in zip((slope, bend), end, strict=True)), kick))
        parts.append((mixed, by_state.T @ later - mixed, by_noise.T @ mixed))
        later = mixed.clone()  # as well
    # (steps, rows, from, entry of u) -> (steps, (entry of u, row), from); any weights will do where the run blew up
    mixed, shift, area = (part.permute(0, 3, 1, 2).reshape(len(part), noise * rows, -1).contiguous() for part in _stacked(parts))
    followed = Values(*_stacked(values)) if chain.problem.noise.responds else None
    return Curvatures(run[:, :state].nan_to_num(0, 0, 0), mixed, shift, area, followed)


def _stacked(parts: Sequence[tuple[Tensor, ...]]) -> Iterator[Tensor]:
    """From the last step's to all steps', finite."""
    for part in zip(*parts[::-1], strict=True):
        yield torch.stack(part).nan_to_num(0, 0, 0).contiguous()


def _ends(x: Tensor, fields: Sequence[str], observables: Mapping[str, Callable[[State], Tensor]]) -> tuple[Tensor, Tensor]:
    """Gradients and Hessians of all observables at one state."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        batch = dict(zip(fields, x.unsqueeze(0).chunk(len(fields), -1), strict=True))
        pairs = [_observed(seen(observable, batch)[0], x) for observable in observables.values()]
    slopes, bends = zip(*pairs, strict=True)
    return torch.stack(slopes), torch.stack(bends)


class Curved:
    """The second-order control variates of a block, all of mean zero whatever the weights.

    With `x_k` the chain and `y_k` the equation at the beginning of step `k`, `u_k` the chain's noise
    and `w_j` the equation's in substep `j`, in units of `u`, `w = Σ_j w_j`:

        Σ_k (x_k − x̄_k)·noise_k u_k        Σ_k (y_k − x̄_k)·noise_k w_k
        Σ_k Σ_{i<j} w_i·area_k w_j         Σ_k (y_k − x̄_k)·shift_k Σ_j s_j w_j

    `s_j` in (−½, ½) the middle of the substep; `w_j` is that of the equation's noise at `y_k`. The first two are the products
    of two noises that survive in an antithetic pair; the second two are what the equation does within a step. The
    last three need an equation with motions, and are not there of one whose levels are followed (`Valued`).
    """

    def __init__(self, curvatures: Curvatures, equation: Equation) -> None:
        self.equation = equation
        self.steps, entries, self.state = curvatures.noise.shape
        self.noise = curvatures.area.shape[2]
        self.rows = entries // self.noise
        within = bool(equation.motions) and curvatures.values is None
        self.kinds = 4 if within else 1
        self.followed = 2 * self.noise + self.rows if within else 0
        """numbers that a path carries within a step: `w`, `Σ_j s_j w_j`, the areas"""
        weights = (curvatures.noise, *((curvatures.shift, curvatures.area) if curvatures.values is None else ()))
        self._widths = [part.shape[2] for part in weights]
        self.shared = torch.cat([curvatures.run[: self.steps], *(part.flatten(1) for part in weights)], 1)

    def _weights(self, shared: Float[Tensor, " weights"]) -> list[Tensor]:
        entries = self.noise * self.rows
        run, *weights = shared.split([self.state, *(entries * each for each in self._widths)])
        return [run, *(part.reshape(entries, -1) for part in weights)]

    def chain(self, shared: Float[Tensor, " weights"], x: X, noise: Tensor, centred: Tensor) -> Float[Tensor, "paths rows"]:
        """The chain's step from `x`, with `n = noise` and `q = centred`."""
        run, weights, *_ = self._weights(shared)
        return _products(weights, x - run, torch.cat((noise, centred), -1))

    def substep(self, followed: Float[Tensor, "paths followed"], shared: Float[Tensor, " weights"], tau: float, y: X,
                dW: Float[Tensor, "paths motions"], middle: float, share: float) -> Float[Tensor, "paths followed"]:
        """`followed` with one more substep, `share` of the step long, its middle at `middle`, with the noise at `y`."""
        total, moment, areas = followed.split((self.noise, self.noise, self.rows), -1)
        kick = self._kick(y[:, : self.equation.problem.dim], dW, total, tau, share)
        areas = areas + _products(self._weights(shared)[3], total, kick)
        return torch.cat((total + kick, moment + middle * kick, areas), -1)

    def step(self, followed: Float[Tensor, "paths followed"], shared: Float[Tensor, " weights"],
             y: X) -> Float[Tensor, "paths rows_3"]:
        """What the equation's whole step from `y` adds."""
        total, moment, areas = followed.split((self.noise, self.noise, self.rows), -1)
        run, weights, shift, _ = self._weights(shared)
        return torch.cat((_products(weights, y - run, total), areas, _products(shift, y - run, moment)), -1)

    def _kick(self, theta: Tensor, dW: Tensor, before: Tensor, tau: float, share: float) -> Tensor:
        """The equation's noise of one substep in units of `u`."""
        equation, law = self.equation, self.equation.law
        scale = tau**-0.5
        noise, square = law.diffuse_square(theta, scale * dW[:, : equation.first])
        if equation.second:
            square = square + scale * equation.second_noise(theta, dW)
        if equation.remembers or equation.fades:
            square = square + noise * (2 * before[:, : noise.shape[1]] + noise) - share * law.variance(theta)
        return torch.cat((noise, square), -1)


def _products(weights: Float[Tensor, "weights from"], vector: Float[Tensor, "paths from"],
              noise: Float[Tensor, "paths noise"]) -> Float[Tensor, "paths rows"]:
    """`vector·weights noise` for every row and path."""
    entries = noise.shape[1]
    return ((weights @ vector.T).reshape(entries, -1, len(noise)) * noise.T.unsqueeze(1)).sum(0).T
