"""What the closure asks of a discrete run and of an equation: mean, covariance and third cumulant of their increments."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sme.common.errors import SMEError
from sme.convergence.estimator.closure import noise
from sme.equations.base import Equation
from sme.equations.chain import Chain
from sme.equations.order.one_step import Generator
from sme.optimizers.base import updated
from sme.optimizers.regimes import Gradient

X = Float[Tensor, "paths state"]
Covariance = Float[Tensor, "paths state state"]
Third = Float[Tensor, "paths state state state"]
NODES = 400
"""draws of one step that a rule is summed over which is not affine in gradient and square"""
AFFINE = 1e-8
"""share of a change of the inputs, above rounding, that the rest of a rule that is affine in them may make"""
COLUMNS = 1000
DRIVERS = ("none", "independent", "step_memory")


class Rates(ABC):
    """The first three cumulants of an increment, per unit of time, at many states."""

    @abstractmethod
    def mean(self, x: X, t: float) -> X: ...

    @abstractmethod
    def covariance(self, x: X, t: float) -> Covariance: ...

    def third(self, x: X, t: float) -> Third:
        """0 unless it is overridden."""
        return x.new_zeros(len(x), *[x.shape[1]] * 3)

    def still(self, x: X, times: list[float]) -> bool:
        """Whether they are the same at these times, from a few of them."""
        first, *others = ((self.mean(x, t), self.covariance(x, t)) for t in {times[0], times[len(times) // 2], times[-1]})
        return all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


class ChainRates(Rates):
    """Of the discrete run: `F = (x' − x)/τ`, its mean `f̄`, `Cov F` and `κ₃(F)`.

    A rule whose step is affine in `gradient.step` and `gradient.square` takes the noise's own moments; another a sum over draws.

    Raises
    ------
    SMEError
        for a rule of signs, a law without moments, or too many draws.
    """

    def __init__(self, chain: Chain, x: X, t: float) -> None:
        self.chain, self.tau, self.law = chain, chain.tau, chain.problem.noise
        self.scaled, self.unit = chain.tau ** (chain.regime.mean_power / 2), chain.tau ** (chain.regime.step_power / 2)
        if chain.optimizer.signed:
            raise SMEError(f"{chain.optimizer.name} steps by signs, which are not smooth in the noise")
        noise.check(self.law)
        self.draws, self.weights = noise.draws(self.law)
        self.affine = self._affine(x, t)
        if not self.affine and len(self.draws) > NODES:
            raise SMEError(f"a step of {chain.optimizer.name} is not affine in gradient and square, and one step has "
                           f"{len(self.draws)} draws")

    def _theta(self, x: X) -> X:
        return x[:, : self.chain.problem.dim]

    def _step(self, x: X, scaled: X, square: X, t: float) -> X:
        """The state after a step on these inputs, which need not be those of one gradient."""
        chain = self.chain

        def update(state: dict[str, Tensor], scaled: Tensor, square: Tensor) -> dict[str, Tensor]:
            return updated(chain.optimizer, state, Gradient(self.unit * scaled, square, None, (scaled, self.unit)), self.tau, t)

        return chain.layout.whole(vmap(update)(chain.layout.named(x), scaled, square))

    def _means(self, x: X) -> tuple[X, X]:
        theta = self._theta(x)
        scaled = self.scaled * self.chain.mean(theta)
        return scaled, scaled * scaled + self.law.variance(theta)

    def _affine(self, x: X, t: float) -> bool:
        scaled, square = self._means(x)
        away = 0.3 * (1 + scaled.abs()), 0.3 * (1 + square.abs())
        here, one, other, both = (self._step(x, scaled + a * away[0], square + b * away[1], t)
                                  for a, b in ((0, 0), (1, 0.5), (-0.5, 1), (0.5, 1.5)))
        moved = (one - here).abs() + (other - here).abs()
        return bool(((both - one - other + here).abs() <= AFFINE * moved + 1e-14 * here.abs()).all())

    def _ends(self, x: X, t: float) -> Float[Tensor, "draws paths state"]:
        """Where each state may be after a step, in `F`."""
        chain, many = self.chain, len(self.draws)
        every = x.repeat(many, 1)
        theta, z = self._theta(every), self.draws.repeat_interleave(len(x), 0)
        ends = chain.moved(chain.layout.named(every), self.law.noisy(theta, z, chain.mean, self.scaled), t)
        found: Tensor = ((chain.layout.whole(ends) - every) / self.tau).reshape(many, *x.shape)
        return found

    def mean(self, x: X, t: float) -> X:
        if self.affine:
            return (self._step(x, *self._means(x), t) - x) / self.tau
        return torch.einsum("z,zpi->pi", self.weights, self._ends(x, t))

    def covariance(self, x: X, t: float) -> Covariance:
        if not self.affine:
            centred = (ends := self._ends(x, t)) - torch.einsum("z,zpi->pi", self.weights, ends)
            return torch.einsum("z,zpi,zpj->pij", self.weights, centred, centred)
        scaled, square = self._means(x)
        noise_, cross, squares = noise.joint(self.law, self._theta(x))
        twice = 2 * scaled
        one = torch.cat((noise_, noise_ * twice.unsqueeze(1) + cross), 2)
        mixed = one[:, :, scaled.shape[1] :].mT
        both = twice.unsqueeze(2) * (noise_ * twice.unsqueeze(1) + cross) + cross.mT * twice.unsqueeze(1) + squares
        every = torch.cat((one, torch.cat((mixed, both), 2)), 1)
        slopes = self._slopes(x, scaled, square, t)
        return slopes @ every @ slopes.mT

    def _slopes(self, x: X, scaled: X, square: X, t: float) -> Float[Tensor, "paths state inputs"]:
        """The derivative of `F` by the scaled gradient and the square."""
        d = scaled.shape[1]
        shifts = torch.cat((x.new_zeros(1, 2 * d), torch.eye(2 * d, dtype=x.dtype)))
        count = len(shifts)
        inputs = torch.cat((scaled, square), 1).repeat(count, 1) + shifts.repeat_interleave(len(x), 0)
        ends = self._step(x.repeat(count, 1), inputs[:, :d], inputs[:, d:], t).reshape(count, *x.shape)
        return torch.movedim(ends[1:] - ends[0], 0, -1) / self.tau

    def third(self, x: X, t: float) -> Third:
        found = []
        for part in x.split(max(1, 2**15 // len(self.draws))):
            centred = (ends := self._ends(part, t)) - torch.einsum("z,zpi->pi", self.weights, ends)
            square = torch.einsum("z,zpi,zpj->pzij", self.weights, centred, centred).flatten(2)
            found.append((square.mT @ centred.transpose(0, 1)).reshape(len(part), *[x.shape[1]] * 3))
        return torch.cat(found)


class EquationRates(Rates):
    """Of an equation: its drift, `G Gᵀ`, and with step memory the cumulants that `R[y, dW]` adds over a whole step.

    Raises
    ------
    SMEError
        for another driver, or too many columns of the noise.
    """

    def __init__(self, equation: Equation) -> None:
        if equation.brownian not in DRIVERS:
            raise SMEError(f"the cumulants of driver='{equation.brownian}' are not known here")
        self.equation, self.tau = equation, equation.tau
        self.generator = Generator(equation, lambda z: z)
        if len(self.generator.motions) > COLUMNS:
            raise SMEError(f"the equation's noise has {len(self.generator.motions)} columns")

    def mean(self, x: X, t: float) -> X:
        return self.equation.drift(t, x)

    def _columns(self, x: X, t: float) -> Float[Tensor, "paths state columns"]:
        many = len(self.generator.motions)
        if not many:
            return x.new_zeros(*x.shape, 0)
        dW = self.generator.motions.repeat_interleave(len(x), 0)
        return torch.movedim(self.equation.diffuse(t, x.repeat(many, 1), dW).reshape(many, *x.shape), 0, -1)

    def _memory(self, x: X, t: float) -> Float[Tensor, "paths state first first"]:
        """`½ (R[e_j, e_k] + R[e_k, e_j])`."""
        n = self.equation.first
        one, other = torch.cartesian_prod(torch.arange(n), torch.arange(n)).unbind(-1) if n > 1 else torch.zeros(2, 1).long()
        units = torch.eye(n, dtype=x.dtype)
        y, dW = (units[each].repeat_interleave(len(x), 0) for each in (one, other))
        found = torch.movedim(self.equation.memory(t, x.repeat(n * n, 1), y, dW).reshape(n, n, *x.shape), (0, 1), (-2, -1))
        return 0.5 * (found + found.mT)

    def covariance(self, x: X, t: float) -> Covariance:
        columns = self._columns(x, t)
        found = columns @ columns.mT
        if self.equation.remembers:
            memory = self._memory(x, t).flatten(2)
            found = found + 0.5 * self.tau * memory @ memory.mT
        return found

    def third(self, x: X, t: float) -> Third:
        if not self.equation.remembers:
            return super().third(x, t)
        g, r, tau = self._columns(x, t), self._memory(x, t), self.tau
        found = tau * torch.einsum("paj,pbk,pcjk->pabc", g, g, r)
        return (found + found.permute(0, 1, 3, 2) + found.permute(0, 3, 2, 1)
                + tau**2 * torch.einsum("paij,pbjk,pcki->pabc", r, r, r))
