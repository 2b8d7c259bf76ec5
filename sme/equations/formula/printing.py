"""Formulas as LaTeX and as text."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter
from sympy.printing.pretty.pretty_symbology import pretty_symbol
from sympy.printing.str import StrPrinter

LATEX = {
    "eps": r"\varepsilon", "decay": r"\lambda", "Gamma_dot": r"\dot\Gamma", "gamma2_dot": r"\dot\gamma_2", "S_dW": r"S\,dW",
    "K_dW": r"K\,dW", "S_y": r"S\,y", "root_dW": r"(\Sigma\circ\Sigma)^{1/2}\,dW^2",
    "rest_dW": r"(\mathrm{Cov}\,\mathrm{sign}(\hat g) - G_0G_0^\top)^{1/2}\,dW^2",
}
TEXT = {
    "eps": "ε", "decay": "λ", "Gamma_dot": "(dΓ/dt)", "gamma2_dot": "(dγ₂/dt)", "S_dW": "(S dW)", "K_dW": "(K dW)",
    "S_y": "(S y)", "root_dW": "((Σ∘Σ)^½ dW²)", "rest_dW": "((Cov sign(ĝ) − G₀G₀ᵀ)^½ dW²)",
}
LABELS = {"b": ("b", "b", ""), "b1": ("b_1", "b₁", ""), "G0": ("G_0", "G₀", r"\,dW"), "G1": ("G_1", "G₁", r"\,dW"),
          "F": ("F", "F", r"\,dW^2"), "R": ("R", "R", "[y, dW]"), "T3": ("T_3", "T₃", ""), "D1": ("D_1", "D₁", "")}
"""each term in LaTeX and in text, and the increments that stand in it where entries are many"""
INDEXED = 3
"""the place of entries with an index in a product, after vectors"""
WORD = re.compile(r"^([A-Za-z]{2,})")
"""a name that is no letter"""
LAST = ("S_y", "S_dW", "K_dW", "root_dW", "rest_dW")
"""what ends a product"""
APPLIED = {"H": r"H\,{}", "dsigma": r"\partial\sigma\,{}", "dS": r"\partial S\,{}\,dW",
           "third": r"{{\textstyle\sum_j}}\nabla^3f[{0}S_j, {0}S_j]"}
SPOKEN = {"H": "(H {})", "dsigma": "(∂σ {})", "dS": "(∂S {} dW)", "third": "(Σ_j ∇³f[{0}S_j, {0}S_j])"}


def _parts(name: str) -> tuple[str, str]:
    """A name and its primes."""
    bare = name.rstrip("'")
    return bare, name[len(bare):]


class Latex(LatexPrinter):
    """Settings first, then letters, fields and what is applied; with `∘` between vectors where `many`."""

    def __init__(self, vectors: Collection[Any], many: bool = False, order: str | None = None) -> None:
        super().__init__({"order": order})
        self.vectors, self.many = list(vectors), many

    def _print_Symbol(self, symbol: Any, style: str = "plain") -> str:
        bare, primes = _parts(symbol.name)
        if bare.startswith("d_"):
            return rf"\partial_{{{self._print_Symbol(sympy.Symbol(bare[2:]))}}}"
        made = LATEX.get(bare) or WORD.sub(r"\\mathrm{\1}", super()._print_Symbol(sympy.Symbol(bare), style))
        return made + primes

    def _print_Mul(self, product: Any) -> str:
        factors = sympy.Mul.make_args(product)
        vectors = [each for each in factors if self._place(each)]
        if not vectors:
            return str(super()._print_Mul(product))
        scalar = sympy.Mul(*(each for each in factors if not self._place(each)))
        sign, scalar = ("- ", -scalar) if scalar.could_extract_minus_sign() else ("", scalar)
        over = [each for each in vectors if not each.as_base_exp()[1].is_negative]
        under = [1 / each for each in vectors if each.as_base_exp()[1].is_negative]
        top, bottom = scalar.as_numer_denom()
        if under or not bottom.is_number:
            above, below = (self._beside(*each) for each in ((top, over), (bottom, under)))
            return rf"{sign}\frac{{{above}}}{{{below}}}"
        return sign + self._beside(scalar, over)

    def _beside(self, scalar: Any, vectors: list[Any]) -> str:
        """A product, without a factor 1; parentheses only where there are two factors."""
        factors = [*([scalar] if scalar != 1 or not vectors else []), *sorted(vectors, key=self._place)]
        if len(factors) == 1:
            return str(self._print(factors[0]))
        made = ""
        for before, each in zip([None, *factors], factors, strict=False):
            circ = self.many and before is not None and before is not scalar and self._place(each)[0] < INDEXED
            shown = rf"\left({self._print(each)}\right)" if each.is_Add else str(self._print(each))
            made += ("" if before is None else r"\circ " if circ else r"\,") + shown
        return made

    def _place(self, factor: Any) -> tuple[int, ...]:
        """Where a vector stands in a product; empty for a number."""
        places = [self.vectors.index(each) for each in factor.free_symbols if each in self.vectors]
        names = [each.name for each in factor.free_symbols]
        if any(name.startswith("d_") for name in names):
            return INDEXED + 1, 0
        if any(name.endswith(("_i", "_j", "_k", "_ik", "_jk")) for name in names):
            return INDEXED, 0
        if str(factor) in LAST:
            return 2, 0
        return (1, 0) if factor.has(AppliedUndef) else (0, min(places)) if places else ()

    def _print_Function(self, expr: Any, exp: Any = None) -> str:
        if not isinstance(expr, AppliedUndef):
            return str(super()._print_Function(expr, exp))
        (given,) = expr.args
        inner = self._print(given)
        if expr.func.__name__ == "third":
            made = APPLIED["third"].format("" if given == 1 else rf"{inner}\circ ")
        else:
            made = APPLIED[expr.func.__name__].format(inner if given.is_Symbol and str(given) not in LAST else f"({inner})")
        return made if exp is None else f"({made})^{{{exp}}}"


class Text(StrPrinter):
    """With Greek letters and small digits."""

    def _print_Symbol(self, expr: Any) -> str:
        bare, primes = _parts(expr.name)
        mark, below = {"d_": "∂_", "b_": "b_"}.get(bare[:2], ""), bare[2:]
        return (mark + str(pretty_symbol(below)) if mark else TEXT.get(bare) or str(pretty_symbol(bare))) + primes

    def _print_DiracDelta(self, expr: Any) -> str:
        return f"δ({self._print(expr.args[0])})"

    def _print_Function(self, expr: Any) -> str:
        if not isinstance(expr, AppliedUndef):
            return str(super()._print_Function(expr))
        (given,) = expr.args
        inner = self._print(given) if given.is_Symbol else f"({self._print(given)})"
        return SPOKEN[expr.func.__name__].format(inner if expr.func.__name__ != "third" else "" if given == 1 else f"{inner}∘")


def label(key: str, many: bool) -> str:
    """`b1, theta` as `b_{1,θ}`; with its increments where entries are many."""
    term, *fields = key.split(", ")
    name, _, index = LABELS[term][0].partition("_")
    symbols = [Latex(())._print_Symbol(sympy.Symbol(field)) for field in fields]
    return f"{name}_{{{','.join(each for each in (index, *symbols) if each)}}}" + LABELS[term][2] * many


def rows(terms: Mapping[str, Any], where: Mapping[Any, Any], vectors: Collection[Any], many: bool) -> list[tuple[str, str]]:
    """The two sides of every line in LaTeX: the terms, then what their letters stand for."""
    latex, reverse = Latex(vectors, many), Latex(vectors, many, "rev-lex")
    shown = [(label(key, many), latex.doprint(value)) for key, value in terms.items()]
    shown = [(left, rf"{{\textstyle\sum_{{ijk}}}}({right})" if many and left == "T_{3}" else right) for left, right in shown]
    return shown + [(latex.doprint(symbol), reverse.doprint(value)) for symbol, value in where.items()]


def lines(terms: Mapping[str, Any], where: Mapping[Any, Any], many: bool) -> list[str]:
    """The same as text."""
    text, said = Text(), list[str]()
    for key, value in terms.items():
        term, *fields = key.split(", ")
        total = f"Σ_ijk ({text.doprint(value)})" if many and term == "T3" else text.doprint(value)
        said.append(f"{'_'.join([LABELS[term][1], *(str(pretty_symbol(field)) for field in fields)])} = {total}")
    return said + [f"{text.doprint(symbol)} = {text.doprint(value)}" for symbol, value in where.items()]
