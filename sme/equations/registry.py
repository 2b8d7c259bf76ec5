"""Which equation models which optimizer in which regime: a closed form where there is one, else a derived equation."""

import functools
import math
from collections.abc import Callable, Iterable

from sme.common.errors import SMEError, choose
from sme.common.inputs import first_or_second, number, short
from sme.common.process.turns import entry
from sme.equations.base import Equation, Kind
from sme.equations.closed.known import by_signs, check_known, closed_form, scale_free
from sme.equations.derived.ballistic import DerivedBallistic
from sme.equations.derived.batch_equivalent import DerivedBatchEquivalent
from sme.equations.derived.shifted.equation import ScaleFree, Shifted
from sme.equations.derived.shifted.nodes import unsummed
from sme.equations.derived.shifted.sampled import Sampled
from sme.equations.derived.step import Step, frozen
from sme.equations.drivers import choice as drivers
from sme.equations.drivers.epochs import whole
from sme.equations.drivers.names import DRIVERS, MEMORIES, asked
from sme.optimizers.base import Optimizer, sound
from sme.optimizers.memory import check_memory
from sme.optimizers.regimes import BATCH_EQUIVALENT, RawGradientError, Regime
from sme.optimizers.regimes import regime as named
from sme.problems import base as problems
from sme.problems import untouched
from sme.problems.base import Problem
from sme.problems.noise.wrapped.driven import Driven
from sme.problems.noise.wrapped.transformed import TransformedNoise

ORDERS = (1, 2)
SKEWNESS = "skewness, order 1/2"
WIDEST = 256
"""numbers of a state beyond which its covariance, of which a factor is taken at every path and substep, is sampled"""


def obstruction(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str) -> str:
    """The symbol of what keeps the order-2 equation from order 2, or of skewed noise every equation from order 1; empty
    if nothing does, or there is no such equation.
    """
    if problem.noise.skewed and regime == BATCH_EQUIVALENT and _driven(problem, optimizer, regime, 1, brownian) is None:
        return SKEWNESS
    try:
        return equation(problem, optimizer, regime, 2.0**-10, 2, brownian).obstructed
    except SMEError:
        return ""


def equation(problem: Problem, optimizer: Optimizer, regime: Regime, tau: float, order: int,
             brownian: str = "independent", kind: Kind | None = None) -> Equation:
    """The equation of `optimizer` in `regime`, in closed form if one is known; or one of this `kind` in its place.

    Raises
    ------
    SMEError
        if there is none, naming what stands in the way.
    """
    _check(problem, order, brownian)
    check_memory(optimizer, kind.exponent if kind else 1.0)
    if kind is not None:
        return kind(problem, optimizer, tau, order, brownian)
    _check_own(problem, optimizer, regime, order, brownian)
    return assemble(problem, optimizer, regime, tau, order, brownian)


def assemble(problem: Problem, optimizer: Optimizer, regime: Regime, tau: float, order: int, brownian: str) -> Equation:
    """`equation` without asking whether any order holds."""
    return chosen(problem, optimizer, regime, order, brownian)(Driven.of(problem), optimizer, tau, order, brownian)


def chosen(problem: Problem, optimizer: Optimizer, regime: Regime, order: int, brownian: str = "independent") -> type[Equation]:
    """The class of the equation."""
    return _driven(problem, optimizer, regime, order, brownian) or stepwise(problem, optimizer, regime, order)


def stepwise(problem: Problem, optimizer: Optimizer, regime: Regime, order: int) -> type[Equation]:
    """The class of the equation of independent steps, which Brownian motions drive."""
    return closed_form(problem, optimizer, regime, order) or _derived(problem, optimizer, regime)


def _driven(problem: Problem, optimizer: Optimizer, regime: Regime, order: int, brownian: str) -> type[Equation] | None:
    """The class of an equation whose driver is no Brownian motion, or that knows the batches of an epoch; None of all else."""
    found = drivers.driven(problem, regime, order, brownian)
    return found if found and (brownian in drivers.DRAWN or not (by_signs(optimizer) or is_raw(optimizer, problem.dim))) else None


def known_epochs(problem: Problem, optimizer: Optimizer, regime: Regime, brownian: str = "independent") -> bool:
    """Whether the batches are those of whole reshuffled epochs, and the equation is one that knows this."""
    known = whole(problem.noise) and (regime != BATCH_EQUIVALENT or brownian in ("none", "arrivals"))
    return known and not by_signs(optimizer) and not is_raw(optimizer, problem.dim)


def is_raw(optimizer: Optimizer, dim: int) -> bool:
    """Whether a rule takes the raw gradient of one step apart, so that it cannot be expanded in averages."""
    if by_signs(optimizer):
        return False
    return (_probed if frozen(optimizer) else _probed.__wrapped__)(optimizer, dim)


@functools.lru_cache(maxsize=512)
def _probed(optimizer: Optimizer, dim: int) -> bool:
    """The same, asked once of an optimizer that cannot change."""
    try:
        Step.of(optimizer, dim)
    except RawGradientError:
        return True
    except SMEError:  # which its equation says
        return False
    return False


def parts_of(problem: Problem, optimizer: Optimizer, regime: Regime, orders: Iterable[int] = ORDERS,
             brownian: str = "independent") -> tuple[str, ...]:
    """The parts of the code that the equations of these orders come from, beside problem and law (see `numerics`)."""
    return tuple(part for order in orders for part in chosen(problem, optimizer, regime, order, brownian).parts(problem))


@entry
def derive(problem: Problem, optimizer: Optimizer, regime: str | Regime = "ballistic", order: int = 2,
           brownian: str | None = None, driver: str | None = None) -> Callable[[float], Equation]:
    """The modified equation of any update rule, from `optimizer.update` alone.

    The increments of one step are expanded in `h = √τ` by forward differentiation, and their moments
    taken exactly: they are polynomials in the noise (docs/theory/derivation.md, section 9).
    `sme.weak_error` does this for every optimizer without a closed form.

    Parameters
    ----------
    problem, optimizer
        what is modelled; a user's own subclass of `sme.Optimizer` too.
    regime
        `"ballistic"` or `"batch_equivalent"`.
    order
        1 or 2.
    driver, brownian
        `"independent"` (default), `"step_memory"` or `"fast_memory"` (of order 2 for every rule that can be expanded, with
        Gaussian noise), `"poisson"` (order 1, minibatches in the batch-equivalent regime), or `"none"` (order 1, ballistic);
        `brownian` is its older name.

    Returns
    -------
    Callable
        from the step size `τ` to an `Equation` with `drift(t, x)` and `diffuse(t, x, dW)`.

    Raises
    ------
    SMEError
        if no such equation exists, or the rule cannot be expanded.
    """
    check_parts(problem, optimizer)
    place, motions = named(regime), asked(driver, brownian) or "independent"
    _check(problem, order, motions)
    _check_own(problem, optimizer, place, order, motions)
    if by_signs(optimizer):
        raise SMEError(f"{optimizer.name} is not smooth in the noise, so it cannot be expanded: its equation in the ballistic "
                       "regime is known from the moments of the sign, and sme.weak_error uses it")

    @entry
    def family(tau: float) -> Equation:
        step = number("tau", tau)
        if not 0 < step < math.inf:
            raise SMEError(f"tau must be positive, got {step:g}")
        optimizer.check(step)
        kind = _driven(problem, optimizer, place, order, motions) or _derived(problem, optimizer, place)
        return kind(Driven.of(problem), optimizer, step, order, motions)

    return family


def check_parts(problem: Problem, optimizer: Optimizer) -> None:
    """Raise `SMEError` for what is no problem or no optimizer, for a memory that no expansion in `τ` follows, and where the
    noise has another mean gradient than the loss.
    """
    problems.checked(problem)
    sound(optimizer)
    check_memory(optimizer)
    untouched.check(problem)
    untouched.evaluated(problem, untouched.near(problem))
    problem.agree()


def _derived(problem: Problem, optimizer: Optimizer, regime: Regime) -> type[Equation]:
    """The class of an equation that is made from the rule: by expansion, or of a raw rule from the moments of one step."""
    raw = is_raw(optimizer, problem.dim) or scale_free(optimizer, regime)
    if regime == BATCH_EQUIVALENT:
        return ScaleFree if raw else DerivedBatchEquivalent
    if not raw:
        return DerivedBallistic
    summed = problem.noise.exact or not optimizer.opaque  # a black box is smooth or not, and nobody knows
    narrow = problem.dim * len(optimizer.fields) <= WIDEST
    return Shifted if summed and narrow and not unsummed(problem.noise, problem.dim) else Sampled


def _check(problem: Problem, order: int, brownian: str) -> None:
    """Raise `SMEError` for what no equation can be, of any kind."""
    choose("driver", brownian, DRIVERS)
    if not first_or_second(order):
        raise SMEError(f"order must be 1 or 2, got {short(order)}: no equation of another order is known")
    if order == 2 and problem.kinks:
        raise SMEError(f"order 2 needs a loss that is smooth, and this one has kinks ({', '.join(problem.kinks)}), where its "
                       "derivatives jump: use order=1, or a smooth activation such as tanh, softplus or GELU")
    if order == 2 and (lack := problem.lack or problem.noise.lack):
        raise SMEError(f"order 2 needs second derivatives, and torch's of this loss are wrong: {lack}. Use order=1, or write the "
                       "loss without detach and the like")
    if brownian in MEMORIES and not problem.noise.paired:
        raise SMEError(f"driver='{brownian}' needs Gaussian noise: it squares the increment of a whole step as the optimizer "
                       "does, and this law's is not Gaussian. Use driver='independent' or sme.GaussianNoise")


def _check_own(problem: Problem, optimizer: Optimizer, regime: Regime, order: int, brownian: str) -> None:
    """Raise `SMEError` for what has no equation here, or none of this order."""
    if brownian == "none" and order == 2:
        raise SMEError("driver='none' is of order 1 only: order 2 needs the noise, use driver='independent'")
    drivers.check(problem, optimizer, regime, order, brownian)
    if brownian == "bridge" and not known_epochs(problem, optimizer, regime):
        raise SMEError(f"driver='bridge' is for reshuffled epochs, ballistic, {drivers.SHUFFLED} driver='independent'")
    if not scale_free(optimizer, regime):
        check_known(optimizer, regime)
    optimizer.suits(regime)
    if regime == BATCH_EQUIVALENT and isinstance(problem.noise, TransformedNoise):
        raise SMEError(problem.noise.elsewhere)
    if regime == BATCH_EQUIVALENT:
        if brownian == "none" and not whole(problem.noise):
            raise SMEError("driver='none' leaves out noise of size 1 in the batch-equivalent regime, so it is of "
                           "no order: use driver='independent', regime='ballistic' or model='ode'")
        if order == 2 and not problem.noise.paired:
            raise SMEError("the noise, such as that of a minibatch, is not Gaussian, and in the batch-equivalent regime no "
                           "equation here is of order 2 for it, nor one with Brownian motions better than 1/2 where it is "
                           "skewed: use order=1, of a minibatch with driver='poisson', regime='ballistic' or sme.GaussianNoise")
