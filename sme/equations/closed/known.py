"""The equations that are known in closed form."""

from sme.common.errors import SMEError
from sme.equations.base import Equation
from sme.equations.closed.adam import BallisticAdam, BallisticAdamW, BatchEquivalentAdam, BatchEquivalentAdamW
from sme.equations.closed.rmsprop import BallisticRMSProp, BatchEquivalentRMSProp
from sme.equations.closed.sgd import BallisticSGD, BatchEquivalentSGD
from sme.equations.closed.signs import BallisticSignSGD, BallisticSignum, IndependentSignSGD
from sme.optimizers.adam import Adam
from sme.optimizers.adamw import AdamW
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BATCH_EQUIVALENT, Regime
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.optimizers.signsgd import SignSGD
from sme.optimizers.signum import Signum
from sme.problems.base import Problem

_CLOSED: dict[tuple[type[Optimizer], str], type[Equation]] = {
    (SGD, "ballistic"): BallisticSGD,
    (SGD, "batch_equivalent"): BatchEquivalentSGD,
    (RMSProp, "ballistic"): BallisticRMSProp,
    (RMSProp, "batch_equivalent"): BatchEquivalentRMSProp,
    (Adam, "ballistic"): BallisticAdam,
    (Adam, "batch_equivalent"): BatchEquivalentAdam,
    (AdamW, "ballistic"): BallisticAdamW,
    (AdamW, "batch_equivalent"): BatchEquivalentAdamW,
    (SignSGD, "ballistic"): BallisticSignSGD,
    (Signum, "ballistic"): BallisticSignum,
}
_SIGNS = (SignSGD, Signum)


def closed_form(problem: Problem, optimizer: Optimizer, regime: Regime, order: int) -> type[Equation] | None:
    """The class of the closed form; None where there is none."""
    closed = _CLOSED.get((type(optimizer), regime.name)) if getattr(optimizer, "eps_mode", "outside") == "outside" else None
    if isinstance(optimizer, AdamW) and not optimizer.bias_correction:
        closed = None  # the derived one is the same; of a corrected rule it expands Γ(t) in τ, where Adam's closed form does not
    if closed is BallisticSignSGD and problem.noise.apart:
        closed = IndependentSignSGD
    # at order 2 the closed forms of SGD and RMSProp hold for a constant factor; a momentum alone may see any
    constant = order == 1 or regime != BATCH_EQUIVALENT or problem.noise.constant or isinstance(optimizer, Adam)
    return closed if constant else None


def by_signs(optimizer: Optimizer) -> bool:
    """Whether an optimizer steps by signs, so that it cannot be expanded."""
    return optimizer.signed or isinstance(optimizer, _SIGNS)


def scale_free(optimizer: Optimizer, regime: Regime) -> bool:
    """Whether an optimizer steps by the signs of single gradients of size `√τ`, whose mean has a limit as `τ → 0`."""
    return type(optimizer) is SignSGD and regime == BATCH_EQUIVALENT


def check_known(optimizer: Optimizer, regime: Regime) -> None:
    """Raise `SMEError` for a rule of signs whose moments are not known."""
    if by_signs(optimizer) and (type(optimizer), regime.name) not in _CLOSED:
        raise SMEError(f"no equation is known for {optimizer.name} in the {regime.name} regime: the sign of the gradient is not "
                       "smooth in the noise, and its moments are known for SignSGD and Signum in the ballistic regime; in the "
                       "batch-equivalent one SignSGD has an equation of order 1, model='sme'")
