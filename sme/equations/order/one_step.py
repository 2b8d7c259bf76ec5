"""The deterministic one-step moment test: no Monte Carlo.

The chain's expectation over one step against the equation's `φ + τ 𝓛φ + ½ τ² 𝓛²φ`, with the
generator `𝓛` of the whole state and, for step memory, of the motion `y` since the step began.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vmap

from sme.common.derivatives.differences import SHIFTS, Derivatives, derivatives
from sme.equations.base import Equation, X
from sme.equations.chain import Chain
from sme.equations.order.expectation import Test, chain_expectation
from sme.optimizers.layout import Layout

REACH = 0.2
"""share of the state that the first step of the outer differences is"""
TINY = 1e-300
LATER = 0.37
"""time after which an equation that depends on the time has changed"""
SAME = 1e-12
"""relative difference up to which values at many times and at one are the same"""


class Generator:
    """`𝓛 = ∂_t + drift·∇ + ½ Σ_j ∂²[c_j, c_j] + Σ_i r_i (φ(z + m_i) − φ)` of an equation, `c_j` the columns of its noise.

    With step memory the state is `(x, y)`, drift `(b, 0)` and columns `(G e_j + R[y, e_j], e_j)`. Fast memory is looked at in
    the same way, `(x, ỹ)` with columns `(G e_j + R[ỹ, e_j], S e_j)`: over one step from `ỹ = 0` its moments, but for what a
    fading average costs at the ends of a run, are these (docs/theory/drivers.md, section 20). Motions that count jumps have
    moves `m_i` at rates `r_i` in the place of columns.
    """

    def __init__(self, equation: Equation, phi: Test) -> None:
        self.equation, self.size = equation, equation.problem.dim * len(equation.optimizer.fields)
        self.phi: Test = lambda z: phi(z[: self.size])
        self.motions = self._columns()

    def _columns(self) -> Float[Tensor, "columns motions"]:
        """Increments whose images under `diffuse` are the columns of a dense factor of the covariance."""
        equation, n = self.equation, self.equation.first
        if equation.jumps is not None:
            return torch.eye(equation.motions, dtype=torch.float64)[equation.jumps == 0]
        if not equation.bilinear:
            return torch.eye(equation.motions, dtype=torch.float64)
        return torch.block_diag(torch.eye(n, dtype=torch.float64), equation.law.second_columns())

    def start(self, x: Tensor) -> Tensor:
        """The state, with `y = 0` beside it where the equation remembers."""
        return torch.cat((x, x.new_zeros(self.equation.hidden or self.equation.first * self.equation.remembers)))

    def drift(self, t: Any, z: X) -> X:
        """The drift of the whole system at many points."""
        b = self.equation.drift(t, z[:, : self.size])
        return torch.cat((b, torch.zeros_like(z[:, self.size :])), -1)

    def noise(self, t: Any, z: X) -> Float[Tensor, "columns points system"]:
        """The columns at many points, of more than the system has numbers as many others with the same covariance."""
        g, count = self._moved(t, z, self.motions), len(self.motions)
        return g if count <= z.shape[1] else torch.linalg.qr(g.transpose(0, 1), mode="r").R.transpose(0, 1)

    @property
    def jumping(self) -> tuple[Float[Tensor, "moves motions"], Float[Tensor, " moves"]]:
        """One jump of every motion that counts them, and how many there are in a unit of time."""
        jumps = torch.zeros(self.equation.motions, dtype=torch.float64) if self.equation.jumps is None else self.equation.jumps
        there = jumps > 0
        return torch.eye(self.equation.motions, dtype=torch.float64)[there], jumps[there] / self.equation.tau

    def moves(self, t: Any, z: X) -> Float[Tensor, "moves points system"]:
        """What the jumps add at many points."""
        return self._moved(t, z, self.jumping[0])

    def _moved(self, t: Any, z: X, increments: Float[Tensor, "count motions"]) -> Float[Tensor, "count points system"]:
        """What the noise makes of each of these increments at many points."""
        count = len(increments)
        if not count:
            return z.new_zeros(0, *z.shape)
        x, y = z[:, : self.size].repeat(count, 1), z[:, self.size :].repeat(count, 1)
        dW = increments.repeat_interleave(len(z), 0)
        if isinstance(t, Tensor):
            t = t.repeat(count, 1)
        g = self.equation.diffuse(t, x, dW)
        if self.equation.remembers:
            g = torch.cat((g + self.equation.memory(t, x, y, dW), dW), -1)
        if self.equation.fades:
            g = torch.cat((g + self.equation.recall(t, x, y, dW), self.equation.kept(t, x, dW)), -1)
        return g.reshape(count, *z.shape)

    def once(self, t: Any, z: X) -> Float[Tensor, "points functions"]:
        """`𝓛φ` at many points, by automatic differentiation (`φ` does not depend on `t` or `y`)."""

        def along(point: Tensor, u: Tensor) -> Tensor:
            slope: Tensor = jvp(self.phi, (point,), (u,))[1]
            return slope

        def both(point: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            slope, bend = jvp(lambda w: along(w, u), (point,), (u,))  # type: ignore[misc]
            return slope, bend

        b = self.drift(t, z)
        jumped = self.jumped(vmap(self.phi), t, z)
        if not len(self.motions):
            return vmap(along)(z, b) + jumped
        g = self.noise(t, z)
        first, second = vmap(both)(z.repeat(1 + len(g), 1), torch.cat((b, *g)))
        return first[: len(z)] + 0.5 * second[len(z):].reshape(len(g), len(z), -1).sum(0) + jumped

    def jumped(self, function: Callable[[Tensor], Tensor], t: Any, z: X) -> Tensor:
        """`Σ_i r_i (f(z + m_i) − f(z))` at many points; 0 for each without jumps."""
        rates = self.jumping[1]
        if not len(rates):
            return z.new_zeros(len(z), 1)
        ends = function((z + self.moves(t, z)).flatten(0, 1)).unflatten(0, (len(rates), len(z)))
        return torch.tensordot(rates, ends - function(z), 1)

    def around(self, function: Callable[[Any, Tensor], Tensor], t: float, z: Float[Tensor, " system"]) -> "Around":
        """A function of time and system, with its derivatives along the drift (and the time) and along every column.

        The steps are relative to the state, and halved until the differences settle.
        """
        point = z.unsqueeze(0)
        directions = torch.cat((self.drift(t, point), self.noise(t, point)[:, 0] if len(self.motions) else point[:0]))
        sizes = REACH / (directions.abs() / self._scales(z)).amax(1).clamp_min(TINY)
        every = torch.cat((self.motions, self.jumping[0]))
        still = torch.equal(*(torch.cat((self.drift(at, point), self._moved(at, point, every)[:, 0])) for at in (t, t + LATER)))
        if not still:
            sizes[0] = torch.minimum(sizes[0], torch.tensor(REACH * (min(t, 1.0) if t > 0 else 1.0), dtype=torch.float64))
        e = sizes[:, None, None] * torch.stack((SHIFTS, -SHIFTS))
        points = z + e[..., None] * directions[:, None, None]
        if still:
            values = function(t, torch.cat((point, points.flatten(0, 2))))
        else:  # along the drift every point has a time of its own
            rest = function(t, torch.cat((point, points[1:].flatten(0, 2))))
            values = torch.cat((rest[:1], _timed(function, t + e[0].flatten(), points[0].flatten(0, 1)), rest[1:]))
        return Around(values[0], derivatives(values[0], values[1:].reshape(*e.shape, -1), sizes), directions)

    def _scales(self, z: Float[Tensor, " system"]) -> Float[Tensor, " system"]:
        """How far each number may be moved: relative to itself and to the largest of its field, of what stays ≥ 0 to itself."""
        parts, layout = [], Layout(self.equation.optimizer.fields, self.equation.problem.dim)
        for name, part in layout.named(z[: self.size]).items():
            own = part.abs() if name in self.equation.optimizer.nonnegative else torch.maximum(part.abs(), 0.5 * part.abs().max())
            parts.append(torch.where(own > 0, own, 1.0))
        return torch.cat((*parts, torch.ones_like(z[self.size :])))

    def twice(self, t: float, z: Float[Tensor, " system"]) -> tuple[Tensor, Tensor]:
        """`𝓛²φ` at one point, and an estimate of its error."""
        second, error = self.around(self.once, t, z).generator
        return second + self.jumped(lambda points: self.once(t, points), t, z.unsqueeze(0))[0], error


def _timed(function: Callable[[Any, Tensor], Tensor], times: Tensor, points: Tensor) -> Tensor:
    """A function at many points, each at a time of its own: at once if it takes a column of times, else one by one."""
    last = function(float(times[-1]), points[-1:])
    try:
        every = function(times.unsqueeze(1), points)
        if every.shape == (len(points), *last.shape[1:]) and torch.allclose(every[-1:], last, SAME, 0.0, equal_nan=True):
            return every
    except Exception:  # it reads the time as a number
        pass
    return torch.cat([*(function(float(t), x.unsqueeze(0)) for t, x in zip(times[:-1], points[:-1], strict=True)), last])


class Around(NamedTuple):
    """Values of functions at a point, their derivatives along the drift and the columns, and these directions."""

    centre: Float[Tensor, " functions"]
    along: Derivatives
    directions: Float[Tensor, "directions system"]

    @property
    def generator(self) -> tuple[Tensor, Tensor]:
        """`𝓛` of the functions, and an estimate of its error."""
        along = self.along
        return (along.first[0] + 0.5 * along.second[1:].sum(0), along.first_error[0] + 0.5 * along.second_error[1:].sum(0))


def equation_expectation(equation: Equation, x: Float[Tensor, " state"], phi: Test, t: float) -> tuple[Tensor, Tensor]:
    """`φ + τ 𝓛φ + ½ τ² 𝓛²φ`, up to `τ 𝓛φ` at order 1, and an estimate of the error of its differences."""
    generator = Generator(equation, phi)
    z = generator.start(x)
    value = phi(x) + equation.tau * generator.once(t, z.unsqueeze(0))[0]
    if equation.order == 1:
        return value, torch.zeros_like(value)
    second, error = generator.twice(t, z)
    return value + 0.5 * equation.tau**2 * second, 0.5 * equation.tau**2 * error


def residual(chain: Chain, equation: Equation, x: Float[Tensor, " state"], phi: Test, t: float) -> Tensor:
    """Chain minus equation over one step, one number for each test function."""
    return chain_expectation(chain, x, phi, t) - equation_expectation(equation, x, phi, t)[0]


def twice_of_product(each: tuple[int, ...], place: Tensor, here: Tensor, second: Tensor, cross: Tensor) -> Tensor:
    """`𝓛²` of a product at the point itself, from `here` = (B, A), `second` = 𝓛(B, A), `cross` = `A·∇(B, A)`."""
    if len(each) == 1:
        return second[each[0]]
    if len(each) == 2:
        i, j = each
        return 2 * here[i] * here[j] + second[place[i, j]] + cross[j, i] + cross[i, j]
    if len(each) == 3:
        turns = [(each[k], place[each[(k + 1) % 3], each[(k + 2) % 3]]) for k in range(3)]
        return torch.stack([2 * here[i] * here[pair] + cross[i, pair] for i, pair in turns]).sum()
    i, j, k, m = each
    return 2 * (here[place[i, j]] * here[place[k, m]] + here[place[i, k]] * here[place[j, m]]
                + here[place[i, m]] * here[place[j, k]])
