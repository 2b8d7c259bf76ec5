"""`check_order`: the order of an equation, by the one-step moment test."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import number, several
from sme.common.process.progress import progress
from sme.common.process.turns import entry
from sme.equations.base import Kind, check_kind
from sme.equations.derived.shifted.equation import Shifted
from sme.equations.derived.shifted.switches import RawMeanStep
from sme.equations.drivers import choice as drivers
from sme.equations.drivers.names import asked as named_driver
from sme.equations.models import OWN, Given
from sme.equations.models import model as by_name
from sme.equations.order.differences.cumulants import Differences
from sme.equations.order.differences.recognised import lettered
from sme.equations.order.expectation import Test, UnsettledError
from sme.equations.order.moments.agreement import FINE, Agreement
from sme.equations.order.moments.step_moments import Increments, Terms, terms
from sme.equations.order.obstruction import Obstruction
from sme.equations.order.order_check import LEFT_OUT, OrderCheck, halves, met, obstacle_of, tail
from sme.equations.order.remembered import remembered
from sme.equations.order.residuals import Functions, exponent, residuals, smallest
from sme.equations.order.tested import Point, Tested
from sme.equations.order.visited import Visited, visited
from sme.equations.proposed.equation import ProposedEquation
from sme.equations.proposed.tried import tried
from sme.equations.registry import check_parts
from sme.optimizers.base import Optimizer
from sme.optimizers.regimes import regime as named
from sme.problems.base import Problem
from sme.problems.smooth.obstacles import Obstacle, obstacles

TAU, SKEWED, HEAVY = 2.0**-9, 2.0**-19, 2.0**-12
"""first of the two step sizes of the residuals, small, because the ratio tends to its limit slowly, with skewed noise or heavy
tails by fractional powers"""
LARGEST = 2.0**-4
"""step size above which a ratio says nothing"""
SEEN, SEEN_SKEWED = 0.01, 0.3
"""share of the largest residual at a state below which one is left out of the rate; with skewed noise or heavy tails the next
term is less than a power of `τ` away"""
EXPONENTS = ((1.85, 2.0), (0.9, 1.0), (0.4, 0.5))
"""least exponent of the residual, less one, above which an order is supported where heavy tails make any exponents between"""
ROOM = 8
"""natural times of an equation that must be longer than 1 for its residuals to be taken at `TAU`"""


@entry
def check_order(problem: Problem, optimizer: Optimizer, regime: str = "ballistic", order: int | None = None,
                brownian: str | None = None,
                states: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]] | None = None, functions: Test | None = None,
                tau: Sequence[float] | None = None, kind: Kind | None = None, model: Given = OWN,
                start: Mapping[str, Tensor] | None = None, horizon: float | None = None,
                driver: str | None = None) -> OrderCheck:
    """The order of an equation by the one-step moment test: no Monte Carlo, seconds for two parameters.

    All moments of one step of the optimizer, by quadrature over the noise or the sum over all minibatches, against those of
    the equation, by its generator applied twice, power by power of `τ`; and the expectations of test functions at two step
    sizes. Source: docs/theory/derivation.md, section 8, (8.2).

    Parameters
    ----------
    problem, optimizer
        what is modelled; a user's own subclass of `sme.Optimizer` too.
    regime, order, brownian, driver, model
        as in `sme.weak_error`, an equation of your own for `model` too; skewed noise in the batch-equivalent regime may be
        checked at order 1.
    states
        named fields, tensors `(d,)`, or several such; default those of the run, or two states off every axis.
    functions
        from a whole state `(fields · d,)` to a vector of smooth test functions for the residuals; default exponentials of
        linear functionals, which see every moment, and cubic monomials, in units of the motion; of noise with heavy
        tails, under which these have no mean, `bounded` functions.
    tau
        two or more step sizes of the residuals, each half of the one before; default 2⁻⁹ and 2⁻¹⁰, smaller for skewed or
        heavy-tailed noise and where the equation is fast.
    kind
        a class of equations, such as one of your own, in place of the one that `sme` has; `model` takes it too.
    start, horizon
        the run, as in `sme.weak_error`: states on its path are tested, and what is not smooth counts where it is met. Without a
        run every place where the mean step jumps, or has a kink, counts as met.

    Raises
    ------
    SMEError
        for an equation that does not exist, wrong states, or noise that cannot be summed over.
    """
    place, chosen = named(regime), by_name(model)
    if chosen.memory != 1:
        raise SMEError(f"one step says nothing of model='{chosen.name}', whose memory follows θ over many: sme.weak_error "
                       "measures its order")
    check_parts(problem, optimizer)
    if kind is not None:
        check_kind(kind)
    if kind is not None and chosen.name != OWN:
        raise SMEError(f"kind and model='{chosen.name}' both name an equation: give one of them")
    order, brownian = chosen.asked(order, chosen.orders)[-1], chosen.motion(named_driver(driver, brownian))
    kind, lack = kind or chosen.check(optimizer, place), chosen.lack(problem, optimizer, place, brownian)
    if kind is None:
        drivers.check_one_step(problem, place, order, brownian)
    given = None if tau is None else [number("tau", each) for each in several(tau)]
    if given is not None and (len(given) < 2 or not 0 < given[0] <= LARGEST
                              or any(abs(a - 2 * b) > 1e-12 * a for a, b in itertools.pairwise(given))):
        raise SMEError(f"tau must hold two or more step sizes, each half of the one before, the first at most {LARGEST:g}, "
                       f"got {given}")
    if given is not None:
        optimizer.check(given[0])
    problem = remembered(problem)
    asked = Tested(problem, optimizer, place, order, brownian, kind)
    run = visited(problem, optimizer, place, start, horizon, states)
    points = asked.points(run)
    if isinstance(own := asked.make(asked.largest)[1], ProposedEquation):
        tried(own, dict(zip(optimizer.fields, points[0][1].split(problem.dim), strict=True)), points[0][0])
    if run.given and states is not None:
        points += asked.points(visited(problem, optimizer, place, states=states))
    skewed, heavy = asked.skewed, problem.noise.moments < math.inf and not optimizer.signed
    rough = _rough(asked, run)
    with progress(desc=f"check of order {order}", unit="step size", delay=1) as bar:
        moments = None if heavy else _agreement(asked, points, bool(rough), bar.update)
        if moments is not None and moments.resolution > FINE and not run.given and states is None:
            with suppress(UnsettledError):
                moments = moments.beside(_agreement(asked, asked.quiet(points[:2]), True, bar.update))
    points = points if moments is None else list(moments.points)
    fast = 1.0 if moments is None else min(1.0, ROOM * moments.unit)
    first = fast * (HEAVY if heavy else SKEWED if skewed else TAU)
    tau = given or [first, first / 2]
    obstruction = Obstruction(problem, optimizer, place)
    table = residuals(asked, obstruction, points, Functions(functions, heavy, 1.0 if moments is None else moments.unit), tau)
    finest = table[table["tau"] == tau[-2]]
    seen = SEEN_SKEWED if skewed or heavy else SEEN
    rate, bare = (exponent(finest, *names, seen) for names in (("residual", "ratio"), ("without_t3", "ratio_without_t3")))
    sizes = obstruction.sizes(points[0][1], points[0][0])
    title = f"{optimizer.name}, {place.name}, order {order}, {brownian}" + (f", {kind.__name__}" if kind else "")
    same = not table.empty and bool((table["residual"].abs() <= table["error"]).all())
    if moments is None:
        if same:
            return OrderCheck(title, table, rate, bare, order, order, sizes, None, origin=chosen.origin, exact=True)
        proved, without = (next((each for least, each in EXPONENTS if power - 1 > least), 0.0) for power in (rate, bare))
        obstacle = lack if lack and proved < 1 else tail(order, proved, problem.noise.moments)
        obstacle = None if chosen.proposed is not None and obstacle == LEFT_OUT else obstacle
        proved, decided, obstacle = met(rough, proved, not math.isnan(rate), obstacle)
        return OrderCheck(title, table, rate, bare, proved, without, sizes, obstacle, decided, origin=chosen.origin)
    found = halves(moments.verdict(), rate, skewed)
    third = _third(obstruction, moments) if brownian == "independent" else None
    without = found.order if third is None else moments.verdict(third).order
    off = Differences(moments, third).table()
    same = same and found.wrong is None is found.unseen
    if chosen.proposed is not None and found.wrong is not None and not rough:
        off = lettered(asked, off, sorted({t for t, _ in points}),
                       lambda each, further: _agreement(each, further, False, lambda: None))
    if found.unseen is not None:
        beside = "".join(f"{each}; " for each in rough)
        obstacle = (f"not decided: {beside}{moments.words(found.unseen)}, and rounding and differences leave "
                    f"{moments.resolution:.1g} of a term open, more than {FINE:g}: give states whose numbers lie less far apart")
    elif lack and found.order < 1:
        obstacle = lack
    else:
        obstacle = obstacle_of(order, found.order, without, sizes, skewed) if chosen.proposed is None else None
        obstacle = drivers.bounded(obstacle, LEFT_OUT, optimizer, problem.dim, place, brownian)
        if obstacle is None and found.wrong is not None:
            cause = "a term of the equation is wrong, or the update rule is not smooth there"
            if rough:
                cause = f"not decided: {'; '.join(map(str, rough))}; or a term of the equation is wrong"
            obstacle = f"{cause}: {moments.words(found.wrong)}" if chosen.proposed is None or rough else None  # the report has it
    proved, decided, obstacle = met(rough, found.order, found.decided and not (rough and found.wrong), None if same else obstacle)
    if table.empty:
        said = "the test functions do not settle at any state: give smoother ones, or a smaller tau, for the residuals"
        obstacle = f"{obstacle}; {said}" if obstacle else said
    elif math.isnan(rate) and bool((table["residual"].abs() > table["error"]).any()) and (obstacle or not decided):
        said = f"the residuals at τ = {tau[0]:g} are rounding: use τ ≥ {smallest(table, tau):.1g} for them"
        obstacle = f"{obstacle}; {said}" if obstacle else said
    return OrderCheck(title, table, rate, bare, proved, without, sizes, obstacle, decided, moments.resolution, moments.table(),
                      off, chosen.origin, same)


def _agreement(asked: Tested, points: Sequence[Point], rough: bool, progress: Callable[[], object]) -> Agreement:
    """The moments at every point, with enough step sizes to see a term that is a little wrong.

    Of a rule or loss that is not smooth everywhere, at the points where one step's expectation settles.
    """
    increments = Increments.of(asked.optimizer.fields, asked.problem.dim)

    def fit(point: Point, half: bool) -> tuple[float, Terms]:
        def resolution(found: Terms) -> float:
            return Agreement(increments, [point], [found], asked.order).resolution

        found = terms(asked.make, increments, point[1], point[0], asked.largest, half, lambda each: resolution(each) < FINE / 5,
                      progress)
        return resolution(found), found

    chosen, kept, last = [], [], None
    for point in points:
        try:
            seen, found = fit(point, asked.skewed)
            if seen > FINE and not asked.skewed:  # a rule may have half powers of its own
                found = min((seen, found), fit(point, True), key=lambda each: each[0])[1]
        except UnsettledError as fault:
            if not rough:
                raise
            last = fault
            continue
        chosen.append(found)
        kept.append(point)
    if last is not None and not kept:
        raise last
    return Agreement(increments, kept, chosen, asked.order)


def _rough(asked: Tested, run: Visited) -> list[Obstacle]:
    """The operations that are not smooth where the run meets them."""
    paths = [(run.times[kept], path[kept]) for path in run.paths if bool((kept := torch.isfinite(path).all(-1)).any())]
    equation = asked.make(asked.largest)[1]
    raw = partial(RawMeanStep, asked.problem, asked.optimizer, asked.regime) if isinstance(equation, Shifted) else None
    return obstacles(asked.problem, asked.optimizer, asked.regime, paths if run.given else None,
                     equation.shifted and asked.order == 2, raw)


def _third(obstruction: Obstruction, moments: Agreement) -> Tensor:
    """`T₃` of every product of increments, at every point."""
    weights, products = moments.increments.weights, moments.increments.products
    cubes = [i for i, each in enumerate(products) if len(each) == 3]
    whole = torch.zeros(len(moments.points), len(products), dtype=torch.float64)
    for row, (t, x) in zip(whole, moments.points, strict=True):
        def cubic(z: Tensor, at: Tensor = x) -> Tensor:
            moved = weights @ (z - at)
            return torch.stack([moved[products[i][0]] * moved[products[i][1]] * moved[products[i][2]] for i in cubes])

        row[cubes] = obstruction.third(x, cubic, t)
    return whole
