"""The deterministic one-step moment test: no Monte Carlo.

The chain's expectation over one step against the equation's `φ + τ 𝓛φ + ½ τ² 𝓛²φ`, with the
generator `𝓛` of the whole state and, for step memory, of the motion `y` since the step began.
"""

import itertools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vmap

from sme.equations.base import Equation, X
from sme.equations.signs import sign_moments
from sme.errors import SMEError
from sme.inputs import short
from sme.quadrature import exact, rules
from sme.regimes import Gradient
from sme.simulate.chain import Chain

Test = Callable[[Float[Tensor, " state"]], Float[Tensor, " functions"]]
"""from a whole state to a vector of test functions φ"""

NODES = 2**14
"""of the quadrature at a time"""
SETTLED = 1e-13
"""relative change of the chain's expectation below which its quadrature is taken as exact"""
STEP = 1e-2
"""of the five-point differences that the outer generator is made of"""
FIRST = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=torch.float64) / (12 * STEP)
SECOND = torch.tensor([-1.0, 16.0, 16.0, -1.0], dtype=torch.float64) / (12 * STEP**2)
SHIFTS = torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64) * STEP


def chain_expectation(chain: Chain, x: Float[Tensor, " state"], phi: Test, t: float) -> Tensor:
    """`E φ(x')` over the law of one step from `x` at time `t`, on ever finer rules until it settles.

    Raises
    ------
    SMEError
        if it does not settle.
    """
    dim, fields = chain.problem.dim, chain.optimizer.fields
    if chain.optimizer.signed:
        return _over_signs(chain, x, phi, t)
    last = None
    for z, weights in rules(chain.problem.noise):
        value = x.new_zeros(())
        for nodes, shares in zip(z.split(NODES), weights.split(NODES), strict=True):
            start = {name: part.expand(len(nodes), -1) for name, part in zip(fields, x.split(dim), strict=True)}
            state, _ = chain.step_at(start, nodes, t)
            value = value + shares @ vmap(phi)(torch.cat([state[name] for name in fields], -1))
        if not bool(torch.isfinite(value).all()):
            raise SMEError(f"the expectation over one step is not finite at the state {short(x)} of {', '.join(fields)}: "
                           "change the state or the test functions, or name the fields that are never negative in `nonnegative`")
        settled = last is not None and bool(((value - last).abs() < SETTLED * (1 + value.abs())).all())
        if settled or exact(chain.problem.noise):
            return value
        last = value
    raise SMEError("the expectation over one step of the optimizer does not settle: the update rule is not smooth in the noise, "
                   "or has too many motions for a quadrature")


def _over_signs(chain: Chain, x: Tensor, phi: Test, t: float) -> Tensor:
    """The sum over the signs of at most two coordinates, with the probabilities of their quadrants."""
    theta = x[: chain.problem.dim].unsqueeze(0)
    if chain.problem.dim > 2:
        raise SMEError(f"{chain.optimizer.name} is checked for at most two parameters, got dim = {chain.problem.dim}: the "
                       "probabilities of more signs have no closed form")
    mean, covariance = sign_moments(chain.problem, theta, chain.tau ** (chain.regime.mean_power / 2))
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=chain.problem.dim)), dtype=torch.float64)
    chance = 0.5 ** chain.problem.dim * (1 + signs @ mean[0])
    if chain.problem.dim == 2:
        chance = chance + 0.25 * signs.prod(-1) * (covariance[0, 0, 1] + mean[0].prod())
    zero, scale = torch.zeros_like(theta[0]), chain.tau ** (chain.regime.step_power / 2)
    state = dict(zip(chain.optimizer.fields, x.split(chain.problem.dim), strict=True))
    ends = [chain.optimizer.update(state, Gradient(zero, zero, scale * sign), chain.tau, t) for sign in signs]
    values = torch.stack([phi(torch.cat([end[name] for name in chain.optimizer.fields])) for end in ends])
    total: Tensor = chance @ values
    return total


class Generator:
    """`𝓛 = ∂_t + drift·∇ + ½ Σ_j ∂²[c_j, c_j]` of an equation, `c_j` the columns of its noise.

    With step memory the state is `(x, y)`, drift `(b, 0)` and columns `(G e_j + R[y, e_j], e_j)`.
    """

    def __init__(self, equation: Equation, phi: Test) -> None:
        self.equation, self.size = equation, equation.problem.dim * len(equation.optimizer.fields)
        self.phi: Test = lambda z: phi(z[: self.size])
        self.motions = self._columns()

    def _columns(self) -> Float[Tensor, "columns motions"]:
        """Increments whose images under `diffuse` are the columns of a dense factor of the covariance."""
        equation, n = self.equation, self.equation.first
        units = torch.eye(equation.motions, dtype=torch.float64)
        if not equation.law.bilinear or not equation.second:
            return units
        # a minibatch's second motion is (S dV)∘(S ζ), bilinear in dV and the signs ζ
        pairs = [units[n + j] + units[2 * n + k] + units[3 * n] for j in range(n) for k in range(n)]
        return torch.cat((units[:n], torch.stack(pairs)))

    def start(self, x: Tensor) -> Tensor:
        """The state, with `y = 0` beside it where the equation remembers."""
        return torch.cat((x, x.new_zeros(self.equation.first))) if self.equation.remembers else x

    def drift(self, t: float, z: X) -> X:
        """The drift of the whole system at many points."""
        b = self.equation.drift(t, z[:, : self.size])
        return torch.cat((b, torch.zeros_like(z[:, self.size :])), -1)

    def noise(self, t: float, z: X) -> Float[Tensor, "columns points system"]:
        """The columns at many points, of more than the system has numbers as many others with the same covariance."""
        count = len(self.motions)
        x, y = z[:, : self.size].repeat(count, 1), z[:, self.size :].repeat(count, 1)
        dW = self.motions.repeat_interleave(len(z), 0)
        g = self.equation.diffuse(t, x, dW)
        if self.equation.remembers:
            g = torch.cat((g + self.equation.memory(t, x, y, dW), dW), -1)
        g = g.reshape(count, *z.shape)
        return g if count <= z.shape[1] else torch.linalg.qr(g.transpose(0, 1), mode="r").R.transpose(0, 1)

    def _autonomous(self, t: float, point: X) -> bool:
        here, later = ((self.drift(at, point), self.noise(at, point)) for at in (t, t + 0.37))
        return all(torch.equal(a, b) for a, b in zip(here, later, strict=True))

    def once(self, t: float, z: X) -> Float[Tensor, "points functions"]:
        """`𝓛φ` at many points, by automatic differentiation (`φ` does not depend on `t` or `y`)."""

        def along(point: Tensor, u: Tensor) -> Tensor:
            slope: Tensor = jvp(self.phi, (point,), (u,))[1]
            return slope

        def twice(point: Tensor, u: Tensor) -> Tensor:
            bend: Tensor = jvp(lambda w: along(w, u), (point,), (u,))[1]
            return bend

        total = vmap(along)(z, self.drift(t, z))
        if len(self.motions):
            g = self.noise(t, z)
            total = total + 0.5 * vmap(twice)(z.repeat(len(g), 1), g.flatten(0, 1)).reshape(len(g), *total.shape).sum(0)
        return total

    def twice(self, t: float, z: Float[Tensor, " system"]) -> Tensor:
        """`𝓛²φ` at one point: the outer derivatives by five-point differences."""
        point = z.unsqueeze(0)
        b = self.drift(t, point)[0]
        if self._autonomous(t, point):  # the same time everywhere: one call
            inner = self.once(t, point + SHIFTS[:, None] * b)
        else:
            inner = torch.cat([self.once(t + float(e), point + e * b) for e in SHIFTS])
        total = FIRST @ inner
        if len(self.motions):
            g = self.noise(t, point)[:, 0]
            around = self.once(t, (z + SHIFTS[:, None, None] * g).flatten(0, 1)).reshape(4, len(g), -1).sum(1)
            total = total + 0.5 * (SECOND @ around - 30 / (12 * STEP**2) * len(g) * self.once(t, point)[0])
        return total


def equation_expectation(equation: Equation, x: Float[Tensor, " state"], phi: Test, t: float) -> Tensor:
    """`φ + τ 𝓛φ + ½ τ² 𝓛²φ`; up to `τ 𝓛φ` at order 1."""
    generator = Generator(equation, phi)
    z = generator.start(x)
    value = phi(x) + equation.tau * generator.once(t, z.unsqueeze(0))[0]
    return value + 0.5 * equation.tau**2 * generator.twice(t, z) if equation.order == 2 else value


def residual(chain: Chain, equation: Equation, x: Float[Tensor, " state"], phi: Test, t: float) -> Tensor:
    """Chain minus equation over one step, one number for each test function."""
    return chain_expectation(chain, x, phi, t) - equation_expectation(equation, x, phi, t)
