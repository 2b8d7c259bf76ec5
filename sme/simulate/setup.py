"""What a run at one step size needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.base import Equation, Kind
from sme.equations.chain import Chain
from sme.equations.registry import equation
from sme.optimizers.base import Optimizer, State
from sme.optimizers.grid import StepGrid
from sme.optimizers.layout import Layout
from sme.optimizers.regimes import BALLISTIC, Regime
from sme.problems.base import Problem
from sme.simulate.control_variates.controls import Responses
from sme.simulate.integrators.schemes import Scheme
from sme.simulate.observables import observe

if TYPE_CHECKING:
    from sme.simulate.halving import Halving


@dataclass(frozen=True)
class Setup:
    """Everything that a shard at one `τ` needs, apart from its seed and number."""

    problem: Problem
    optimizer: Optimizer
    regime: Regime
    order: int
    brownian: str
    grid: StepGrid
    start: State
    marks: tuple[int, ...]
    """step numbers at which the observables are taken"""
    observables: Mapping[str, Callable[[State], Tensor]]
    device: str = "cpu"
    weights: Responses | None = None
    """the weights of the control variates"""
    source: str = ""
    """the C source of the run; empty for the path through torchsde"""
    finest: int | None = None
    """substeps in one optimizer step, in place of the scheme's own number"""
    ordinary: Float[np.ndarray, "marks observables"] | None = None
    """the observables along the order-1 ODE, where that is the reference of order 2"""
    halving: "Halving | None" = None
    """how far halving the substep moves the equation without its noise"""
    thinned: int = 1
    """of so many pairs one follows all levels of the equations, the others the coarsest alone"""
    kind: Kind | None = None
    """the class of the equation under test, if it is not the one that the registry has"""
    rounded: Problem | None = None
    """the problem in fewer digits, which the equations are computed with in place of `problem`"""

    @property
    def steps(self) -> int:
        """How many there are to the horizon."""
        return self.grid.steps

    @property
    def tau(self) -> float:
        """`τ`."""
        return self.grid.tau

    @property
    def chain(self) -> Chain:
        """The discrete run."""
        return Chain(self.problem, self.optimizer, self.regime, self.tau)

    @property
    def _computed(self) -> Problem:
        return self.problem if self.rounded is None else self.rounded

    def equation(self) -> Equation:
        """The equation under test."""
        return equation(self._computed, self.optimizer, self.regime, self.tau, self.order, self.brownian, self.kind)

    def reference(self) -> Equation:
        """The order-1 equation whose error is the yardstick of order 2."""
        brownian = "none" if self.plain else "independent"
        kind = self.kind if self.optimizer.memory != 1 else None  # of such a memory the registry has no equation
        try:
            return equation(self._computed, self.optimizer, self.regime, self.tau, 1, brownian, kind)
        except SMEError as fault:
            if self.kind is None:
                raise
            raise SMEError("order 2 is held against the error of the equation of order 1 that is derived here, and there is none "
                           f"of this rule ({fault}): give your equation order=1, or check it by sme.check_order") from fault

    def substeps(self, scheme: Scheme) -> int:
        """Substeps of the finest level in one optimizer step."""
        return self.finest or scheme.substeps(self.tau)

    def equations(self) -> list[Equation]:
        """The equation under test, then the reference of order 2 if that is an equation with noise of its own."""
        return [self.equation()] if self.order == 1 or self.plain else [self.equation(), self.reference()]

    @property
    def plain(self) -> bool:
        """Whether the reference of order 2 is an ODE."""
        return self.regime == BALLISTIC and not self.equation().samples

    def observe(self, state: State) -> Float[Tensor, "paths observables"]:
        """All observables of a state."""
        return observe(self.observables, state)

    @property
    def layout(self) -> Layout:
        """How the fields stand in a whole state."""
        return Layout(self.optimizer.fields, self.problem.dim)

    def fields(self, x: Tensor) -> State:
        """The named fields of a whole state."""
        return self.layout.named(x)

    def whole(self, paths: int) -> Float[Tensor, "paths state"]:
        """The start as a whole state, the same for every path."""
        return self.layout.whole(self.start).expand(paths, -1).contiguous()
