"""The modified equation of an update rule as formulas."""

import functools
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from sme.common.errors import SMEError, choose
from sme.common.inputs import first_or_second, flag, short
from sme.common.process.turns import entry
from sme.equations.drivers.names import asked
from sme.optimizers.base import Optimizer, sound
from sme.optimizers.regimes import BALLISTIC, BATCH_EQUIVALENT, Regime
from sme.optimizers.regimes import regime as named

if TYPE_CHECKING:
    from sme.equations.base import Equation
    from sme.equations.formula.assembly import Parts

BROWNIAN = ("independent", "step_memory")
ROWS = {"b": ("leading drift", r"{}"), "b1": ("drift correction", r"\tau\,({})"), "G0": ("noise of the first motion", r"{}"),
        "G1": ("noise correction", r"\tau\,({})"), "F": ("noise of the second motion", r"\sqrt\tau\,({})"),
        "R": ("step memory", r"{}")}
"""the terms of a description, and how theirs are made of a formula's"""
PLAIN = {r"\,": " ", r"\sqrt": "√", r"\tau": "τ", "_1": "₁", "_0": "₀", "dW^2": "dW²"}
"""the head of a formula as text"""
OURS, APART = ("sme.equations.closed.", "sme.equations.derived."), ("IndependentSignSGD",)
"""where the equations are that follow from the rule as here, and those which do not"""


@dataclass(frozen=True, eq=False, repr=False)
class Formula:
    """The terms of `dx = (b + τ b₁) dt + (G₀ + τ G₁) dW + √τ F dW² + R[y, dW]`; ballistic `√τ G₀ dW`, without `G₁`.

    In one dimension `f', f'', …` are derivatives of the loss, `S(θ)` is the size of the noise and `σ = S²`, with derivatives
    `S'`, `σ'`; increments are left out of `G₀`, `G₁`, `F` and `R`. Entry by entry, products are those of entries, `g = ∇f`,
    `H u = ∇²f u`, `Σ = S Sᵀ`, `σ = diag Σ`, and increments stand in the terms. `b_θ`, … in a correction are the leading drifts.

    Attributes
    ----------
    terms
        sympy expressions by `"b, theta"`, `"b1, theta"`, `"G0, m"`, `"G1, m"`, `"F, v"`, `"R, v"`, and `"T3"`, the obstruction
        of the batch-equivalent regime, with `d_theta` for `∂_θ`; terms that are 0 are left out.
    where
        what letters such as `P` and `P'` stand for.

    `.diffusion` has the correction `D₁` of the diffusion `D = D₀ + τ D₁`.
    """

    title: str
    head: str
    parts: "Parts"

    @property
    def terms(self) -> dict[str, Any]:
        return dict(self.parts.terms)

    @property
    def where(self) -> dict[Any, Any]:
        return dict(self.parts.where)

    def __getitem__(self, key: str) -> Any:
        return self.terms[choose("term of a formula", key, self.terms)]

    @property
    def diffusion(self) -> dict[str, Any]:
        """`D₁ = G₀G₁ᵀ + G₁G₀ᵀ + F Fᵀ` by `"D1, theta, v"`: the diffusion is `D₀ + τ D₁` (batch-equivalent, one dimension)."""
        from sme.equations.formula.assembly import diffusion

        return diffusion(self.parts)

    def expanded(self, key: str) -> Any:
        """A term in the rule's own letters, `f`, `S` (entry by entry `g`, `σ`, `S dW`) alone."""
        made = self[key]
        for symbol, value in self.parts.ground.items():
            made = made.subs(symbol, value)
        return made

    @property
    def latex(self) -> str:
        """One `aligned` environment: the equation, its terms, and what their letters stand for."""
        from sme.equations.formula.assembly import diffusion_rows, latex_rows

        rows, count = latex_rows(self.parts), len(self.terms)
        rows = [*rows[:count], *diffusion_rows(self.parts), *rows[count:]]
        lines = [f"& {self.head}", *(f"{left} &= {right}" for left, right in rows)]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def rows(self) -> dict[str, str]:
        """LaTeX by `"term, field"`, as `Description.latex` has it, and under `"where"` what the letters stand for."""
        from sme.equations.formula.assembly import latex_rows

        small, rows = self.parts.small, latex_rows(self.parts)
        made = {}
        for key, (_, formula) in zip(self.terms, rows, strict=False):
            term, _, field = key.partition(", ")
            if term in ROWS:
                name, frame = ROWS[term]
                root = r"\sqrt\tau\,({})" if small and term == "G0" else frame
                made[f"{name}, {field}"] = root.format(formula)
        if letters := rows[len(self.terms):]:
            made["where"] = r",\quad ".join(f"{left} = {right}" for left, right in letters)
        return made

    def _repr_latex_(self) -> str:
        return f"$${self.latex}$$"

    def __str__(self) -> str:
        from sme.equations.formula.assembly import text_lines

        equation = functools.reduce(lambda text, pair: text.replace(*pair), PLAIN.items(), self.head)
        return "\n".join([self.title, "", equation, *text_lines(self.parts)])

    __repr__ = __str__


@entry
def formula(optimizer: Optimizer, regime: str | Regime = "ballistic", brownian: str | None = None, order: int = 2,
            elementwise: bool = False, gaussian: bool = True, driver: str | None = None) -> Formula:
    """The modified equation of an update rule in its own letters: no problem, no numbers and no run.

    `update` is run with sympy's symbols in place of tensors, its settings as letters of their names, and the equation derived
    from the Taylor coefficients of what comes out
    (docs/theory/equations.md, sections 3 and 4, and docs/theory/derivation.md, section 9). Settings that are 0 are off; the
    floor under `v` is left out; in a bias correction `τ` stays as it is. Needs sympy (`pip install sme[formula]`).

    Parameters
    ----------
    optimizer
        one of the package or a user's own.
    regime, brownian, driver, order
        as in `sme.derive`, `driver`, or `brownian` by its older name, being `"independent"` or `"step_memory"`. In the
        batch-equivalent regime `Σ` is constant where the leading noise moves the parameters, but for step memory in one
        dimension.
    elementwise
        for many parameters, entry by entry, in place of one.
    gaussian
        False for any law of the noise (ballistic): `κ` and `μ` are its third and fourth moment, `K dW` what `g∘g` gains by `κ`
        (in one dimension `K = κ/S`).

    Returns
    -------
    A `Formula`: `.latex`, `.terms` (sympy), shown as LaTeX in a notebook.

    Raises
    ------
    SMEError
        naming an operation that has no symbolic form; for a rule that cannot be expanded, or has no equation of this order.

    Examples
    --------
    >>> sme.formula(sme.Adam())["b1, theta"]
    -P*b_m/2 + P'*b_v*m/2
    """
    sound(optimizer)
    place, choice = named(regime), choose("driver of formulas", asked(driver, brownian) or "independent", BROWNIAN)
    if not first_or_second(order):
        raise SMEError(f"order must be 1 or 2, got {short(order)}: no equation of another order is known")
    many, normal = flag("elementwise", elementwise), flag("gaussian", gaussian)
    if not normal and (place != BALLISTIC or choice == "step_memory"):
        raise SMEError("gaussian=False is for the ballistic regime with driver='independent': elsewhere the law is Gaussian")
    return (_kept if _frozen(optimizer) else _made)(optimizer, place, choice, order, many, normal)


def _frozen(optimizer: Optimizer) -> bool:
    """Whether it cannot change, nor what its settings hold."""
    try:
        hash(optimizer)
    except TypeError:
        return False
    return is_dataclass(optimizer) and optimizer.__dataclass_params__.frozen  # type: ignore[attr-defined]


def formula_of(equation: "Equation", elementwise: bool) -> Formula:
    """`Equation.formula`."""
    kind, optimizer, law = type(equation), equation.optimizer, equation.law
    if not kind.__module__.startswith(OURS) or kind.__name__ in APART:
        raise SMEError(f"{kind.__name__} does not follow from the Taylor terms of {type(optimizer).__name__}, so formula() "
                       "has nothing to say of it: the formulas of a closed form are in describe(state).latex")
    place = BALLISTIC if equation.small_noise else BATCH_EQUIVALENT
    if equation.jumps is not None or equation.fades:
        raise SMEError(f"there are formulas of equations with driver={' or '.join(map(repr, BROWNIAN))}, and this one has "
                       f"'{equation.brownian}': see its terms by describe(state)")
    brownian = equation.brownian if equation.brownian in BROWNIAN else "independent"
    made = formula(optimizer, place, brownian, equation.order, elementwise, law.paired or place != BALLISTIC)
    if made.parts.constant and equation.order == 2 and not law.constant:
        raise SMEError("entry by entry, formulas of this equation are known for constant Σ, and here Σ depends on θ: use "
                       "formula(elementwise=False), of one dimension")
    if equation.brownian == "none":
        drift = made.parts._replace(terms={key: value for key, value in made.terms.items() if key.startswith("b")})
        return Formula(made.title.replace(brownian, "none"), _head(drift), drift)
    return made


def _made(optimizer: Optimizer, place: Regime, brownian: str, order: int, elementwise: bool, gaussian: bool) -> Formula:
    try:
        from sme.equations.formula.assembly import assemble
        from sme.equations.formula.terms import Asked
    except ModuleNotFoundError as fault:
        raise SMEError(f"formulas need {fault.name}, which is not installed: pip install 'sme[formula]'") from fault
    memory = brownian == "step_memory"
    parts = assemble(optimizer, place, Asked(order, memory, gaussian, not elementwise))
    words = [f"{type(optimizer).__name__}, {place.name.replace('_', '-')} regime, order {order}, brownian = {brownian}",
             "entry by entry" if elementwise else "one dimension, σ = S²", *(["constant Σ"] if parts.constant else []),
             *([] if gaussian else ["any law of the noise"])]
    return Formula(", ".join(words), _head(parts), parts)


_kept = functools.lru_cache(maxsize=64)(_made)


def _head(parts: "Parts") -> str:
    """The equation whose terms these are."""
    there = {key.partition(",")[0] for key in parts.terms}
    drift = r"(b + \tau\,b_1)" if "b1" in there else "b"
    if not there & {"G0", "F"}:
        return rf"dx = {drift}\,dt"
    first = r"(G_0 + \tau\,G_1)\,dW" if "G1" in there else r"\sqrt\tau\,G_0\,dW" if parts.small else r"G_0\,dW"
    more = {"F": r"\sqrt\tau\,F\,dW^2", "R": "R[y, dW]" if parts.many else r"R\,y\,dW"}
    noise = [first, *(value for name, value in more.items() if name in there)]
    return " + ".join([rf"dx = {drift}\,dt", *noise])
