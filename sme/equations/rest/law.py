"""The stationary law of an optimizer near a minimum: from its equation of order 1, and to second order from its steps."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Complex, Float
from scipy.linalg import solve_continuous_lyapunov
from torch import Tensor

from sme.common.errors import SMEError, warn
from sme.common.inputs import number, short
from sme.common.output.brief import Brief
from sme.common.output.text import grid
from sme.common.process.turns import entry
from sme.equations.base import Equation
from sme.equations.order.one_step import Generator
from sme.equations.registry import check_parts, equation
from sme.equations.rest.second import SecondOrder, second_order
from sme.optimizers.base import Optimizer, initial
from sme.optimizers.layout import Layout
from sme.optimizers.regimes import BATCH_EQUIVALENT, Regime
from sme.optimizers.regimes import regime as named
from sme.problems.base import Problem

LATE = 1e9
"""a time at which no bias is left to correct"""
STEP = 1e-3
"""of the differences of five points, in units of `1 + |x|`, of what is never negative in units of itself"""
SHIFTS = torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, -8.0, 8.0, -1.0], dtype=torch.float64) / 12
RESTS = 1e-9
"""a drift below which a point is at rest"""


@dataclass(frozen=True, repr=False)
class Stationary(Brief):
    """Mean `x*` and covariance `C` of the whole state, `b(x*) = 0` and `B C + C Bᵀ + G Gᵀ = 0` with `B = ∂b(x*)`, `G = G(x*)`.

    Attributes
    ----------
    mean
        by field, `(d,)`.
    state_covariance
        of all fields side by side.
    rates
        the eigenvalues of `B`: what is off the mean is forgotten like `e^{rate t}`.
    loss
        `½ tr(∇²f C_θθ)`, the mean loss above that at the mean.
    second
        `μ₁`, `C₂` and `K` of the second order, computed when it is first asked for: `E x = x* + τμ₁ + O(τ²)`,
        `Cov x = C + τ²C₂ + O(τ³)`, third cumulant `τ²K + O(τ³)`; None where it is not known, and `lack` says why.
    """

    problem: Problem
    optimizer: Optimizer
    regime: Regime
    tau: float
    mean: Mapping[str, Float[Tensor, " d"]]
    state_covariance: Float[Tensor, "state state"]
    rates: Complex[np.ndarray, " state"]
    loss: float

    def covariance(self, one: str = "theta", other: str | None = None) -> Float[Tensor, "d d"]:
        """`Cov(one, other)` of two fields; of a field with itself without `other`."""
        fields, dim = self.optimizer.fields, len(self.mean["theta"])
        for name in (one, other or one):
            if name not in fields:
                raise SMEError(f"{self.optimizer.name} has no field {short(name)}: it has {', '.join(fields)}")
        row, column = (slice(dim * i, dim * (i + 1)) for i in (fields.index(one), fields.index(other or one)))
        return self.state_covariance[row, column]

    @functools.cached_property
    def _further(self) -> SecondOrder | str:
        if self.regime == BATCH_EQUIVALENT:
            return "in the batch-equivalent regime the noise is not small"
        x = torch.cat(list(self.mean.values()))
        try:
            return second_order(self.problem, self.optimizer, x, _scale(self.optimizer, x), LATE)
        except SMEError as fault:
            return str(fault)

    @property
    def second(self) -> SecondOrder | None:
        """The second order, if it is known."""
        return None if isinstance(self._further, str) else self._further

    @property
    def lack(self) -> str:
        """Why there is none, in words; empty if there is one."""
        return self._further if isinstance(self._further, str) else ""

    @property
    def table(self) -> pd.DataFrame:
        """A row for each field and parameter: `field parameter mean variance`, and of the second order `offset`, what the mean is
        off, `change`, what the variance is off, and `third`, the third cumulant; not a number where it is not known.
        """
        dim, second = len(self.mean["theta"]), self.second
        missing = torch.full((dim * len(self.optimizer.fields),), math.nan, dtype=torch.float64)
        square = self.tau * self.tau  # infinite where ** would overflow
        offset, change, third = (missing,) * 3 if second is None else (
            self.tau * second.offset, square * second.covariance.diagonal(), square * torch.einsum("iii->i", second.third))
        return pd.DataFrame([(name, i, float(self.mean[name][i]), float(self.covariance(name)[i, i]),
                              *(float(each[dim * k + i]) for each in (offset, change, third)))
                             for k, name in enumerate(self.optimizer.fields) for i in range(dim)],
                            columns=["field", "parameter", "mean", "variance", "offset", "change", "third"])

    def __str__(self) -> str:
        table = self.table
        shown = table.map(lambda x: f"{x:.6g}" if isinstance(x, float) else str(x))
        if self.second is None:
            shown, error = shown.drop(columns=["offset", "change", "third"]), (
                "errors are O(τ)" if self.regime == BATCH_EQUIVALENT
                else f"variances are right to O(τ²), means to O(τ); no second order: {self.lack}")
        else:
            share = float((table["change"] / table["variance"]).abs().max())
            error = ("mean + offset is right to O(τ²), variance + change and the third cumulant to O(τ³); a change is at most "
                     f"{share:.1%} of its variance, and what is left out about {share * share:.1g} of it")
        return (f"{self.optimizer.name}, {self.regime.name} regime, τ = {self.tau:g}\n\n{grid(shown, 'simple')}\n\nmean loss "
                f"above the minimum {self.loss:.6g}; slowest rate {-self.rates.real.max():.4g}; {error}")


@entry
def stationary(problem: Problem, optimizer: Optimizer, tau: float, regime: str | Regime = "ballistic",
               start: Mapping[str, Tensor] | None = None) -> Stationary:
    """The stationary mean and covariance near a minimum, of any rule that has an equation.

    The drift `b` of the order-1 equation vanishes at `x*`, which is sought from `start`; around it the equation is
    `dy = B y dt + G dW`, and its covariance solves Lyapunov's equation. In the ballistic regime `C` is of size `τ` and
    right to `O(τ²)` (the equation of order 2 is no better: what noise and curvature do together is `O(τ²)` there), and the
    mean is `x*`, off by `O(τ)` where drift or noise bend (so `v` always, and `θ` unless the loss is quadratic): `second` has both
    to the next order, from the moments of one step, which know of no equation. In the batch-equivalent regime, for a quadratic
    loss alone, `C` is of size 1 and right to `O(τ)`. Source: docs/theory/rules.md, section 12.

    Parameters
    ----------
    problem, optimizer
        with a minimum at which the Hessian is positive, or a weight decay.
    tau
        `τ`.
    regime
        `"ballistic"` or `"batch_equivalent"`.
    start
        named fields from which `x*` is sought; `θ = 0`, and the optimizer's defaults, where left out.

    Raises
    ------
    SMEError
        for a rule without such an equation, or that never comes to rest (AdaGrad); if no minimum is found; at a point where
        the drift is not smooth (Signum); in the batch-equivalent regime, for a loss that is not quadratic or noise that depends
        on `θ`.
    """
    if isinstance(problem, Optimizer) and isinstance(optimizer, Problem):
        warn("write sme.stationary(problem, optimizer, …), as everywhere: the optimizer first goes with the next version")
        problem, optimizer = optimizer, problem
    check_parts(problem, optimizer)
    place, step = named(regime), number("tau", tau)
    if not 0 < step < np.inf:
        raise SMEError(f"tau must be positive, got {step:g}")
    optimizer.check(step)
    model = equation(problem, optimizer, place, step, 1)
    given = {} if start is None else start
    begin = {"theta": torch.zeros(problem.dim), **given} if isinstance(given, Mapping) else given
    x = torch.cat(list(initial(optimizer, begin, problem.dim).values()))
    x = _rest(model, x)
    jacobian = _jacobian(lambda points: model.drift(LATE, points), x, _scale(optimizer, x))
    rates = np.linalg.eigvals(jacobian.numpy())
    if rates.real.max() > -RESTS:
        raise SMEError(f"{optimizer.name} does not settle where its drift vanishes, at {short(x)}: an eigenvalue of the "
                       f"drift's Jacobian has the real part {rates.real.max():.3g}. Give a start near a minimum with a positive "
                       "Hessian")
    theta = x[: problem.dim].unsqueeze(0)
    if place == BATCH_EQUIVALENT:
        _quadratic(problem, theta)
    columns = Generator(model, lambda z: z).noise(LATE, x.unsqueeze(0))[:, 0]
    covariance = torch.from_numpy(solve_continuous_lyapunov(jacobian.numpy(), -(columns.T @ columns).numpy()))
    units = torch.eye(problem.dim, dtype=torch.float64)
    hessian = problem.hessian(theta.repeat(problem.dim, 1), units)
    loss = 0.5 * float((hessian * covariance[: problem.dim, : problem.dim]).sum())
    mean = Layout(optimizer.fields, problem.dim).named(x)
    return Stationary(problem, optimizer, place, step, mean, 0.5 * (covariance + covariance.T), rates, loss)


def _rest(model: Equation, x: Float[Tensor, " state"]) -> Float[Tensor, " state"]:
    """Where the drift vanishes."""
    from scipy.optimize import root  # takes half a second, and few runs ask for it

    def drift(x: np.ndarray) -> np.ndarray:
        return model.drift(LATE, torch.from_numpy(x)[None])[0].numpy()

    found = root(drift, x.numpy(), tol=1e-13)
    rest = torch.from_numpy(np.asarray(found.x))
    negative = any(bool((rest.split(model.problem.dim)[i] < 0).any())
                   for i, name in enumerate(model.optimizer.fields) if name in model.optimizer.nonnegative)
    if not np.abs(drift(found.x)).max() < RESTS or negative:
        raise SMEError(f"no state is found at which the drift of {model.optimizer.name} vanishes: give a start near a minimum, "
                       "and a rule that comes to rest (the sum of squares of AdaGrad never does)")
    return rest


def _scale(optimizer: Optimizer, x: Float[Tensor, " state"]) -> Float[Tensor, " state"]:
    """Over how much each variable matters: a second moment, which may be tiny, over its own size."""
    fields = zip(optimizer.fields, x.chunk(len(optimizer.fields)), strict=True)
    return torch.cat([field.abs() if name in optimizer.nonnegative and bool((field > 0).all()) else 1 + field.abs()
                      for name, field in fields])


def _jacobian(function: Callable[[Tensor], Tensor], x: Float[Tensor, " state"],
              size: Float[Tensor, " state"]) -> Float[Tensor, "state state"]:
    """By five-point differences, for rules that are themselves made of derivatives.

    Raises
    ------
    SMEError
        where two step sizes disagree: the function is not smooth there.
    """
    found = []
    for step in (STEP * size, STEP / 4 * size):
        points = x + SHIFTS[:, None, None] * step.diag()
        values = function(points.flatten(0, 1)).reshape(4, len(x), -1)
        found.append((torch.einsum("s,skj->kj", WEIGHTS, values) / step[:, None]).T)
    if not torch.allclose(found[0], found[1], rtol=1e-5, atol=1e-7):
        raise SMEError("the drift is not smooth where it vanishes, so there is no Gaussian law around that point")
    return found[0]


def _quadratic(problem: Problem, theta: Tensor) -> None:
    """Refuse what a Gaussian of size 1 is not the law of."""
    generator = torch.Generator().manual_seed(0)
    far, u = (torch.randn(1, problem.dim, generator=generator, dtype=torch.float64) for _ in range(2))
    if not torch.allclose(problem.hessian(theta + far, u), problem.hessian(theta, u), rtol=1e-9, atol=1e-12):
        raise SMEError("in the batch-equivalent regime the noise is of size 1, and the stationary law is Gaussian for a "
                       "quadratic loss alone: use regime='ballistic', or sme.trajectories for a histogram")
    if not problem.noise.constant:
        raise SMEError("in the batch-equivalent regime the noise is of size 1, and a stationary law is known for constant noise "
                       "alone: use regime='ballistic'")
