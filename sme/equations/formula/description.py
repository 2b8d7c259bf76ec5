"""Reading an equation: its terms at one state, how large they are, and their formulas."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from tabulate import tabulate
from torch import Tensor

from sme.common.errors import SMEError
from sme.common.inputs import number
from sme.optimizers.base import initial

if TYPE_CHECKING:
    from sme.equations.base import Equation, X

COLUMNS = ["term", "symbol", "field", "size", "scaled"]
MOST = 4096
"""columns of a factor above which the size of a noise is not computed"""
CHUNK = 512
"""columns taken at once"""
PROBES = 3
"""states near the given one at which a term that is absent everywhere is told from one that is 0 here"""
ROUNDING = 1e-13
"""share of the largest term below which a term is rounding error"""


@dataclass(frozen=True, eq=False, repr=False)
class Description:
    """The terms of `dx = (b + τ b₁) dt + (G + τ G₁) dW¹ + √τ F dW² + R[y, dW]` at one state.

    Attributes
    ----------
    terms
        a row for each term and field that it moves: `term`, `symbol`, `field`, `size`, and `scaled`, the
        power of `τ` that is already in `size` (the leading noise of the ballistic regime is `√τ G dW¹`).
        `size` is a Euclidean norm over coordinates: of a drift per unit of time; of a noise
        the root of the trace of its covariance per unit of time; of `R[y, dW]` the same, averaged over
        `y ~ N(0, τ/2)`, the first motion in the middle of a step. NaN: too many motions, not computed.
    latex
        the formula of each row under `"term, field"`: of a closed form in the symbols of its class, and under
        `"term, field, updated denominator"` what that denominator adds; of a derived equation those of
        `equation.formula()`, entry by entry, and under `"where"` what letters such as `P` stand for (empty where an
        operation of the rule has no symbolic form). The second noise is that of a Gaussian law: a minibatch has
        `2 (1 − 1/B) Σ∘Σ` for `2 Σ∘Σ`.
    obstruction
        the symbol of what keeps an order-2 equation from order 2; empty if nothing does.
    """

    title: str
    terms: pd.DataFrame
    latex: Mapping[str, str]
    obstruction: str

    def __str__(self) -> str:
        shown = self.terms.assign(size=["not computed" if math.isnan(size) else f"{size:.4g}" for size in self.terms["size"]])
        table = tabulate(shown, headers="keys", tablefmt="simple", showindex=False,  # type: ignore[arg-type]
                         disable_numparse=True)
        note = f"obstructed: {self.obstruction}, which no Itô equation with independent motions matches"
        return "\n\n".join([self.title, table, *([note] if self.obstruction else [])])

    __repr__ = __str__


class Term(NamedTuple):
    """One term: `image(x, inputs)` is linear in `inputs` (of this `width`), or a drift without any.

    The images of `columns` are those of a factor of its covariance; None if they are too many.
    """

    name: str
    symbol: str
    scaled: str
    image: "Callable[[X, Tensor], X]"
    width: int = 0
    columns: Float[Tensor, "columns width"] | None = torch.zeros(1, 0)

    def sizes(self, x: "X", fields: int) -> list[float]:
        """The size on every field at one state `(1, state)`."""
        if self.columns is None:
            return [math.nan] * fields
        squares = [self.image(x.repeat(len(part), 1), part).square().sum(0) for part in self.columns.split(CHUNK)]
        return torch.stack(squares).sum(0).reshape(fields, -1).sum(-1).sqrt().tolist()


def describe(equation: "Equation", state: Mapping[str, Tensor], t: float | None = None) -> Description:
    """The terms of an equation at `state`, as `Equation.describe` has it."""
    equation = equation.explicit()
    optimizer, dim = equation.optimizer, equation.problem.dim
    time = optimizer.t0 if t is None else number("t", t)
    x = torch.cat(list(initial(optimizer, state, dim).values())).unsqueeze(0)
    terms = list(_terms(equation, time, x))
    rows = [(term.name, term.symbol, field, size, term.scaled)
            for term, present in zip(terms, _present(terms, x, len(optimizer.fields)), strict=True)
            for field, size, there in zip(optimizer.fields, term.sizes(x, len(optimizer.fields)), present, strict=True) if there]
    regime = "ballistic" if equation.small_noise else "batch-equivalent"
    title = (f"{optimizer.name}, {regime} regime, order {equation.order}, brownian = {equation.brownian}, "
             f"τ = {equation.tau:g}, t = {time:g}{equation.remark(time, x)}")
    return Description(title, pd.DataFrame(rows, columns=COLUMNS), _formulas(equation, {(row[0], row[2]) for row in rows}),
                       equation.obstructed if equation.order == 2 else "")


def _terms(equation: "Equation", t: float, x: "X") -> Iterator[Term]:
    """The terms that an equation may have, the corrections as what the equation has beyond that of order 1."""
    first, dW, root = equation.first, _unit(equation.first), "√τ" if equation.small_noise else "1"
    leading = type(equation)(equation.problem, equation.optimizer, equation.tau, 1, equation.brownian)

    def diffuse(of: "Equation", x: "X", dW: Tensor) -> "X":
        return of.diffuse(t, x, torch.nn.functional.pad(dW, (0, of.motions - first)))

    yield Term("leading drift", "b", "1", lambda x, _: leading.drift(t, x))
    yield Term("drift correction", "τ b₁", "τ", lambda x, _: equation.drift(t, x) - leading.drift(t, x))
    if first:
        yield Term("noise of the first motion", "√τ G dW¹" if equation.small_noise else "G dW¹", root,
                   lambda x, dW: diffuse(leading, x, dW), first, dW)
        yield Term("noise correction", "τ G₁ dW¹", "τ", lambda x, dW: diffuse(equation, x, dW) - diffuse(leading, x, dW),
                   first, dW)
    if equation.second:
        yield Term("noise of the second motion", "√τ F dW²", "√τ",
                   lambda x, dW: equation.diffuse(t, x, torch.nn.functional.pad(dW, (first, 0))),
                   equation.second, _second(equation, x))
    if equation.remembers:
        pairs = None if first**2 > MOST else _pairs(math.sqrt(equation.tau / 2) * _identity(first), _identity(first))
        yield Term("step memory", "R[y, dW]", "√τ", lambda x, both: equation.memory(t, x, both[:, :first], both[:, first:]),
                   2 * first, pairs)


def _identity(count: int) -> Tensor:
    return torch.eye(count, dtype=torch.float64)


def _unit(count: int) -> Tensor | None:
    return None if count > MOST else _identity(count)


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    """Every row of `a` beside every row of `b`."""
    return torch.cat([a.repeat_interleave(len(b), 0), b.repeat(len(a), 1)], -1)


def _second(equation: "Equation", x: "X") -> Tensor | None:
    """The columns of the second motion."""
    n, d = equation.first, equation.problem.dim
    if not equation.law.bilinear:
        return _unit(equation.second)
    if equation.law.transforms:
        return equation.law.second_columns() if n * n <= MOST else None
    # a minibatch: (S dV)∘(S ζ), bilinear in dV and the signs ζ; the images of few dV have the covariance of S dV
    if n * min(n, d) > MOST:
        return None
    units = _identity(n)
    factor = equation.law.diffuse(x[:, :d].repeat(n, 1), units)
    basis: Tensor = torch.linalg.svd(factor.T, full_matrices=False)[2]
    return torch.nn.functional.pad(_pairs(basis, units), (0, 1), value=1.0)


def _present(terms: list[Term], x: "X", fields: int) -> list[list[bool]]:
    """Whether each term moves each field, at the state or near it, under a random increment."""
    generator = torch.Generator().manual_seed(0)
    near = torch.cat([x, x + 0.1 * torch.rand((PROBES, x.shape[1]), generator=generator, dtype=x.dtype)])
    images = [term.image(near, torch.randn((len(near), term.width), generator=generator, dtype=x.dtype)) for term in terms]
    least = ROUNDING * torch.stack(images).abs().nan_to_num(0.0, 0.0).max()
    return [(~(image.abs() <= least)).reshape(len(near), fields, -1).any(-1).any(0).tolist() for image in images]


def _formulas(equation: "Equation", rows: set[tuple[str, str]]) -> dict[str, str]:
    """The formulas of these rows; those that an updated denominator adds if it is one. Of a derived equation, what it has."""
    if not equation.latex:
        try:
            made = equation.formula(elementwise=True).rows()
        except SMEError:  # no symbolic form, or no sympy
            return {}
        return {key: formula for key, formula in made.items() if key == "where" or tuple(key.split(", ")) in rows}
    found = {}
    for key, formula in equation.latex.items():
        term, field, *addition = key.split(", ")
        if (term, field) in rows and (not addition or getattr(equation.optimizer, "denominator", "") == "updated"):
            found[key] = formula
    return found
