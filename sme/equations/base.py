"""A modified equation: drift and diffusion of an Itô equation that depends on τ."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.process.turns import Turns
from sme.equations.drivers.names import MEMORIES
from sme.equations.formula.description import Description, describe
from sme.equations.formula.formula import Formula, formula_of
from sme.optimizers.base import Optimizer
from sme.optimizers.memory import check_memory
from sme.optimizers.preconditioner import Preconditioner, above, preconditioner
from sme.problems.base import Problem

X = Float[Tensor, "paths state"]


class Equation(Turns, ABC):
    """`dx = drift(t, x) dt + G(t, x) dW` for the whole state `x = (θ, …)`, fields side by side.

    Parameters
    ----------
    problem, optimizer
        what it models.
    tau
        step size `τ`; the coefficients depend on it.
    order
        1 or 2.
    brownian
        what drives it (`sme.equations.drivers`): `"independent"`, `"step_memory"`, `"fast_memory"`, `"poisson"`, or `"none"` (no
        motion at all; order 1 in the ballistic regime).

    Attributes
    ----------
    first, second
        how many Brownian motions of the first kind (`S dW¹`, on the parameters or the momentum)
        and of the second (on the second moment) `diffuse` expects, in this order.
    remembers
        whether the noise has a part `R[y, dW¹]`, `y` the first motion since the optimizer's step began.
    fades
        whether it has that part with a fading average of the past noise, `dỹ = −(4/τ) ỹ dt + 2 S dW`, in the place of `S y`.
    jumps
        of each of the motions the mean number of unit jumps in an optimizer's step, where they count jumps; else None.
    epoch
        the steps over which the first motion ends where it began, a bridge; 0 if it does not.
    small_noise
        whether the noise is `O(√τ)`.
    exponent
        the memory exponent `q` of `1 − β = c τ^q` that it is for.
    shared
        whether an evaluation costs so much that one for all paths, outside compiled code, is cheaper.
    samples
        whether drift and noise of a run are sampled, from fresh noisy gradients in every substep.
    repeats
        whether an evaluation does the same operations again and again, so that a record of them pays.
    shifted
        whether a jump of the drift is taken where the state is half a step later, so that crossing it costs no order.
    bounded
        whether it is stable exactly where the optimizer is, whatever the step size: no series in `τ` need converge.
    latex
        of a closed form, the formulas of its terms by `"term, field"` (see `Description`).
    """

    small_noise: ClassVar[bool]
    numerics: ClassVar[tuple[str, ...]] = ()
    exponent: ClassVar[float] = 1.0
    shared: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    shifted: ClassVar[bool] = False
    bounded: ClassVar[bool] = False
    samples: ClassVar[bool] = False
    latex: ClassVar[Mapping[str, str]] = {}

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        check_memory(optimizer, self.exponent)
        self.problem, self.optimizer, self.law = problem, optimizer, problem.noise
        self.tau, self.order, self.brownian = tau, order, brownian
        self.first = self.law.motions if brownian != "none" else 0
        self.second = self.law.second_motions if brownian == "independent" and self.squares_noise() else 0
        recalls = brownian in MEMORIES and (self.small_noise or order == 2)
        self.remembers, self.fades = recalls and brownian == "step_memory", recalls and brownian == "fast_memory"
        self.jumps: Float[Tensor, " first"] | None = None
        self.epoch = 0

    @classmethod
    def parts(cls, problem: Problem) -> tuple[str, ...]:
        """The parts of the code that it uses for a problem, beside the core (see `numerics`)."""
        return cls.numerics

    def squares_noise(self) -> bool:
        """Whether the second motion enters at this order."""
        return "v" in self.optimizer.fields and (self.small_noise or self.order == 2)

    def third_moments(self) -> bool:
        """Whether one step has third moments of order `τ²` that no Itô equation with independent motions has."""
        return not self.small_noise and "v" in self.optimizer.fields

    @property
    def obstructed(self) -> str:
        """The symbol of the residue that keeps this equation from order 2; empty if there is none."""
        return "T₃" if self.brownian == "independent" and self.third_moments() else ""

    @property
    def bilinear(self) -> bool:
        """Whether the second noise is a product of two motions, not linear in one."""
        return self.law.bilinear and self.second > 0

    @property
    def motions(self) -> int:
        """`first + second`."""
        return self.first + self.second

    @property
    def hidden(self) -> int:
        """Numbers that a path has beside the optimizer's: the average of its past noise."""
        return self.problem.dim if self.fades else 0

    def split(self, x: X) -> tuple[Tensor, ...]:
        """The fields of `x`, in the optimizer's order, as views."""
        return x.split(self.problem.dim, dim=-1)

    def precondition(self, v: Tensor, eps: float | Tensor) -> Preconditioner:
        """`P(v)` and `P'(v)` with the optimizer's floor, which is passed over where no path is near it."""
        level = self.optimizer.v_floor
        return preconditioner(v, eps, 0.0 if above(v, level) else level)

    def second_noise(self, theta: Tensor, dW: Float[Tensor, "paths motions"]) -> Tensor | float:
        """The independent noise of `gradient.square`; 0 without a second motion."""
        return self.law.second(theta, dW[:, self.first :]) if self.second else 0.0

    def square_memory(self, theta: Tensor, past: Float[Tensor, "paths d"], dW: Float[Tensor, "paths first"]) -> Tensor:
        """`2 ỹ∘(S dW)`, the noise of `gradient.square` that remembers `ỹ`."""
        return 2 * past * self.law.diffuse(theta, dW)

    @abstractmethod
    def drift(self, t: float, x: X) -> X:
        """`b(x) + τ b₁(x)`; `b` alone at order 1."""

    @abstractmethod
    def diffuse(self, t: float, x: X, dW: Float[Tensor, "paths motions"]) -> X:
        """`G(x) dW`, a product: no diffusion matrix is formed."""

    def memory(self, t: float, x: X, y: Float[Tensor, "paths first"], dW: Float[Tensor, "paths first"]) -> X:
        """`R[y, dW]`, bilinear."""
        return self.recall(t, x, self.law.diffuse(x[:, : self.problem.dim], y), dW)

    def recall(self, t: float, x: X, past: Float[Tensor, "paths d"], dW: Float[Tensor, "paths first"]) -> X:
        """`R[y, dW]` as a function of `ỹ = S y`, all that it depends on."""
        return torch.zeros_like(x)

    def memory_trace(self, t: float, x: X) -> X:
        """`Σ_j R[e_j, e_j]`."""
        return torch.zeros_like(x)

    def remember(self, t: float, x: X, y: Float[Tensor, "paths first"], dW: Float[Tensor, "paths first"], dt: float) -> X:
        """`R[y, dW]` over a substep, with its Milstein part: `R[y + ½dW, dW] − ½ dt Σ_j R[e_j, e_j]`."""
        return self.memory(t, x, y + 0.5 * dW, dW) - 0.5 * dt * self.memory_trace(t, x)

    def recollect(self, t: float, x: X, past: Float[Tensor, "paths d"], dW: Float[Tensor, "paths first"], dt: float) -> X:
        """The same of a fading average: `R[ỹ + ½ S dW, dW] − ½ dt Σ_j R[S e_j, e_j]`."""
        own = self.kept(t, x, dW)
        return self.recall(t, x, past + 0.5 * own, dW) - 0.5 * dt * self.memory_trace(t, x)

    def kept(self, t: float, x: X, dW: Float[Tensor, "paths first"]) -> Float[Tensor, "paths d"]:
        """`S dW`, what the average of the past noise takes in."""
        return self.law.diffuse(x[:, : self.problem.dim], dW)

    def explicit(self) -> "Equation":
        """The same with `drift` and `diffuse` for its own motions; another one than itself where it is sampled."""
        return self

    def remark(self, t: float, x: Float[Tensor, "1 state"]) -> str:
        """What there is to say of it at one state, beside its terms."""
        return ""

    def describe(self, state: Mapping[str, Tensor], t: float | None = None) -> Description:
        """The terms of this equation at one state: how large each is, and its formula.

        Parameters
        ----------
        state
            named fields, tensors `(d,)`; `m` defaults to 0, `v` to 1.
        t
            the time; default the optimizer's `t0`.

        Raises
        ------
        SMEError
            for a missing or unknown field, a wrong shape, a value that is not finite, or `v < 0`.
        """
        return describe(self, state, t)

    def formula(self, elementwise: bool | None = None) -> Formula:
        """This equation in the letters of its update rule (`sme.formula`), entry by entry unless the problem has one parameter.

        Raises
        ------
        SMEError
            for an equation that is not derived here, and as `sme.formula`.
        """
        return formula_of(self, self.problem.dim > 1 if elementwise is None else elementwise)


class Maker(ABC):
    """What makes an equation of what it models, as a class of equations does."""

    __name__: str
    exponent: float = 1.0

    @abstractmethod
    def parts(self, problem: Problem) -> tuple[str, ...]:
        """The parts of the code that it uses for a problem, beside the core (see `numerics`)."""

    @abstractmethod
    def __call__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> Equation:
        """The equation at a step size."""


Kind = type[Equation] | Maker


def check_kind(kind: object) -> None:
    """Raise `SMEError` for what is no class of equations."""
    if not (isinstance(kind, type) and issubclass(kind, Equation)):
        given = f"an instance of {type(kind).__name__}" if isinstance(kind, Equation) else repr(kind)
        raise SMEError(f"kind must be a class of equations, got {given[:80]}: give the class itself, a subclass of "
                       "sme.Equation that sets small_noise and defines drift(t, x) and diffuse(t, x, dW); it is made from "
                       "(problem, optimizer, tau, order, brownian). Two functions make an equation by "
                       "model=sme.equation(drift=…, diffusion=…)")


def join(*fields: Float[Tensor, "paths d"]) -> X:
    """The fields side by side, stored field by field (fast to split and to compute with)."""
    return torch.cat([field.T for field in fields]).T
