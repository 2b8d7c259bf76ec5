"""`check_order`: the order of an equation, proved by computation."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from tabulate import tabulate
from torch import Tensor

from sme.equations.base import Equation, check_kind
from sme.equations.models import OWN
from sme.equations.models import model as by_name
from sme.equations.registry import check_parts, equation
from sme.errors import SMEError
from sme.inputs import number, several
from sme.moment_test import Test, residual
from sme.obstruction import Obstruction
from sme.optimizers.base import Optimizer, initial
from sme.problems.base import Problem
from sme.regimes import BATCH_EQUIVALENT
from sme.regimes import regime as named
from sme.simulate.chain import Chain

TAU, SKEWED, HEAVY = (2.0**-9, 2.0**-10), (2.0**-19, 2.0**-20), (2.0**-12, 2.0**-13)
"""small, because the ratio tends to its limit slowly, with skewed noise or heavy tails by fractional powers; double precision
allows still less"""
LARGEST = 2.0**-4
"""step size above which a ratio says nothing"""
ROUNDING = 1e-14
"""residual, in units of `1 + |φ|`, below which there is nothing to divide"""
SEEN, SEEN_SKEWED = 0.01, 0.3
"""share of the largest residual at a state below which one is left out of the rate; with skewed noise or heavy tails the next
term is less than a power of `τ` away"""
LEFT_OUT = "the terms of order 2 are left out"
PROVED = ((1.5, 2.0), (0.75, 1.0), (0.25, 0.5))
PROVED_HEAVY = ((1.85, 2.0), (0.9, 1.0), (0.4, 0.5))
"""least exponent of the residual, less one, above which an order counts as proved; a heavy tail makes any exponents between"""


@dataclass(frozen=True)
class OrderCheck:
    """What the one-step moment test says of one equation.

    Attributes
    ----------
    residuals
        one row for each state, test function and τ: `residual = E φ(x') − (φ + τ𝓛φ + ½τ²𝓛²φ)`, its
        `ratio` to that at the next smaller τ, `t3 = T₃φ`, and `without_t3 = residual − τ² t3`, with its
        own ratio.
    rate
        the least exponent `log₂ ratio` over states and test functions at the finest pair of τ, those left out whose
        residual is a small share of the state's largest (it changes sign there, and its ratio means nothing);
        the residual of an equation of order `p` is `O(τ^{p+1})`.
    proved
        the order that follows: 2, 1, ½ or 0.
    rate_without_obstruction
        the same of the residual without `τ² T₃φ`.
    without_obstruction
        the order that would follow without `T₃`: 2 where `T₃` is all that stands in the way.
    sizes
        norms of the symbols that no Itô equation matches, at the first state.
    obstacle
        what keeps it from the next order, in words.
    """

    title: str
    residuals: pd.DataFrame
    rate: float
    rate_without_obstruction: float
    proved: float
    without_obstruction: float
    sizes: Mapping[str, float]
    obstacle: str

    def __str__(self) -> str:
        table = tabulate(self.residuals, headers="keys", showindex=False, floatfmt=".4g")  # type: ignore[arg-type]
        rest = f" (residual − τ² T₃φ ~ τ^{self.rate_without_obstruction:.2f})" if self.residuals["t3"].any() else ""
        lines = [self.title, table, f"residual ~ τ^{self.rate:.2f} at least{rest}: order {self.proved:g} proved"]
        return "\n\n".join([*lines, self.obstacle] if self.obstacle else lines)


def check_order(problem: Problem, optimizer: Optimizer, regime: str = "ballistic", order: int | None = None,
                brownian: str | None = None,
                states: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]] | None = None, functions: Test | None = None,
                tau: Sequence[float] | None = None, kind: type[Equation] | None = None, model: str = OWN) -> OrderCheck:
    """Prove the order of an equation by computation: no Monte Carlo, seconds for two parameters.

    The optimizer's expectation of test functions after one step, by quadrature over the noise or the
    sum over all minibatches, against the equation's, by its generator applied twice. Source:
    docs/derivation.md, section 8.

    Parameters
    ----------
    problem, optimizer
        what is modelled; a user's own subclass of `sme.Optimizer` too.
    regime, order, brownian, model
        as in `sme.weak_error`; skewed noise in the batch-equivalent regime may be checked at order 1.
    states
        named fields, tensors `(d,)`, or several such; default two states off every axis.
    functions
        from a whole state `(fields · d,)` to a vector of smooth test functions; default exponentials of
        linear functionals, which see every moment, and cubic monomials; of noise with heavy tails, under which these have no
        mean, `bounded` functions.
    tau
        two or more step sizes, each half of the one before; default 2⁻⁹ and 2⁻¹⁰, smaller for skewed or heavy-tailed noise.
    kind
        a class of equations, such as one of your own, in place of the one that `sme` has.

    Raises
    ------
    SMEError
        for an equation that does not exist, wrong states, or noise that cannot be summed over.
    """
    place, chosen = named(regime), by_name(model)
    if chosen.memory != 1:
        raise SMEError(f"one step says nothing of model='{model}', whose memory follows θ over many: sme.weak_error measures its "
                       "order")
    check_parts(problem, optimizer)
    if kind is not None:
        check_kind(kind)
    if kind is not None and model != OWN:
        raise SMEError(f"kind and model='{model}' both name an equation: give one of them")
    order, brownian = chosen.asked(order, chosen.orders)[-1], chosen.motion(brownian)
    kind, lack = kind or chosen.check(optimizer, place), chosen.lack(problem, optimizer, place, brownian)
    skewed, heavy = problem.noise.skewed and place == BATCH_EQUIVALENT, problem.noise.moments < math.inf
    tau = (SKEWED if skewed else HEAVY if heavy else TAU) if tau is None else [number("tau", each) for each in several(tau)]
    if len(tau) < 2 or not 0 < tau[0] <= LARGEST or any(abs(a - 2 * b) > 1e-12 * a for a, b in itertools.pairwise(tau)):
        raise SMEError(f"tau must hold two or more step sizes, each half of the one before, the first at most {LARGEST:g}, "
                       f"got {tau}")
    optimizer.check(tau[0])
    asked, t = functions or (bounded if heavy else smooth), optimizer.t0

    def phi(x: Tensor) -> Tensor:
        return asked(x).to(torch.float64)

    given = _states(optimizer, problem.dim) if states is None else [states] if isinstance(states, Mapping) else states
    if not isinstance(given, Sequence) or not given or not all(isinstance(each, Mapping) for each in given):
        raise SMEError(f"states must map field names to tensors, or be a list of such, got {states!r}")
    obstruction = Obstruction(problem, optimizer, place)
    rows, points = [], [torch.cat(list(initial(optimizer, state, problem.dim).values())) for state in given]
    for index, x in enumerate(points):
        size = 1 + _values(asked, x).abs()
        third = obstruction.third(x, phi, t) if brownian == "independent" else torch.zeros_like(size)
        left = [residual(Chain(problem, optimizer, place, h),
                         equation(problem, optimizer, place, h, order, brownian, kind), x, phi, t) for h in tau]
        for h, value, finer in zip(tau, left, [*left[1:], None], strict=True):
            rest, ratio, rest_ratio = value - h * h * third, torch.full_like(value, math.nan), torch.full_like(value, math.nan)
            if finer is not None:
                ratio, rest_ratio = _ratio(value, finer, size), _ratio(rest, finer - (h / 2) ** 2 * third, size)
            parts = torch.stack((value, ratio, third, rest, rest_ratio), -1).tolist()
            if not bool((value.abs() > ROUNDING * size).any()):
                raise SMEError(f"all residuals at τ = {h:g} are rounding errors, so no order can be read off them: use larger "
                               "τ or test functions that see more, such as the default ones")
            rows += [(index, i, h, *part) for i, part in enumerate(parts)]
    table = pd.DataFrame(rows, columns=["state", "function", "tau", "residual", "ratio", "t3", "without_t3", "ratio_without_t3"])
    finest = table[table["tau"] == tau[-2]]
    seen = SEEN_SKEWED if skewed or heavy else SEEN
    rate, bare = (_rate(finest, *names, seen) for names in (("residual", "ratio"), ("without_t3", "ratio_without_t3")))
    # the residual is τ² T₃φ + O(τ³) then: its own ratio may be far from 4 where the two nearly cancel
    least = PROVED_HEAVY if heavy else PROVED
    without = _proved(bare, least)
    proved = 1.0 if without == 2 and bool(finest["t3"].any()) else _proved(rate, least)
    sizes = obstruction.sizes(points[0], t)
    title = f"{optimizer.name}, {place.name}, order {order}, {brownian}" + (f", {kind.__name__}" if kind else "")
    obstacle = lack if lack and proved < 1 else _obstacle(order, proved, without, sizes, skewed, problem.noise.moments)
    return OrderCheck(title, table, rate, bare, proved, without, sizes, obstacle)


def _values(phi: Test, x: Tensor) -> Tensor:
    try:
        value = phi(x)
    except Exception as fault:
        raise SMEError(f"functions fail at a whole state of shape {tuple(x.shape)}: {fault}") from fault
    if not isinstance(value, Tensor) or value.dim() != 1:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SMEError(f"functions must map a whole state (fields · d,) to a vector of values, got {got}: use torch.stack")
    return value


def smooth(x: Tensor) -> Tensor:
    """Exponentials of four linear functionals, and cubic monomials of the whole state."""
    n = len(x)
    directions = torch.sin(1.7 * torch.arange(1.0, 4 * n + 1, dtype=x.dtype).reshape(4, n))
    cubes = torch.stack([x[0] ** 3, x[0] ** 2 * x[-1], x[0] * x[n // 2] * x[-1], x[-1] ** 3 + x[0] * x[-1]])
    return torch.cat((torch.exp(directions @ x / n**0.5), cubes))


def bounded(x: Tensor) -> Tensor:
    """`1/(1 + l²)` and `arctan l` of four linear functionals `l`: smooth, and with every derivative bounded."""
    n = len(x)
    directions = torch.sin(1.7 * torch.arange(1.0, 4 * n + 1, dtype=x.dtype).reshape(4, n))
    along = directions @ x / n**0.5 + 0.3
    return torch.cat((1 / (1 + along * along), torch.atan(along)))


def _states(optimizer: Optimizer, dim: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def draw(name: str) -> Tensor:
        uniform = torch.rand(dim, generator=generator, dtype=torch.float64)
        return 0.5 + 0.7 * uniform if name in optimizer.nonnegative else 2 * uniform - 1

    return [{name: draw(name) for name in optimizer.fields} for _ in range(2)]


def _ratio(coarse: Tensor, fine: Tensor, size: Tensor) -> Tensor:
    return torch.where(fine.abs() > ROUNDING * size, coarse / fine, math.inf)


def _rate(finest: pd.DataFrame, residual: str, ratio: str, seen: float) -> float:
    size = finest[residual].abs()
    ratios = finest[ratio][size >= seen * size.groupby(finest["state"]).transform("max")].abs()
    return min((math.log2(each) if each > 1 else 0.0 for each in ratios), default=0.0)


def _proved(rate: float, bounds: Sequence[tuple[float, float]]) -> float:
    return next((order for least, order in bounds if rate - 1 > least), 0.0)


def _obstacle(order: int, proved: float, bare: float, sizes: Mapping[str, float], skewed: bool, moments: float) -> str:
    """What stands in the way of the next order."""
    if proved >= order:
        return "" if order == 2 else LEFT_OUT
    if skewed:
        return f"skewness: E δ₁⊗³/6 of size {sizes['skewness']:.3g}, at half order, and T₄ of size {sizes['T₄']:.3g}"
    if bare >= order:
        return f"T₃ of size {sizes['T₃']:.3g}: the third moments of one step, which no Itô equation with independent motions has"
    if moments < math.inf:
        return f"heavy tails: the noise has moments below the {moments:g}th alone, and the residual is that of its tail"
    return "a term of the equation is wrong, or the state is where the update rule is not smooth"
