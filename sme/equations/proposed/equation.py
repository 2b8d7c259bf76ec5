"""An equation that somebody proposes, by its drift and diffusion: a paper's, or one of your own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import first_or_second, short, whole
from sme.common.process.turns import entry
from sme.equations.base import Equation, Maker, X, join
from sme.equations.proposed.functions import RESERVED, asked, call
from sme.equations.proposed.units import TIME, Of, factor, factors, letters, values
from sme.optimizers.base import Optimizer, State
from sme.optimizers.layout import Layout
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.optimizers.regimes import regime as named
from sme.problems.base import Problem

MOST = 4096
"""motions of an equation: more are surely a slip"""
LONGEST = 60
"""characters of a name"""
OWN = "own"
"""what it is called in tables and folders"""


@dataclass(frozen=True, eq=False, repr=False)
class Proposed:
    """An equation that somebody proposes, of any problem and optimizer with its fields: see `equation`, which makes it."""

    drift: Callable[..., Mapping[str, Any]]
    diffusion: Callable[..., Mapping[str, Any]] | None
    motions: int | None
    order: int
    units: Mapping[str, Of]
    symbols: Mapping[str, Of]
    name: str

    def at(self, problem: Problem, optimizer: Optimizer, tau: float, regime: str | Regime = "ballistic") -> "ProposedEquation":
        """The equation of one problem and optimizer at a step size, in scaled variables."""
        return Bound(self, named(regime) == BALLISTIC)(problem, optimizer, tau, self.order, "independent")

    def asks(self) -> dict[str, tuple[str, ...]]:
        """What its functions ask for by name."""
        there = {"drift": self.drift, **({} if self.diffusion is None else {"diffusion": self.diffusion})}
        return {what: asked(what, function, tuple(self.symbols)) for what, function in there.items()}

    def describe(self) -> dict[str, object]:
        """What tells it from others: its functions, which a study's name takes by their code and what they read."""
        return {"drift": self.drift, "diffusion": self.diffusion, "motions": self.motions, "order": self.order,
                "units": dict(self.units), "symbols": dict(self.symbols)}

    def __repr__(self) -> str:
        count = "the noise's" if self.motions is None else self.motions
        return f"<sme.equation {self.name!r}: order {self.order}, {count} motions>"


@entry
def equation(drift: Callable[..., Mapping[str, Any]], diffusion: Callable[..., Mapping[str, Any]] | None = None, *,
             motions: int | None = None, order: int = 2, units: Mapping[str, Any] | None = None,
             symbols: Mapping[str, Any] | None = None, name: str = OWN) -> Proposed:
    """An equation of your own or of a paper, `dX = drift dt + diffusion[dW]`, for `model=` of every study.

    Parameters
    ----------
    drift
        `drift(state, tau, t)`: from named fields `(paths, d)` to as many, every field of the optimizer; a number stands for a
        field of it. What else it has arguments for, it is given by name: `problem` (with `gradient(theta)`, `hessian(theta, u)`,
        `third(theta, u, w)`, `noise.diffuse(theta, dW)`, `noise.variance(theta)`), `optimizer`, and the `symbols`.
    diffusion
        `diffusion(state, dW, tau, t)`: the product with increments `dW` of `(paths, motions)`, linear in them; fields without
        noise may be left out. The first motions are those that drive the discrete run: `noise.diffuse` takes `noise.motions`
        of them. None: an ordinary equation.
    motions
        how many Brownian motions there are; default those of the noise, `noise.motions`, or none without a diffusion.
    order
        the weak order that it is given with, 1 or 2, which the studies hold it against.
    units
        where the functions are in a paper's variables: by field, the power `p` of `τ` (or a function of `τ`) by which the scaled
        field is multiplied to be the paper's, `X = τᵖ x`; as `time` that of the time. State, `t` and `dW` come in the
        paper's units, and what is returned goes back. So `{"v": -1}` is the physical `v` of the batch-equivalent
        regime, and `{"time": -1}` a time that counts steps. `tau` is always the step size.
    symbols
        the paper's letters: numbers, or functions of `τ`, handed over by name, as `{"eta": lambda tau: tau**0.5}`.
    name
        what tables and folders call it.

    Returns
    -------
    What `model=` takes in `sme.weak_error`, `sme.trajectories`, `sme.check_order`, `sme.plan` and `Study.compare`, and by its
    dotted path on the command line, `model=mine.paper`. Nothing is claimed of it but what is measured.

    Raises
    ------
    SMEError
        for what is no function, takes other arguments, or for units, symbols or numbers that are none.
    """
    count = None if motions is None else whole("motions", motions, 0, MOST)
    if diffusion is None and count:
        raise SMEError(f"motions = {count}, and there is no diffusion that takes them: give diffusion=…, or leave motions out")
    if diffusion is not None and count == 0:
        raise SMEError("diffusion takes increments dW of (paths, motions), and motions is 0: give their number, motions=…")
    if not first_or_second(order):
        raise SMEError(f"order must be 1 or 2, the one that the equation is given with, got {short(order)}")
    if not isinstance(name, str) or not name.isidentifier() or len(name) > LONGEST:
        raise SMEError(f"name must be letters, digits and _, {LONGEST} at most, for it is in folders' names, got {short(name)}")
    count = 0 if diffusion is None else count
    made = Proposed(drift, diffusion, count, int(order), factors(units), letters(symbols, RESERVED), name)
    made.asks()
    return made


class ProposedEquation(Equation):
    """A proposed equation of one problem and optimizer, in scaled variables; its first motions are those of the discrete run.

    With the units `X = a x`, `s = b t` of fields and time: `dx = (b/a) drift(X, τ, s) dt + (1/a) diffusion(X, √b dW, τ, s)`.
    """

    small_noise = False

    def __init__(self, proposed: Proposed, problem: Problem, optimizer: Optimizer, tau: float, order: int,
                 brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        self.proposed = proposed
        self.count = self.law.motions if proposed.motions is None else proposed.motions
        self.first = self.law.motions if self.count else 0
        self.second = max(0, self.count - self.law.motions)
        self.remembers = False
        self.asks = proposed.asks()

    obstructed = ""
    bilinear = False

    def second_noise(self, theta: Tensor, dW: Tensor) -> float:
        return 0.0

    def _unit(self, name: str) -> Any:
        return factor(self.proposed.units, name, self.tau)

    def _state(self, x: X) -> State:
        """The fields in the paper's units."""
        return {name: self._unit(name) * field if name in self.proposed.units else field
                for name, field in Layout(self.optimizer.fields, self.problem.dim).named(x).items()}

    def _beside(self, what: str) -> dict[str, Any]:
        """What a function asks for by name."""
        there = {"problem": self.problem, "optimizer": self.optimizer, **values(self.proposed.symbols, self.tau)}
        return {name: there[name] for name in self.asks[what]}

    def _back(self, given: State, rate: Any) -> X:
        """Rates of the paper's fields as those of the scaled ones."""
        plain = isinstance(rate, float) and rate == 1.0
        return join(*(field if plain and name not in self.proposed.units else rate / self._unit(name) * field
                      for name, field in given.items()))

    def drift(self, t: float, x: X) -> X:
        clock = self._unit(TIME)
        given = call("drift", self.proposed.drift, self._state(x), (self.tau, clock * t), self._beside("drift"), True)
        return self._back(given, clock)

    def diffuse(self, t: float, x: X, dW: Tensor) -> X:
        if self.proposed.diffusion is None:
            return torch.zeros_like(x)
        clock = self._unit(TIME)
        own = clock**0.5 * dW[:, : self.count]
        given = call("diffusion", self.proposed.diffusion, self._state(x), (own, self.tau, clock * t),
                     self._beside("diffusion"), False)
        return self._back(given, 1.0)


class SmallProposed(ProposedEquation):
    """The same with noise of size `O(√τ)`, which chooses the scheme."""

    small_noise = True


@dataclass(frozen=True, eq=False)
class Bound(Maker):
    """A proposed equation in one regime: a kind of equation, as a class of them is."""

    proposed: Proposed
    small: bool

    @property
    def __name__(self) -> str:  # type: ignore[override]
        return self.proposed.name

    def parts(self, problem: Problem) -> tuple[str, ...]:
        """No part of the code beside the core."""
        return ()

    def __call__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> ProposedEquation:
        for name in self.proposed.units:
            if name not in (TIME, *optimizer.fields):
                raise SMEError(f"units has {name!r}, and {optimizer.name} has the fields {', '.join(optimizer.fields)}: name one "
                               f"of these, or {TIME!r}")
        kind = SmallProposed if self.small else ProposedEquation
        return kind(self.proposed, problem, optimizer, tau, order, brownian)
