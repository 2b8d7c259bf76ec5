"""The residuals of test functions over one step, and the power of `τ` that they go with."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.process.progress import progress
from sme.equations.order.expectation import Test, UnsettledError, chain_expectation
from sme.equations.order.obstruction import Obstruction
from sme.equations.order.one_step import Generator, equation_expectation
from sme.equations.order.tested import Point, Tested

ROUNDING = 1e-14
"""residual, in units of `1 + |φ|`, below which there is nothing to divide"""
LARGE = 0.01
"""share of the largest residual at a state below which one tells nothing of it"""
SEEN = 1e-9
"""change in a large step, in units of `1 + |φ|`, from which on a function sees it"""
CLEAR = 3.0
"""errors of a residual below which it says nothing of the power"""
COLUMNS = ["state", "function", "tau", "residual", "ratio", "t3", "without_t3", "ratio_without_t3", "error"]
CENTRE = 0.4
"""of the test functions, so that none of their derivatives vanishes at the state"""


@dataclass(frozen=True)
class Functions:
    """The test functions at a state: those that were given, or `smooth` ones in units of the motion over a time, or `bounded`."""

    given: Callable[[Tensor], Tensor] | None
    heavy: bool
    unit: float

    def at(self, asked: Tested, point: Point, tau: float) -> Test:
        """Those for one state."""
        t, x = point
        if self.given is not None:
            return self._checked(x)
        if self.heavy:
            return bounded
        generator = Generator(asked.make(tau)[1], lambda z: z)
        z = generator.start(x).unsqueeze(0)
        length = self.unit * generator.drift(t, z)[0].abs()
        if len(generator.motions):
            length = length + (self.unit * generator.noise(t, z)[:, 0].square().sum(0)).sqrt()
        length = length[: len(x)]
        length = torch.where(length > 0, length, torch.ones(()).to(length))
        return lambda z: smooth((z - x) / length + CENTRE)

    def _checked(self, x: Tensor) -> Test:
        assert self.given is not None
        function = self.given
        try:
            value = function(x.clone())
        except Exception as fault:
            raise SMEError(f"functions fail at a whole state of shape {tuple(x.shape)}: {fault}") from fault
        if not isinstance(value, Tensor) or value.dim() != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise SMEError(f"functions must map a whole state (fields · d,) to a vector of values, got {got}: use torch.stack")
        return lambda z: function(z.clone()).to(torch.float64)


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


def residuals(asked: Tested, obstruction: Obstruction, points: Sequence[Point], functions: Functions,
              tau: Sequence[float]) -> pd.DataFrame:
    """Chain minus equation for every state, test function and step size, with what differences and rounding may have done."""
    rows = []
    with progress(points, desc="residuals", unit="state", delay=1) as bar:
        for index, (t, x) in enumerate(bar):
            phi = functions.at(asked, (t, x), tau[0])
            here = phi(x)
            size = 1 + here.abs()
            third = obstruction.third(x, phi, t) if asked.brownian == "independent" else torch.zeros_like(size)
            try:
                left, errors = zip(*[_one(asked, x, phi, t, h, size) for h in tau], strict=True)
            except UnsettledError:
                if functions.given is not None or functions.heavy:
                    raise
                continue  # too large steps for these functions: the moments say what is to be said
            for k, h in enumerate(tau):
                value, rest = left[k], left[k] - h * h * third
                ratio, rest_ratio = torch.full_like(value, math.nan), torch.full_like(value, math.nan)
                if k + 1 < len(tau):
                    ratio = _ratio(value, left[k + 1], size)
                    rest_ratio = _ratio(rest, left[k + 1] - (h / 2) ** 2 * third, size)
                if bool((value.abs() <= ROUNDING * size).all()) and not _exact(asked, x, phi, t, functions.given is not None):
                    raise SMEError(f"all residuals at τ = {h:g} are rounding errors, so no order can be read off them: use "
                                   "larger τ or test functions that see more, such as the default ones")
                parts = torch.stack((value, ratio, third, rest, rest_ratio, errors[k]), -1).tolist()
                rows += [(index, i, h, *part) for i, part in enumerate(parts)]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"tau": float})


def _one(asked: Tested, x: Tensor, phi: Test, t: float, tau: float, size: Tensor) -> tuple[Tensor, Tensor]:
    chain, model = asked.make(tau)
    value, error = equation_expectation(model, x, phi, t)
    left = chain_expectation(chain, x, phi, t) - value
    lost = ~torch.isfinite(left)
    if bool(lost.any()):
        raise UnsettledError(f"the residual of test function {int(lost.nonzero()[0])} is not finite (NaN or ∞) at the state "
                             f"{x.tolist()} of {', '.join(asked.optimizer.fields)}: change the state or the functions, or name "
                             "the fields that are never negative in `nonnegative`")
    return left, error + ROUNDING * size


def _exact(asked: Tested, x: Tensor, phi: Test, t: float, given: bool) -> bool:
    """Whether a residual of rounding is one at a large step size too, where functions that were given see the step."""
    tau, here = asked.largest, phi(x)
    size = 1 + here.abs()
    try:
        left, _ = _one(asked, x, phi, t, tau, size)
        seen = (chain_expectation(asked.make(tau)[0], x, phi, t) - here).abs()
    except UnsettledError:
        return False
    return bool((left.abs() <= CLEAR * ROUNDING * size).all()) and (not given or bool((seen > SEEN * size).any()))


def _ratio(coarse: Tensor, fine: Tensor, size: Tensor) -> Tensor:
    return torch.where(fine.abs() > ROUNDING * size, coarse / fine, math.inf)


def exponent(finest: pd.DataFrame, residual: str, ratio: str, seen: float) -> float:
    """The least `log₂ ratio` over states and functions whose residuals are seen; NaN if none is."""
    size = finest[residual].abs()
    clear = (size >= seen * size.groupby(finest["state"]).transform("max")) & (size > CLEAR * 8 * finest["error"])
    ratios = finest[ratio][clear].abs()
    return min((math.log2(each) if each > 1 else 0.0 for each in ratios), default=math.nan)


def smallest(table: pd.DataFrame, tau: Sequence[float]) -> float:
    """The step size, a power of 2, from which on residuals of the third power of `τ` are seen."""
    first = table[table["tau"] == tau[0]]
    size = first["residual"].abs()
    large = size >= LARGE * size.groupby(first["state"]).transform("max")
    short = (CLEAR * 8 * first["error"] / size)[large].min()
    return max(2 * float(tau[0]), 2.0 ** math.ceil(math.log2(tau[0] * max(1.0, short) ** (1 / 3))))
