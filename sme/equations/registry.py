"""Which closed form models which optimizer in which regime."""

from sme.equations.adam import BallisticAdam, BatchEquivalentAdam
from sme.equations.base import Equation
from sme.equations.rmsprop import BallisticRMSProp, BatchEquivalentRMSProp
from sme.equations.sgd import BallisticSGD, BatchEquivalentSGD
from sme.errors import SMEError, choose
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.problems.base import Problem
from sme.regimes import Regime

BROWNIAN = ("none", "independent")
ORDERS = (1, 2)

_CLOSED: dict[tuple[type[Optimizer], str], type[Equation]] = {
    (SGD, "ballistic"): BallisticSGD,
    (SGD, "batch_equivalent"): BatchEquivalentSGD,
    (RMSProp, "ballistic"): BallisticRMSProp,
    (RMSProp, "batch_equivalent"): BatchEquivalentRMSProp,
    (Adam, "ballistic"): BallisticAdam,
    (Adam, "batch_equivalent"): BatchEquivalentAdam,
}


def obstruction(optimizer: Optimizer, regime: Regime, brownian: str) -> str:
    """The symbol of what keeps the equation of `optimizer` from order 2; empty if nothing does."""
    closed = _CLOSED.get((type(optimizer), regime.name))
    return closed.obstructed if closed and brownian != "none" else ""


def equation(problem: Problem, optimizer: Optimizer, regime: Regime, tau: float, order: int,
             brownian: str = "independent") -> Equation:
    """The closed-form equation of `optimizer` in `regime`.

    Raises
    ------
    SMEError
        if there is none, naming what stands in the way.
    """
    choose("brownian", brownian, BROWNIAN)
    if order not in ORDERS or isinstance(order, bool):
        raise SMEError(f"order must be 1 or 2, got {order!r}: no equation of another order is known")
    key = (type(optimizer), regime.name)
    if key not in _CLOSED:
        known = sorted({f"{kind.__name__}" for kind, _ in _CLOSED})
        raise SMEError(f"no equation is known for {type(optimizer).__name__}: there is one for {', '.join(known)}")
    if brownian == "none" and order == 2:
        raise SMEError("brownian='none' is of order 1 only: order 2 needs the noise, use brownian='independent'")
    if regime.name == "batch_equivalent":
        if brownian == "none":
            raise SMEError("brownian='none' leaves out noise of size 1 in the batch-equivalent regime, so it is of "
                           "no order: use brownian='independent' or regime='ballistic'")
        if problem.noise.skewed:
            raise SMEError("the noise of a minibatch is skewed, and in the batch-equivalent regime no equation is "
                           "better than order 1/2 for skewed noise: use regime='ballistic' or sme.GaussianNoise")
        if order == 2 and not problem.noise.constant and key[0] is not Adam:
            raise SMEError(f"no order-2 closed form for {type(optimizer).__name__} in the batch-equivalent regime with "
                           "a state-dependent noise factor: use order=1, a constant factor, or regime='ballistic'")
    return _CLOSED[key](problem, optimizer, tau, order, brownian)
