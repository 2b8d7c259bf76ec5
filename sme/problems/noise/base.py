"""What every law of the gradient noise can be asked."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import jvp

from sme.common.errors import SMEError
from sme.common.identity.hashing import PACKAGE
from sme.common.process.turns import Turns
from sme.optimizers.regimes import Regime
from sme.problems.noise import quadrature as rules

Paths = Float[Tensor, "paths d"]
Matrix = Float[Tensor, "paths d d"]


class Stream(Protocol):
    """A source of random numbers at one step of a run."""

    @property
    def number(self) -> int:
        """of the step"""

    def normal(self, *shape: int) -> Tensor: ...

    def integers(self, high: int, *shape: int) -> Int[Tensor, "..."]: ...

    def before(self, steps: int) -> "Stream":
        """The source so many steps earlier, as it was at first."""


class Named(NamedTuple):
    """How a law is made by a name, for the model problems."""

    make: Callable[[Tensor, float, float], "GradientLaw"]
    """from the problem's factor, the size of its noise, and the value of the setting"""
    setting: str = ""
    """of its own; empty: it has none"""
    default: float = math.nan


NAMED: dict[str, Named] = {}
"""the package's laws by name: each stands with its class, under `names`"""
ORTHOGONAL = 1e-12
"""a correlation of the noise below which it is rounding"""


class GradientLaw(Turns, ABC):
    """The law of the gradient noise `S z`, with `E z = 0`, `Cov z = I` and `Σ = S Sᵀ`.

    A law owns its randomness: how many Brownian motions its equation needs, how the discrete
    run draws, and all products with `S`. The matrix `Σ` itself is never formed.
    """

    motions: int
    """Brownian motions behind `S dW¹`."""
    second_motions: int
    """independent Brownian motions behind the noise of `gradient.square`."""
    constant: bool
    """whether `S` is the same at every θ."""
    paired: bool
    """whether the discrete draw is the equation's increment itself."""
    coupled = False
    """whether the discrete draw sees the equation's increment though it is not that."""
    independent_steps = True
    """whether the draws of different steps are independent"""
    transforms = False
    """whether a step takes a function of the noisy gradient, whose mean is not `∇f`"""
    skewed = False
    """whether `E z⊗³` is not 0."""
    apart = False
    """whether the noise is independent between parameters, and is not Gaussian."""
    lack = ""
    """what is wrong with the derivatives of its own gradients, in words, so that there is no order 2"""
    moments = math.inf
    """`E |z|^p` is finite for `p` below this."""
    numerics: tuple[str, ...] = ()
    """the parts of the code that it comes from beside the core (see `numerics`)"""
    bilinear = False
    """whether the second noise is a product of two motions, not linear in one."""
    signs: tuple[range, ...] = ()
    """the second motions whose signs alone are read, which stay through a substep of the coarsest level"""
    dense = False
    """whether it knows its `covariance`, a matrix of few parameters"""
    counted = 0
    """so many places among the motions are the draw of a step, of which only how often each comes matters; 0 if it is another"""
    tallied: Callable[[Paths, Float[Tensor, "paths motions"]], Paths]
    """`S z` at θ of a draw that is `counted`, from how often it has each place"""
    covariance: Callable[[Paths], Matrix]
    """`Σ` at θ, where the law is `dense`"""
    dim = 0
    """parameters of the problem, where the law knows it"""
    responds = False
    """whether the control variates follow the equation's own response to it, from substep to substep"""
    exact = False
    """whether its one rule carries the whole law"""
    names: ClassVar[Mapping[str, Named]] = {}
    """what the model problems call it (`law=`): once for each way to make it"""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__module__.partition(".")[0] == PACKAGE:
            NAMED.update(vars(cls).get("names", {}))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(motions={getattr(self, 'motions', None)})"

    @abstractmethod
    def check(self, dim: int) -> None:
        """Raise `SMEError` if the law does not fit `dim` parameters."""

    def bound(self, gradient: Callable[[Paths], Paths]) -> "GradientLaw":
        """The same law as the noise of a problem with this `∇f`."""
        return self

    def check_mean(self, theta: Paths, gradient: Paths) -> None:
        """Raise `SMEError` if the law's own mean gradient is not the loss's `gradient` at `theta`."""

    def mean(self, theta: Paths, gradient: Callable[[Paths], Paths]) -> Paths:
        """`∇f(θ)` of the discrete run: `gradient`, or where a law has gradients of its own their mean."""
        return gradient(theta)

    @abstractmethod
    def draw(self, increment: Float[Tensor, "paths motions"] | None, tau: float,
             stream: Stream, paths: int) -> Tensor:
        """The discrete run's draw `z`, given the equation's increment over the step if paired or coupled."""

    @abstractmethod
    def sample(self, theta: Paths, z: Tensor) -> Paths:
        """`S(θ) z`, the gradient noise of one discrete step."""

    def noisy(self, theta: Paths, z: Tensor, mean: Callable[[Paths], Paths], share: float) -> Paths:
        """`share ∇f(θ) + S(θ) z` with `mean` for `∇f`, where a law has a shorter way to it."""
        return share * mean(theta) + self.sample(theta, z)

    @abstractmethod
    def diffuse(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> Paths:
        """`S(θ) dW¹`."""

    def diffuse_square(self, theta: Paths, dW: Float[Tensor, "paths motions"]) -> tuple[Paths, Tensor]:
        """`S(θ) dW¹` and the part of the noise of `ĝ∘ĝ` that goes with it beside `2 ∇f∘S dW¹`.

        The latter carries the third moments and is 0 for a Gaussian law.
        """
        noise = self.diffuse(theta, dW)
        return noise, torch.zeros_like(noise)

    @abstractmethod
    def second(self, theta: Paths, dW: Float[Tensor, "paths second_motions"]) -> Paths:
        """The independent noise of `ĝ∘ĝ`, `√2 (Σ∘Σ)^{1/2} dW²` for a Gaussian law."""

    def second_columns(self) -> Float[Tensor, "columns second_motions"]:
        """Increments `dW²` whose images under `second` are the columns of a factor of its covariance."""
        n = self.second_motions
        return product_columns(self.motions) if self.bilinear and n else torch.eye(n, dtype=torch.float64)

    @abstractmethod
    def variance(self, theta: Paths) -> Paths:
        """`diag Σ(θ)`."""

    def spread(self, theta: Paths) -> Paths:
        """The variance or, where there is none, another squared size of the noise."""
        return self.variance(theta)

    @abstractmethod
    def third(self, theta: Paths) -> Paths:
        """`κ_iii = E (S z)_i³`."""

    @abstractmethod
    def fourth(self, theta: Paths) -> Paths:
        """`μ_iiii = E (S z)_i⁴`."""

    def sign_mean(self, theta: Paths, g: Paths) -> Paths:
        """`E sign(g + S z)`, where the law knows it.

        Raises
        ------
        SMEError
            where it does not.
        """
        raise SMEError("the sign of this noise has no moments in closed form: use sme.GaussianNoise, or sme.DistributionNoise "
                       "with its distribution function")

    def quadrature(self) -> Iterator[rules.Rule]:
        """Finer and finer rules for the draw `z` of one step, one alone if it is `exact`; by default those of `N(0, I)`."""
        return rules.gaussian(self.motions)

    def quadrature_at(self, theta: Float[Tensor, " d"], g: Float[Tensor, " d"]) -> Iterator[rules.Rule]:
        """`quadrature` for one `θ` with `∇f(θ) = g`, where the function that is integrated has kinks that depend on them."""
        return self.quadrature()

    @property
    def footprint(self) -> int:
        """Numbers of one path that are held at once, beside its state and motions."""
        return 0

    @property
    def cumulants(self) -> tuple[float, float] | None:
        """Skewness and excess kurtosis of the independent components; None where there are none."""
        return (0.0, 0.0) if self.paired else None

    def correlated(self, points: Paths) -> bool:
        """Whether the Gaussian noise of one parameter goes with that of another, at some of these points."""
        if not self.paired:
            return False
        units = torch.eye(self.motions, dtype=torch.float64)
        columns = torch.stack([self.diffuse(points, unit.expand(len(points), -1)) for unit in units], -1)
        covariance = columns @ columns.mT
        return bool((covariance - torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))).abs().max() > ORTHOGONAL)

    def square_variance(self, theta: Paths, g: Paths) -> Paths:
        """`Var ĝ_i² = 4 g² σ + 4 g κ + μ − σ²` of the scaled gradient `ĝ = g + S z`."""
        sigma = self.variance(theta)
        return 4 * g * (g * sigma + self.third(theta)) + self.fourth(theta) - sigma * sigma

    def variance_slope(self, theta: Paths, u: Paths) -> Paths:
        """The derivative of `diag Σ` along `u`."""
        if self.constant:
            return torch.zeros_like(u)
        return jvp(self.variance, (theta,), (u,))[1]

    def diffuse_slope(self, theta: Paths, u: Paths, dW: Float[Tensor, "paths motions"]) -> Paths:
        """The derivative of `S(θ) dW¹` along `u`."""
        if self.constant:
            return torch.zeros_like(u)
        return jvp(lambda point: self.diffuse(point, dW), (theta,), (u,))[1]

    def physical(self, regime: Regime, tau: float) -> dict[str, object]:
        """What the scaled noise is for torch.optim: the covariance in units of `Σ`."""
        return {"noise covariance": "Σ" if regime.mean_power == 0 else f"{1 / tau:g} Σ"}

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """What identifies this law, in words."""

    def to(self, device: torch.device) -> "GradientLaw":
        """The same law with its tensors on `device`."""
        return self


def product_columns(n: int) -> Float[Tensor, "columns motions"]:
    """Of `(S dV)∘(S ζ)`, bilinear in `dV` and the signs `ζ` of `n` motions, which one more turns."""
    units = torch.eye(2 * n + 1, dtype=torch.float64)
    return torch.stack([units[j] + units[n + k] + units[2 * n] for j in range(n) for k in range(n)])
