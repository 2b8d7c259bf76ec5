"""Which equation has which driver, where that is no Brownian motion or knows the batches of an epoch."""

from sme.common.errors import SMEError
from sme.equations.base import Equation
from sme.equations.derived.step import Step
from sme.equations.drivers.epoch_noise import Arrivals, EpochFlow
from sme.equations.drivers.epochs import Bridged, ShortEpochs, whole
from sme.equations.drivers.poisson import Poissonised
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import BATCH_EQUIVALENT, Regime
from sme.problems.base import Problem

DRAWN: dict[str, type[Equation]] = {"poisson": Poissonised, "arrivals": Arrivals}
"""those that take the examples one by one"""
NO_MARKOV = ("no Markov process in the optimizer's own state is of an order above 1 for a rule that averages squares, whatever "
             "the law, since in one step Δv is a function of the noise that moves θ (docs/theory/drivers.md, section 18)")
"""the theorem"""
SHORTLY = "no process in the optimizer's state alone is of a higher order (docs/theory/drivers.md, section 18)"
COUNTED = "its number of draws in a step is random, which leaves an error of τ/B"
SHUFFLED = ("of a batch_size that divides the number of examples, and a rule that can be expanded: give sme.MinibatchNoise with "
            "sampling='reshuffled', or")


def driven(problem: Problem, regime: Regime, order: int, driver: str) -> type[Equation] | None:
    """The class of the equation of a rule that can be expanded; None where Brownian motions drive it, or that knows no epoch."""
    if driver in DRAWN:
        return DRAWN[driver]
    if not whole(problem.noise):
        return None
    if regime == BATCH_EQUIVALENT:
        return EpochFlow if driver == "none" else None
    return Bridged if driver == "bridge" else ShortEpochs if order == 2 else None


def check(problem: Problem, optimizer: Optimizer, regime: Regime, order: int, driver: str) -> None:
    """Raise `SMEError` for a driver that this law or regime has not, or none of this order."""
    if driver in DRAWN and regime != BATCH_EQUIVALENT:
        raise SMEError(f"driver='{driver}' is for the batch-equivalent regime, where the noise of one example is as large as √τ: "
                       "in the ballistic one driver='independent' is of order 2 for every law")
    if driver in DRAWN and order == 2:
        raise SMEError(f"driver='{driver}' is of order 1: {best(optimizer, problem.dim)}. Use order=1")
    if driver == "arrivals" and not whole(problem.noise):
        raise SMEError(f"driver='arrivals' is for reshuffled epochs, {SHUFFLED} driver='poisson'")


def bounded(obstacle: str | None, left_out: str, optimizer: Optimizer, dim: int, regime: Regime, driver: str) -> str | None:
    """What is in the way of an order, with the theorem that nothing in the state alone can be better, where it is proved."""
    if regime != BATCH_EQUIVALENT or obstacle is None:
        return obstacle
    limit = best(optimizer, dim)
    if driver in DRAWN and obstacle == left_out:
        return limit
    stands = obstacle.startswith("T₃") and limit == NO_MARKOV
    return f"{obstacle}; {SHORTLY}" if stands else obstacle


def check_one_step(problem: Problem, regime: Regime, order: int, driver: str) -> None:
    """Raise `SMEError` for the equation of an epoch, of which one step says nothing."""
    if whole(problem.noise) and driven(problem, regime, order, driver):
        raise SMEError("one step says nothing of the equation of a reshuffled epoch, whose steps depend on each other: its order "
                       "is measured by sme.weak_error. sampling='without_replacement' has independent steps")


def best(optimizer: Optimizer, dim: int) -> str:
    """Why the examples one by one are of order 1 and no more."""
    try:
        return NO_MARKOV if Step.of(optimizer, dim).squares else COUNTED
    except SMEError:
        return COUNTED
