"""What no Itô equation matches, law by law: the one-step moments that are left over, beside their formulas."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sme.common.errors import SMEError, choose
from sme.common.output.text import grid
from sme.common.process.processes import spread
from sme.common.process.progress import progress
from sme.equations.chain import Chain
from sme.equations.order.check import check_order
from sme.equations.order.expectation import chain_expectation
from sme.equations.order.obstruction import Obstruction
from sme.equations.order.one_step import Generator
from sme.equations.registry import equation
from sme.optimizers.adam import Adam
from sme.optimizers.base import Optimizer
from sme.optimizers.momentum import Momentum
from sme.optimizers.regimes import BATCH_EQUIVALENT, REGIMES
from sme.optimizers.rmsprop import RMSProp
from sme.optimizers.sgd import SGD
from sme.optimizers.signsgd import SignSGD
from sme.problems.base import Problem
from sme.problems.noise.affine import AffineNoise
from sme.problems.noise.base import GradientLaw
from sme.problems.noise.gaussian import GaussianNoise
from sme.problems.noise.independent.student import StudentNoise
from sme.problems.noise.independent.two_point import TwoPointNoise
from sme.studies.orders.report import Exact, Orders
from sme.studies.orders.run import row

SIZE, D0, D1, P, NU = 0.5, 0.2, 0.3, 0.2, 9.0
"""standard deviation; affine variance; probability of the skewed law's upper value; degrees of freedom"""
STATE = {"theta": 0.7, "m": 0.3, "v": 0.6}
POWERS = (3, 4, 5, 6, 7, 8)
"""of `h = √τ` in a moment that is left over"""
ROOTS = tuple(2.0**-k for k in range(2, 8))
"""the `h` that tell them apart"""
SMALL = 1e-6
"""what is left of a moment that is not there"""
OPTIMIZERS: tuple[Optimizer, ...] = (SGD(), Momentum(c=0.8), RMSProp(c=0.5, eps=0.1), Adam(c1=1.0, c2=0.5), SignSGD())
TAILS = (1.0, 1.5, 2.5, 3.0, 3.5, 4.5, 5.0, 5.5, 6.5, 7.0, 9.0)


def _loss(theta: Tensor) -> Tensor:
    return 0.5 * theta[0] ** 2 + 0.3 * torch.sin(theta[0]) + 0.075 * theta[0] ** 4


LAWS: Mapping[str, Callable[[], GradientLaw]] = {
    "Gaussian": lambda: GaussianNoise(torch.tensor([[SIZE]], dtype=torch.float64)),
    "Rademacher": lambda: TwoPointNoise(torch.tensor([[SIZE]], dtype=torch.float64)),
    "skewed": lambda: TwoPointNoise(torch.tensor([[SIZE]], dtype=torch.float64), P),
    "Student": lambda: StudentNoise(NU, SIZE * math.sqrt((NU - 2) / NU)),
    "affine": lambda: AffineNoise(D0, D1),
    "affine Rademacher": lambda: AffineNoise(D0, D1, "rademacher"),
    "affine skewed": lambda: AffineNoise(D0, D1, "skewed", p=P),
    "affine Student": lambda: AffineNoise(D0, D1, "student", nu=NU),
}


class Symbol(NamedTuple):
    """`value τ^power` in `E Δ^fields`, of which no Itô equation has any."""

    fields: tuple[str, ...]
    power: float
    formula: str
    value: Callable[[SimpleNamespace], float]


SYMBOLS: Mapping[str, tuple[Symbol, ...]] = {
    "sgd": (
        Symbol(("theta",) * 3, 1.5, "−k₃", lambda n: -n.k3),
        Symbol(("theta",) * 3, 2, "−(3/2) S S′", lambda n: -1.5 * n.S * n.slope),
        Symbol(("theta",) * 4, 2, "k₄ − 3S²", lambda n: n.k4 - 3 * n.S**2)),
    "momentum": (
        Symbol(("m",) * 3, 1.5, "c³ k₃", lambda n: n.c**3 * n.k3),
        Symbol(("m",) * 3, 2, "0", lambda n: 0.0),
        Symbol(("m",) * 4, 2, "c⁴ (k₄ − 3S²)", lambda n: n.c**4 * (n.k4 - 3 * n.S**2))),
    "rmsprop": (
        Symbol(("theta", "v"), 1.5, "−c P k₃", lambda n: -n.c * n.P * n.k3),
        Symbol(("theta",) * 3, 1.5, "−P³ k₃", lambda n: -n.P**3 * n.k3),
        Symbol(("theta",) * 3, 2, "−(3/2) P⁴ S S′", lambda n: -1.5 * n.P**4 * n.S * n.slope),
        Symbol(("theta", "theta", "v"), 2, "c (k₄ − S²) P²", lambda n: n.c * (n.k4 - n.S**2) * n.P**2),
        Symbol(("theta",) * 4, 2, "(k₄ − 3S²) P⁴", lambda n: (n.k4 - 3 * n.S**2) * n.P**4)),
    "adam": (
        Symbol(("m", "v"), 1.5, "c₁ c₂ k₃", lambda n: n.c1 * n.c2 * n.k3),
        Symbol(("m",) * 3, 1.5, "c₁³ k₃", lambda n: n.c1**3 * n.k3),
        Symbol(("m", "m", "v"), 2, "c₁² c₂ (k₄ − S²)", lambda n: n.c1**2 * n.c2 * (n.k4 - n.S**2)),
        Symbol(("m",) * 4, 2, "c₁⁴ (k₄ − 3S²)", lambda n: n.c1**4 * (n.k4 - 3 * n.S**2))),
}
"""With `S`, `k₃`, `k₄` the noise's second, third and fourth moment at θ, `S′` the slope of `S`, and `P = 1/(√v + ε)`."""


def problem(noise: str) -> Problem:
    """The problem of one parameter under the law of that name."""
    return Problem(_loss, 1, LAWS[choose("noise", noise, LAWS)]())


def leftovers(optimizer: Optimizer, noise: str) -> pd.DataFrame:
    """The moments of one batch-equivalent step that no Itô equation has, from the step itself, beside their formulas.

    `E Π_i Δx_i` by quadrature, without `τ 𝓛 + ½ τ² 𝓛²` of the leading generator applied to the product, for step sizes that tell
    its powers of `h = √τ` apart. A generator of second order adds at `τ²` nothing to a product of three or four, and
    at `τ^{3/2}` nothing to any.
    """
    where, fields = problem(noise), optimizer.fields
    x = torch.tensor([STATE[name] for name in fields], dtype=torch.float64)
    symbols = SYMBOLS[optimizer.name]

    def products(z: Tensor) -> Float[Tensor, " symbols"]:
        change = z - x
        return torch.stack([torch.stack([change[fields.index(name)] for name in each.fields]).prod() for each in symbols])

    left = []
    for h in ROOTS:
        chain = Chain(where, optimizer, BATCH_EQUIVALENT, h * h)
        generator = Generator(equation(where, optimizer, BATCH_EQUIVALENT, h * h, 1), products)
        drift = h * h * generator.once(optimizer.t0, x.unsqueeze(0))[0] + 0.5 * h**4 * generator.twice(optimizer.t0, x)[0]
        left.append(chain_expectation(chain, x, products, optimizer.t0) - drift)
    powers = torch.tensor([[h**power for power in POWERS] for h in ROOTS], dtype=torch.float64)
    found = torch.linalg.solve(powers, torch.stack(left))
    known = _numbers(where, optimizer)
    return pd.DataFrame([{
        "optimizer": optimizer.name, "noise": noise, "moment": " ".join(each.fields), "power of τ": each.power,
        "formula": each.formula, "value": each.value(known), "from the step": float(found[POWERS.index(int(2 * each.power)), i])}
        for i, each in enumerate(symbols)])


def _numbers(where: Problem, optimizer: Optimizer) -> SimpleNamespace:
    theta, one, law = torch.tensor([[STATE["theta"]]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64), where.noise
    p = 1 / (math.sqrt(STATE["v"]) + getattr(optimizer, "eps", 0.0))
    return SimpleNamespace(S=float(law.variance(theta)), slope=float(law.variance_slope(theta, one)), k3=float(law.third(theta)),
                           k4=float(law.fourth(theta)), P=p, **optimizer.rates())


@dataclass(frozen=True, repr=False)
class OrdersByNoise(Exact):
    """Three tables of `tables`: orders and symbols; moments of one step; exponents under heavy tails."""

    file = name = "residues"
    title = "What no equation matches, law by law"
    orders: pd.DataFrame
    moments: pd.DataFrame
    tails: pd.DataFrame

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"residues": self.orders, "residues_moments": self.moments, "residues_tails": self.tails}

    def body(self, style: str) -> list[str]:
        shown = self.orders.assign(**{name: [*map(_size, self.orders[name])] for name in ("skewness", "T₃", "T₄")})
        heading = "Orders by the one-step test, and norms of the symbols that no Itô equation matches, one parameter:"
        parts = [heading, *Orders(shown).body(style)]
        if len(self.moments):
            parts.append("Moments of one batch-equivalent step that are left over: by the formula, and from the step itself:")
            beside = self.moments.assign(**{name: [*map(_size, self.moments[name])] for name in ("value", "from the step")})
            parts.append(grid(beside, style))
        if len(self.tails):
            cells = ["–" if math.isnan(exponent) else f"{exponent:.2f} ({tail:g})"
                     for exponent, tail in zip(self.tails["exponent"], self.tails["tail"], strict=True)]
            wide = self.tails.assign(cell=cells).pivot(index="ν", columns="equation", values="cell")
            parts.append("Exponent of the one-step residual, less one, under Student noise, and in brackets what its tail leaves "
                         "(–: the equation needs a moment that there is not):")
            parts.append(grid(wide[list(dict.fromkeys(self.tails["equation"]))].reset_index(), style))
        return parts


def tables(names: Sequence[str] | None = None, processes: int = 1, folder: Path | None = None) -> OrdersByNoise:
    """The orders of every optimizer, regime and law, the moments that are left over, and the exponents under heavy tails.

    Raises
    ------
    SMEError
        for an optimizer that is not among `OPTIMIZERS`.
    """
    for name in names or ():
        choose("optimizer", name, [each.name for each in OPTIMIZERS])
    chosen = [each for each in OPTIMIZERS if not names or each.name in names]
    work: list[tuple[Callable[..., Any], list[tuple[Any, ...]]]] = [
        (_row, [(optimizer, regime, noise) for optimizer in chosen for regime in REGIMES for noise in LAWS]),
        (leftovers, [(optimizer, noise) for optimizer in chosen if optimizer.name in SYMBOLS for noise in LAWS]),
        (_tail, [(name, nu) for nu in TAILS for name, (optimizer, *_) in TAILED.items() if optimizer in chosen])]
    rows, parts, heavy = (list(progress(spread(each, part, processes), total=len(part), unit="row"))
                          for each, part in work)
    return OrdersByNoise(pd.DataFrame(rows), pd.concat([pd.DataFrame(), *parts], ignore_index=True), pd.DataFrame(heavy),
                         folder=folder)


def _row(optimizer: Optimizer, regime: str, noise: str) -> dict[str, object]:
    here = problem(noise)
    found = row(optimizer, regime, noise, here)
    x = torch.tensor([STATE[name] for name in optimizer.fields], dtype=torch.float64)
    sizes = Obstruction(here, optimizer, REGIMES[regime]).sizes(x, optimizer.t0)
    reason = found.pop("in the way")
    del found["denominator"]
    return {**found, **{name: size if found["order 1"] == found["order 1"] else math.nan for name, size in sizes.items()},
            "in the way": reason}


TAILED: Mapping[str, tuple[Optimizer, str, int, str, Callable[[float], float]]] = {
    "SignSGD, order 2": (OPTIMIZERS[4], "ballistic", 2, "independent", lambda nu: 2.0),
    "SGD, ODE": (OPTIMIZERS[0], "ballistic", 1, "none", lambda nu: min(1.0, nu - 1)),
    "SGD, order 2": (OPTIMIZERS[0], "ballistic", 2, "independent", lambda nu: min(2.0, nu - 1)),
    "SGD, batch-equivalent, order 1": (OPTIMIZERS[0], "batch_equivalent", 1, "independent", lambda nu: min(1.0, nu / 2 - 1)),
    "RMSProp, ODE": (OPTIMIZERS[2], "ballistic", 1, "none", lambda nu: min(1.0, nu / 2 - 1)),
    "RMSProp, order 2": (OPTIMIZERS[2], "ballistic", 2, "independent", lambda nu: min(2.0, nu / 2 - 1)),
    "Adam, order 2": (OPTIMIZERS[3], "ballistic", 2, "independent", lambda nu: min(2.0, nu / 2 - 1)),
}
"""Equations, and the order that the tail of a Student law leaves them: its `ν`-th moment is the first that it lacks."""


def _tail(name: str, nu: float) -> dict[str, object]:
    optimizer, regime, order, brownian, predicted = TAILED[name]
    try:
        found = check_order(Problem(_loss, 1, StudentNoise(nu, SIZE)), optimizer, regime, order, brownian).rate - 1
    except SMEError:
        found = math.nan
    return {"equation": name, "ν": nu, "tail": max(0.0, predicted(nu)), "exponent": found}


def _size(number: float) -> str:
    return "–" if math.isnan(number) else "0" if abs(number) < SMALL else f"{number:.4g}"
