"""Fixed decays without noise: backward error analysis, an ODE of θ alone of order 2."""

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.equations.literature.averaged import SlavedMemory, fixed
from sme.equations.literature.model import Claim, Model
from sme.equations.registry import ORDERS
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer, State
from sme.optimizers.preconditioner import preconditioner
from sme.optimizers.regimes import Regime
from sme.optimizers.rmsprop import RMSProp
from sme.problems.base import Problem
from sme.problems.noise.base import Paths

CLOSE = 1e-9
"""relative distance at which a start counts as on the memory's manifold"""
TINY = 1e-300
"""below every square that matters: the root of an average of squares may be 0, its inverse not"""


class Backward(SlavedMemory):
    """The stationary memory expanded in `τ`. With `g = ∇f`, `H = ∇²f`, `P` and `P'` at `g∘g`, `λ` the weight decay:

        θ̇ = −F − τ ((μ₁ + ½) P∘HF + (μ₂ + l + ½) 2 g∘g∘P'∘HF + ½ λ F),    F = g∘P + λ θ

    with `μᵢ = βᵢ/(1 − βᵢ)`, the mean age of what is remembered (`μ₁ = 0` for RMSProp), and `l = 1` for the previous
    denominator, 0 for the updated one. Order 1 has `−F`. The order-2 ODE needs `m` and `v` to begin where they end up
    (`check_start`); any other start leaves a shift of `O(τ)` behind, in the first `1/(1 − β)` steps, and order 1.

    Our own derivation, for `ε` in any place; with `ε` inside the root, the updated denominator and `λ = 0` it is the
    stationary equation of arXiv 2309.00079. With `ε = 0` and no floor it holds until a gradient changes sign.

    Raises
    ------
    SMEError
        unless there is no noise.
    """

    def __init__(self, problem: Problem, optimizer: Optimizer, tau: float, order: int, brownian: str) -> None:
        super().__init__(problem, optimizer, tau, order, brownian)
        if not self.law.constant or bool(self.law.variance(torch.zeros(1, problem.dim, dtype=torch.float64)).any()):
            raise SMEError("'backward' is for the full batch: give a noise of 0, or 'averaged', which is of order 1 with noise")

    def velocity(self, theta: Paths) -> Paths:
        g, decay = self.problem.gradient(theta), self.decay
        averaged, inside, outside = self.places
        square = (g * g).clamp(min=TINY)
        p = preconditioner(square + averaged, outside, self.optimizer.v_floor, inside)
        field = g * p.value + decay * theta
        if self.order == 1:
            return -field
        first, second = (0.5 + beta / (1 - beta) for beta in self.betas)
        bend = (first * p.value + (second + self.late) * 2 * square * p.slope) * self.problem.hessian(theta, field)
        return -field - self.tau * (bend + 0.5 * decay * field)


def check_start(problem: Problem, optimizer: Optimizer, start: State) -> None:
    """Raise `SMEError` unless `Backward` is of order 2 from this start.

    It is from `m = ∇f` and `v = ∇f∘∇f` (and `ε` more with `eps_mode="average"`) without bias correction; and with it, the
    updated denominator and the clock `(1, 1)`, from `m = v = 0`, if no first `v` is below the floor.
    """
    assert isinstance(optimizer, RMSProp | Adam)
    g = problem.gradient(start["theta"].unsqueeze(0))[0]
    square = g * g + (optimizer.eps if optimizer.eps_mode == "average" else 0.0)
    if isinstance(optimizer, Adam) and optimizer.bias_correction:
        fresh = not bool(start["m"].any() or start["v"].any()) and optimizer.t0 == 0
        counted = optimizer.clock == (1, 1) and optimizer.denominator == "updated"
        if fresh and counted and bool((optimizer.c2 * square >= optimizer.v_floor).all()):
            return
        raise SMEError("with bias correction, 'backward' is of order 2 from a fresh start alone: give start.m=0, start.v=0, "
                       "denominator='updated', clock=(1, 1), no t0 and v_floor=0; or order=1")
    if not _close(start["v"], square) or ("m" in start and not _close(start["m"], g)):
        raise SMEError("'backward' is of order 2 from a memory that is where it ends up: give "
                       + (f"start.m={_list(g)} and " if "m" in start else "") + f"start.v={_list(square)} here"
                       + (", or bias_correction=True with start.m=0 and start.v=0" if "m" in start else "") + "; or order=1")


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() <= CLOSE * (1 + b.abs())).all())


def _list(a: Tensor) -> str:
    return "[" + ", ".join(f"{each!r}" for each in a.tolist()[:4]) + (", …]" if len(a) > 4 else "]")


def claim(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> Claim:
    """Order 2."""
    return Claim(2)


MODEL = Model("backward", fixed(Backward), "RMSProp, Adam and their W, ballistic with memory=0 and without noise",
              claim, ORDERS, ("none",), ("theta",), 0.0, check_start)
