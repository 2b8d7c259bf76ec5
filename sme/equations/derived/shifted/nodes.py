"""The noisy gradients of one step at every path, with weights, in panels that end where the rule has a kink or a jump."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.chain import Chain
from sme.equations.derived.shifted.cuts import cuts
from sme.problems.noise.base import GradientLaw
from sme.problems.noise.wrapped.polar import REACH, legendre, rays
from sme.problems.noise.wrapped.transformed import MOST, columns
from sme.problems.smooth.graph import Graph, TracingError

COUNTS = ((28, 44), (36, 60), (48, 80))
"""nodes of a panel between switches, and of a whole line without any"""
PROBES = 3
SMALL = 2.0**-18
"""step size below which the difference of two states has lost too many digits, in units of the rule's own times"""

HELD, LARGEST = 2**20, 2**6
"""nodes of all paths at a time, and about so many for each parameter"""

_batches: WeakKeyDictionary[GradientLaw, int] = WeakKeyDictionary()

Nodes = tuple[Float[Tensor, "paths nodes d"], Float[Tensor, "paths nodes"], Float[Tensor, "paths nodes m"] | Tensor]
"""scaled gradients, weights, and the draws behind them"""


def unsummed(law: GradientLaw, dim: int) -> str:
    """Why no rule sums over the noise of one step, in words; empty if one does."""
    if not law.exact:
        fits = law.paired and dim <= 2 and law.motions == dim
        return "" if fits else f"here are {dim} and {type(law).__name__} with {law.motions}"
    if law not in _batches:
        try:
            _batches[law] = len(next(iter(law.quadrature()))[1])
        except SMEError:
            _batches[law] = MOST + 1
    return "" if _batches[law] <= MOST else f"here are more than {MOST} batches"


class OneStep:
    """The law of one step of the discrete run, from whatever the rule makes of `ĝ`.

    Of a minibatch the sum over all batches. Of Gaussian noise in one or two parameters a product of Gauss–Legendre panels: for a
    rule that keeps coordinates apart along the coordinates, for any other along rays from 0, which a norm asks for.

    Raises
    ------
    SMEError
        if neither fits.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain, self.law, self.dim = chain, chain.problem.noise, chain.problem.dim
        name, least = chain.optimizer.name, SMALL / max([1.0, *chain.optimizer.rates().values()])
        self.larger: list[OneStep] | None = None
        if chain.tau < least:
            made = (Chain(chain.problem, chain.optimizer, chain.regime, tau) for tau in (least, 2 * least))
            self.larger = [OneStep(each) for each in made]
        self.graph: Graph | None = None
        if lack := unsummed(self.law, self.dim):
            raise SMEError(f"{name} is a function of the raw gradient, whose mean and covariance over one step are summed for "
                           f"minibatches with few batches, and for Gaussian noise of one or two parameters with as many motions: "
                           f"{lack}. sme.weak_error and sme.trajectories sample them. A clip, a sign or a norm before a rule is "
                           "a law too: sme.Clipped, sme.Signed, sme.Normalised")
        if self.law.exact:
            self.draws, self.weights = next(iter(self.law.quadrature()))
            return
        self.apart = self.dim == 1 or self._apart()
        if chain.optimizer.opaque:  # its kinks and jumps are not known, so that levels differ where it has any
            return
        one = torch.full((self.dim,), 0.7, dtype=torch.float64)
        state = torch.full((len(chain.optimizer.fields) * self.dim,), 0.6, dtype=torch.float64)
        try:
            self.graph = Graph(self._single, state, one, torch.tensor(chain.optimizer.t0 + 0.37, dtype=torch.float64))
        except TracingError as fault:
            raise SMEError(f"the update rule of {name} cannot be searched for jumps in the gradient: {fault}") from fault

    def _single(self, x: Tensor, scaled: Tensor, t: Any) -> Tensor:
        """The step of one path."""
        layout = self.chain.layout
        new = self.chain.moved(layout.named(x.unsqueeze(0)), scaled.unsqueeze(0), t)
        return layout.whole(new)[0]

    def _apart(self) -> bool:
        """Whether no coordinate moves when others of the state and the gradient do."""
        generator = torch.Generator().manual_seed(0)
        x = 0.2 + torch.rand(PROBES, len(self.chain.optimizer.fields) * self.dim, generator=generator, dtype=torch.float64)
        g = torch.randn(PROBES, self.dim, generator=generator, dtype=torch.float64)
        t, here = self.chain.optimizer.t0 + 0.37, self.moved(x, g, self.chain.optimizer.t0 + 0.37)
        for j in range(self.dim):
            own = torch.arange(self.dim) == j
            there = self.moved(x + 0.1 * own.repeat(len(self.chain.optimizer.fields)), g + 0.1 * own, t)
            still = (there == here).reshape(PROBES, -1, self.dim)[:, :, ~own]
            if not bool(still.all()):
                return False
        return True

    def moved(self, x: Float[Tensor, "points state"], scaled: Float[Tensor, "points d"], t: float) -> Tensor:
        """The states after a step on these gradients."""
        layout = self.chain.layout
        return layout.whole(self.chain.moved(layout.named(x), scaled, t))

    def nodes(self, t: float, x: Float[Tensor, "paths state"], level: int = 0) -> Nodes:
        """Noisy gradients, weights and draws at every path."""
        theta = x[:, : self.dim]
        if self.law.exact:
            count = len(self.weights)
            draws = self.draws.repeat(len(x), *[1] * (self.draws.dim() - 1))
            seen = self.law.noisy(theta.repeat_interleave(count, 0), draws, self.chain.mean, self.chain.scale)
            return seen.reshape(len(x), count, -1), self.weights.expand(len(x), -1), self.draws
        g = self.chain.scale * self.chain.mean(theta)
        factor = torch.linalg.cholesky((s := columns(self.law, theta)) @ s.mT)
        y, weights = (self._along_axes if self.apart else self._along_rays)(t, x, g, factor, level)
        return y, weights, (y - g.unsqueeze(1)) @ torch.linalg.inv(s).mT

    def _look(self, t: float, x: Tensor) -> Any:
        graph = self.graph
        if graph is None:
            return lambda line, point: ()
        clock = torch.tensor(t, dtype=x.dtype)
        return lambda line, point: graph.switches(x[line], point, clock.expand(len(point)))

    def _along_axes(self, t: float, x: Tensor, g: Tensor, factor: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Panels along each coordinate; the second one's end where they must, whatever the first is."""
        deviation = factor.square().sum(-1).sqrt()
        split = []
        for j in range(self.dim):
            along = torch.zeros_like(g)
            along[:, j] = 1
            reach = REACH * deviation[:, j]
            base = g * (1 - along)
            split.append(cuts(self._look(t, x), base, along, g[:, j] - reach, g[:, j] + reach))
        z, weights = _panels((split[0] - g[:, :1]) / factor[:, :1, 0], level)
        first = g[:, :1] + factor[:, :1, 0] * z
        if self.dim == 1:
            return first.unsqueeze(-1), weights
        middle = g[:, 1:] + factor[:, 1:, 0] * z
        inner = (split[1].unsqueeze(1) - middle.unsqueeze(2)) / factor[:, 1:, 1:]
        w, more = _panels(inner.flatten(0, 1), level)
        w, more = w.reshape(*z.shape, -1), more.reshape(*z.shape, -1)
        second = middle.unsqueeze(2) + factor[:, 1:, 1:] * w
        y = torch.stack((first.unsqueeze(2).expand_as(second), second), -1)
        return y.flatten(1, 2), (weights.unsqueeze(2) * more).flatten(1)

    def _along_rays(self, t: float, x: Tensor, g: Tensor, factor: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Panels along rays from 0."""
        def split(unit: Tensor, low: Tensor, high: Tensor) -> Tensor:
            count = unit.shape[1]
            wide, flat = x.repeat_interleave(count, 0), unit.flatten(0, 1)
            found = cuts(self._look(t, wide), torch.zeros_like(flat), flat, low.flatten(), high.flatten())
            return found.reshape(*low.shape, found.shape[1])

        return rays(g, factor, split, level + 1)

    def moments(self, t: float, x: Float[Tensor, "paths state"]) -> tuple[Tensor, Tensor, Tensor]:
        """`E φ`, `Cov φ` and `E[φ zᵀ]` (0 columns unless the noise is Gaussian) of `φ = (x' − x)/τ`.

        A `τ` so small that `x' − x` is rounding is reached along the line through two larger ones.
        """
        if self.larger is None:
            return self._moments(t, x)
        (near, one), (far, other) = ((each.chain.tau, each._moments(t, x)) for each in self.larger)
        share = (self.chain.tau - near) / (far - near)
        mean, covariance, along = (a + share * (b - a) for a, b in zip(one, other, strict=True))
        return mean, covariance, along

    def _moments(self, t: float, x: Float[Tensor, "paths state"]) -> tuple[Tensor, Tensor, Tensor]:
        many = max(1, HELD // (len(self.weights) if self.law.exact else LARGEST**self.dim))
        rows = [self._some(t, part) for part in x.split(many)]
        mean, covariance, along = (torch.cat(column) for column in zip(*rows, strict=True))
        return mean, covariance, along

    def _some(self, t: float, x: Float[Tensor, "paths state"]) -> tuple[Tensor, Tensor, Tensor]:
        y, weights, z = self.nodes(t, x)
        paths, count = weights.shape
        moved = self.moved(x.repeat_interleave(count, 0), y.flatten(0, 1), t).reshape(paths, count, -1)
        phi = (moved - x.unsqueeze(1)) / self.chain.tau
        mean = torch.einsum("pk,pks->ps", weights, phi)
        centred = phi - mean.unsqueeze(1)
        weighted = (weights.unsqueeze(2) * centred).mT
        along = weighted @ z if self.law.paired and not self.law.exact else weighted[..., :0]
        return mean, weighted @ centred, along


def _panels(split: Float[Tensor, "lines cuts"], level: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for `N(0, 1)`, in panels that end at these numbers."""
    few, many = COUNTS[level]
    points, weights = (each.to(split) for each in legendre(few if split.shape[1] else many))
    edge = split.new_full((len(split), 1), REACH)
    ends = torch.cat((-edge, split.clamp(-REACH, REACH), edge), 1)
    half = 0.5 * (ends[:, 1:] - ends[:, :-1]).unsqueeze(2)
    z = (ends[:, :-1].unsqueeze(2) + half * (1 + points)).flatten(1)
    return z, (half * weights).flatten(1) * torch.exp(-0.5 * z * z) / (2 * torch.pi) ** 0.5
